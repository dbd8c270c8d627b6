"""Lists without a header as data sets publish them: every line has one form, or is named.

Conventions: files are UTF-8, lines end in LF or CRLF, and empty ones are passed over. What is wrong with the lines of
several lists is collected and said at once.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data.errors import LONGEST, UserError, in_short, listed
from data.files import read_bounded

MOST = 1000  # lines of another form that are put into words
BYTES = 256 << 20  # of a list: that of AudioSet's 2 million unbalanced train segments has 100 MB


class Line(NamedTuple):
    """A line of a list: where it stands, as list and number, and what the groups of the form matched."""

    place: str
    values: tuple[str, ...]


def read_lines(
    path: Path, form: re.Pattern[str], meaning: str, problems: list[str], *, header: re.Pattern[str] | None = None
) -> list[Line]:
    """Read a list.

    Args:
        path: the file.
        form: of a whole line; its groups are the values.
        meaning: the form in words, for messages.
        problems: lines of another form are added to them, and that there are none.
        header: of whole lines that are passed over; None: there are none.

    Raises:
        UserError: the file is missing, too large, or no UTF-8.
    """
    try:
        text = read_bounded(path, BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no list in UTF-8 (byte {error.start:,}): fetch it again") from error
    found, before = list[Line](), len(problems)
    for number, whole in enumerate(io.StringIO(text, newline="\n"), start=1):
        line = whole.removesuffix("\n").removesuffix("\r")
        if match := form.fullmatch(line):
            found.append(Line(f"{path.name} line {number}", match.groups("")))
        elif line.strip() and not (header and header.fullmatch(line)):
            problems.append(f"{path.name} line {number}: {in_short(line[: LONGEST + 1])} is not {meaning}")
            if len(problems) - before == MOST:
                problems.append(f"{path.name}: more lines are not looked at")
                break
    if not found and len(problems) == before:
        problems.append(f"{path.name} has no lines; each must be {meaning}")
    return found


def require_none(problems: Sequence[str], of: str | Path) -> None:
    """Check that nothing was found wrong with lists.

    Args:
        problems: what was found.
        of: the list or their folder.

    Raises:
        UserError: there is something; all of it is counted, and the first listed.
    """
    if problems:
        raise UserError(
            f"{of} has {len(problems)} mistakes:\n{listed(problems)}\n"
            "fetch the data set's lists and sounds again, or mend or take out what is named"
        )
