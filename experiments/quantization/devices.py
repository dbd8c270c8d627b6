"""A student with tensors of recording devices on its way to integers: which forms it has, and its integers."""

import copy
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from data.errors import UserError
from experiments.quantization.bits import HALF
from experiments.quantization.convert import BIAS_CLIPS
from experiments.settings.parts import Quantize
from experiments.training import checkpoint
from experiments.training.devices import Weights, cost_of_sets, parameters_of_set
from students import build_student
from students.complexity import torch_complexity
from students.limits import Complexity
from students.quantize.devices import with_devices
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.sets import require_devices

log = logging.getLogger(__name__)


def load_sets(path: Path, own: Quantize) -> tuple[nn.Module, checkpoint.Blueprint, dict[str, Weights]]:
    """A student's general network, its blueprint, and the tensors of each device: none, which is said, where the wanted
    form stores floats.

    Raises:
        UserError: it cannot be read, or the wanted form cannot hold its tensors of devices.
    """
    if own.bits == HALF:
        return *checkpoint.load_student(path), {}
    network, blueprint, sets = checkpoint.load_with_sets(path, build_student)
    wanted = "quantize.method=qat" if own.method == "qat" else "quantize.exact=all" if own.exact == "all" else None
    if sets and wanted:
        raise UserError(
            f"{path} has tensors of {len(sets)} devices, and {wanted} makes one network: leave it out, or quantise the "
            "general student that was specialised, or the checkpoint of one device"
        )
    require_devices([*sets])
    if sets:
        log.info("%s has tensors of %d devices: the file will have them beside the general network", path, len(sets))
    return network, blueprint, sets


def add_sets(
    integers: IntegerNetwork,
    network: nn.Module,
    sets: Mapping[str, Weights],
    shape: tuple[int, ...],
    spectrograms: torch.Tensor,
) -> IntegerNetwork:
    """The integers with those of devices beside them.

    Args:
        integers: of the general network.
        network: the general one, of floats.
        sets: the tensors of each device.
        shape: of a log-mel, (1, 1, mels, frames).
        spectrograms: log-mels (n, 1, mels, frames) with which the integers were calibrated.
    """
    folded = {device: fold(one, shape, spectrograms) for device, one in _networks(network, sets)}
    return with_devices(integers, folded, spectrograms[:BIAS_CLIPS])


def float_cost(network: nn.Module, sets: Mapping[str, Weights], shape: tuple[int, ...]) -> Complexity:
    """Costs of the float student, with all sets."""
    added = sum(parameters_of_set(network, own) for own in sets.values())
    return cost_of_sets(torch_complexity(network, shape), added)


def _networks(network: nn.Module, sets: Mapping[str, Weights]) -> Iterator[tuple[str, nn.Module]]:
    for device, own in sets.items():
        one = copy.deepcopy(network)
        one.load_state_dict({**network.state_dict(), **own})
        yield device, one
