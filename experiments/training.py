"""From the settings of a part of the config (`cfg.teacher` or `cfg.student`) to a trained network.

Conventions: everything that can be wrong with the settings is found before the run's folder is touched. A training of
the same settings that was stopped goes on with the epoch in which it was.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from torch import nn

from data.augmentation import Augmentation
from data.batches import Batch
from data.errors import UserError
from data.front_ends import FrontEnd
from experiments import resume
from experiments.energy import measured
from experiments.fit import Layers, Loss, NotFiniteError, State, fit
from experiments.hardware import compile_mode, launch, make_fabric
from experiments.paths import NOT_FINITE, write_text
from experiments.prepare import Prepared
from experiments.recipe import Recipe, parameter_groups, small_enough
from experiments.runs import Run, is_first

log = logging.getLogger(__name__)


def fit_part(
    cfg: DictConfig,
    part: DictConfig,
    prepared: Prepared,
    network: nn.Module,
    front_end: FrontEnd,
    run: Run,
    *,
    loss: Loss,
    targets: np.ndarray | None = None,
    target_shifts: Sequence[int] | None = None,
    layers: Callable[[nn.Module], Layers] | None = None,
    after_epoch: Callable[[int, int], None] = lambda done, epochs: None,
) -> nn.Module:
    """Fit a network by the recipe of a part of the config; the run, whose settings hold `batch_size`, starts here.

    Args:
        targets, target_shifts: the teachers' logits; see Batches.
        layers: gives a network's parameters by layer; without it a recipe with layer-wise rates is refused.
        after_epoch: is told how many epochs are done, of how many; before the first one too.
    """
    recipe = Recipe(**part.fit).lasting(cfg.epochs)
    fabric, augment = make_fabric(cfg.fabric), Augmentation(**part.augment)
    if augment.crop and targets is not None:
        raise UserError("augment.crop=true is for teachers: the logits that a student learns from are of whole clips")
    layered = recipe.layer_decay != 1 or recipe.frozen_layers > 0
    if layered and layers is None:
        raise UserError("fit.layer_decay and fit.frozen_layers are for teachers that begin from published weights")
    if cfg.fabric.sync_batchnorm:
        if fabric.device.type != "cuda":
            raise UserError("fabric.sync_batchnorm=true needs CUDA: PyTorch has no such BatchNorm elsewhere")
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    size = run.identity["settings"]["batch_size"]  # as recorded: see batch_size
    if recipe.accumulate > (most := size // fabric.world_size // 2):
        raise UserError(f"fit.accumulate={recipe.accumulate} parts of {size} clips are too small: give at most {most}")
    place = {"batch_size": size, "device": fabric.device, "residency": cfg.data.residency}
    crops = {"crop": augment.crop, "crop_seconds": augment.crop_seconds}
    train_clips = prepared.batches("train", **place, targets=targets, target_shifts=target_shifts, **crops)
    validation_clips = prepared.batches("validation", **place)
    groups = parameter_groups(layers(network), recipe) if layered else None
    compiled = compile_mode(cfg.fabric.compile, fabric.device, recipe.epochs * len(train_clips))
    state, rows = resume.load(run, fabric.device), []
    if state is not None:
        rows = state.pop("rows")
        log.info("%s: going on after epoch %d of %d", run.folder, state["epoch"], recipe.epochs)
    run.start(rows)  # before the others come: a mistake here is this process's alone
    launch(fabric)
    begun, done = time.perf_counter(), len(rows)
    after_epoch(done, recipe.epochs)

    def note(row: Mapping[str, float], reached: State) -> None:
        rows.append(dict(row))
        resume.save(run, {**reached, "rows": rows})
        run.log(row)
        after_epoch(row["epoch"], recipe.epochs)
        left = (recipe.epochs - row["epoch"]) * (time.perf_counter() - begun) / (row["epoch"] - done)
        figures = "loss {loss:.3f}  validation accuracy {validation/accuracy:.3f}  log loss {validation/log_loss:.3f}"
        speed = f"{row['clips_per_second']:.0f} clips/s  {timedelta(seconds=round(left))} left"
        log.info("epoch %3d/%d  %s  %s", row["epoch"], recipe.epochs, figures.format_map(row), speed)

    settings = {"loss": loss, "recipe": recipe, "augment": augment, "responses": prepared.responses, "seed": cfg.seed}
    progress = {"on_epoch": note, "groups": groups, "state": state, "compiled": compiled, "watch": _watch}
    try:
        with measured(run.folder, run.stage):
            return fit(fabric, network, front_end, train_clips, validation_clips, **settings, **progress)
    except NotFiniteError as error:
        path, of = run.folder / NOT_FINITE, run.stage
        if is_first():
            write_text(path, "".join(f"{prepared.clips.filenames[row]}\n" for row in error.rows))
        raise UserError(
            f"{error}; its clips are in {path}: lower {of}.fit.learning_rate, limit the gradient ({of}.fit.clip=1), or "
            "use fabric.precision=32-true, and begin anew with force=true"
        ) from error


def batch_size(cfg: DictConfig, stage: str, prepared: Prepared) -> int:
    """Clips a batch of a stage's training, over all devices: as the recipe says, or fewer where there are few clips;
    as the command line says, or an error."""
    by_hand = f"{stage}.fit.batch_size" in cfg.given
    devices, clips = cfg.fabric.devices * cfg.fabric.num_nodes, len(prepared.clips.indices("train"))
    return small_enough(cfg[stage].fit.batch_size, clips, devices, exact=by_hand)


def _watch(batches: Iterator[Batch], steps: int) -> Iterator[Batch]:
    """Show on a terminal how far an epoch is; the line is gone when the epoch's own comes."""
    console = Console()
    shown = console.is_terminal and is_first()
    return track(batches, "", steps, console=console, transient=True) if shown else batches
