"""Which run wrote a file.

Conventions: a run is found by the fingerprints of files: a run.json has those of the files that the run read, and the
run that wrote a file lies in runs/<stage>/<any name>. Equal runs write equal bytes: of several runs with the same file
it is the one that the reader's run.json names, or else the one of the reader's name. Nothing is guessed.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from data.files import file_sha256
from experiments.runs.formats import DAMAGE, Record, record_in
from experiments.runs.layout import RECORD

SHORT = 12  # digits of a fingerprint that are shown


class Needed(NamedTuple):
    """A file that was read: its fingerprint, the paths of what the reader read from other runs, and its name."""

    digest: str
    sources: Sequence[Path]
    name: str


def needed(folder: Path, digest: str) -> Needed:
    """A file that a run read."""
    return Needed(digest, record_of(folder).sources, folder.resolve().name)


def written(stage: Path, file: str, wanted: Iterable[Needed]) -> tuple[list[Path], list[Needed], list[str]]:
    """The finished runs of a stage that wrote some files; those of no run; and in words which could be of several."""
    folders: dict[Path, Path] = {}  # by their real place: paths may differ
    nowhere, unclear = [], []
    for each in dict.fromkeys((digest, tuple(sources), name) for digest, sources, name in wanted):
        found = _writers(stage, file, one := Needed(*each))
        if len(found) == 1:
            folders.setdefault(found[0].resolve(), found[0])
        elif found:
            names = ", ".join(str(folder) for folder in found)
            unclear.append(f"{names} have the same {file} {one.digest[:SHORT]}, and nothing tells which was used")
        else:
            nowhere.append(one)
    return list(folders.values()), nowhere, unclear


def _writers(stage: Path, file: str, wanted: Needed) -> list[Path]:
    """The run that wrote a file; several if nothing tells which of them."""
    named = [path for path in wanted.sources if path.name == file and path.parent.parent.name == stage.name]
    # A relative path is of the folder in which the reader ran, and the runs may have been moved since.
    elsewhere = [path for path in named if not path.is_absolute()]
    moved = [stage / path.parent.name / file for path in named]
    likely = [*(path for path in named if path.is_absolute()), *moved, *elsewhere, stage / wanted.name / file]
    for path in likely:
        if _wrote(path, wanted.digest):
            here = stage / path.parent.name  # rather than an absolute path to the same place
            return [here if here.resolve() == path.parent.resolve() else path.parent]
    return [path.parent for path in sorted(stage.glob(f"*/{file}")) if _wrote(path, wanted.digest)]


def _wrote(path: Path, digest: str) -> bool:
    return path.is_file() and _record(path.parent) is not None and file_sha256(path) == digest


def all_written(stage: Path, file: str, wanted: Iterable[Needed]) -> tuple[list[Path], list[str]]:
    """As `written`, with all that was not found in words."""
    folders, nowhere, unclear = written(stage, file, wanted)
    return folders, [*(f"no run in {stage} has the {file} {each.digest[:SHORT]}" for each in nowhere), *unclear]


def inputs_of(folder: Path, name: str) -> list[Needed]:
    """The files of an input of a run, which may be several, separated by spaces."""
    return [needed(folder, digest) for digest in record_of(folder).inputs.get(name, "").split()]


def record_of(folder: Path) -> Record:
    """Of a run; an empty one if it is not finished, or damaged."""
    return _record(folder) or Record({}, {}, [])


def _record(folder: Path) -> Record | None:
    try:
        return record_in(folder / RECORD)
    except DAMAGE:
        return None
