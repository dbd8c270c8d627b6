"""Writing a file that is there whole, or not at all; and a file's fingerprint."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import UserError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; at the end of the block that file takes the name `path`.

    If the block fails, the temporary file is removed and what was at `path` stays as it was. A link is followed: the
    file that it points to is replaced.

    Raises:
        UserError: at `path` is something else than a file, such as a folder or /dev/null.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no regular file and is not replaced: name another file")
    path = path.resolve()
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


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


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
