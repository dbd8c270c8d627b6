"""One training of a search, and its network of integers, both judged by the clips held out.

Conventions: the clips are those of a data set without its test split (DataModule.without_test): nothing here can read
that. The folder of a trial is a run: it has history, energy, checkpoint, and the answers of its integers to the
clips held out (answers.py).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from data.errors import UserError
from data.front_ends import FrontEnd, build_front_end
from data.front_ends.integer_steps import network_input
from experiments.datasets.datamodule import DataModule
from experiments.evaluation.evaluate import split_metrics
from experiments.evaluation.metrics import softmax
from experiments.evaluation.predictions import predictions_text
from experiments.inference.network import in_parts
from experiments.runs.layout import CHECKPOINT, NOT_FINITE, write_text
from experiments.runs.record import Run
from experiments.search.integers import Calibration, read_trained
from experiments.search.table import Row, answers_in
from experiments.settings.parts import Distillation
from experiments.training import checkpoint
from experiments.training.distillation import Targets, student_loss
from experiments.training.trainer import Trainer
from students import build_student

SPLIT = "validation"
BATCH = 32  # clips that are read at once

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training that is to be done.

    Attributes:
        run: of its folder.
        words: what its network is, in words.
        data: without the test split.
        blueprint: of the network.
        trainer: how it is trained.
        distillation, targets: what it learns.
        bits: of its integers.
        calibration: see integers.py.
        settings: digest, see table.py.
    """

    run: Run
    words: str
    data: DataModule
    blueprint: checkpoint.Blueprint
    trainer: Trainer
    distillation: Distillation
    targets: Targets
    bits: Sequence[int]
    calibration: Calibration
    settings: str

    def rows(self) -> list[Row]:
        """Train the network, unless that was done, and round it to integers; returns its rows of trials.csv.

        Raises:
            UserError: the training is not possible. One that diverged gives rows without numbers.
        """
        if not self.run.is_done(CHECKPOINT):
            try:
                self._train()
            except UserError:
                if not (self.run.folder / NOT_FINITE).is_file():
                    raise
                log.warning("%s diverged", self.run.folder)
                return [self._row(bits, float("nan"), float("nan")) for bits in self.bits]
        clips = self.data.clips
        names = [clips.clips[row].filename for row in clips.indices(SPLIT)]
        trained = read_trained(self.run.folder, self.data, self.calibration, self.trainer.seed)
        inputs, found = _inputs(self.data, trained.front_end), []
        for bits in self.bits:
            probabilities = softmax(in_parts(trained.integers(bits).logits, inputs, f"{bits} bits").numpy())
            text = predictions_text(names, probabilities, clips.scenes)
            write_text(self.run.folder / answers_in(Path(), "", bits).name, text)
            metrics = split_metrics(clips, SPLIT, probabilities)
            found.append(self._row(bits, metrics[f"{SPLIT}/accuracy"], metrics[f"{SPLIT}/log_loss"]))
        return found

    def _train(self) -> None:
        """Leave checkpoint and record in the run's folder."""
        shape, blueprint = self.data.spectrogram_shape(front_end := self._front_end()), self.blueprint
        log.info("%s: %s, log-mels of %s x %s", self.run.folder.name, self.words, *shape[2:])
        torch.manual_seed(self.trainer.seed)
        network = build_student(blueprint.builder, **blueprint.arguments)
        self.trainer.train(
            self.run,
            self.data,
            network,
            front_end,
            loss=student_loss(self.distillation, network),
            targets=self.targets.logits,
            target_shifts=self.targets.shifts,
        )
        checkpoint.save(self.run.folder / CHECKPOINT, network, blueprint)
        self.run.finish({})

    def _front_end(self) -> FrontEnd:
        return build_front_end(self.blueprint.sample_rate, self.blueprint.mel)

    def _row(self, bits: int, accuracy: float, log_loss: float) -> Row:
        return Row(self.run.folder.name, bits, self.words, accuracy, log_loss, self.settings)


def _inputs(data: DataModule, front_end: FrontEnd) -> torch.Tensor:
    """What a network is given of the clips held out, (n, 1, mels, frames)."""
    batches = data.batches(SPLIT, batch_size=BATCH, device=torch.device("cpu"))
    return torch.cat([network_input(front_end, batch.waves) for batch in batches.in_order()])
