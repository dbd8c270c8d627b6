"""What a network thinks of some clips: logits and probabilities, on one device or shared out over several.

Conventions: batches are always the same whole ones, whoever computes them, so that the results are too.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from data.augment import time_roll
from data.batches import Batch, Batches
from data.errors import UserError
from data.front_ends import FrontEnd
from data.progress import Progress, progress
from experiments.distributed.fabric import exchange
from experiments.evaluation.metrics import probabilities_of

PART = 32  # clips


@torch.no_grad()
def logits_of(network: nn.Module, front_end: FrontEnd, batch: Batch, shifts: Sequence[int] = (0,)) -> torch.Tensor:
    """float32 logits (B, shifts, classes) of a batch's clean clips; the network is in evaluation mode.

    Args:
        shifts: samples; by which each clip is rolled.
    """
    found = []
    for shift in shifts:
        waves = time_roll(batch.waves, torch.full_like(batch.rows, shift)) if shift else batch.waves
        found.append(network(front_end(waves).contiguous(memory_format=torch.channels_last)).float())
    return torch.stack(found, dim=1)


def in_order(batches: Batches, numbers: Sequence[int], fabric: Fabric, line: Progress) -> Iterator[Batch]:
    """Those batches of a split that this process has to compute; the clips of all processes are counted, as if each had
    done as much as this one."""
    return line.over(batches.in_order(numbers), lambda batch: len(batch.rows) * fabric.world_size)


@torch.no_grad()
def require_applicable(network: nn.Module, shape: tuple[int, ...], name: str) -> None:
    """Check that a network takes log-mels of a shape, by applying it to zeros: some have kernels and pools that are
    longer than a short clip.

    Args:
        network: of any builder.
        shape: (1, 1, mels, frames).
        name: of the network.

    Raises:
        UserError: it does not.
    """
    was_training, device = network.training, next(network.parameters()).device
    try:
        network.eval()(torch.zeros(shape, device=device))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        *_, mels, frames = shape
        why = str(error).splitlines()[0]
        raise UserError(
            f"{name} cannot be applied to log-mels of {mels} bands and {frames} frames ({why}): give longer clips by "
            "data.clip_seconds, or more frames by a shorter hop, or choose another network"
        ) from error
    finally:
        network.train(was_training)


@torch.no_grad()
def in_parts(compute: Callable[[torch.Tensor], torch.Tensor], spectrograms: torch.Tensor, name: str) -> torch.Tensor:
    """Logits (n, classes), computed and counted some clips at a time.

    Args:
        compute: log-mels to logits, which of a clip are the same whatever else is computed with it.
        spectrograms: log-mels (n, 1, mels, frames), of one clip at least.
        name: of the network.
    """
    with progress(f"scoring, {name}", len(spectrograms)) as line:
        return torch.cat([compute(some) for some in line.over(spectrograms.split(PART), len)])


def predict(
    network: nn.Module, front_end: FrontEnd, batches: Batches, fabric: Fabric | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, classes) of a split, in its order, and labels, (n,), or (n, classes) of a multi-label set; with
    a Fabric, all its processes share the work and have the result."""
    network.eval()
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    numbers = range(fabric.global_rank, batches.count, fabric.world_size)
    with fabric.autocast(), progress("scoring", len(batches)) as line:
        mine = [
            (number, logits_of(network, front_end, batch)[:, 0].cpu().numpy(), batch.labels.cpu().numpy())
            for number, batch in zip(numbers, in_order(batches, numbers, fabric, line), strict=True)
        ]
    found = sorted((piece for pieces in exchange(fabric, mine) for piece in pieces), key=lambda piece: piece[0])
    _, logits, parts = zip(*found, strict=True)
    labels = np.concatenate(parts)
    return probabilities_of(np.concatenate(logits), is_multi_label=labels.ndim > 1), labels
