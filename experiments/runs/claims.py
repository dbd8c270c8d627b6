"""Which run folders this command alone may write to: each from its first moment until the command ends.

Conventions: to read a run needs no claim. Of several processes of a training the first one claims, and it alone writes.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from data.errors import UserError
from data.locks import locked
from experiments.distributed.processes import is_first

LOCK = "run.lock"

_claims: dict[Path, ExitStack] = {}


@contextmanager
def claiming() -> Iterator[None]:
    """What is claimed within the block is given back after it; what is claimed elsewhere, when the process ends."""
    before = set(_claims)
    try:
        yield
    finally:
        for folder in _claims.keys() - before:
            _claims.pop(folder).close()


def claim(folder: Path) -> None:
    """Make the folder of a run, which nobody else writes to from now on, and remove what killed processes left there.

    Raises:
        UserError: another process has claimed it; or it cannot be written, or its file system knows no locks.
    """
    key = folder.resolve()
    if not is_first() or key in _claims:
        return
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    with ExitStack() as stack:
        stack.callback(_remove_empty, missing)
        stack.enter_context(_alone(folder))
        _claims[key] = stack.pop_all()


def tidy(folder: Path) -> None:
    """Remove what killed processes left beside a finished run, unless another process is at work there."""
    left = (folder / LOCK).exists() or any(folder.glob("*.tmp"))
    if left and is_first() and folder.resolve() not in _claims:
        with suppress(UserError), _alone(folder):
            pass


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, with what killed processes left removed; errors as of claim."""
    with locked(
        folder / LOCK,
        f"writing {folder}",
        otherwise="choose another name=...",
        elsewhere="choose another folder with runs=...",
    ):
        for orphan in folder.glob("*.tmp"):
            orphan.unlink(missing_ok=True)
        yield


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders in which nothing is, the innermost first."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
