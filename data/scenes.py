"""Where a sound was recorded, by what, and which file holds it: the vocabulary of the data set.

Conventions: a *clip* is one second of audio in one file. Ten consecutive clips are one *recording* (one device, one
segment of time); several recordings share a *location*, which belongs to one city. Scenes are in alphabetical order,
which is also the order of the classes in every array of logits and of the columns of a challenge submission.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.errors import UserError, unknown
from data.names import LONGEST_LABEL, is_label

SCENES = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)

# The three classes of DCASE 2020 Task 1, subtask B, and the scenes that they consist of.
SCENE_GROUPS = {
    "indoor": ("airport", "metro_station", "shopping_mall"),
    "outdoor": ("park", "public_square", "street_pedestrian", "street_traffic"),
    "transportation": ("bus", "metro", "tram"),
}

# DCASE Task 1: a, b, c are real devices; s1-s3 are simulated and in train; s4-s6 are simulated and in test only.
DEVICE_GROUPS = {"real": ("a", "b", "c"), "seen": ("s1", "s2", "s3"), "unseen": ("s4", "s5", "s6")}
DEVICES = tuple(device for group in DEVICE_GROUPS.values() for device in group)
REFERENCE_DEVICE = "a"

PART_SECONDS = 1.0  # of the clips that recordings are cut into
SPLITS = ("train", "validation", "test", "unused")

# Columns of tables of predictions, beside one for each class (experiments/evaluation/predictions.py).
PREDICTION_COLUMNS = ("filename", "start", "scene_label", "confidence", "answer", "sure")

_NAME = re.compile(
    r"(?:.*/)?(?P<scene>[a-z_]+)-(?P<city>[a-z]+)-(?P<place>\d+)-(?P<segment>\d+)-(?P<part>\d)-(?P<device>[a-z]\d*)\.wav"
)


class Clip(NamedTuple):
    """One second of audio.

    Attributes:
        filename: path below the data set's root, as meta.csv writes it; the key of every join.
        scene: the class; "" where it is not known, or where a clip may have several.
        city: the city of the location.
        location: `city-number`, the "identifier" of meta.csv.
        recording: name shared by the clips that were cut from one 10-second recording.
        part: position of the clip in its recording, 0..9.
        device: short name of the recording device.
        split: one of SPLITS; "unused" clips are in the data set but in no official list.
        classes: in a multi-label set, all classes of the clip, each once, maybe none.
    """

    filename: str
    scene: str
    city: str
    location: str
    recording: str
    part: int
    device: str
    split: str = "unused"
    classes: tuple[str, ...] = ()

    @property
    def scenes(self) -> tuple[str, ...]:
        """Its class, or all of its classes; none where they are not known."""
        return self.classes or ((self.scene,) if self.scene else ())

    def described(self) -> str:
        """All that is known of it on one line, separated by tabs: what fingerprints of data sets are made of. Where a
        clip has one class, that is what earlier versions wrote."""
        return "\t".join(map(str, self if self.classes else self[:-1]))


def parse_filename(filename: str, split: str = "unused") -> Clip:
    """Read a clip of a split from its official name, `audio/scene-city-location-segment-part-device.wav`.

    Raises:
        UserError: the name does not have that form, or its scene or device is unknown.
    """
    match = _NAME.fullmatch(filename)
    if match is None:
        raise UserError(
            f"{filename!r} is not named audio/[scene]-[city]-[location]-[segment]-[part 0..9]-[device].wav: "
            "restore the official name, or take the row out of the lists"
        )
    scene, city, place, segment, part, device = match.groups()
    if scene not in SCENES:
        unknown(f"scene in {filename}:", scene, SCENES)
    if device not in DEVICES:
        unknown(f"device in {filename}:", device, DEVICES)
    location = f"{city}-{place}"
    return Clip(filename, scene, city, location, f"{scene}-{location}-{segment}-{device}", int(part), device, split)


def check_class_names(scenes: Sequence[str]) -> None:
    """Check that every class can have a column of its own in tables of predictions, and its name stand in every file.

    Raises:
        UserError: one is named like another column, or has no name that is_label takes; all of them are named.
    """
    if odd := [scene for scene in scenes if not is_label(scene)]:
        raise UserError(
            f"classes are named {', '.join(f'{scene!r:.80}' for scene in odd[:3])}: a name has 1 to {LONGEST_LABEL} "
            "characters, not only blanks, and no control characters: rename them"
        )
    if clashing := [scene for scene in scenes if scene in PREDICTION_COLUMNS]:
        raise UserError(
            f"classes are named {', '.join(clashing)}, which are columns of tables of predictions: rename them"
        )


@dataclass(frozen=True)
class ClipSet:
    """A data set: its clips in a fixed order, and the names that give the numbers meaning.

    Attributes:
        name: short name, for logs.
        root: folder that filenames are relative to.
        clips: every clip of the set, each with its split.
        scenes: the classes; a clip's label is the position of its scene here.
        device_groups: group name to devices, for scores.
        reference_device: whose clips may be given another device's impulse response.
        sources: the files that say all this; the set is the same as long as they are.
        is_labelled: whether the clips' classes are known. If not, `scenes` are those of whoever answers to the clips.
        is_cut: whether a clip is the part of its number of the sound file `recording`, and not a file of its own.
        is_multi_label: whether a clip may have several classes, or none, which stand in its `classes`.
    """

    name: str
    root: Path
    clips: Sequence[Clip]
    scenes: tuple[str, ...] = SCENES
    device_groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: DEVICE_GROUPS)
    reference_device: str = REFERENCE_DEVICE
    sources: tuple[Path, ...] = ()
    is_labelled: bool = True
    is_cut: bool = False
    is_multi_label: bool = False

    @property
    def filenames(self) -> list[str]:
        """Filenames of all clips, in the order of the set."""
        return [clip.filename for clip in self.clips]

    @property
    def files(self) -> list[str]:
        """The sound file of each clip, relative to root."""
        return [clip.recording if self.is_cut else clip.filename for clip in self.clips]

    @property
    def labels(self) -> np.ndarray:
        """Class numbers, int64 of shape (N,).

        Raises:
            UserError: they are not known, or a clip may have several.
        """
        self._require_labels()
        if self.is_multi_label:
            raise UserError(
                f"{self.name} in {self.root} has several classes a clip: give a data set with one class a clip"
            )
        number = {scene: i for i, scene in enumerate(self.scenes)}
        return np.array([number[clip.scene] for clip in self.clips], dtype=np.int64)

    @property
    def label_matrix(self) -> np.ndarray:
        """Which clip (rows) has which class (columns), bool of shape (N, classes); of a set with one class a clip each
        row has one.

        Raises:
            UserError: they are not known.
        """
        self._require_labels()
        number = {scene: i for i, scene in enumerate(self.scenes)}
        found = np.zeros((len(self.clips), len(self.scenes)), dtype=bool)
        for row, clip in enumerate(self.clips):
            found[row, [number[scene] for scene in clip.scenes]] = True
        return found

    def _require_labels(self) -> None:
        if not self.is_labelled:
            raise UserError(f"{self.name} in {self.root} has no labels: give a data set that has some")

    @property
    def from_reference_device(self) -> np.ndarray:
        """Which clips the reference device recorded, bool of shape (N,)."""
        return np.array([clip.device == self.reference_device for clip in self.clips], dtype=bool)

    @property
    def has_validation(self) -> bool:
        """Whether clips are held out from training."""
        return any(clip.split == "validation" for clip in self.clips)

    @property
    def scored(self) -> tuple[str, ...]:
        """The splits that answers are scored on: test, and validation where clips are held out."""
        return ("validation", "test") if self.has_validation else ("test",)

    @property
    def untaught(self) -> list[str]:
        """Classes without a train clip, which nothing can learn."""
        taught = {scene for clip in self.clips if clip.split == "train" for scene in clip.scenes}
        return [scene for scene in self.scenes if scene not in taught]

    def indices(self, split: str) -> np.ndarray:
        """Positions of a split's clips, int64 of shape (n,).

        Raises:
            UserError: the split is unknown or empty.
        """
        if split not in SPLITS:
            unknown("split", split, SPLITS)
        found = np.array([i for i, clip in enumerate(self.clips) if clip.split == split], dtype=np.int64)
        if not len(found):
            raise UserError(f"{self.name} in {self.root} has no {split} clips: check its lists")
        return found
