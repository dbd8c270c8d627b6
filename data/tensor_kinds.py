"""Which of the two kinds of files of tensors a file is: by what is in it, since endings are often wrong."""

import re
from pathlib import Path

from data.errors import UserError

ZIP = b"PK\x03\x04"  # torch's files begin so, older ones as a pickle does
PICKLE = b"\x80"
# What a download left in the place of the file.
WEB_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/")


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors, and not torch's; if its content is neither's, by its ending.

    Raises:
        UserError: it cannot be opened, or stands in the place of another: a web page, or a pointer of Git LFS.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check its permissions, or copy it again") from error
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size - 8:  # bytes of the header
        return True
    if WEB_PAGE.match(head):
        raise UserError(f"{path} is a web page, not the file itself: fetch it again, from the file's own address")
    if POINTER.match(head):
        raise UserError(f"{path} is a Git LFS pointer, not the file itself: fetch it again, with `git lfs pull`")
    return path.suffix.lower() == ".safetensors" and not head.startswith((ZIP, PICKLE))
