"""The integers of recording devices that have tensors of their own, rounded beside those of the general network.

Conventions: a device's network has the layers of the general one, its bits, and its scales of activations, which were
calibrated on the general network alone. Its weights and biases are rounded, and its biases corrected, as the general
ones are, on the same clips.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from students.quantize.calibrate import correct_biases, limit_of, round_weights
from students.quantize.integer import IntegerNetwork, Weights
from students.quantize.layers import FoldedNetwork
from students.quantize.sets import own_arrays

HALFWAY = 0.5 + 1e-4  # steps; what float32 leaves of a weight that lies halfway between two integers may go either way


def with_devices(
    integers: IntegerNetwork, networks: Mapping[str, FoldedNetwork], spectrograms: torch.Tensor
) -> IntegerNetwork:
    """The network with the integers of devices beside its own.

    Args:
        integers: the general network, with corrected biases.
        networks: the folded float network of each device.
        spectrograms: log-mels (B, 1, mels, frames) on which the general network's biases were corrected.
    """
    sets = {}
    for device, folded in networks.items():
        one = correct_biases(folded, replace(integers, weights=device_weights(integers, folded)), spectrograms)
        sets[device] = {name: w for name, w in one.weights.items() if own_arrays(integers.weights[name], w)}
    return replace(integers, sets=sets)


def device_weights(integers: IntegerNetwork, folded: FoldedNetwork) -> dict[str, Weights]:
    """A device's weights of every layer before its biases are corrected.

    The weights' integers are those of the general network wherever they are as near: a BatchNorm that differs is
    another factor and another bias of each channel, which only change the channel's scale and bias.

    Args:
        integers: the general network.
        folded: the device's float network.
    """
    found = {}
    for layer in integers.layers:
        if layer.has_weights:
            read, general = integers.weighted(layer), integers.weights[layer.name]
            convolution = folded.convolutions[layer.name]
            own = round_weights(convolution, read.scale, layer.name, general.bits, read.bits)
            exact = convolution.weight.detach().cpu().double().numpy() / own.scale[:, None, None, None]
            distance = np.abs(exact.clip(-limit_of(own.bits), limit_of(own.bits)) - general.weight)
            found[layer.name] = replace(own, weight=general.weight) if distance.max() <= HALFWAY else own
    return found
