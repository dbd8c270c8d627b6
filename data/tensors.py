"""Files of tensors that others wrote: read without running code, and compared with what a network needs.

Conventions: two kinds of files, safetensors and torch's; what is read lies on the CPU and is mapped from the file
rather than copied, where its kind allows that, so that a tensor costs memory only when it is used. Of a tensor's values
nothing is known until `unfit` has looked at them.
"""

import json
import logging
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open

from data.errors import UserError, in_short, listed
from data.passed_over import passing_over_arrays
from data.tensor_kinds import ZIP, is_safetensors

MOST_HEADER = 8 << 20  # bytes of a safetensors header, that of some 80,000 tensors
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
NEEDS_CODE = re.compile(r"GLOBAL (\S+)|<(?:class|function|built-in function) '?([^'> ]+)")
SHOWN = 6  # names of a group of differences

Tensors = dict[str, torch.Tensor]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Header:
    """What a safetensors file says before its numbers.

    Attributes:
        metadata: texts by name.
        shapes: of the tensors, by name.
        size: bytes of all tensors.
    """

    metadata: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    size: int


def read_header(path: Path, remedy: str) -> Header:
    """Read what a safetensors file says before its numbers.

    Args:
        path: of the file.
        remedy: the end of the message about a file that is damaged.

    Raises:
        UserError: it is damaged or of another kind.
    """
    try:
        is_safetensors(path)  # raises if it is a web page, for one
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MOST_HEADER:
                raise ValueError(f"a header of {length} bytes, at most {MOST_HEADER} are read")
            text = file.read(length)
        with safe_open(path, "np"):  # checks types, offsets and sizes
            pass
        content = json.loads(text, object_pairs_hook=_each_once)
        metadata = content.pop("__metadata__", None) or {}
        shapes = {name: tuple(entry["shape"]) for name, entry in content.items()}
        return Header(metadata, shapes, path.stat().st_size - 8 - length)
    except UserError:
        raise
    except Exception as error:  # what is raised depends on what is wrong
        raise UserError(f"{path} is damaged or no safetensors file ({_said(error)}): {remedy}") from error


def read_safetensors(path: Path, remedy: str) -> Tensors:
    """Read the tensors of a safetensors file. Arguments and errors: see read_header."""
    read_header(path, remedy)
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # what is raised depends on what is wrong
        raise UserError(f"{path} is damaged or no safetensors file ({_said(error)}): {remedy}") from error


def read_torch(path: Path, remedy: str) -> object:
    """Read a torch file that holds tensors, numbers, texts, and lists and dicts of them. NumPy's are passed over.

    Args:
        path: of the file.
        remedy: the end of the message about a file that is damaged.

    Raises:
        UserError: it is damaged or of another kind, or reading it would need code, which is named and not run.
    """
    try:
        is_safetensors(path)  # raises if it is a web page, for one
        with open(path, "rb") as file:
            is_zip = file.read(len(ZIP)) == ZIP
        if is_zip:
            _check_records(path)
        with warnings.catch_warnings(), passing_over_arrays():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except UserError:
        raise
    except Exception as error:  # what torch's reader raises depends on which byte is wrong
        if isinstance(error, pickle.UnpicklingError) and (found := NEEDS_CODE.search(str(error))):
            raise UserError(
                f"{path} needs the class or function {in_short(found[1] or found[2])[1:-1]}, which is code, and is not "
                "read: load it where you trust it, save its state dict alone (safetensors, or torch.save), and give "
                "that"
            ) from error
        raise UserError(f"{path} is damaged or no file of tensors ({_said(error)}): {remedy}") from error


