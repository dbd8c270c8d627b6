"""A training within a run: resumed where it was stopped, recorded epoch by epoch, metered.

Conventions: what is wrong with a recipe for these clips or this hardware is found before the run's folder is touched.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import numpy as np
from torch import nn

from data.augmentation import Augmentation
from data.errors import UserError
from data.front_ends import FrontEnd
from experiments.datasets.datamodule import DataModule
from experiments.distributed.fabric import compile_mode, launch, make_fabric
from experiments.distributed.processes import is_first
from experiments.evaluation.multi_label import metric_title
from experiments.runs.energy import measured
from experiments.runs.formats import Metered
from experiments.runs.layout import NOT_FINITE, write_text
from experiments.runs.lineage import FIRST
from experiments.runs.record import Run
from experiments.settings.parts import Hardware, Recipe
from experiments.training.consistency import Beginning, resume
from experiments.training.feature_views import cached
from experiments.training.features import Frozen, HeadAlone, of_pairs, unchanged
from experiments.training.loop import Layers, Validate, by_labels, fit
from experiments.training.losses import Loss, NotFiniteError
from experiments.training.optimization import parameter_groups
from experiments.training.pruning import Pruning
from experiments.training.state import (
    DIVERGENCE,
    HELD_OUT,
    MULTI_LABEL,
    TrainingState,
    held_out_metrics,
    save_state,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How a network is trained, whatever network it is.

    Attributes:
        recipe: over the number of epochs that are wanted; its batch size is the one that is used.
        augmentation: of waves and log-mels.
        hardware: where.
        residency: where the waves lie meanwhile; see data/residency.py.
        seed: of order and augmentation.
    """

    recipe: Recipe
    augmentation: Augmentation
    hardware: Hardware
    residency: str
    seed: int

    def require_possible(self) -> None:
        """Check what can be checked without clips.

        Raises:
            UserError: the hardware is not there, or a setting asks for another one.
        """
        device = make_fabric(self.hardware).device
        compile_mode(self.hardware.compile, device, 0)
        if self.hardware.sync_batchnorm and device.type != "cuda":
            raise UserError("fabric.sync_batchnorm=true needs CUDA: PyTorch has no such BatchNorm elsewhere")

    def train(
        self,
        run: Run,
        data: DataModule,
        network: nn.Module,
        front_end: FrontEnd,
        *,
        loss: Loss,
        targets: np.ndarray | None = None,
        target_shifts: Sequence[int] | None = None,
        features: np.ndarray | None = None,
        validate: Validate = by_labels,
        layers: Callable[[nn.Module], Layers] | None = None,
        frozen: Frozen | None = None,
        pruning: Pruning | None = None,
        after_epoch: Callable[[int, int], None] = lambda done, epochs: None,
        earlier: Metered | None = None,
    ) -> nn.Module:
        """Train a network; the run starts here.

        Args:
            run: where the training is recorded, and where one that was stopped goes on.
            data: clips and their waves.
            network: log-mels (B, 1, mels, frames) to logits (B, classes).
            front_end: waves to log-mels.
            loss: see losses.py.
            targets, target_shifts, features: the teachers' logits and features; see Batches.
            validate: see loop.fit; of clips without labels it is given their targets.
            layers: gives a network's parameters by layer; without it a recipe with layer-wise rates is refused.
            frozen: only the last layer learns, on features that are computed once; see features.py. None: all layers.
            pruning: see loop.fit.
            after_epoch: is told how many epochs are done, of how many; before the first one too.
            earlier: the energy of what led up to the training.

        Raises:
            UserError: the recipe does not fit these clips or this network, or the loss became no number.
        """
        recipe, fabric = self.recipe, make_fabric(self.hardware)
        groups = self._groups(network, layers)
        if self.augmentation.crop and targets is not None:
            raise UserError("augment.crop=true is for teachers: a student's target logits are of whole clips")
        self.require_possible()
        if self.hardware.sync_batchnorm:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        if recipe.accumulate > (most := recipe.batch_size // fabric.world_size // 2):
            raise UserError(
                f"fit.accumulate={recipe.accumulate} parts of {recipe.batch_size} clips are too small: "
                f"give at most {most}"
            )
        train_clips = data.batches(
            "train",
            batch_size=recipe.batch_size,
            device=fabric.device,
            residency=self.residency,
            targets=targets,
            target_shifts=target_shifts,
            features=features,
            crop=self.augmentation.crop,
            crop_seconds=self.augmentation.crop_seconds,
        )
        validation_clips = None
        if not data.clips.has_validation and recipe.keep == "best":
            log.info("no clips are held out: the last weights are kept")
            recipe = replace(recipe, keep="last")
        if data.clips.has_validation:
            validation_clips = data.batches(
                "validation",
                batch_size=recipe.batch_size,
                device=fabric.device,
                residency=self.residency,
                targets=None if data.clips.is_labelled else targets,
                target_shifts=None if data.clips.is_labelled else target_shifts,
            )
        learner = network if frozen is None else HeadAlone(frozen.head)
        work = recipe.epochs * len(train_clips)
        compiled = None if frozen else compile_mode(self.hardware.compile, fabric.device, work)
        steps = len(train_clips) // recipe.batch_size
        precision = fabric.strategy.precision.state_dict()
        beginning = Beginning(learner, groups, recipe, steps, held_out_metrics(data.clips), precision, pruning)
        state = None if run.force else resume(run.folder, run.identity, beginning)
        if state is not None:
            log.info("%s: going on after epoch %d of %d", run.folder, state.epoch, recipe.epochs)
        run.start(state.rows if state else [])  # before the others come: a mistake here is this process's alone
        launch(fabric)
        begun, done = time.perf_counter(), len(state.rows) if state else 0
        after_epoch(done, recipe.epochs)

        def note(row: Mapping[str, float], reached: TrainingState) -> None:
            read_meter()
            if is_first():
                save_state(run.folder, run.identity, reached)
            run.log(row)
            after_epoch(reached.epoch, recipe.epochs)
            left = (recipe.epochs - reached.epoch) * (time.perf_counter() - begun) / (reached.epoch - done)
            log.info("%s", _progress(row, recipe.epochs, left))

        try:
            machines = self.hardware.num_nodes
            goes_on, lost = state is not None, list[str]()
            with measured(
                run.folder, run.stage, goes_on=goes_on, earlier=earlier, machines=machines, lost=lost
            ) as read_meter:
                augmentation = self.augmentation
                if frozen is not None:
                    # Its own earlier part, or first phase, which count too, computed them or have said this already.
                    noted = None if goes_on or FIRST in run.identity["inputs"] else lost
                    cache = partial(cached, fabric, network, frozen, front_end, lost=noted)
                    train_clips = cache(
                        train_clips, augmentation=augmentation, responses=data.responses, seed=self.seed
                    )
                    validation_clips = None if validation_clips is None else cache(validation_clips)
                    front_end, augmentation = unchanged(), of_pairs(augmentation)
                fit(
                    fabric,
                    learner,
                    front_end,
                    train_clips,
                    validation_clips,
                    loss=loss,
                    recipe=recipe,
                    augmentation=augmentation,
                    responses=data.responses,
                    seed=self.seed,
                    on_epoch=note,
                    validate=validate,
                    groups=groups,
                    state=state,
                    compiled=compiled,
                    pruning=pruning,
                )
            if (done := recipe.epochs * steps) < (recipe.least_steps or 0):
                log.warning(
                    "%s is under-trained: %d steps of the optimiser, and its recipe wants %d: give more epochs",
                    run.folder,
                    done,
                    recipe.least_steps,
                )
            return network.eval()
        except NotFiniteError as error:
            path, of = run.folder / NOT_FINITE, run.stage
            if is_first():
                write_text(path, "".join(f"{data.clips.filenames[row]}\n" for row in error.rows))
            raise UserError(
                f"{error}; its clips are in {path}: lower {of}.fit.learning_rate, limit the gradient ({of}.fit.clip=1),"
                " or use fabric.precision=32-true, and begin anew with force=true"
            ) from error

    def _groups(
        self, network: nn.Module, layers: Callable[[nn.Module], Layers] | None
    ) -> list[dict[str, object]] | None:
        """Parameters by layer with their rates; None: all at the whole rate."""
        if self.recipe.layer_decay == 1 and self.recipe.frozen_layers == 0:
            return None
        if layers is None:
            raise UserError("fit.layer_decay and fit.frozen_layers are for teachers that begin from published weights")
        return parameter_groups(layers(network), self.recipe)


def _progress(row: Mapping[str, float], epochs: int, left: float) -> str:
    """One line an epoch; `left` in seconds."""
    # "validation accuracy 0.5  log loss 1.2", or "validation divergence 0.3"
    names = [name for name in (*HELD_OUT, *MULTI_LABEL, DIVERGENCE) if name in row]
    words = [f"{metric_title(name.removeprefix('validation/'))} {row[name]:.3f}  " for name in names]
    held_out = f"validation {''.join(words)}" if words else ""
    return (
        f"epoch {row['epoch']:3.0f}/{epochs}  loss {row['loss']:.3f}  {held_out}"
        f"{row['clips_per_second']:.0f} clips/s  {timedelta(seconds=round(left))} left"
    )
