"""The one training loop, for teachers and students.

Conventions: an epoch is one pass over the train split in whole batches; the schedule is a function of the
(fractional) epoch. Everything random comes from one seed: the order of the clips, every augmentation, and, through
torch's global generator, what networks draw themselves. On several devices a batch is shared out: `batch_size` is
that of all together, gradients are averaged, and BatchNorm counts each device's own share unless
`fabric.sync_batchnorm=true` (CUDA), which a share of few clips needs.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from omegaconf import DictConfig
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from data.augment import Augment
from data.batches import Batch, Batches
from data.errors import UserError
from data.front_end import FrontEnd
from experiments import resume
from experiments.hardware import exchange, in_step, launch, make_fabric
from experiments.predict import predict
from experiments.prepare import Prepared
from experiments.recipe import Recipe, learning_rate_factor, parameter_groups, small_enough
from experiments.runs import Run
from experiments.score import log_loss, macro_accuracy

Loss = Callable[[torch.Tensor, Batch], torch.Tensor]
Layers = Sequence[Sequence[nn.Parameter]]
State = dict[str, object]

log = logging.getLogger(__name__)


def fit(
    fabric: Fabric,
    network: nn.Module,
    front_end: FrontEnd,
    train: Batches,
    validation: Batches,
    *,
    loss: Loss,
    recipe: Recipe,
    augment: Augment,
    responses: torch.Tensor | None,
    seed: int,
    on_epoch: Callable[[Mapping[str, float], State], None],
    groups: list[dict[str, object]] | None = None,
    state: State | None = None,
) -> nn.Module:
    """Train a network in place and return it with the weights to keep, in evaluation mode.

    Args:
        fabric: device, precision, distribution.
        network: log-mels to logits.
        front_end: waves to log-mels.
        train, validation: batches; the test split never comes here.
        loss: (logits (B, classes), batch) -> scalar.
        recipe, augment: how.
        responses: impulse responses (R, L), or None.
        seed: of order and augmentation.
        on_epoch: receives each epoch's figures, and the state from which `fit` would go on.
        groups: of parameters, as recipe.parameter_groups makes them; None: all parameters at the whole rate.
        state: of an earlier training that was stopped.

    Raises:
        UserError: the loss is no longer a number.
    """
    network = network.to(fabric.device, memory_format=torch.channels_last)
    front_end = front_end.to(fabric.device)
    responses = None if responses is None else responses.to(fabric.device)
    groups = groups or [{"params": list(network.parameters()), "scale": 1.0}]
    optimizer = torch.optim.Adam(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    trained, optimizer = fabric.setup(network, optimizer)
    average = None
    if recipe.ema:
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
    judged = network if average is None else average.module
    if state is None:
        state = {"epoch": 0, "best": math.inf, "kept": None}
    else:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
    order, chance = (torch.Generator(device=fabric.device) for _ in range(2))
    steps = len(train) // train.batch_size

    for epoch in range(state["epoch"], recipe.epochs):
        order.manual_seed(resume.seed_of(seed, epoch, 0))
        chance.manual_seed(resume.seed_of(seed, epoch, 1 + fabric.global_rank))
        torch.manual_seed(resume.seed_of(seed, epoch, 1 + fabric.global_rank))
        trained.train()
        _freeze_statistics(network)
        started, losses = time.perf_counter(), torch.zeros((), device=fabric.device)
        batches = train.shuffled(order, rank=fabric.global_rank, world_size=fabric.world_size)
        for step, batch in enumerate(batches):
            rate = recipe.learning_rate * learning_rate_factor(epoch + step / steps, recipe)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            with torch.no_grad():
                waves = augment.waves(batch.waves, batch.from_reference_device, responses, chance)
                pictures = augment.pictures(front_end(waves, chance), chance)
                mixing = augment.mixing(len(pictures), chance)
                pictures = pictures if mixing is None else mixing(pictures)
            logits = trained(pictures.contiguous(memory_format=torch.channels_last))
            value = loss(logits, batch if mixing is None else batch.mixed(mixing, logits.shape[1]))
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(value)
            optimizer.step()
            if average is not None:
                average.update_parameters(network)
            losses += value.detach()
        seconds = time.perf_counter() - started
        mean = float(np.mean(exchange(fabric, float(losses) / steps)))
        if not math.isfinite(mean):
            raise UserError(
                f"the loss is {mean} in epoch {epoch + 1}: lower the learning rate, or use fabric.precision=32-true"
            )
        in_step(fabric, judged)
        probabilities, labels = predict(judged, front_end, validation, fabric)
        row = {
            "epoch": epoch + 1,
            "learning_rate": rate,
            "loss": mean,
            "validation/accuracy": macro_accuracy(probabilities, labels),
            "validation/log_loss": log_loss(probabilities, labels),
            "clips_per_second": steps * train.batch_size / seconds,
        }
        if recipe.keep == "best" and row["validation/log_loss"] < state["best"]:
            state["best"] = row["validation/log_loss"]
            state["kept"] = {name: value.clone() for name, value in judged.state_dict().items()}
        state |= {"epoch": epoch + 1, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
        if average is not None:
            state["average"] = average.state_dict()
        on_epoch(row, state)
    network.load_state_dict(state["kept"] or judged.state_dict())
    return network.eval()


def _freeze_statistics(network: nn.Module) -> None:
    """A BatchNorm whose weights are frozen keeps its statistics too."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine and not module.weight.requires_grad:
            module.eval()


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
    layers: Callable[[nn.Module], Layers] | None = None,
) -> nn.Module:
    """Fit a network by the recipe of a part of the config (`cfg.teacher` or `cfg.student`); the run starts here.

    Everything that can be wrong with the settings is found before the run's folder is touched. A training of the same
    settings that was stopped goes on with the epoch in which it was.

    Args:
        layers: gives a network's parameters by layer; without it a recipe with layer-wise rates is refused.
    """
    recipe = Recipe(**part.fit).lasting(cfg.epochs)
    fabric, augment = make_fabric(cfg.fabric), Augment(**part.augment)
    if augment.crop and targets is not None:
        raise UserError("augment.crop=true is for teachers: the logits that a student learns from are of whole clips")
    layered = recipe.layer_decay != 1 or recipe.frozen_layers > 0
    if layered and layers is None:
        raise UserError("fit.layer_decay and fit.frozen_layers are for teachers that begin from published weights")
    if cfg.fabric.sync_batchnorm:
        if fabric.device.type != "cuda":
            raise UserError("fabric.sync_batchnorm=true needs CUDA: PyTorch has no such BatchNorm elsewhere")
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    size = small_enough(recipe.batch_size, len(prepared.clips.indices("train")), fabric.world_size)
    place = {"batch_size": size, "device": fabric.device, "residency": cfg.data.residency}
    crops = {"crop": augment.crop, "crop_seconds": augment.crop_seconds}
    train_clips = prepared.batches("train", **place, targets=targets, **crops)
    validation_clips = prepared.batches("validation", **place)
    groups = parameter_groups(layers(network), recipe) if layered else None
    state, rows = resume.load(run, fabric.device), []
    launch(fabric)
    if state is not None:
        rows = state.pop("rows")
        log.info("%s: going on after epoch %d of %d", run.folder, state["epoch"], recipe.epochs)
    run.start(rows)

    def note(row: Mapping[str, float], reached: State) -> None:
        rows.append(dict(row))
        resume.save(run, {**reached, "rows": rows})
        run.log(row)
        figures = "loss {loss:.3f}  validation accuracy {validation/accuracy:.3f}  log loss {validation/log_loss:.3f}"
        speed = f"{row['clips_per_second']:.0f} clips/s"
        log.info("epoch %3d/%d  %s  %s", row["epoch"], recipe.epochs, figures.format_map(row), speed)

    return fit(
        fabric,
        network,
        front_end,
        train_clips,
        validation_clips,
        loss=loss,
        recipe=recipe,
        augment=augment,
        responses=prepared.responses,
        seed=cfg.seed,
        on_epoch=note,
        groups=groups,
        state=state,
    )
