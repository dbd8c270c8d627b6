"""The C of a network of integers: the kernels of templates/, and the tables of one network.

Conventions: files are name -> text, the same text for the same network. Maps are computed row by row in the order of
plan.py, rows lie (width, channels); the C equals students/quantize/integer.py in every bit of every row.
"""

from collections.abc import Mapping
from dataclasses import replace

from data.errors import UserError
from students.device.c_text import Table, comment, licensed, table
from students.device.convolution import MOST_CHANNELS, SQUARE, Numbers, is_of_few, numbers_of
from students.device.plan import Map, Plan, groups_of, kernel_of, planned, strip_of
from students.quantize.gru import SIGMOIDS
from students.quantize.integer import IntegerNetwork, lowest
from students.quantize.layers import (
    ADD,
    CONVOLUTION,
    GRU,
    INPUT,
    JOIN,
    MAX_POOL,
    MULTIPLY,
    SIGMOID,
    SILU,
    TAKE,
    TURN,
    Layer,
)

TEMPLATES = (
    "scenelet_kernels.c",
    "scenelet_kernels.h",
    "scenelet_cortex_m.h",
    "scenelet_dsp.h",
    "scenelet_network.c",
    "scenelet_network.h",
)
GRU_TEMPLATE = "scenelet_gru.c"
TABLES = "scenelet_network_tables"
KERNELS = {ADD: "add", GRU: "gru", MAX_POOL: "max_pool", TAKE: "take", JOIN: "join", TURN: "turn"}
KERNELS |= {SILU: "look_up", SIGMOID: "look_up", MULTIPLY: "multiply"}
PAIR = 2  # maps that a kernel reads
MOST_LAYERS = 127  # whose numbers have a byte
SPREAD = {8: 16, 4: 32}  # bytes of the windows of two pixels that weights of so many bits take at a time
MOST_SPREAD = 4095  # bytes, which one instruction subtracts
SPARE = 4  # bytes behind all maps: a word may be read up to three bytes beyond its row


def network_files(network: IntegerNetwork) -> dict[str, str]:
    """The C files of a network.

    Raises:
        UserError: it has activations of 16 bits or other layers for which there are no kernels; or tensors of several
            devices; or numbers that 32 bits do not hold, or too many layers.
    """
    if network.sets:
        raise UserError(
            f"the network has tensors of the devices {', '.join(network.sets)}, and C is of one: take "
            "network.of_device(NAME), with any other name for the general one"
        )
    if any(quantity.bits != 8 for quantity in network.quantities.values()):
        raise UserError("activations of 16 bits have no kernels on devices: quantize with quantize.activations=8")
    for layer in network.layers:
        _require_kernel(network, layer)
    if len(network.layers) > MOST_LAYERS:
        raise UserError(f"the network has {len(network.layers)} layers, and C on devices is of {MOST_LAYERS} at most")
    plan = planned(network)
    templates = [*TEMPLATES, *([GRU_TEMPLATE] if _recurrences(network) else [])]
    return licensed(templates, {f"{TABLES}.h": _header(network, plan), f"{TABLES}.c": _source(network, plan)})


def _require_kernel(network: IntegerNetwork, layer: Layer) -> None:
    if layer.dilation[0] > 1 or (layer.dilation[1] > 1 and layer.groups == 1):
        raise UserError(
            f"layer {layer.name} is dilated by {layer.dilation}, and C on devices has dilated convolutions "
            "channel by channel and in time alone"
        )
    if layer.is_paired and len(layer.inputs) != PAIR:
        raise UserError(f"layer {layer.name} is of {len(layer.inputs)} maps, and C on devices joins {PAIR}")


