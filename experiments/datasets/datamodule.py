"""A data set as training and evaluation take it: its clips, its waves in batches, impulse responses, log-mels."""

import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from data.batches import Batches
from data.errors import UserError, listed
from data.front_ends import FrontEnd
from data.readers import reader_of
from data.recordings import Recordings
from data.resources import Use
from data.scenes import PART_SECONDS, ClipSet
from data.waves import WaveStore
from experiments.datasets.reading import read_and_pack
from experiments.settings.data_set import DataSettings

SOME = 32  # clips whose log-mels are computed at once

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataModule:
    """A packed data set.

    Attributes:
        clips: each with its split.
        store: their waves.
        responses: impulse responses, float32 (R, L), or None.
        before: fingerprint of the clips with the splits that they had before those held out were trained on, or None.
        external: what the responses are, as far as others measured them.
    """

    clips: ClipSet
    store: WaveStore
    responses: torch.Tensor | None
    before: str | None = None
    external: tuple[Use, ...] = ()

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """What results depend on: the waves, what each clip is and in which split, and the responses."""
        clips = "\n".join(clip.described() for clip in self.clips.clips)
        responses = b"" if self.responses is None else self.responses.numpy().tobytes()
        return {
            "waves": self.store.digest,
            "clips": hashlib.sha256(f"{clips}\n{self.clips.reference_device}".encode()).hexdigest(),
            "impulses": hashlib.sha256(responses).hexdigest(),
        }

    @property
    def with_all_trained(self) -> "DataModule":
        """The same clips, of which those that are held out are trained on as well; itself if none are."""
        if not self.clips.has_validation:
            return self
        clips = [clip._replace(split="train") if clip.split == "validation" else clip for clip in self.clips.clips]
        return replace(self, clips=replace(self.clips, clips=clips), before=self.fingerprint["clips"])

    def with_classes(self, scenes: Sequence[str], *, is_multi_label: bool = False) -> "DataModule":
        """The same clips, whose labels are not known, for networks that answer in these classes, one or several."""
        return replace(self, clips=replace(self.clips, scenes=tuple(scenes), is_multi_label=is_multi_label))

    def without(self, locations: Collection[str]) -> "DataModule":
        """The same clips, of which the train clips of some locations are not used."""
        clips = [
            clip._replace(split="unused") if clip.split == "train" and clip.location in locations else clip
            for clip in self.clips.clips
        ]
        return replace(self, clips=replace(self.clips, clips=clips), before=None)

    @property
    def without_test(self) -> "DataModule":
        """The same clips, of which those of the test split are not used."""
        clips = [clip._replace(split="unused") if clip.split == "test" else clip for clip in self.clips.clips]
        return replace(self, clips=replace(self.clips, clips=clips), before=None)

    def of_device(self, device: str) -> "DataModule":
        """The same clips, of which those of one device are used."""
        clips = [clip if clip.device == device else clip._replace(split="unused") for clip in self.clips.clips]
        return replace(self, clips=replace(self.clips, clips=clips), before=None)

    def batches(
        self,
        split: str | None,
        *,
        batch_size: int,
        device: torch.device,
        targets: np.ndarray | None = None,
        target_shifts: Sequence[int] | None = None,
        features: np.ndarray | None = None,
        residency: str = "disk",
        crop: bool = False,
        crop_seconds: float | None = None,
    ) -> Batches:
        """The clips of a split, or all of them; `targets` and `features` are of all clips (see Batches).

        With `crop`, shuffled batches are random crops of the split's re-assembled recordings, `crop_seconds` long
        (None: as long as a clip). What is read once needs no other residency than the disk.
        """
        rows = np.arange(len(self.clips.clips)) if split is None else self.clips.indices(split)
        recordings = None
        if crop:
            clips = [self.clips.clips[row] for row in rows.tolist()]
            length = None if crop_seconds is None else round(crop_seconds * self.store.sample_rate)
            recordings = Recordings(clips, self.store.samples, length, device)
            if recordings.runs < len(clips) and self.store.samples != round(PART_SECONDS * self.store.sample_rate):
                raise UserError(
                    f"augment.crop=true joins neighbouring clips of {PART_SECONDS:g} s, and the store's are "
                    f"{self.store.samples / self.store.sample_rate:g} s long: set data.clip_seconds={PART_SECONDS:g}"
                )
            seconds = recordings.length / self.store.sample_rate
            log.info("crops of %g s of %d runs of neighbouring clips, %d clips", seconds, recordings.runs, len(clips))
        return Batches(
            self.store,
            rows,
            self._labels(),
            self.clips.from_reference_device,
            batch_size=batch_size,
            targets=targets,
            target_shifts=target_shifts,
            features=features,
            device=device,
            residency=residency,
            recordings=recordings,
            classes=len(self.clips.scenes),
        )

    def _labels(self) -> np.ndarray:
        """Class numbers, int64 (N,), all 0 where they are not known; of a multi-label set bool (N, classes)."""
        if not self.clips.is_labelled:
            return np.zeros(len(self.clips.clips), np.int64)
        return self.clips.label_matrix if self.clips.is_multi_label else self.clips.labels

    def spectrogram_shape(self, front_end: FrontEnd) -> tuple[int, int, int, int]:
        """(1, 1, mels, frames) of one clip's log-mel."""
        return 1, 1, front_end.mels, front_end.frames(self.store.samples)

    def some(self, split: str, count: int, seed: int) -> np.ndarray:
        """The rows of at most `count` random clips of a split."""
        rows = self.clips.indices(split)
        return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count].numpy()]

    def spectrograms(
        self, front_end: Callable[[torch.Tensor], torch.Tensor], split: str, count: int, seed: int
    ) -> torch.Tensor:
        """What a front end, or another function of waves, gives of these clips, in evaluation mode: log-mels (n, 1,
        mels, frames).

        Raises:
            UserError: no clip is asked for.
        """
        if count < 1:
            raise UserError(f"quantize.clips={count} leaves no clip to calibrate on: give at least 1")
        chosen = self.some(split, count, seed)
        parts = [chosen[start : start + SOME] for start in range(0, len(chosen), SOME)]
        with torch.no_grad():
            return torch.cat([front_end(self.store.read(part)) for part in parts])

    def require_validation(self, what: str) -> None:
        """Check that clips are held out from training, which `what`, for the message, needs.

        Raises:
            UserError: there are none.
        """
        if not self.clips.has_validation:
            raise _none_held_out(what)


