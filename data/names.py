"""Names of files and classes as tables write them: which of them are the same, and how a terminal shows them.

Conventions: a name in a table is a path below some folder. `\\` separates its parts as `/` does, and a letter with an
accent is the same in one code point or two (Unicode NFC). Tables of others often leave folders out, or begin further
up: a name may therefore be the end of another, if only one could be meant.
"""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

SHOWN = 3  # names that one may mean
DEPTH = 8  # folders that a name may be longer or shorter by
LONGEST_LINE = 1500  # characters of a line that is shown
LONGEST_LABEL = 200  # characters of a class's name
NO_LETTERS = ("Cc", "Cs", "Zl", "Zp")  # Unicode's controls, halves of pairs, and ends of lines and paragraphs
_BYTES = range(0xDC80, 0xDD00)  # how Python stands in for bytes of a file's name that are no UTF-8


def printable(text: str) -> str:
    """A text for a terminal: see `escaped`; lines stay lines, and too long ones lose their middle."""
    if len(text) <= LONGEST_LINE:
        return escaped(text)
    start, end = LONGEST_LINE * 2 // 3, LONGEST_LINE // 4
    lines = (line if len(line) <= LONGEST_LINE else f"{line[:start]} ... {line[-end:]}" for line in text.split("\n"))
    return escaped("\n".join(lines))


def escaped(text: str) -> str:
    """A text that moves no cursor: control characters other than the end of a line, marks of direction and the like as
    Python's escapes, `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if code in _BYTES else character.encode("unicode_escape").decode()


def is_label(text: str) -> bool:
    """Whether a text may name a class, in data sets and in every file: no blank or long one, and no control characters
    or ends of lines, which no letter of any script is; a tab is a blank."""
    strange = any(unicodedata.category(c) in NO_LETTERS for c in text.replace("\t", " "))
    return bool(text.strip()) and len(text) <= LONGEST_LABEL and not strange


def with_slashes(name: str) -> str:
    """A name from a table as a path of any system; a file whose name holds a backslash cannot be meant."""
    return name.replace("\\", "/")


def last_part(name: str) -> str:
    """A name without its folders."""
    return with_slashes(name).rsplit("/", 1)[-1]


def matched(names: Sequence[str], wanted: Iterable[str], *, of: str) -> tuple[dict[str, int], list[str]]:
    """Which of the names in a table mean which of the names asked for.

    A name means the one that it is, to the last byte; else the one that it equals by the conventions above; else the
    only one that it is the end of, or that is the end of it: `0.wav` and `set/audio/0.wav` mean `audio/0.wav`.

    Args:
        names: in the table.
        wanted: each once.
        of: what those asked for are the names of, in words.

    Returns:
        Name asked for -> place in the table, and what is wrong, in words: names that mean none or may mean several, or
        one that another name means too, and names that are missing.
    """
    asked = set(wanted)
    keys = {name: _key(name) for name in sorted(asked)} if not asked.issuperset(names) else {}
    equal: dict[str, list[str]] = defaultdict(list)
    ends: dict[str, list[str]] = defaultdict(list)
    for name, key in keys.items():
        equal[key].append(name)
        for end in _ends(key):
            ends[end] += [name] if len(ends[end]) < SHOWN else []
    found: dict[str, int] = {}
    wrong = []
    for place, name in enumerate(names):
        if not name.strip():
            wrong.append(f"row {place + 1} has no filename")
            continue
        meant = [name] if name in asked else _meant(_key(name), equal, ends)
        if not meant:
            wrong.append(f"{name}: no clip of {of}")
        elif len(meant) > 1:
            wrong.append(f"{name}: may be {' or '.join(meant)}; write the whole name")
        elif meant[0] in found:
            other = names[found[meant[0]]]
            wrong.append(f"{name}: there twice{'' if other == name else f', also as {other}'}")
        else:
            found[meant[0]] = place
    return found, [*wrong, *(f"{name}: missing" for name in sorted(asked - found.keys()))]


def _meant(key: str, equal: Mapping[str, list[str]], ends: Mapping[str, list[str]]) -> list[str]:
    """Of the names asked for those that a name equals; else those that it is the end of, or that are the end of it."""
    if key in equal:
        return equal[key]
    return ends.get(key, []) + [name for end in _ends(key)[1:] for name in equal.get(end, [])]


def _ends(key: str) -> list[str]:
    """The name, and what is left of it without its first folder, its first two, ..."""
    parts = key.split("/")
    return [key, *("/".join(parts[place:]) for place in range(max(1, len(parts) - DEPTH), len(parts)))]


def _key(name: str) -> str:
    path = posixpath.normpath(with_slashes(name).strip())
    return path if path.isascii() else unicodedata.normalize("NFC", path)
