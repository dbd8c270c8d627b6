"""FSD50K, 51,197 sounds of 0.3 to 30 seconds with some of 200 classes each, in its authors' splits.

Conventions: the folder holds `FSD50K.dev_audio/`, `FSD50K.eval_audio/` (the test split) and `FSD50K.ground_truth/` with
`dev.csv`, `eval.csv` and `vocabulary.csv`; row 64760 is the file `64760.wav`. Classes are in the order of the
vocabulary; those of a file have the classes above them among them. A file that is cut has its classes in every clip.
Source: https://zenodo.org/record/4060432
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from data import bibliography
from data.clip_sets import HeldOut, complete_set
from data.clip_table import ONE_DEVICE
from data.errors import UserError, in_short
from data.lines import read_lines, require_none
from data.named_files import sounds_by_stem
from data.named_splits import split_named
from data.readers import Reader, Settings
from data.resources import FSD50K as FSD50K_DECLARED
from data.scenes import Clip, ClipSet
from data.tables import read_table
from data.whereabouts import meant_root

TABLES = "FSD50K.ground_truth"
VOCABULARY = f"{TABLES}/vocabulary.csv"
PARTS = {"dev": ("train", "validation"), "eval": ("test",)}  # to their splits
NAME = re.compile(r'\d+,"?([^",]+)"?,([^,]+)')


def read_fsd50k(root: str | Path, *, cut: bool = False, clip_seconds: float = 1.0) -> ClipSet:
    """Read both parts: the test split is the second; the first names its validation clips.

    Args:
        root: the folder that holds the folders of both.
        cut: whether each file is cut into clips of `clip_seconds`, and not one clip.
        clip_seconds: length of a clip.

    Raises:
        UserError: a table is missing, or has bad rows or rows without a sound file (all of them listed).
    """
    root = Path(root)
    if not (root / VOCABULARY).is_file():
        found = meant_root(root, VOCABULARY) or ": let data.root be the folder of FSD50K that has it"
        raise UserError(f"{root / VOCABULARY} is missing{found}")
    problems, places = list[str](), dict[str, str]()
    rows = read_lines(root / VOCABULARY, NAME, "a number, a name and an identifier, separated by commas", problems)
    require_none(problems, root / VOCABULARY)
    vocabulary = dict.fromkeys(name for _, (name, _) in rows)
    clips = [clip for part in PARTS for clip in _read_part(root, part, vocabulary, places, problems)]
    require_none(problems, root / TABLES)
    return complete_set(
        clips,
        name="fsd50k",
        root=root,
        of=root / TABLES,
        sources=[root / VOCABULARY, *(path for part in PARTS for path in (_table(root, part), root / _folder(part)))],
        held_out=HeldOut(),
        cut_into=clip_seconds if cut else None,
        is_multi_label=True,
        vocabulary=tuple(vocabulary),
    )


def _table(root: Path, part: str) -> Path:
    return root / TABLES / f"{part}.csv"


def _folder(part: str) -> str:
    return f"FSD50K.{part}_audio"


def _read_part(
    root: Path, part: str, vocabulary: Collection[str], places: dict[str, str], problems: list[str]
) -> Iterator[Clip]:
    """The files of a part.

    Args:
        root, part: whose table is read.
        vocabulary: the classes that there are.
        places: where each file's row stands, of this part and those before; they are added.
        problems: what is wrong with rows is added to them.
    """
    path, files = _table(root, part), sounds_by_stem(root, _folder(part))
    table = read_table(path, ["fname", "labels", *(["split"] if part == "dev" else [])])
    splits = map(split_named, table["split"]) if part == "dev" else ["test"] * len(table["fname"])
    for number, (name, joined, split) in enumerate(zip(table["fname"], table["labels"], splits, strict=True), start=2):
        where, labels = f"{path.name} line {number}", tuple(dict.fromkeys(joined.split(",")))
        if unknown := [label for label in labels if label not in vocabulary]:
            problems.append(f"{where}: {', '.join(map(in_short, unknown))} not in {VOCABULARY}")
        elif split not in PARTS[part]:
            problems.append(f"{where}: split {split!r} is neither train nor val")
        elif name in places:
            problems.append(f"{where}: {name} is the file of {places[name]}")
        elif len(found := files.get(name, [])) != 1:
            there = f"several files, {', '.join(found)}" if found else f"no file {_folder(part)}/{name}.wav"
            problems.append(f"{where}: {there}")
        else:
            yield Clip(found[0], "", "", found[0], found[0], 0, ONE_DEVICE, split, labels)
        places.setdefault(name, where)


def _default_root(cache: Path, settings: Settings) -> Path:
    raise UserError(f"data=fsd50k needs data.root=FOLDER, the folder with {TABLES}")


FSD50K = Reader(
    title="FSD50K: an open dataset of human-labeled sound events",
    licence="CC BY 4.0 (each sound has its own: CC0, CC BY, CC BY-NC or CC Sampling+)",
    citation=bibliography.FSD50K,
    read=read_fsd50k,
    default_root=_default_root,
    resources=(FSD50K_DECLARED,),
    is_multi_label=lambda _: True,
)
