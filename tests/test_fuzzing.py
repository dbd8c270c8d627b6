"""The harness itself notices each kind of fault: without these a fuzz test could pass whatever the reader does."""

import ctypes
import os
import time
from pathlib import Path

import fuzzing
import pytest

from data.errors import UserError

ORIGINAL = b"good"


def _reader(act):
    def read(path: Path) -> None:
        if path.read_bytes() != ORIGINAL:
            act(path)

    return read


def _refuse(path: Path) -> None:
    raise UserError(f"{path} is damaged")


def test_a_refusal_and_an_acceptance_are_no_faults(tmp_path: Path) -> None:
    """Oracle: a reader that refuses all but the original."""
    damaged = [("one", b"bad"), ("none", ORIGINAL), ("two", b"worse")]
    assert fuzzing.survive(_reader(_refuse), ORIGINAL, damaged, tmp_path, "a.bin") == 2


class _UnescapedError(UserError):
    """Whose text is shown as it is."""

    def __str__(self) -> str:
        return str(self.args[0])


def _raise(message: str):
    def act(_: Path) -> None:
        raise _UnescapedError(message)

    return act


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda _: {}["key"], "KeyError"),
        (lambda _: ctypes.string_at(0), "ended with -11"),
        (lambda _: os._exit(3), "ended with 3"),
        (lambda _: time.sleep(60), "no answer"),
        (lambda _: bytearray(3 << 30), "MiB"),
        (_raise("damaged"), "without the file's name"),
        (_raise("a.bin: \x1b[31m"), "control characters"),
        (_raise("a.bin\n" * 100), "too long"),
    ],
)
def test_each_kind_of_fault_is_listed(act, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a reader that does just that."""
    monkeypatch.setattr(fuzzing, "SECONDS", 2)
    with pytest.raises(AssertionError, match=said):
        fuzzing.survive(_reader(act), ORIGINAL, [("damage", b"bad"), ("none", ORIGINAL)], tmp_path, "a.bin")


def test_a_reader_that_refuses_the_original_is_a_fault(tmp_path: Path) -> None:
    """Oracle: a reader that refuses everything."""
    with pytest.raises(AssertionError, match="refused"):
        fuzzing.survive(_refuse, ORIGINAL, [], tmp_path, "a.bin")


def test_mutants_follow_from_their_seed() -> None:
    """Oracle: the same seed again, another one, and the original."""
    original = bytes(range(256))
    first = list(fuzzing.mutants(original, 50, seed=1))
    assert first == list(fuzzing.mutants(original, 50, seed=1)) != list(fuzzing.mutants(original, 50, seed=2))
    assert sum(content != original for _, content in first) > 45
