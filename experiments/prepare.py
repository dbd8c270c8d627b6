"""A data set within reach of a training: its clips, its waves in batches, impulse responses, its scores."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from data.batches import Batches
from data.errors import UserError, listed
from data.front_ends import FrontEnd
from data.logits import read_identity
from data.recordings import Recordings
from data.scenes import PART_SECONDS, ClipSet
from data.waves import WaveStore
from experiments.datasets import read_and_pack
from experiments.judge import judge
from experiments.score import evaluate, softmax

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready to be learnt from; `responses` is (R, L) or None."""

    clips: ClipSet
    store: WaveStore
    responses: torch.Tensor | None

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """What results depend on: the waves, what each clip is and in which split, and the responses."""
        clips = "\n".join("\t".join(map(str, clip)) for clip in self.clips.clips)
        responses = b"" if self.responses is None else self.responses.numpy().tobytes()
        return {
            "waves": self.store.digest,
            "clips": hashlib.sha256(f"{clips}\n{self.clips.reference_device}".encode()).hexdigest(),
            "impulses": hashlib.sha256(responses).hexdigest(),
        }

    def batches(
        self,
        split: str | None,
        *,
        batch_size: int,
        device: torch.device,
        targets: np.ndarray | None = None,
        target_shifts: Sequence[int] | None = None,
        residency: str = "disk",
        crop: bool = False,
        crop_seconds: float | None = None,
    ) -> Batches:
        """The clips of a split, or all of them; `targets` are logits of all clips (see Batches).

        With `crop`, shuffled batches are random crops of the split's re-assembled recordings, `crop_seconds` long
        (None: as long as a clip). What is read once needs no other residency than the disk.
        """
        rows = np.arange(len(self.clips.clips)) if split is None else self.clips.indices(split)
        recordings = None
        if crop:
            clips = [self.clips.clips[row] for row in rows]
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
            self.clips.labels,
            self.clips.from_reference_device,
            batch_size=batch_size,
            targets=targets,
            target_shifts=target_shifts,
            device=device,
            residency=residency,
            recordings=recordings,
            classes=len(self.clips.scenes),
        )

    def score(self, split: str, probabilities: np.ndarray) -> dict[str, float]:
        """Figures of a split from its probabilities (n, classes), in its order, each "<split>/<figure>"."""
        rows, clips = self.clips.indices(split), self.clips
        devices = [clips.clips[row].device for row in rows]
        groups = clips.device_groups
        scores = evaluate(probabilities, clips.labels[rows], devices, scenes=clips.scenes, device_groups=groups)
        return {f"{split}/{figure}": value for figure, value in scores.items()}

    def score_logits(self, logits: np.ndarray, folder: Path | None = None) -> dict[str, float]:
        """Figures of validation and test from the logits (N, classes) of all clips, as "<split>/<figure>".

        With a folder, which is the run's, the test split is judged in full (see judge.py).
        """
        held_out, tested = (softmax(logits[self.clips.indices(split)]) for split in ("validation", "test"))
        return self.score("validation", held_out) | (
            self.score("test", tested) if folder is None else judge(self.clips, tested, folder)
        )

    def picture_shape(self, front_end: FrontEnd) -> tuple[int, int, int, int]:
        """(1, 1, mels, frames) of one clip's log-mel."""
        return 1, 1, front_end.mels, front_end.frames(self.store.samples)


def prepare(cfg: DictConfig) -> Prepared:
    """Read, pack and check the data set that `cfg.data` names.

    Raises:
        UserError: see experiments/datasets.py and the readers.
    """
    packed = read_and_pack(cfg)
    store = WaveStore(packed.waves)
    if store.filenames != packed.clips.filenames:  # another process may have made the store anew meanwhile
        raise UserError(f"{packed.waves} is of another list of clips than {packed.clips.root}: run the command again")
    if untaught := packed.clips.untaught:
        raise UserError(f"{packed.clips.root} has no train clip of these classes:\n{listed(untaught)}\ncheck its lists")
    responses = None if packed.responses is None else torch.from_numpy(packed.responses)
    return Prepared(packed.clips, store, responses)


def warn_of_leaks(paths: Sequence[str | Path], prepared: Prepared) -> None:
    """Name the logits whose teacher was trained on other splits: it may have heard what is held out here."""
    for path in paths:
        if read_identity(path).get("trained_on") != prepared.fingerprint["clips"]:
            log.warning(
                "%s: its teacher was trained on other clips or splits and may have heard what is held out", path
            )
