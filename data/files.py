"""Writing a file that is there whole, or not at all; and a file's fingerprint."""

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import UserError

ELSEWHERE = "choose another folder"
# What to do about a file that cannot be written, by the reason.
REMEDIES = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there, or have the quota raised",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EIO: "see to that disk",
    errno.EEXIST: "move the file that is there",
    errno.ENOTDIR: "move the file that is in the place of a folder",
}
CODE = re.compile(r"(?:os error|errno =) (\d+)")  # as safetensors and HDF5 have it
TEMPORARY = re.compile(r"(\.\d+\.tmp)+$")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; at the end of the block that file takes the name `path`.

    If the block fails, the temporary file is removed and what was at `path` stays as it was. A link is followed: the
    file that it points to is replaced.

    Raises:
        UserError: at `path` is something else than a file, such as a folder or /dev/null; or it cannot be written.
    """
    path = Path(path)
    require_replaceable(path)
    place = path.resolve()
    temporary = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(place)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def require_replaceable(path: Path) -> None:
    """Check what can be known before the work whose result goes to `path`.

    Raises:
        UserError: something else than a file is there, or no file may be made there.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no regular file and is not replaced: name another file")
    folder = next(each for each in path.absolute().parents if each.exists())
    if not folder.is_dir():
        raise UserError(f"{path} cannot be written, {folder} is no folder: name another file")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{path} cannot be written ({os.strerror(errno.EACCES)}): mend the permissions of {folder}")


def write_whole(path: str | Path, content: bytes | str) -> Path:
    """Write a file under a temporary name (text as UTF-8), then rename it; returns the path. Errors: see replacing."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


def read_bounded(path: str | Path, most: int) -> bytes:
    """The content of a file that a person or another program wrote.

    Raises:
        UserError: it is missing, no regular file (a pipe would never end), cannot be read, or holds more than `most`
            bytes.
    """
    try:
        with open(path, "rb", opener=at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path} is no regular file: name a file")
            data = file.read(most + 1)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > most:
        raise UserError(f"{path} holds more than {most:,} bytes, which no such file has: name another file")
    return data


def at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever writes into a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def cannot_write(path: str | Path, error: Exception, elsewhere: str = ELSEWHERE) -> UserError:
    """What a user is told of a file that cannot be written: which, why, and what to do.

    Args:
        path: the file, or the folder in which it is to be made.
        error: what was raised: an OSError, or one of a library's own that says as much.
        elsewhere: how another place is chosen.
    """
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    code = _code(error)
    name = TEMPORARY.sub("", str(path))  # the file that was to be there in the end
    why = os.strerror(code) if code else reason
    remedy = REMEDIES.get(code, "mend the permissions") if code else "free space there"
    return UserError(f"cannot write {name} ({why}): {remedy}, or {elsewhere}")


def _code(error: BaseException | None) -> int | None:
    """The system's number for a reason, of an error or of what it came from."""
    while error is not None:
        if code := getattr(error, "errno", None) or (int(found[1]) if (found := CODE.search(str(error))) else None):
            return code
        error = error.__cause__ or error.__context__
    return None


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