def memory_of(network: IntegerNetwork) -> tuple[int, int]:
    """Bytes of a network's input, and of what else it needs while it runs: scenelet_network in C."""
    plan = planned(network)
    counters = 4 + -(-len(network.layers) // 2) * 4  # of 32 and of 16 bits
    return plan.maps[INPUT].size + SPARE, plan.size + SPARE + 2 * strip_of(network) + counters


def assembly_of(network: IntegerNetwork, layer: Layer) -> tuple[str, str]:
    """Which assembly computes a layer, as arguments of the macros SCENELET_PAIRS and SCENELET_FOUR; or nothing."""
    numbers, _ = numbers_of(network, layer)
    return _pairs(network, layer, numbers), _four(network, layer, numbers)


def network_tables(network: IntegerNetwork) -> Mapping[str, Table]:
    """All constant tables, by where C has them."""
    plan = planned(network)
    found: dict[str, Table] = {"scenelet_steps": ("uint8_t", plan.steps)}
    for number, layer in enumerate(network.layers):
        if words := numbers_of(network, layer)[0].words:
            found[f"scenelet_layers[{number}].numbers"] = ("uint32_t", words)
    if _recurrences(network):
        found["scenelet_sigmoids"] = ("uint16_t", SIGMOIDS)
    names = [INPUT, *(layer.name for layer in network.layers)]
    zeros = [network.quantities[name].zero_point for name in names]
    for zero, size in _blanks(network, plan).items():
        found[f"scenelet_maps[{zeros.index(zero)}].blank"] = ("int8_t", [zero] * size)
    return found


def _header(network: IntegerNetwork, plan: Plan) -> str:
    kernels = [kernel_of(network, layer) for layer in network.layers]
    sizes = {
        "LAYERS": len(network.layers),
        "STEPS": len(plan.steps),
        "MAPS": plan.size + SPARE,
        "STRIP": strip_of(network),
        "WINDOW_ROWS": max(2, *(height for height, _ in kernels)),
        "INPUT": plan.maps[INPUT].size + SPARE,
        "INPUT_ROW": plan.maps[INPUT].row,
        "INPUT_BEFORE": plan.maps[INPUT].before,
        "INPUT_BANDS": network.quantities[INPUT].shape[1],
        "INPUT_FRAMES": network.quantities[INPUT].shape[2],
    }
    guard = f"{TABLES.upper()}_H"
    lines = [f"#ifndef {guard}", f"#define {guard}", "", '#include "scenelet_kernels.h"', ""]
    lines += [f"#define SCENELET_{name} {value}" for name, value in sizes.items()]
    lines += ["", "extern const scenelet_map scenelet_maps[SCENELET_LAYERS + 1]; /* of the input, and of each layer */"]
    lines += ["extern const scenelet_layer scenelet_layers[SCENELET_LAYERS];"]
    if _recurrences(network):
        lines += [f"extern const uint16_t scenelet_sigmoids[{len(SIGMOIDS)}];"]
    return "\n".join([*lines, "extern const uint8_t scenelet_steps[SCENELET_STEPS];", "", "#endif", ""])


def _recurrences(network: IntegerNetwork) -> list[Layer]:
    return [layer for layer in network.layers if layer.kind == GRU]


def _source(network: IntegerNetwork, plan: Plan) -> str:
    names = [INPUT, *(layer.name for layer in network.layers)]
    constants, layers, assembly = [], [], {}
    for number, layer in enumerate(network.layers):
        numbers, inputs = numbers_of(network, layer)
        if numbers.words:
            constants += table("uint32_t", f"layer_{number}", [f"{word}u" for word in numbers.words], static=True)
        pairs, four = _pairs(network, layer, numbers), _four(network, layer, numbers)
        for kind, which in (("PAIRS", pairs), ("FOUR", four)):
            if which:
                assembly[f"SCENELET_DEFINE_{kind}{which}"] = None
        fields = [
            _kernel(network, layer),
            f"SCENELET_PAIRS{pairs}" if pairs else "0",
            f"SCENELET_FOUR{four}" if four else "0",
            f"layer_{number}" if numbers.words else "0",
            f"{{{names.index(inputs[0])}, {names.index(inputs[-1])}}}",
            *map(str, _geometry(network, replace(layer, inputs=inputs), plan, numbers)),
        ]
        layers.append(f"    {{{', '.join(fields)}}}, /* {comment(layer.name)} */")
    blanks = _blanks(network, plan)
    for zero, size in blanks.items():
        constants += table("int8_t", _blank(zero), [zero] * size, static=True)
    maps = [f"    {_map(network, name, plan.maps[name], blanks)}," for name in names]
    return "\n".join(
        [
            f'#include "{TABLES}.h"\n\n#include "scenelet_cortex_m.h"\n',
            *assembly,
            "",
            *constants,
            *("const scenelet_map scenelet_maps[SCENELET_LAYERS + 1] = {", *maps, "};", ""),
            *("const scenelet_layer scenelet_layers[SCENELET_LAYERS] = {", *layers, "};", ""),
            *table("uint8_t", "scenelet_steps", plan.steps),
            *(table("uint16_t", "scenelet_sigmoids", SIGMOIDS) if _recurrences(network) else []),
        ]
    )


def _kernel(network: IntegerNetwork, layer: Layer) -> str:
    if layer.kind == CONVOLUTION and layer.groups > 1:
        return "scenelet_few" if is_of_few(network, layer) else "scenelet_depthwise"
    if layer.kind == CONVOLUTION:
        return "scenelet_convolve"
    return f"scenelet_{KERNELS.get(layer.kind, 'average_pool')}"


def _pairs(network: IntegerNetwork, layer: Layer, numbers: Numbers) -> str:
    """Which assembly computes a dense convolution, as arguments of its macro; or nothing."""
    if layer.kind != CONVOLUTION or layer.groups > 1 or not numbers.is_fast:
        return ""
    groups = groups_of(network, layer)
    times = groups if numbers.bits == 8 else -(-groups // 2)
    if times * SPREAD[numbers.bits] > MOST_SPREAD:
        return ""
    return f"({numbers.bits}, {times}, {'SHIFT' if numbers.shifts else 'ROUND'})"


def _four(network: IntegerNetwork, layer: Layer, numbers: Numbers) -> str:
    """Which assembly computes a convolution channel by channel; or nothing."""
    channels, stride = network.quantities[layer.name].shape[0], layer.stride[1]
    fits = (
        channels % 4 == 0 and channels <= MOST_CHANNELS and layer.kernel == layer.extent == SQUARE and stride in (1, 2)
    )
    if layer.kind != CONVOLUTION or not channels == layer.groups > 1 or not (numbers.is_fast and fits):
        return ""
    return f"({channels}, {stride}, {'SHIFT' if numbers.shifts else 'ROUND'})"


def _geometry(network: IntegerNetwork, layer: Layer, plan: Plan, numbers: Numbers) -> list[int]:
    """The fields of a layer from `bits` on."""
    read, wanted = network.quantities[layer.inputs[0]], network.quantities[layer.name]
    before = [plan.maps[name].before for name in layer.inputs]
    height, width = kernel_of(network, layer)
    start, step = before[0] - layer.padding[1] * read.shape[0], layer.stride[1] * read.shape[0]
    ins, outs = read.shape[0] // layer.groups, wanted.shape[0] // layer.groups
    widths = [network.quantities[name].shape[2] for name in layer.inputs]
    single = 0 if widths[0] == widths[-1] else 1 + widths.index(1)
    if layer.is_paired:
        start, step = before
    low = lowest(layer, wanted)
    found = [numbers.bits, int(numbers.shifts), low, 2 if layer.is_paired else 1]
    found += [height, width, layer.stride[0], layer.padding[0], start, step]
    found += [width * read.shape[0], wanted.shape[2], wanted.shape[0], layer.dilation[1] * read.shape[0]]
    found += [ins, outs, single]
    parts = (wanted.shape[1] // layer.parts, len(numbers.words) // layer.parts) if layer.parts > 1 else (0, 0)
    return [*found, *parts]


def _blanks(network: IntegerNetwork, plan: Plan) -> dict[int, int]:
    """Zero point -> bytes of the longest row of padding that is read with it."""
    found: dict[int, int] = {}
    for layer in network.layers:
        (name, *_), (height, _) = layer.inputs, kernel_of(network, layer)
        rows, (_, had, _) = network.quantities[layer.name].shape[1], network.quantities[name].shape
        if not layer.is_paired and (layer.padding[0] or (rows - 1) * layer.stride[0] + height > had):
            zero = network.quantities[name].zero_point
            found[zero] = max(found.get(zero, 0), plan.maps[name].row + 4)
    return found


def _blank(zero: int) -> str:
    return f"blank_{zero}".replace("-", "minus_")


def _map(network: IntegerNetwork, name: str, lies: Map, blanks: Mapping[int, int]) -> str:
    quantity = network.quantities[name]
    blank = _blank(quantity.zero_point) if quantity.zero_point in blanks else "0"
    numbers = [lies.offset, lies.rows, lies.row, lies.before, lies.values, lies.after, quantity.shape[1]]
    return f"{{{', '.join(map(str, [*numbers, quantity.zero_point]))}, {blank}}}"
