"""What some recording devices have of their own beside a network of integers: how its file holds it, and what it costs.

Conventions: a set has a device's Weights of those layers in which it differs from the general network, and of them the
arrays that differ are stored and counted, all others are the general network's. They lie as safetensors in a buffer of
the file's metadata, SETS, which runtimes pass over, as <device>/<layer>/<weight, bias or scale>: numbers, of the device
in the list DEVICES of the JSON metadata, and of the layer among those with weights, in the order of execution. Weights
of 4 bits are packed, two a byte.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from data.damage import WrongValueError
from data.errors import UserError, in_short
from data.names import is_label
from students.quantize.integer import IntegerNetwork, Weights
from students.quantize.metadata import DEVICES
from students.quantize.nibbles import packed, unpacked

MOST_DEVICES = 100
ARRAYS = ("weight", "bias", "scale")  # of Weights
_NAME = re.compile(rf"([0-9]{{1,4}})/([0-9]{{1,4}})/({'|'.join(ARRAYS)})")


class SetSize(NamedTuple):
    """How many numbers all devices have of their own, and the bytes that they take."""

    numbers: int
    bytes: int


def own_arrays(general: Weights, own: Weights) -> dict[str, np.ndarray]:
    """The arrays of a device's weights that differ from the general ones, by name."""
    arrays = {name: getattr(own, name) for name in ARRAYS}
    return {name: values for name, values in arrays.items() if not np.array_equal(values, getattr(general, name))}


def set_sizes(network: IntegerNetwork) -> dict[str, SetSize]:
    """What all devices have of their own of each layer with weights; scales count too, as a training changes them."""
    found = dict.fromkeys(_layers(network), SetSize(0, 0))
    for _, layer, _, values, stored in _stored(network):
        before = found[layer]
        found[layer] = SetSize(before.numbers + values.size, before.bytes + stored.nbytes)
    return found


def require_devices(devices: Any) -> None:
    """Check the names of the devices that a file is to hold.

    Raises:
        UserError: they are no names, not each there once, or too many.
    """
    texts = isinstance(devices, list) and all(isinstance(device, str) and is_label(device) for device in devices)
    if not texts or len(set(devices)) < len(devices) or len(devices) > MOST_DEVICES:
        raise UserError(
            f"{DEVICES}={in_short(devices)}: a model file has at most {MOST_DEVICES} devices, by names that are each "
            "there once"
        )


def sets_to_bytes(network: IntegerNetwork) -> bytes:
    """The buffer of a network's sets."""
    devices, layers = [*network.sets], _layers(network)
    return safetensors.numpy.save(
        {
            f"{devices.index(device)}/{layers.index(layer)}/{name}": np.ascontiguousarray(stored)
            for device, layer, name, _, stored in _stored(network)
        }
    )


def sets_from_bytes(data: bytes, devices: Any, network: IntegerNetwork) -> dict[str, dict[str, Weights]]:
    """The sets in such a buffer; their numbers are still to be checked.

    Args:
        data: the buffer.
        devices: their names, as the metadata have them.
        network: the general one.

    Raises:
        UserError: of the names of devices.
        WrongValueError: an array is of no device or layer, or of another type or shape than the network's.
    """
    require_devices(devices)
    layers = _layers(network)
    found: dict[str, dict[str, Weights]] = {device: {} for device in devices}
    for title, stored in safetensors.numpy.load(data).items():
        match = _NAME.fullmatch(title)
        if match is None or int(match[1]) >= len(devices) or int(match[2]) >= len(layers):
            raise WrongValueError(
                f"its tensors of devices contain {in_short(title)}: there are {len(devices)} devices and {len(layers)} "
                "layers with weights"
            )
        own, layer, name = found[devices[int(match[1])]], layers[int(match[2])], match[3]
        weights = own.get(layer, network.weights[layer])
        own[layer] = _replaced(weights, name, stored, network.weights[layer])
    return found


def _replaced(weights: Weights, name: str, stored: np.ndarray, general: Weights) -> Weights:
    """Weights with another array, as it is stored."""
    wanted = getattr(general, name)
    values = stored
    if name == "weight" and general.bits == 4 and (stored.dtype, stored.shape) == (np.uint8, (-(-wanted.size // 2),)):
        values = unpacked(stored, wanted.size).reshape(wanted.shape)
    if (values.dtype, values.shape) != (wanted.dtype, wanted.shape):
        raise WrongValueError(
            f"its tensors of devices contain a {name} of {stored.dtype} and the shape {stored.shape}, in a layer that "
            f"has {wanted.dtype} and {wanted.shape} with {general.bits} bits"
        )
    arrays: Mapping[str, np.ndarray] = {each: getattr(weights, each) for each in ARRAYS} | {name: values}
    return Weights(arrays["weight"], arrays["bias"], arrays["scale"], general.bits)


def _stored(network: IntegerNetwork) -> Iterator[tuple[str, str, str, np.ndarray, np.ndarray]]:
    """Device, layer, name, values and stored values of each array that devices have of their own."""
    for device, own in network.sets.items():
        for layer, weights in own.items():
            for name, values in own_arrays(network.weights[layer], weights).items():
                packs = name == "weight" and weights.bits == 4
                yield device, layer, name, values, np.frombuffer(packed(values), np.uint8) if packs else values


def _layers(network: IntegerNetwork) -> Sequence[str]:
    """The layers with weights, in the order of execution."""
    return [layer.name for layer in network.layers if layer.has_weights]
