"""Arrays in a file of numpy.save's that holds a pickled object: read without running code.

Conventions: the object is a dict of texts and of such dicts, lists and arrays of floats; nothing else is built. What
numpy's pickles call is replaced by classes of this module that keep numbers and do nothing, and whatever else a pickle
asks for is refused. Files of Python 2 hold texts where Python 3 has bytes; both are read.
Source: numpy, lib/format.py (write_array) and core/multiarray (array.__reduce__, dtype.__reduce__).
"""

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from data.damage import WrongValueError, explain_damage
from data.errors import in_short

MAGIC = b"\x93NUMPY"
FLOATS = ("f2", "f4", "f8")
DEEPEST = 4  # dicts and lists around an array


def is_numpy(path: Path) -> bool:
    """Whether a file is one of numpy.save's."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_pickled(path: Path, remedy: str) -> object:
    """The object of a file: dicts and lists with arrays of floats in them.

    Args:
        path: of the file.
        remedy: the end of the message about a file that is damaged.

    Raises:
        UserError: it is damaged, holds something else, or would need code to be read.
    """
    with explain_damage(path, remedy), open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise WrongValueError(f"it is of the version {version} of its format, 1 and 2 are read")
        shape, _, kind = read_header[version](file)
        if shape != () or not kind.hasobject:
            raise WrongValueError(f"it holds an array of {kind} of the shape {in_short(shape)}, not a dict of arrays")
        return _plain(_Unpickler(io.BytesIO(file.read()), encoding="latin1").load())


class _Array:
    """What is left of an array: its numbers, or the one object that it holds."""

    def __init__(self, *_: object) -> None:
        self.content: object = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, raw = state
        if not isinstance(kind, _Kind):
            raise WrongValueError(f"an array's type is {in_short(kind)}")
        if kind.name.startswith("O"):
            if shape != ():
                raise WrongValueError(f"it holds an array of objects of the shape {in_short(shape)}")
            (self.content,) = raw
            return
        if kind.name not in FLOATS:
            raise WrongValueError(f"it holds an array of the type {in_short(kind.name)}, floats are read")
        numbers = np.frombuffer(raw.encode("latin1") if isinstance(raw, str) else raw, kind.order + kind.name)
        if len(numbers) != math.prod(shape):
            raise WrongValueError(f"an array has {len(numbers)} numbers and the shape {in_short(shape)}")
        self.content = numbers.reshape(shape, order="F" if is_fortran else "C")


class _Kind:
    """What is left of a dtype."""

    def __init__(self, name: str, *_: object) -> None:
        self.name, self.order = str(name), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = "=" if state[1] == "|" else str(state[1])


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Bytes as protocol 2 writes them."""
    return text.encode("latin1")


KNOWN = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class or function of numpy's.

        Raises:
            WrongValueError: it is any other.
        """
        if (module, name) not in KNOWN:
            raise WrongValueError(f"it needs {in_short(f'{module}.{name}')[1:-1]}, which is code, and is not read")
        return KNOWN[module, name]


def _plain(value: object, depth: int = 0) -> object:
    """Dicts, lists and arrays.

    Raises:
        WrongValueError: there is something else.
    """
    if depth > DEEPEST:
        raise WrongValueError(f"it holds dicts within dicts, more than {DEEPEST} deep")
    if isinstance(value, _Array):
        return value.content if isinstance(value.content, np.ndarray) else _plain(value.content, depth + 1)
    if isinstance(value, dict):
        return {str(name): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, depth + 1) for each in value]
    raise WrongValueError(f"it holds {in_short(value)}, dicts, lists and arrays are read")
