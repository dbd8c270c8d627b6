"""AudioSet, ten seconds of 2 million videos with some of 527 classes of sounds each: its published lists, and the
sounds that one has of them.

Conventions: the folder holds `class_labels_indices.csv`, `balanced_train_segments.csv`, `eval_segments.csv` (the test
split) and maybe `unbalanced_train_segments.csv`, or has them in `metadata/`; sounds are found as data/segments.py says.
Classes are in the published order. A video is a location. A file that is cut has its classes in every clip.
Source: https://research.google.com/audioset/download.html
"""

import re
from pathlib import Path

from data import bibliography
from data.clip_sets import HeldOut, complete_set
from data.clip_table import ONE_DEVICE
from data.errors import UserError, in_short
from data.events import times
from data.lines import read_lines, require_none
from data.readers import Reader, Settings
from data.resources import AUDIOSET as AS_DECLARED
from data.scenes import Clip, ClipSet
from data.segments import VIDEO, Segment, class_names, find_list, find_sounds
from data.sound_files import folders_around
from data.tables import read_table

VOCABULARY = "class_labels_indices.csv"
BALANCED, UNBALANCED, EVALUATION = (f"{part}_segments.csv" for part in ("balanced_train", "unbalanced_train", "eval"))
ROW = re.compile(rf' *({VIDEO}), *([^, ][^,]*), *([^, ][^,]*), *(?:"([^"]+)"|([^", ]+)) *', re.ASCII)
MEANING = 'a video, start, end and "classes", separated by commas'  # one class may be unquoted, as spreadsheets save it
COMMENT = re.compile("#.*")


def read_audioset(
    root: str | Path,
    *,
    unbalanced: bool = False,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
    cut: bool = False,
    clip_seconds: float = 1.0,
) -> ClipSet:
    """Read the lists, and find the sounds.

    Args:
        root: the folder of the lists and the sounds.
        unbalanced: whether the unbalanced segments train too.
        validation_fraction, folds, fold, seed: which train videos are held out; see HeldOut.
        cut: whether each file is cut into clips of `clip_seconds`, and not one clip.
        clip_seconds: length of a clip.

    Raises:
        UserError: a list is missing or has bad lines (all of them listed), a segment has several sound files, or none
            has one.
    """
    root = Path(root)
    vocabulary = find_list(root, VOCABULARY)
    table = read_table(vocabulary, ["index", "mid", "display_name"])
    names = class_names(zip(table["mid"], table["display_name"], strict=True), vocabulary)
    lists = {BALANCED: "train", EVALUATION: "test"} | ({UNBALANCED: "train"} if unbalanced else {})
    paths = {find_list(root, name): split for name, split in lists.items()}
    segments: dict[Segment, tuple[str, tuple[str, ...]]] = {}  # to split and classes
    places, problems = dict[str, str](), list[str]()
    for path, split in paths.items():
        for place, (video, start, end, several, one) in read_lines(path, ROW, MEANING, problems, header=COMMENT):
            mids, span = (several or one).split(","), times(start, end)
            if isinstance(span, str):
                problems.append(f"{place}: {span}")
            elif unknown := [mid for mid in mids if mid not in names]:
                problems.append(f"{place}: {', '.join(map(in_short, unknown))} not in {VOCABULARY}")
            elif video in places:
                problems.append(f"{place}: {video} is the video of {places[video]}")
            else:
                segments[Segment(video, *span)] = split, tuple(dict.fromkeys(names[mid] for mid in mids))
            places.setdefault(video, place)
    require_none(problems, vocabulary.parent)
    found = find_sounds(root, list(segments))
    clips = [
        Clip(name, "", "", segment.video, name, 0, ONE_DEVICE, *segments[segment]) for segment, name in found.items()
    ]
    return complete_set(
        clips,
        name="audioset",
        root=root,
        of=root,
        sources=[vocabulary, *paths, *folders_around(root, found.values())],
        held_out=HeldOut(validation_fraction=validation_fraction, folds=folds, fold=fold, seed=seed),
        cut_into=clip_seconds if cut else None,
        is_multi_label=True,
        vocabulary=tuple(names.values()),
    )


def _default_root(cache: Path, settings: Settings) -> Path:
    raise UserError(f"data=audioset needs data.root=FOLDER, the folder with {BALANCED} and the sounds")


AUDIOSET = Reader(
    title="AudioSet",
    licence="CC BY 4.0 (labels; sounds: those of their videos)",
    citation=bibliography.AUDIOSET,
    read=read_audioset,
    default_root=_default_root,
    resources=(AS_DECLARED,),
    is_multi_label=lambda _: True,
)