def _check_records(path: Path) -> None:
    """Check the parts of a torch file against the checksums and sizes that stand in it.

    Raises:
        UserError: it is a program.
        ValueError: they do not agree.
        zipfile.BadZipFile: it is no zip archive.
    """
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
        if any(Path(entry.filename).name == "constants.pkl" for entry in entries):
            raise UserError(
                f"{path} is a TorchScript program, which is code, and is not read: load it where you trust it "
                "(torch.jit.load), save its state dict alone (safetensors, or torch.save), and give that"
            )
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its records are compressed, which torch does not do")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its records are larger than the file")
        wrong = [entry.filename for entry in entries if not _is_whole(file, entry)]
    if wrong and len(wrong) < len(entries):
        raise ValueError(f"the checksum of {in_short(wrong[0])} does not hold")
    if wrong:  # torch.serialization.set_crc32_options(False)
        log.warning("%s was written without checksums: whether it is whole cannot be said", path)


def _is_whole(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    try:
        with file.open(entry) as record:
            while record.read(1 << 20):
                pass
    except zipfile.BadZipFile:
        return False
    return True


def differences(needed: Mapping[str, torch.Size], found: Mapping[str, torch.Tensor | torch.Size]) -> list[str]:
    """Where names and shapes differ, in words and from both sides; nothing of the tensors' values is read.

    Args:
        needed: shapes by name.
        found: tensors of a file, or their shapes, by name.
    """
    shapes = {name: tuple(getattr(each, "shape", each)) for name, each in found.items()}
    missing = [name for name in needed if name not in shapes]
    others = [in_short(name)[1:-1] for name in shapes if name not in needed]
    differ = [
        f"{name}: {in_short(shapes[name])} in the file, {tuple(shape)} in the network"
        for name, shape in needed.items()
        if name in shapes and shapes[name] != tuple(shape)
    ]
    lines = [
        f"{len(names)} {what}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        for what, names in (("only in the network", missing), ("only in the file", others))
        if names
    ]
    return lines + differ


def unfit(needed: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    """Tensors, of the right shape, that no network can compute with, in words: of a wrong type, not finite, or a
    variance below 0.

    Args:
        needed: a network's own, by name.
        found: those of a file by the same names.
    """
    return [f"{name}: {problem}" for name, own in needed.items() for problem in _problems(name, own, found[name])]


def _problems(name: str, own: torch.Tensor, tensor: torch.Tensor) -> Iterator[str]:
    """What is wrong with one tensor of the right shape."""
    kinds = FLOATS if own.is_floating_point() else INTEGERS
    if not is_plain(tensor) or tensor.dtype not in kinds:
        wanted = "floats of 16, 32 or 64 bits" if own.is_floating_point() else "whole numbers"
        yield f"{kind_of(tensor)} in the file, {wanted} are needed"
    elif own.is_floating_point() and not bool(tensor.to(own.dtype).isfinite().all()):
        yield f"values that are not finite (as {kind_of(own)})"
    elif name.endswith(("running_var", "num_batches_tracked")) and bool((tensor < 0).any()):
        yield f"{float(tensor.min())} where nothing may be below 0"


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is an ordinary one: dense, in memory, not quantised."""
    return tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized


def kind_of(tensor: torch.Tensor) -> str:
    """The type of a tensor's numbers, and what else is peculiar to it, in words."""
    layout = "" if tensor.layout == torch.strided else f" {tensor.layout}".replace("torch.", "")
    where = "" if tensor.device.type == "cpu" else f" without values ({tensor.device.type})"
    return f"{tensor.dtype}{layout}{where}".replace("torch.", "")


def refuse_unfit(path: str | Path, problems: list[str], remedy: str) -> None:
    """Raise the error about tensors that do not fit, if there are any.

    Raises:
        UserError: there are.
    """
    if problems:
        raise UserError(f"{path} does not fit the network:\n{listed(problems)}\n{remedy}")


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name stands there twice")
    return content


def _said(error: Exception) -> str:
    """What a library says of a file, on one line and without control characters."""
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"WeightsUnpickler error:\s*(\S.*)", str(error))
        return in_short(found[1])[1:-1] if found else "its pickle cannot be read"
    if "legacy .tar format" in text:
        return "a tar archive, or nothing but zeros"
    known = isinstance(error, ValueError | RuntimeError | OSError | safetensors.SafetensorError | zipfile.BadZipFile)
    return in_short(text)[1:-1] if known and text else "its content makes no sense"
