"""One student for several recording devices: a few tensors that each device has of its own, all others shared.

Conventions: a set is a part of a network's state dict, name to tensor, on the CPU. A device without a set has the
general network's tensors.
Source: DCASE 2025 Task 1, where the device of a clip is known at inference (Schmid et al., "Low-Complexity Acoustic
Scene Classification with Device Information in the DCASE 2025 Challenge", DCASE 2025 Workshop); sets of BatchNorm
alone: Chang et al., "Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR 2019.
"""

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from data.errors import UserError
from data.front_ends import FrontEnd
from experiments.datasets.datamodule import DataModule
from experiments.inference.network import predict
from students.limits import Complexity

NORM, CLASSIFIER = "norm", "classifier"
COUNTER = "num_batches_tracked"  # of BatchNorm, on which no answer depends
BATCH = 64  # clips whose logits are computed at once

Weights = dict[str, torch.Tensor]

log = logging.getLogger(__name__)


def names_of_set(network: nn.Module, layers: str, shape: Sequence[int]) -> tuple[str, ...]:
    """The names of the tensors that each device has of its own.

    Args:
        network: log-mels to logits.
        layers: NORM, all BatchNorms; or CLASSIFIER, the last layer, with a BatchNorm that follows it.
        shape: of a log-mel, (1, 1, mels, frames).

    Raises:
        UserError: the network has no such layers.
    """
    norms = {name for name, layer in network.named_modules() if isinstance(layer, _BatchNorm)}
    if layers == NORM:
        if not norms:
            raise UserError("specialize.layers=norm: this student has no BatchNorm; give specialize.layers=classifier")
        chosen: Collection[str] = norms
    else:
        called = _called(network, shape)
        last = max(number for number, name in enumerate(called) if name not in norms)
        chosen = called[last:]
    return tuple(
        name
        for name in network.state_dict()
        if name.rpartition(".")[0] in chosen and name.rpartition(".")[2] != COUNTER
    )


def _called(network: nn.Module, shape: Sequence[int]) -> list[str]:
    """The layers with parameters, in the order in which they are applied to a log-mel."""
    found: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: found.append(name))
        for name, layer in network.named_modules()
        if list(layer.parameters(recurse=False))
    ]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(tuple(shape)))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def set_of(network: nn.Module, names: Collection[str]) -> Weights:
    """A network's own tensors of these names."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items() if name in names}


def parameters_of_set(network: nn.Module, names: Collection[str]) -> int:
    """How many parameters a set has; BatchNorm's statistics are none, as in the network itself."""
    return sum(parameter.numel() for name, parameter in network.named_parameters() if name in names)


def cost_of_sets(general: Complexity, added: int) -> Complexity:
    """Costs of a float network with all sets: those of one clip, and so many parameters of 4 bytes more."""
    return general._replace(
        parameters=general.parameters + added, parameter_bytes=general.parameter_bytes + torch.float32.itemsize * added
    )


def train_only(network: nn.Module, names: Collection[str]) -> None:
    """Let a network's other parameters keep their values in training."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in names)


def predict_by_device(
    network: nn.Module,
    sets: Mapping[str, Weights],
    front_end: FrontEnd,
    data: DataModule,
    split: str,
    fabric: Fabric,
) -> np.ndarray:
    """Probabilities (n, classes) of a split's clips, in their order, each by the tensors of its device.

    Args:
        network: the general one; it is the same afterwards.
        sets: of some devices; clips of others are answered by the general network.
        front_end: waves to log-mels.
        data: its clips say by which device they were recorded.
        split: name of the split.
        fabric: device, precision, distribution.
    """
    rows, clips = data.clips.indices(split), data.clips
    general = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = np.empty((len(rows), len(clips.scenes)))
    try:
        for device in sorted({clips.clips[row].device for row in rows}):
            network.load_state_dict({**general, **sets.get(device, {})})
            part = data.of_device(device)
            batches = part.batches(split, batch_size=BATCH, device=fabric.device)
            found[np.isin(rows, batches.rows)] = predict(network, front_end, batches, fabric)[0]
    finally:
        network.load_state_dict(general)
    return found
