"""The C of a network of integers: the kernels of templates/, its constants, and one call a layer.

Conventions: files are name -> text, the same text for the same network. Maps lie (height, width, channels) in one block
of memory, where plan.py puts them; the C equals students/quantize/integer.py in every bit of every layer.
"""

from importlib.resources import files

import numpy as np

from data.errors import UserError
from students.device.c_text import LICENCE, table
from students.device.plan import Plan, planned
from students.quantize.integer import (
    IntegerNetwork,
    Quantity,
    Weights,
    addition_factors,
    convolution_factors,
    lowest,
)
from students.quantize.layers import ADD, CONVOLUTION, GLOBAL_MEAN, INPUT, MAX_POOL, Layer
from students.quantize.nibbles import packed

TEMPLATES = ("scenelet_kernels.c", "scenelet_kernels.h")
HEADER = """#ifndef SCENELET_NETWORK_H
#define SCENELET_NETWORK_H

#include <stdint.h>

#define SCENELET_ARENA {size} /* bytes in which all maps lie */
#define SCENELET_INPUT {input} /* where that of the input begins, {inputs} integers: (bands, frames) */
#define SCENELET_OUTPUT {output} /* where the logits begin */
#define SCENELET_CLASSES {classes}
#define SCENELET_LAYERS {layers}

extern int32_t scenelet_words[SCENELET_ARENA / 4]; /* aligned to whole words */
#define scenelet_arena ((int8_t *)scenelet_words)

/* Where the map of each layer begins, and how many integers it has. */
extern const int32_t scenelet_places[SCENELET_LAYERS], scenelet_sizes[SCENELET_LAYERS];

/* Compute one layer; all of them in turn make logits of the input, which is overwritten. */
void scenelet_compute_layer(int32_t layer);

#endif
"""


def network_files(network: IntegerNetwork) -> dict[str, str]:
    """The C files of a network.

    Raises:
        UserError: its activations have 16 bits, for which there are no kernels; or it has tensors of several devices.
    """
    if network.sets:
        raise UserError(
            f"the network has tensors of the devices {', '.join(network.sets)}, and C is of one: take "
            "network.of_device(NAME), with any other name for the general one"
        )
    if any(quantity.bits != 8 for quantity in network.quantities.values()):
        raise UserError("activations of 16 bits have no kernels on devices: quantize with quantize.activations=8")
    plan = planned(network)
    constants, calls = [], []
    for number, layer in enumerate(network.layers):
        lines, call = _layer(network, layer, f"layer_{number}", plan)
        constants += lines
        calls.append(f"    case {number}:\n        {call}\n        break;")
    names = [layer.name for layer in network.layers]
    source = [
        '#include "scenelet_network.h"\n\n#include "scenelet_kernels.h"\n',
        "int32_t scenelet_words[SCENELET_ARENA / 4];\n",
        *table("int32_t", "scenelet_places", [plan.offsets[name] for name in names]),
        *table("int32_t", "scenelet_sizes", [int(np.prod(network.quantities[name].shape)) for name in names]),
        *constants,
        "void scenelet_compute_layer(int32_t layer)\n{\n    switch (layer) {",
        *calls,
        "    }\n}\n",
    ]
    header = HEADER.format(
        size=plan.size,
        input=plan.offsets[INPUT],
        inputs=int(np.prod(network.quantities[INPUT].shape)),
        output=plan.offsets[names[-1]],
        classes=network.output.shape[0],
        layers=len(names),
    )
    templates = files(__package__) / "templates"
    found = {name: (templates / name).read_text() for name in TEMPLATES}
    found |= {"scenelet_network.h": header, "scenelet_network.c": "\n".join(source)}
    return {name: LICENCE + text for name, text in found.items()}


def _layer(network: IntegerNetwork, layer: Layer, name: str, plan: Plan) -> tuple[list[str], str]:
    """A layer's constants, line by line, and the call that computes it."""
    read, wanted = network.quantities[layer.inputs[0]], network.quantities[layer.name]
    places = [f"scenelet_arena + {plan.offsets[each]}" for each in (*layer.inputs, layer.name)]
    if layer.kind == ADD:
        lines = _addition(name, layer, [network.quantities[each] for each in layer.inputs], wanted)
        return lines, f"scenelet_add(&{name}, {', '.join(places)});"
    window = _window(layer, read, wanted)
    if layer.kind != CONVOLUTION:
        kernel = "maximum" if layer.kind == MAX_POOL else "average"
        lines = [f"static const scenelet_window {name} = {window};", ""]
        return lines, f"scenelet_{kernel}(&{name}, {', '.join(places)});"
    lines = _convolution(name, network.weights[layer.name], window, read, wanted, by_channel=layer.groups > 1)
    kernel = "convolve_by_channel" if layer.groups > 1 else "convolve"
    return lines, f"scenelet_{kernel}(&{name}, {', '.join(places)});"


def _window(layer: Layer, read: Quantity, wanted: Quantity) -> str:
    kernel = read.shape[1:] if layer.kind == GLOBAL_MEAN else layer.kernel
    numbers = [*read.shape[1:], read.shape[0], *wanted.shape[1:], wanted.shape[0], *kernel, *layer.stride]
    numbers += [*layer.padding, read.zero_point, wanted.zero_point, lowest(layer, wanted), wanted.high]
    return "{" + ", ".join(map(str, numbers)) + "}"


def _convolution(
    name: str, weights: Weights, window: str, read: Quantity, wanted: Quantity, *, by_channel: bool
) -> list[str]:
    ordered = weights.weight.transpose((1, 2, 3, 0) if by_channel else (0, 2, 3, 1))
    values = np.frombuffer(packed(ordered), np.int8) if weights.bits == 4 else ordered.flatten()
    factors = convolution_factors(weights, read, wanted)
    numbers = ", ".join([f"{name}_weights", f"{name}_biases", f"{name}_mantissas", f"{name}_exponents"])
    return [
        *table("int8_t", f"{name}_weights", values.tolist(), static=True),
        *table("int32_t", f"{name}_biases", weights.bias.tolist(), static=True),
        *table("int32_t", f"{name}_mantissas", [mantissa for mantissa, _ in factors], static=True),
        *table("int8_t", f"{name}_exponents", [exponent for _, exponent in factors], static=True),
        f"static const scenelet_convolution {name} = {{{window}, {numbers}, {weights.bits}}};",
        "",
    ]


def _addition(name: str, layer: Layer, read: list[Quantity], wanted: Quantity) -> list[str]:
    first, second, out = addition_factors(read[0], read[1], wanted)
    zeros = f"{{{read[0].zero_point}, {read[1].zero_point}}}"
    mantissas, exponents = (f"{{{first[part]}, {second[part]}}}" for part in range(2))
    count, low = int(np.prod(wanted.shape)), lowest(layer, wanted)
    numbers = [count, zeros, mantissas, exponents, wanted.zero_point, *out, low, wanted.high]
    return [f"static const scenelet_addition {name} = {{{', '.join(map(str, numbers))}}};", ""]
