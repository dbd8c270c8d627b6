"""Tab completion: what may follow in a command that is half written.

Conventions: a shell sends the command up to the cursor, and bash the characters too at which it divides words (= and :
are among them, so that it wants only what comes behind them, with quotes and backslashes). It gets the replies, one a
line. Those that end in =, . or / are to be gone on with: no space follows them.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data.errors import UserError, unknown
from experiments.command.arguments import FLAGS, INFO, INFORMATION, OURS, VALUED, Command, read_arguments
from experiments.command.composition import ROOT, composing, group_choices
from experiments.command.keys import declared_keys, is_read
from experiments.command.shells import SCRIPTS
from experiments.settings.stages import ALL, STAGES

CONFIGS = ("job", "hydra", "all")
AFTER = {"--cfg": CONFIGS, "-c": CONFIGS, "--completion": tuple(SCRIPTS), **dict.fromkeys(INFO, INFORMATION)}
SPECIAL = re.compile(r"""([\s"'\\$&|;<>()*?\[\]#!{}`])""")  # what bash takes for more than a letter


@dataclass(frozen=True)
class Line:
    """A command up to the cursor, without its quotes.

    Attributes:
        words: before the one at the cursor, the program's name first.
        current: the word at the cursor.
        kept: how many characters of it the shell keeps, because it divides words there.
        quote: the quotation mark that is still open.
    """

    words: tuple[str, ...]
    current: str
    kept: int
    quote: str


def script(shell: str, program: str) -> str:
    """What a shell evaluates to have commands completed.

    Args:
        shell: one of SCRIPTS.
        program: what this process was started as.

    Raises:
        UserError: an unknown shell.
    """
    if shell not in SCRIPTS:
        unknown("shell", shell, SCRIPTS)
    command = [program] if Path(program).stem == "scenelet" else [sys.executable, "-m", "experiments.run"]
    return SCRIPTS[shell].replace("COMMAND", shlex.join(command)).lstrip()


def replies(text: str, breaks: str = "") -> list[str]:
    """What a shell is answered.

    Args:
        text: the command up to the cursor.
        breaks: the characters at which the shell divides words; without them it quotes by itself.
    """
    line = read_line(text, breaks)
    found = [each[line.kept :] for each in candidates(line.words[1:], line.current)]
    if not breaks or line.quote == "'":
        return found
    return [re.sub(r'(["$\\`])', r"\\\1", each) if line.quote else SPECIAL.sub(r"\\\1", each) for each in found]


def read_line(text: str, breaks: str = "") -> Line:
    """Divide a half-written command as a shell does."""
    words, current, kept, quote, inside = [], "", 0, "", False
    letters = iter(text)
    for letter in letters:
        if letter == "\\" and quote != "'":
            current += next(letters, "")
            inside = True
        elif letter == quote or (letter in "\"'" and not quote):
            quote, inside = "" if quote else letter, True
            kept = len(current) if letter in breaks else kept
        elif letter.isspace() and not quote:
            words += [current] if inside else []
            current, kept, inside = "", 0, False
        else:
            current += letter
            inside = True
            kept = len(current) if letter in breaks and not quote else kept
    while words and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):  # variables of the command
        del words[0]
    return Line(tuple(words), current, kept, quote)


def candidates(before: Sequence[str], current: str) -> list[str]:
    """The words that one which begins like this may become, after those before it."""
    if before and before[-1] in AFTER:
        return _beginning(current, AFTER[before[-1]])
    if current.startswith("-"):
        return _beginning(current, (*OURS, *FLAGS, *VALUED, *INFO))
    try:
        command = read_arguments(before)
    except UserError:
        command = Command((), (), (), True)
    key, equals, value = current.partition("=")
    files = _files(current) if any(STAGES[step].input for step in command.steps) else []
    if equals:
        return [f"{key}={each}" for each in _values(key.lstrip("+"), value)] or files
    if not command.stage and (stages := _beginning(current, [*STAGES, "all"])):
        return stages
    return [*_keys(command, current), *files]


def _beginning(text: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(text)]


def _values(key: str, value: str) -> list[str]:
    """Values of a setting, or the choices of a group; in a list or a sweep, the last of them."""
    head = value[: max(value.rfind(","), value.rfind("[")) + 1]
    last = value[len(head) :]
    named = {"stage.steps": list(STAGES), "hydra/launcher": ["basic", "ray"], **group_choices()}
    if key in named:
        return [f"{head}{each}" for each in _beginning(last, named[key])]
    declared = declared_keys().get(key)
    if declared is None:
        return []
    return [
        f"{head}{each}" for each in (*_beginning(last, declared.values), *(_files(last) if declared.is_path else []))
    ]


def _keys(command: Command, current: str) -> list[str]:
    """Settings that begin like this, up to their next dot: those that the stages read, or if there is none, any."""
    declared = declared_keys()
    free = [key for key in declared if declared[key].is_free]
    if any(current.startswith(f"{key}.") for key in free):
        keys = list(_composed_keys(command))
    else:
        keys = [f"{key}." if key in free else key for key in declared]
    every = [*(group for group in group_choices() if group != "stage" or not command.stage), *keys]
    read = [key for key in every if is_read(key, command.steps or ALL)]
    for known in (read, every):
        ends = [(key, key.find(".", len(current))) for key in known if key.startswith(current)]
        if found := [f"{key[:end]}." if end >= 0 else f"{key}=" for key, end in ends]:
            return list(dict.fromkeys(found))
    return []


def _composed_keys(command: Command) -> Iterator[str]:
    """All keys, with those that only the chosen yaml files know."""
    with composing():
        try:
            cfg = compose(ROOT, list(command.overrides))
        except (HydraException, OmegaConfBaseException):
            cfg = compose(ROOT)
    pending = [("", OmegaConf.to_container(cfg))]
    while pending:
        key, value = pending.pop(0)
        if isinstance(value, dict) and value:
            pending += [(f"{key}.{name}".lstrip("."), inner) for name, inner in value.items()]
        else:
            yield key


def _files(path: str) -> list[str]:
    """Files and folders whose path begins like this; folders end in a slash."""
    name = path.rpartition("/")[2]
    head = path.removesuffix(name)
    try:
        entries = sorted(os.scandir(os.path.expanduser(head) or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    return [
        f"{head}{entry.name}{'/' * entry.is_dir()}"
        for entry in entries
        if entry.name.startswith(name) and (name or entry.name[0] != ".") and "\n" not in entry.name
    ]
