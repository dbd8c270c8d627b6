"""Read TAU Urban Acoustic Scenes 2022 Mobile as it is published: meta.csv and the official split.

Conventions: lists are tab-separated with a header, lines end in LF or CRLF. `fold1_train.csv` is divided into train
and validation by location, `fold1_evaluate.csv` is test; clips in neither are "unused".
Source: DCASE 2022/2023 Task 1, development set, Zenodo record 6337421.
"""

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from data.errors import UserError, listed
from data.scenes import Clip, ClipSet, parse_filename

META = "meta.csv"
TRAIN = "evaluation_setup/fold1_train.csv"
TEST = "evaluation_setup/fold1_evaluate.csv"
META_COLUMNS = ("filename", "scene_label", "identifier", "source_label")
HELP = "get the data set (Zenodo record 6337421) and point data.root at the folder that holds meta.csv"

log = logging.getLogger(__name__)


def read_tau22(root: str | Path, *, validation_fraction: float = 0.3, seed: int = 0, name: str = "tau22") -> ClipSet:
    """Read meta.csv and the official split below `root`.

    Args:
        root: folder with meta.csv, evaluation_setup/ and audio/.
        validation_fraction: share of the official train split that is held out, by location.
        seed: chooses which locations.
        name: short name of the set.

    Raises:
        UserError: root or a list is missing, or rows are malformed, duplicate or contradictory (all of them listed).
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"data.root={root} is no folder: {HELP}")
    clips = _read_meta(root / META)
    lists = {name: _read_list(root / name) for name in (TRAIN, TEST)}
    train, test = (set(table["filename"]) for table in lists.values())
    known = {clip.filename: clip.scene for clip in clips}
    if strangers := sorted((train | test) - known.keys()):
        raise UserError(f"{len(strangers)} rows of {TRAIN} or {TEST} are not in {META}:\n{listed(strangers)}")
    for name, table in lists.items():
        scenes = table["scene_label"] if "scene_label" in table else table["filename"].map(known)
        rows = zip(table["filename"], scenes, table["filename"].duplicated(), strict=True)
        if wrong := [file for file, scene, twice in rows if twice or scene != known[file]]:
            raise UserError(f"{len(wrong)} rows of {name} are duplicate or contradict {META}:\n{listed(wrong)}")
    if both := sorted(train & test):
        raise UserError(f"{len(both)} clips are in both {TRAIN} and {TEST}:\n{listed(both)}")
    clips = [
        replace(clip, split="train" if clip.filename in train else "test" if clip.filename in test else "unused")
        for clip in clips
    ]
    held_out = validation_locations([c for c in clips if c.split == "train"], fraction=validation_fraction, seed=seed)
    clips = [
        replace(clip, split="validation") if clip.split == "train" and clip.location in held_out else clip
        for clip in clips
    ]
    log.info("%s: %s", name, ", ".join(f"{n} {split}" for split, n in Counter(c.split for c in clips).items()))
    return ClipSet(name=name, root=root, clips=clips)


def validation_locations(clips: Sequence[Clip], *, fraction: float, seed: int) -> set[str]:
    """Choose the locations to hold out: about `fraction` of the clips of every city and of every scene.

    In every city that has two locations or more, at least one is held out and at least one stays, so that both sides
    know every city, as in the DCASE baseline. Deterministic: depends on the set of clips and the seed, not on order.

    Raises:
        UserError: fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise UserError(f"data.validation_fraction={fraction} must lie between 0 and 1")
    places: dict[str, list[Clip]] = defaultdict(list)
    cities: dict[str, set[str]] = defaultdict(set)
    for clip in sorted(clips, key=lambda clip: clip.filename):
        places[clip.location].append(clip)
        cities[clip.city].add(clip.location)
    wanted = {scene: fraction * n for scene, n in Counter(clip.scene for clip in clips).items()}

    rng, held_out = random.Random(seed), set()
    for city in sorted(cities):
        candidates = sorted(cities[city])
        rng.shuffle(candidates)
        quota, chosen = fraction * sum(len(places[p]) for p in candidates), []
        # The scenes that still lack most come first; the shuffle decides among equals.
        while len(chosen) < len(candidates) - 1:
            rest = [p for p in candidates if p not in chosen]
            best = max(rest, key=lambda p: wanted[places[p][0].scene] / len(places[p]))
            size = len(places[best])
            if chosen and quota < size / 2:
                break
            chosen.append(best)
            quota -= size
            for clip in places[best]:
                wanted[clip.scene] -= 1
        held_out.update(chosen)
    return held_out


def _read_list(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path} is missing: {HELP}")
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a tab-separated table ({error}): {HELP}") from error
    if "filename" not in table:
        raise UserError(
            f"{path} has no column 'filename' but {list(table)}: it must be the official tab-separated list"
        )
    return table


def _read_meta(path: Path) -> list[Clip]:
    table = _read_list(path)
    if missing := [column for column in META_COLUMNS if column not in table]:
        raise UserError(f"{path} lacks the columns {missing}: it must be the official tab-separated list")
    clips, problems, seen = [], [], set()
    for line, row in enumerate(table[list(META_COLUMNS)].itertuples(index=False), start=2):
        filename, scene, location, device = row
        try:
            clip = parse_filename(filename)
        except UserError as error:
            problems.append(f"line {line}: {error}")
            continue
        if (clip.scene, clip.location, clip.device) != (scene, location, device):
            problems.append(f"line {line}: {filename} contradicts its columns {scene}, {location}, {device}")
        if filename in seen:
            problems.append(f"line {line}: {filename} appears twice")
        seen.add(filename)
        clips.append(clip)
    if problems:
        raise UserError(f"{path} has {len(problems)} bad rows:\n{listed(problems)}")
    return clips
