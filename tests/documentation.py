"""README and docs as tests read them: pages, the commands in them, and what their placeholders stand for."""

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(?:console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SCRIPTS = ("scenelet ", "python -m experiments.run ")  # a command begins with one of them
SWEEP = ("-m", "--multirun")
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z_]{2,}\b")
# Part of a command -> why it is not run here; the first word may be enough.
NOT_RUN = {
    "demo ": "serves a page until it is interrupted; tests/test_demo.py does that",
    "data data=tau22 #": "downloads the data set",
    "data.part=evaluation ": "downloads the evaluation set",
    "submit name=mine ": "needs the whole evaluation set",
    "runs/submit/mine/": "is given a package of the whole evaluation set",
    "teacher=passt ": "downloads published weights, and needs a GPU",
    "teacher=vggish_head ": "downloads published weights; tests/test_vggish.py trains from a file of that form",
    "teacher=passt,ast,": "downloads published weights",
    "search ": "trains dozens of networks; tests/test_search.py trains two",
    "seed=range(10)": "ten trainings and as many files; tests/test_summary.py makes two",
}


class Command(NamedTuple):
    """A command of a page; `line` is where its block begins, `arguments` follow the script's name."""

    page: str
    line: int
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {' '.join(self.arguments)}"

    @property
    def stage(self) -> str:
        """Its first argument, or the first stage that `stage=` or `stage.steps=` says."""
        return re.sub(r"^stage(\.steps)?=\[?([\w]+).*", r"\2", self.arguments[0])

    @property
    def reason_not_to_run(self) -> str | None:
        """Why it is not run here, None if it is."""
        text = f"{' '.join(self.arguments)} #"
        return next((reason for part, reason in NOT_RUN.items() if part in text), None)


def read_pages() -> list[Path]:
    """README and the pages of the documentation, in the order in which they are read."""
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    found: list[Path] = []

    def walk(entries: list) -> None:
        for entry in entries:
            (value,) = entry.values()
            walk(value) if isinstance(value, list) else found.append(DOCS / value)

    walk(navigation)
    return [ROOT / "README.md", *found]


def read_commands(page: Path) -> Iterator[Command]:
    """The commands of a page that name a stage: lines of its console and bash blocks, joined where they end in a
    backslash; --help and the like are none."""
    text = page.read_text()
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        for command in block[1].replace("\\\n", " ").splitlines():
            script = next((script for script in SCRIPTS if command.startswith(script)), None)
            if script is None:
                continue
            arguments = shlex.split(command.removeprefix(script), comments=True)
            if not any(argument.startswith("--") for argument in arguments):
                yield Command(str(page.relative_to(ROOT)), line, tuple(arguments))


def jobs_of(command: Command) -> list[list[str]]:
    """The arguments of each job: one, or with -m one for each combination of the swept values."""
    plain = [argument for argument in command.arguments if argument not in SWEEP]
    if len(plain) == len(command.arguments):
        return [plain]
    parser, choices = OverridesParser.create(), []
    for argument in plain:
        if "=" not in argument:
            choices.append([argument])
            continue
        override = parser.parse_override(argument)
        swept = override.is_sweep_override()
        values = override.sweep_string_iterator() if swept else [argument.split("=", 1)[1]]
        choices.append([f"{override.get_key_element()}={value}" for value in values])
    return [list(job) for job in itertools.product(*choices)]


def filled(arguments: tuple[str, ...], places: Mapping[str, Path]) -> list[str]:
    """The arguments with each placeholder replaced by its place."""
    return [PLACEHOLDER.sub(lambda found: str(places[found[0]]), argument) for argument in arguments]


def placeholders_of(command: Command) -> set[str]:
    """The words in capitals that stand for a path."""
    return {word for argument in command.arguments for word in PLACEHOLDER.findall(argument)}