def require_held_out(settings: DataSettings, what: str) -> None:
    """As DataModule.require_validation, before clips are read; where a table may name validation clips nothing is known
    yet.

    Raises:
        UserError: no clips will be held out.
    """
    by_settings = reader_of(settings.kind).is_split_by_settings
    if by_settings and not settings.validation_fraction and settings.folds is None:
        raise _none_held_out(what)


def _none_held_out(what: str) -> UserError:
    return UserError(
        f"{what} needs validation clips, and data.validation_fraction=0 holds none out: give a share of the train "
        "clips, 0.2, say"
    )


def prepare(settings: DataSettings, cache: Path) -> DataModule:
    """Read, pack and check a data set.

    Args:
        settings: which.
        cache: folder of packed waves.

    Raises:
        UserError: see experiments/datasets.py and the readers.
    """
    packed = read_and_pack(settings, cache)
    store = WaveStore(packed.waves)
    if store.filenames != packed.clips.filenames:  # another process may have made the store anew meanwhile
        raise UserError(f"{packed.waves} is of another list of clips than {packed.clips.root}: run the command again")
    if not packed.clips.is_multi_label and (untaught := packed.clips.untaught):
        raise UserError(f"{packed.clips.root} has no train clip of these classes:\n{listed(untaught)}\ncheck its lists")
    responses = None if packed.responses is None else torch.from_numpy(packed.responses)
    return DataModule(packed.clips, store, responses, external=packed.external)
