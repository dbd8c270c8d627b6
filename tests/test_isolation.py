"""Answers from a process of its own: each way in which a library can fail there is an error here, and not a crash."""

import ctypes
import os
import sys

import pytest

from data.isolation import CrashError, isolated


def _loop() -> None:
    while True:
        pass


def test_an_answer_comes_as_json_keeps_it() -> None:
    """Oracle: the value, and that another process gave it."""
    assert isolated(lambda: ("text", {"a": (1, 2.5)})) == ["text", {"a": [1, 2.5]}]
    if sys.platform == "linux":
        assert isolated(os.getpid) != os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere functions are called as they are")
@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda: ctypes.string_at(0), r"crashed .Segmentation fault"),
        (os.abort, "crashed .Aborted"),
        (lambda: os.kill(os.getpid(), 9), "crashed .Killed"),
        (_loop, "no end within 1 s"),
        (lambda: len(bytearray(2 << 30)), "1024 MiB of memory"),
    ],
)
def test_a_crash_is_an_error(function, said: str, capfd: pytest.CaptureFixture) -> None:
    """Oracle: a read of address 0, SIGABRT, an endless loop, and 2 GiB; nothing is printed."""
    with pytest.raises(CrashError, match=said):
        isolated(function)
    assert capfd.readouterr() == ("", "")


def test_without_a_process_the_function_is_called_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a system that has no process to give."""

    def refuse() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", refuse)
    assert isolated(os.getpid) == os.getpid()
