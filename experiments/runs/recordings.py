"""What Weights & Biases recorded on this disk: under which id, and which epochs of it.

Conventions: all recordings of one training have one id, which lies in wandb/id.txt of the run's folder, and W&B makes
one run of them; each is a folder wandb/[offline-]run-<time>-<id>[-<number>] with a file *.wandb of records; the time
has seconds, and those of one second are numbered. The file is a log of LevelDB's format: blocks of 32 KiB, of pieces
with checksum, length and kind in front. W&B writes it with a delay: the last epochs of a killed process may be missing,
or all of them.
"""

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Set
from pathlib import Path
from struct import Struct
from typing import Any

from experiments.runs.layout import write_text

HEAD = len(":W&B") + 3
BLOCK = 1 << 15
PIECE = Struct("<IHB")  # checksum, length, kind
WHOLE, LAST = 1, 4  # kinds of pieces that end a record
DIGITS = 16  # of an id
WAIT, POLL = 5.0, 0.05  # seconds


def recording_id(folder: Path, *, goes_on: bool) -> str:
    """The id of a run's recordings: that of the earlier part of a training that goes on, or else a new one."""
    path = folder / "wandb" / "id.txt"
    if goes_on and path.is_file():
        found = path.read_text(encoding="utf-8", errors="replace").strip()
        if re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", found):
            return found
    made = secrets.token_hex(DIGITS // 2)
    path.parent.mkdir(exist_ok=True)
    write_text(path, f"{made}\n")
    return made


def recorded_epochs(folder: Path, recording: str) -> set[int]:
    """The epochs in all recordings of an id in a run's folder."""
    return {
        int(json.loads(item.value_json))
        for path in _files(folder, recording)
        for record in _records(path)
        for item in record.history.item
        if "epoch" in (item.key, *item.nested_key)
    }


def remove_empty(folder: Path, recording: str) -> None:
    """Remove the recordings of an id that do not even say of which run they are: `wandb sync` sends none of several
    if one of them is such a file."""
    for path in _files(folder, recording):
        if not any(record.HasField("run") for record in _records(path)):
            shutil.rmtree(path.parent, ignore_errors=True)


def require_whole(folder: Path, recording: str, epochs: Set[int]) -> None:
    """Wait until the latest recording of an id has its end: W&B writes on when it says that it has finished.

    Raises:
        OSError: it has no end, or epochs are not there, for nothing else tells that a disk is full.
    """
    latest, deadline = _files(folder, recording)[-1], time.monotonic() + WAIT
    while not any(record.HasField("exit") for record in _records(latest)):
        if time.monotonic() > deadline:
            raise OSError(f"{latest} has no end; the disk may be full")
        time.sleep(POLL)
    if lost := epochs - recorded_epochs(folder, recording):
        raise OSError(f"epochs {sorted(lost)} are not in {latest}; the disk may be full")


def _files(folder: Path, recording: str) -> list[Path]:
    return sorted(folder.glob(f"wandb/*run-*-{recording}*/*.wandb"))


def _records(path: Path) -> Iterator[Any]:
    """W&B's own records of a file, as far as it is whole."""
    from google.protobuf.message import DecodeError
    from wandb.proto import wandb_internal_pb2 as protocol

    data, at, whole = path.read_bytes(), HEAD, b""
    while at + PIECE.size <= len(data):
        if (left := BLOCK - at % BLOCK) < PIECE.size:  # too few for a piece: zeros
            at += left
            continue
        _, length, kind = PIECE.unpack_from(data, at)
        if (at := at + PIECE.size + length) > len(data):
            return
        whole += data[at - length : at]
        if kind in (WHOLE, LAST):
            try:
                yield protocol.Record.FromString(whole)  # type: ignore[attr-defined]
            except DecodeError:
                return
            whole = b""
