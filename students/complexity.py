"""Count what a network costs: multiply-accumulates, bytes of parameters, peak memory, by the rules of the challenge's
own tool.

Conventions: costs are for one clip; the limits that they are compared with are in limits.py. Two countings exist and
give different numbers for one network: `torch_complexity` for float networks (torchinfo: a convolution costs (weights +
bias) x output positions, BatchNorm its parameters once, activations and pools nothing) and `tflite_complexity` for
integer files (pools and additions cost, sizes are bytes as stored). What recording devices have of their own in a file
(quantize/sets.py) are parameters too.
Source: NeSsi, the official counter of DCASE Task 1 since 2022, whose rules for both are reproduced here.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data.damage import explain_damage
from data.errors import UserError
from data.flatbuffer import Graph, Operator, read_graph
from students.limits import Complexity
from students.quantize.graph_checks import BITS, check_graph
from students.quantize.metadata import CONVOLUTIONS, SETS, SIGMOID_OF_SILU

if TYPE_CHECKING:
    from torch import nn

    from students.quantize.sets import SetSize

SCALE_BYTES, ZERO_POINT_BYTES = 4, 8
COUNTED = frozenset(
    ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "ADD")
)
# Operators that move, convert or compare values or apply a function to each: NeSsi counts no multiply-accumulates.
# Other operators may multiply matrices, for which NeSsi says 0 too: they are refused instead.
_FREE = """
ABS ARG_MAX ARG_MIN BATCH_TO_SPACE_ND BROADCAST_TO CAST CEIL CONCATENATION COS DEPTH_TO_SPACE DEQUANTIZE DIV ELU EQUAL
EXP EXPAND_DIMS FAKE_QUANT FILL FLOOR GATHER GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION LEAKY_RELU
LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL
PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR
RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH
SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE UNPACK
"""
FREE = frozenset(_FREE.split())


def torch_complexity(network: "nn.Module", shape: Sequence[int]) -> Complexity:
    """Costs of a float network for an input (1, 1, mels, frames), by torchinfo.

    Bytes are those of the parameters' own type. Peak memory is the largest input plus output of one leaf layer: a
    lower bound, because a traced module does not say which other tensors are still needed. Layer by layer:
    layer_costs.py.

    Raises:
        UserError: the network's own, for a spectrogram of a size that it does not take.
    """
    from students.layer_costs import layer_costs  # loads torch, which counting a file does not need

    return layer_costs(network, shape)[0]


class Activation(NamedTuple):
    """A tensor of a TFLite file that is computed, or given: its name, shape, and size in memory."""

    name: str
    shape: tuple[int, ...]
    bytes: int


class OperatorCost(NamedTuple):
    """One operator of a TFLite file and what it costs.

    Attributes:
        kind: such as CONV_2D.
        output: name of the tensor it computes.
        macs: multiply-accumulates of one clip.
        parameter_bytes: of its weights and biases, as stored (two weights of 4 bits are a byte), and of what recording
            devices have of their own beside them.
        amount_bytes: of what PAD, SLICE, SPLIT, GATHER and TRANSPOSE are told, and a GRU's first state; NeSsi's sum has
            them.
        scale_bytes: of the scales and zero points of its weights and biases, which no limit counts: 4 and 8 each.
        alive_bytes: of the activations that must be kept while it is computed.
    """

    kind: str
    output: str
    macs: int
    parameter_bytes: int
    amount_bytes: int
    scale_bytes: int
    alive_bytes: int


def tflite_complexity(path: str | Path) -> Complexity:
    """Costs of a TFLite file, by NeSsi's rules for it.

    Raises:
        UserError: the file is missing or damaged, or contains an operator that has no rule.
    """
    graph = _countable(path)
    sets = _set_sizes(path, graph)
    with explain_damage(path):
        operators = _count_operators(graph)
        constants = sorted(_parameters(graph))
        return Complexity(
            macs=sum(operator.macs for operator in operators),
            parameters=sum(math.prod(graph.shape(i)) for i in constants) + sum(own.numbers for own in sets),
            parameter_bytes=sum(len(graph.data(i)) for i in constants) + sum(own.bytes for own in sets),
            peak_bytes=max(operator.alive_bytes for operator in operators),
        )


def tflite_operators(path: str | Path) -> list[OperatorCost]:
    """The costs of a TFLite file operator by operator, by NeSsi's rules; errors as of tflite_complexity."""
    graph = _countable(path)
    sets = iter(_set_sizes(path, graph))
    with explain_damage(path):
        operators = _count_operators(graph)
    own = [next(sets, None) if each.kind in CONVOLUTIONS and each.parameter_bytes else None for each in operators]
    return [
        operator._replace(parameter_bytes=operator.parameter_bytes + (0 if more is None else more.bytes))
        for operator, more in zip(operators, own, strict=True)
    ]


def layer_macs(operators: Sequence[OperatorCost]) -> list[int]:
    """The multiply-accumulates of each layer of a file of scenelet, of its operators: those that pad belong to the next
    layer, several convolutions of parts of the rows are one, and so are those of a GRU, from a QUANTIZE to the next."""
    found, parts, is_in_gru = [], 0, False
    for number, each in enumerate(operators):
        if each.kind == "QUANTIZE":
            is_in_gru = not is_in_gru
        if is_in_gru or (number and operators[number - 1].kind == "SLICE"):
            parts += each.macs
        elif each.kind in ("CONCATENATION", "QUANTIZE"):
            found.append(parts)
            parts = 0
        elif each.kind not in ("PAD", "SLICE") and not each.output.endswith(SIGMOID_OF_SILU):
            found.append(each.macs)
    return found


