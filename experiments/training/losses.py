"""The loss that is minimised, what it is a weighted sum of, and the means of both over an epoch.

Conventions: a loss is a function of a network's answer and a batch. It gives a scalar, or Terms. In a row of
history.jsonl it is `loss`, and its terms have their own names.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F

from data.batches import Batch
from experiments.distributed.fabric import exchange

RECENT = 100  # steps, at most, over which the loss that is shown within an epoch is the mean
LOSS = "loss"


class Terms(NamedTuple):
    """A loss, a scalar, and its terms by name, scalars without their weights."""

    loss: torch.Tensor
    terms: Mapping[str, torch.Tensor]


Loss = Callable[[Any, Batch], torch.Tensor | Terms]


def label_loss(*, is_multi_label: bool) -> Loss:
    """Cross-entropy of logits (B, classes) with the labels; of clips that may have several classes the binary one, its
    mean over clips and classes."""

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if is_multi_label:
            return F.binary_cross_entropy_with_logits(logits, batch.labels.float())
        return F.cross_entropy(logits, batch.labels)

    return loss


class NotFiniteError(Exception):
    """The loss was no number: the epoch, the step (from 0) and the rows of that step's clips."""

    def __init__(self, epoch: int, step: int, rows: Sequence[int]) -> None:
        super().__init__(f"the loss is no number in epoch {epoch}, step {step + 1}")
        self.rows = rows


class EpochLosses:
    """The losses of an epoch's steps in this process; they stay on the device that they were computed on."""

    def __init__(self) -> None:
        self._values: list[dict[str, torch.Tensor]] = []
        self._rows: list[torch.Tensor] = []

    @property
    def last_rows(self) -> list[int]:
        """The rows of the last step's clips."""
        return self._rows[-1].tolist()

    def add(self, values: dict[str, torch.Tensor], rows: torch.Tensor) -> None:
        """Those of a step, of which LOSS is one, and the rows of its clips."""
        self._values.append(values)
        self._rows.append(rows)

    def recent(self) -> float:
        """The mean loss over the last steps."""
        return float(torch.stack([values[LOSS] for values in self._values[-RECENT:]]).mean())

    def means(self, fabric: Fabric, epoch: int) -> dict[str, float]:
        """Means over the steps of all processes, by name.

        Raises:
            NotFiniteError: of the first step that went wrong in any process.
        """
        # Asked once an epoch and not once a step: that would stop the GPU each time.
        table = torch.stack([torch.stack([*values.values()]) for values in self._values]).cpu().T.contiguous()
        found = dict(zip(self._values[0], table, strict=True))
        wrong = (~found[LOSS].isfinite()).nonzero().flatten().tolist()
        first = exchange(fabric, (wrong[0], self._rows[wrong[0]].tolist()) if wrong else None)
        if those := [each for each in first if each is not None]:
            raise NotFiniteError(epoch, *min(those))
        everywhere = exchange(fabric, {name: float(values.mean()) for name, values in found.items()})
        return {name: float(np.mean([each[name] for each in everywhere])) for name in found}


def backward(
    fabric: Fabric, network: nn.Module, loss: Loss, spectrograms: torch.Tensor, batch: Batch, parts: int
) -> dict[str, torch.Tensor]:
    """Gradients of a batch, computed in some parts one after the other; returns its loss and terms by name."""
    totals: dict[str, torch.Tensor] = {}
    pairs = zip(spectrograms.tensor_split(parts), batch.split(parts) if parts > 1 else [batch], strict=True)
    for number, (some, part) in enumerate(pairs):
        share = len(some) / len(spectrograms)
        with fabric.no_backward_sync(network, enabled=number < parts - 1):
            found = loss(network(some), part)
            value, terms = found if isinstance(found, Terms) else (found, {})
            value = value * share
            fabric.backward(value)
        for name, each in {
            LOSS: value.detach(),
            **{name: term.detach() * share for name, term in terms.items()},
        }.items():
            totals[name] = totals[name] + each if name in totals else each
    return totals
