"""Damaged files by the hundred: what a reader does with each of them, in a process of its own, within bounds.

Conventions: a reader is a function of a path. It may return, or raise a UserError; anything else is a fault: another
exception, a crash of the process, more than SECONDS, more than MEMORY bytes, or a message that a person cannot read.
Mutants follow from a seed. `--fuzz=N` sets how many of them each test tries.
"""

import faulthandler
import multiprocessing
import random
import resource
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from data.errors import UserError

SECONDS, MEMORY = 10, 2 << 30  # bounds for one file
LINES, LONGEST_LINE = 30, 2000  # of a message that fits on a screen
EXTREMES = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 8, b"\x00" * 8)
# Of the wrong type, or out of every range.
VALUES = (
    *(None, True, False, 0, 1, -1, 2, 7, 10**6, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.0, 1e-300, 1e300),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "\x1b[31m", "../../etc", "x" * 10_000),
    *([], {}, [1], [[]], {"x": 1}, [10**9], [-1], [0, 0], [1e9] * 3, {"b1": [10**6, 10**6]}, "true", "None"),
)
NAMES = ("", "x", "weights", "pretrained", "kind", "__class__", "\x1b[31m", "y" * 10_000)

Mutant = tuple[str, bytes]  # what was changed, and the file's content
Reader = Callable[[Path], object]


def mutants(original: bytes, count: int, seed: int = 0) -> Iterator[Mutant]:
    """`count` damaged copies: flipped bits, overwritten, removed, repeated and inserted bytes, cut ends; one to three
    of these each."""
    draw = random.Random(seed)
    for _ in range(count):
        data, changes = bytearray(original), []
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            changes.append(_damage(data, draw))
        yield ", ".join(changes), bytes(data)


def _damage(data: bytearray, draw: random.Random) -> str:
    """Change the data in place; returns what was done."""
    if not data:
        return "nothing is left"
    kind, place = (
        draw.choice(("flip", "flip", "set", "extreme", "remove", "repeat", "insert", "cut")),
        draw.randrange(len(data)),
    )
    size = min(draw.choice((1, 2, 4, 8, 64)), len(data) - place)
    match kind:
        case "flip":
            bit = draw.randrange(8)
            data[place] ^= 1 << bit
            return f"bit {bit} of byte {place} flipped"
        case "set":
            data[place : place + size] = draw.randbytes(size)
        case "extreme":
            value = draw.choice(EXTREMES)
            data[place : place + len(value)] = value
            return f"bytes from {place} set to {value.hex()}"
        case "remove":
            del data[place : place + size]
        case "repeat":
            data[place:place] = data[place : place + size] * draw.choice((1, 2, 1000))
        case "insert":
            data[place:place] = draw.randbytes(size)
        case "cut":
            del data[place:]
    return f"{kind} {size} at {place}"


def survive(reader: Reader, original: bytes, damaged: Iterable[Mutant], folder: Path, name: str) -> int:
    """Have a reader read the original, which it must accept, and each damaged copy, of which it may say what is wrong.

    Args:
        reader: called in a forked process, with the path of the file.
        original: the undamaged content.
        damaged: what was changed, and the content.
        folder: where files may be written.
        name: of the file; a message must contain it.

    Returns:
        How many damaged copies were refused.

    Raises:
        AssertionError: the original is refused, or copies lead to faults, each of which is listed.
    """
    path = folder / name
    (accepted,) = _outcomes(reader, [("original", original)], path)
    assert accepted == ("original", "accepted"), accepted
    found = list(_outcomes(reader, damaged, path))
    faults = [f"{change}: {outcome}" for change, outcome in found if outcome not in ("accepted", "refused")]
    assert not faults, f"{len(faults)} of {len(found)}:\n" + "\n".join(faults[:40])
    return sum(outcome == "refused" for _, outcome in found)


def _outcomes(reader: Reader, files: Iterable[Mutant], path: Path) -> Iterator[tuple[str, str]]:
    """What was changed, and "accepted", "refused" or the fault, of each file."""
    context, worker, ours = multiprocessing.get_context("fork"), None, None
    for change, content in files:
        path.write_bytes(content)
        if worker is None:
            ours, theirs = context.Pipe()
            worker = context.Process(target=_serve, args=(reader, path, theirs), daemon=True)
            worker.start()
            theirs.close()
        outcome = _ask(worker, ours)
        if not worker.is_alive():
            worker = None
        yield change, outcome
    if worker is not None:
        worker.kill()
        worker.join()


def _ask(worker: multiprocessing.Process, ours: Connection) -> str:
    """The outcome of the file that lies there; a worker that does not answer is ended."""
    try:
        ours.send(None)
        if ours.poll(SECONDS):
            return ours.recv()
        worker.kill()
        worker.join()
        return f"no answer after {SECONDS} s"
    except (EOFError, ConnectionError):
        worker.join()
        return f"the process ended with {worker.exitcode}"


def _serve(reader: Reader, path: Path, ours: Connection) -> None:
    """In the worker: read the file each time it is asked."""
    used = next(
        int(line.split()[1]) << 10 for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line
    )
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()  # pytest's would print where a crash is; the outcome says that there was one
    while True:
        ours.recv()
        ours.send(_read(reader, path))


def _read(reader: Reader, path: Path) -> str:
    try:
        reader(path)
    except UserError as error:
        return _judge(str(error), path)
    except MemoryError:
        return f"more than {MEMORY >> 20} MiB"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "accepted"


def _judge(message: str, path: Path) -> str:
    """Whether a person can read a message."""
    if path.name not in message:
        return f"a message without the file's name: {message[:200]!r}"
    if strange := [c for c in message if not c.isprintable() and c != "\n"]:
        return f"a message with control characters {strange[:5]}: {message[:200]!r}"
    if len(lines := message.splitlines()) > LINES or max(map(len, lines)) > LONGEST_LINE:
        return f"a message that is too long: {message[:200]!r}"
    return "refused"


def retyped(tree: object, draw: random.Random) -> tuple[str, object]:
    """A copy of values in dicts and lists with one of them removed, renamed, or replaced by a value of another type or
    far outside of its range; and what was done."""
    if not isinstance(tree, dict | list) or not tree or draw.random() < 0.2:
        value = draw.choice(VALUES)
        return f"{str(tree)[:40]} became {str(value)[:40]}", value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    key = draw.choice(list(copy)) if isinstance(copy, dict) else draw.randrange(len(copy))
    kind = draw.choice(("into", "into", "into", "into", "remove", "rename"))
    if kind == "remove":
        del copy[key]
        return f"{key!r} removed", copy
    if kind == "rename" and isinstance(copy, dict):
        copy[draw.choice(NAMES)] = copy.pop(key)
        return f"{key!r} renamed", copy
    change, copy[key] = retyped(copy[key], draw)
    return f"{key!r}: {change}", copy
