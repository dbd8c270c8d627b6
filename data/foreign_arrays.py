"""Numbers of clips that others computed, read from what they publish: a file of tensors, an array of NumPy's, a table.

Conventions: numbers are (rows, columns), float. A table has a column `filename` and others, or no header at all; a file
of torch's is a tensor, or a mapping with one and maybe a list `filenames`, or a mapping from names of clips to tensors.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.errors import UserError, in_short
from data.files import read_bounded
from data.scenes import PREDICTION_COLUMNS
from data.state_dicts import read_content
from data.tables import BYTES, Table, decimal, parse_table, read_table
from data.tensor_kinds import PICKLE, ZIP
from data.tensors import FLOATS, is_plain, kind_of

ARRAY = b"\x93NUMPY"
ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")  # of files of tensors
NAMES = ("filenames", "filename", "files")  # entries beside a tensor
FILENAME = "filename"
MOST_VALUES = 40_000_000  # of an array; the development set has 2,303,500


@dataclass(frozen=True)
class Found:
    """What a file says.

    Attributes:
        values: float64 (rows, columns).
        filenames: of the rows; None: it does not say.
        columns: their names; None: it has none.
    """

    values: np.ndarray
    filenames: Sequence[str] | None = None
    columns: Sequence[str] | None = None


def read_array(path: Path) -> Found:
    """What a file of any of the kinds says.

    Raises:
        UserError: it is missing, damaged or holds no such numbers, or would need code to be read.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name another file") from error
    if head.startswith(ARRAY):
        return Found(_checked(path, _array(path)))
    if path.suffix.lower() == ".npz":
        raise UserError(f"{path} holds several arrays: save the logits alone with numpy.save")
    if path.suffix.lower() in ENDINGS or head.startswith((ZIP, PICKLE)):
        return _tensors(path)
    return _table(path)


def _array(path: Path) -> np.ndarray:
    """Of a file of NumPy's; none of its values is read yet."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # what is raised depends on what is wrong
        raise UserError(f"{path} is damaged, or no array of numbers ({in_short(str(error))}): save it anew") from error


def _tensors(path: Path) -> Found:
    """Of a file of tensors."""
    content = read_content(path)
    if isinstance(content, torch.Tensor):
        return Found(_numbers(path, content))
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds {type(content).__name__}, no tensor of logits: save that alone, with torch.save")
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    several = {name: value for name, value in tensors.items() if value.ndim == 2}
    if len(several) == 1:
        (values,) = several.values()
        names = next((content[name] for name in NAMES if name in content), None)
        if names is not None and not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
            raise UserError(f"{path}: its names of clips are no list of texts: save it anew")
        return Found(_numbers(path, values), names)
    if tensors and len(tensors) == len(content) and len({value.shape for value in tensors.values()}) == 1:
        first = next(iter(tensors.values()))
        if first.ndim == 1 and len(tensors) * len(first) <= MOST_VALUES:
            rows = [_numbers(path, value[None]) for value in tensors.values()]
            return Found(np.concatenate(rows), [str(name) for name in tensors])
    raise UserError(
        f"{path} holds {len(several)} tensors (rows, classes), one is wanted: save that alone, with torch.save"
    )


def _numbers(path: Path, tensor: torch.Tensor) -> np.ndarray:
    """The values of a tensor (rows, classes).

    Raises:
        UserError: it has another form, or is of no ordinary floats.
    """
    if not is_plain(tensor) or tensor.dtype not in FLOATS:
        raise UserError(f"{path} holds numbers of the type {kind_of(tensor)}: save logits as ordinary floats")
    if tensor.numel() > MOST_VALUES:
        raise UserError(f"{path} holds {tensor.numel():,} numbers, more than {MOST_VALUES:,}: save the logits alone")
    return _checked(path, tensor.detach().double().numpy())


def _checked(path: Path, values: np.ndarray) -> np.ndarray:
    """An array as float64.

    Raises:
        UserError: it is none of logits (rows, classes), or too large.
    """
    if values.dtype.kind != "f" or values.ndim != 2 or not values.size or values.size > MOST_VALUES:
        raise UserError(
            f"{path} holds {values.dtype} numbers of the shape {in_short(values.shape)}: logits are floats (rows, "
            f"classes), {MOST_VALUES:,} at most"
        )
    return np.asarray(values, np.float64)


def _table(path: Path) -> Found:
    """Of a table; without a header its first line is numbers."""
    table = _with_header(path)
    names = table.pop(FILENAME, None)
    columns = [name for name in table if name not in PREDICTION_COLUMNS]
    texts = [table[name] for name in columns]
    values = np.array([[decimal(text) for text in column] for column in texts], np.float64).T
    if not values.size:
        raise UserError(f"{path} has no logits: give a table with a column for each class")
    if (wrong := np.argwhere(np.isnan(values))).size:
        row, column = wrong[0].tolist()
        raise UserError(
            f"{path}: row {row + 1}, column {in_short(columns[column])}: {in_short(texts[column][row])} is no number "
            f"(and {len(wrong) - 1} more): give logits, or leave out the columns that have none"
        )
    return Found(values, names, None if all(name.isdecimal() for name in columns) else columns)


def _with_header(path: Path) -> Table:
    """A table; one of numbers alone has the columns 0, 1, ..."""
    text = read_bounded(path, BYTES).decode(errors="replace")
    first = text.split("\n", 1)[0]
    separator = "\t" if "\t" in first else ","
    cells = first.split(separator)
    if any(math.isnan(decimal(cell)) for cell in cells):
        return read_table(path, ())
    header = separator.join(map(str, range(len(cells))))
    return parse_table(io.StringIO(f"{header}\n{text}", newline=""), path, ())