def tflite_memory(path: str | Path) -> tuple[dict[int, Activation], list[tuple[int, ...]]]:
    """The activations of a TFLite file by their index in it, and which of them are alive at once while each operator is
    computed; errors as of tflite_complexity."""
    graph = _countable(path)
    with explain_damage(path):
        alive = list(_alive(graph))
        tensors = sorted({i for some in alive for i in some})
        return {i: Activation(graph.name(i), graph.shape(i), _activation_bytes(graph, i)) for i in tensors}, alive


def _set_sizes(path: str | Path, graph: Graph) -> "list[SetSize]":
    """What recording devices have of their own of each convolution, in the order of execution, of all parts of a layer
    with the first; of files without such sets nothing."""
    with explain_damage(path):
        if graph.metadata(SETS) is None:
            return []
    from students.quantize.read import read_tflite  # both load torch
    from students.quantize.sets import SetSize, set_sizes

    network, _ = read_tflite(path)
    sizes, nothing = set_sizes(network), SetSize(0, 0)
    convolutions = [layer for layer in network.layers if layer.name in sizes]
    return [size for each in convolutions for size in (sizes[each.name], *[nothing] * (each.parts - 1))]


def _countable(path: str | Path) -> Graph:
    """The network of a file in which every operator has a rule and every number was checked."""
    graph = read_graph(path)
    with explain_damage(path):
        strange = dict.fromkeys(each.kind for each in graph.operators if each.kind not in COUNTED | FREE)
        if strange:
            several = "s" * (len(strange) > 1)
            raise UserError(f"there is no rule for counting the operator{several} {', '.join(strange)}")
        check_graph(graph)
    return graph


def _count_operators(graph: Graph) -> list[OperatorCost]:
    found, seen, parameters = [], set[int](), _parameters(graph)
    for operator, alive in zip(graph.operators, _alive(graph), strict=True):
        # A GRU has its weights once for all steps.
        constants = [i for i in _constants(graph, operator) if i not in seen]
        own = [i for i in constants if i in parameters]
        seen.update(constants)
        found.append(
            OperatorCost(
                kind=operator.kind,
                output=graph.name(operator.output),
                macs=_macs(graph, operator),
                parameter_bytes=sum(len(graph.data(i)) for i in own),
                amount_bytes=sum(len(graph.data(i)) for i in constants if i not in own),
                scale_bytes=sum((SCALE_BYTES + ZERO_POINT_BYTES) * len(graph.scales(i)) for i in own),
                alive_bytes=sum(_activation_bytes(graph, i) for i in alive),
            )
        )
    return found


def _parameters(graph: Graph) -> set[int]:
    """The constants that are parameters of the network: all but what a PAD, SLICE, SPLIT, GATHER or TRANSPOSE is told,
    and a GRU's zeros, the input of a convolution."""
    constants, others = set[int](), set[int]()
    for operator in graph.operators:
        constants.update(_constants(graph, operator))
        if operator.kind in ("PAD", "SLICE", "SPLIT", "GATHER", "TRANSPOSE"):
            others.update(operator.inputs)
        elif operator.kind in CONVOLUTIONS:
            others.add(operator.inputs[0])
    return constants - others


def _constants(graph: Graph, operator: Operator) -> list[int]:
    return [i for i in operator.inputs if i >= 0 and graph.is_constant(i)]


def _macs(graph: Graph, operator: Operator) -> int:
    """Multiply-accumulates of one operator."""
    output = math.prod(graph.shape(operator.output))
    match operator.kind:
        case "CONV_2D":
            return output * math.prod(graph.shape(operator.inputs[1])[1:])
        case "DEPTHWISE_CONV_2D":
            return output * math.prod(graph.shape(operator.inputs[1])[1:3])
        case "ADD":
            return output
        case "MEAN":
            return math.prod(graph.shape(operator.inputs[0]))
        case "AVERAGE_POOL_2D" | "MAX_POOL_2D":
            return output * operator.options.filterHeight * operator.options.filterWidth
        case "FULLY_CONNECTED":
            # The rule takes the input's last dimension, not its elements: a flattened map is undercounted by it.
            return output * graph.shape(operator.inputs[0])[-1]
    return 0


def _alive(graph: Graph) -> Iterator[tuple[int, ...]]:
    """For each operator the activations alive at once: computed already, and needed now or later. Those that nothing
    uses, such as the outputs, stay until the end."""
    last_use = {i: step for step, operator in enumerate(graph.operators) for i in operator.inputs}
    last_use |= dict.fromkeys(graph.outputs, len(graph.operators))
    alive = set(graph.inputs)
    for step, operator in enumerate(graph.operators):
        alive.update(operator.outputs)
        yield tuple(sorted(alive))
        alive -= {i for i in operator.inputs if last_use[i] == step}


def _activation_bytes(graph: Graph, tensor: int) -> int:
    return 0 if graph.is_constant(tensor) else -(-math.prod(graph.shape(tensor)) * BITS[graph.dtype(tensor)] // 8)
