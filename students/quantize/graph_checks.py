"""Whether the numbers of an open TFLite file fit together: sizes, the order of execution, shapes of outputs.

Conventions: these are rules of every TFLite file, whoever wrote it; what scenelet's own files must be besides is
checked in read.py. A violation is a WrongValueError that names the tensor or operator, the field and the value.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from data.damage import WrongValueError
from data.flatbuffer import Graph, Operator

BITS = {
    **dict.fromkeys(("INT4", "UINT4"), 4),
    **dict.fromkeys(("INT8", "UINT8", "BOOL"), 8),
    **dict.fromkeys(("INT16", "UINT16", "FLOAT16", "BFLOAT16"), 16),
    **dict.fromkeys(("INT32", "UINT32", "FLOAT32"), 32),
    **dict.fromkeys(("INT64", "UINT64", "FLOAT64", "COMPLEX64"), 64),
}
MOST_VALUES = 2**31 - 1  # of a tensor: runtimes count them in 32 bits


def check_graph(graph: Graph) -> None:
    """Check the tensors that are used, the order of execution, and the outputs of the operators that are counted.

    Raises:
        WrongValueError: of the first that is wrong.
    """
    used = {*graph.inputs, *graph.outputs}
    for operator in graph.operators:
        used.update(operator.outputs, (i for i in operator.inputs if i >= 0))
    for tensor in sorted(used):
        _check_tensor(graph, tensor)
    _check_order(graph)
    for step, operator in enumerate(graph.operators):
        if operator.kind in _RULES:
            kind, count, rule = _RULES[operator.kind]
            where = f"operator {step} ({operator.kind})"
            if kind and type(operator.options).__name__ != f"{kind}T":
                raise WrongValueError(f"{where} has no {kind}")
            if len(operator.inputs) not in count or -1 in operator.inputs[: count[0]]:
                raise WrongValueError(f"{where} has {len(operator.inputs)} inputs, not {' or '.join(map(str, count))}")
            rule(graph, operator, where)


def integers(graph: Graph, tensor: int) -> np.ndarray:
    """The values of a constant, such as the amounts of PAD, in its shape."""
    kinds = {"INT32": np.int32, "INT64": np.int64}
    if graph.dtype(tensor) not in kinds or not graph.is_constant(tensor):
        raise WrongValueError(f"{graph.name(tensor)!r} of {graph.dtype(tensor)} is not constant, or not of INT32")
    return graph.data(tensor).view(kinds[graph.dtype(tensor)]).reshape(graph.shape(tensor))


def _check_tensor(graph: Graph, tensor: int) -> None:
    it = graph.tensors[tensor]
    if it.oddities:
        raise WrongValueError(f"tensor {it.name!r} has {', '.join(it.oddities)}, which is not supported")
    if it.dtype not in BITS:
        raise WrongValueError(f"tensor {it.name!r} is of {it.dtype}: there is no rule for the size of such values")
    if not all(n >= 1 for n in it.shape) or math.prod(it.shape) > MOST_VALUES:
        raise WrongValueError(
            f"tensor {it.name!r} has the shape {it.shape}: each number must be at least 1, their product "
            f"at most {MOST_VALUES:,}"
        )
    wanted = -(-math.prod(it.shape) * BITS[it.dtype] // 8)
    if len(it.data) not in (0, wanted):
        raise WrongValueError(f"tensor {it.name!r} has {len(it.data):,} bytes, {it.dtype} of {it.shape} are {wanted:,}")


def _check_order(graph: Graph) -> None:
    """Each tensor is an input, a constant, or computed by one operator before it is used."""
    computed = set(graph.inputs)
    if constant := [i for i in graph.inputs if graph.is_constant(i)]:
        raise WrongValueError(f"the input {graph.name(constant[0])!r} is a constant")
    if not (graph.inputs and graph.outputs and graph.operators):
        raise WrongValueError("it has no input, no output, or no operator")
    for step, operator in enumerate(graph.operators):
        for tensor in operator.inputs:
            if tensor >= 0 and tensor not in computed and not graph.is_constant(tensor):
                raise WrongValueError(
                    f"operator {step} ({operator.kind}) uses {graph.name(tensor)!r}, which is not computed before"
                )
        for tensor in operator.outputs:
            if tensor in computed or graph.is_constant(tensor):
                raise WrongValueError(f"operator {step} ({operator.kind}) overwrites {graph.name(tensor)!r}")
            computed.add(tensor)
    if missing := [i for i in graph.outputs if i not in computed]:
        raise WrongValueError(f"the output {graph.name(missing[0])!r} is not computed")


def _same(graph: Graph, operator: Operator, where: str) -> None:
    _compare(graph, operator, where, graph.shape(operator.inputs[0]))


def _broadcast(graph: Graph, operator: Operator, where: str) -> None:
    _compare(graph, operator, where, np.broadcast_shapes(*(graph.shape(i) for i in operator.inputs)))


def _reshaped(graph: Graph, operator: Operator, where: str) -> None:
    before, after = (math.prod(graph.shape(i)) for i in (operator.inputs[0], operator.output))
    if before != after:
        raise WrongValueError(f"{where} makes {after:,} values of {before:,}")


def _padded(graph: Graph, operator: Operator, where: str) -> None:
    amounts, shape = integers(graph, operator.inputs[1]), graph.shape(operator.inputs[0])
    if amounts.shape != (len(shape), 2) or amounts.min() < 0:
        raise WrongValueError(f"{where} pads {shape} by {amounts.tolist()}: two numbers from 0 are wanted of each axis")
    _compare(
        graph, operator, where, [n + int(pad.sum()) for n, pad in zip(shape, amounts.astype(np.int64), strict=True)]
    )


def _pooled(graph: Graph, operator: Operator, where: str) -> None:
    options = operator.options
    size = options.filterHeight, options.filterWidth
    _compare(graph, operator, where, (*_windows(graph, operator, where, size), graph.shape(operator.inputs[0])[3]))


def _convolved(graph: Graph, operator: Operator, where: str) -> None:
    source, (channels, *size, depth) = graph.shape(operator.inputs[0]), _weights(graph, operator, where)
    shape = _windows(graph, operator, where, size)
    if depth == 0 or source[3] % depth or channels % (source[3] // depth):
        raise WrongValueError(f"{where} has weights for {depth} channels, its input has {source[3]}")
    _compare(graph, operator, where, (*shape, channels))
    _check_bias(graph, operator, where, channels)


def _convolved_by_channel(graph: Graph, operator: Operator, where: str) -> None:
    source, (one, *size, channels) = graph.shape(operator.inputs[0]), _weights(graph, operator, where)
    shape = _windows(graph, operator, where, size)
    if one != 1 or channels % source[3]:  # runtimes do not read depthMultiplier either
        raise WrongValueError(f"{where} has weights for {channels} channels, its input has {source[3]}")
    _compare(graph, operator, where, (*shape, channels))
    _check_bias(graph, operator, where, channels)


def _dense(graph: Graph, operator: Operator, where: str) -> None:
    source, weights = (graph.shape(i) for i in operator.inputs[:2])
    shape = graph.shape(operator.output)
    if len(weights) != 2 or math.prod(source) % weights[1]:
        raise WrongValueError(f"{where} has weights of {weights}, its input has the shape {source}")
    if not shape or shape[-1] != weights[0] or math.prod(shape) != math.prod(source) // weights[1] * weights[0]:
        raise WrongValueError(f"{where} has an output of {shape}, of {source} and weights of {weights}")
    _check_bias(graph, operator, where, weights[0])


def _weights(graph: Graph, operator: Operator, where: str) -> tuple[int, ...]:
    if len(shape := graph.shape(operator.inputs[1])) != 4:
        raise WrongValueError(f"{where} has weights of {shape}: four numbers are wanted")
    return shape


def _check_bias(graph: Graph, operator: Operator, where: str, channels: int) -> None:
    if len(operator.inputs) > 2 and (i := operator.inputs[2]) >= 0 and graph.shape(i) != (channels,):
        raise WrongValueError(f"{where} has biases of the shape {graph.shape(i)}, not {(channels,)}")


def _windows(graph: Graph, operator: Operator, where: str, size: Sequence[int]) -> list[int]:
    """Batch, height and width of the output, of windows over height and width."""
    options, source = operator.options, graph.shape(operator.inputs[0])
    if len(source) != 4:
        raise WrongValueError(f"{where} has an input of the shape {source}: four numbers are wanted")
    stride = options.strideH, options.strideW
    dilation = getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)
    if min(*stride, *dilation, *size) < 1 or options.padding not in (schema.Padding.SAME, schema.Padding.VALID):
        raise WrongValueError(
            f"{where} has windows of {tuple(size)}, strides of {stride}, dilation of {dilation} and the padding "
            f"{options.padding}: numbers from 1 are wanted, and the padding 0 or 1"
        )
    found = [source[0]]
    for n, k, s, d in zip(source[1:3], size, stride, dilation, strict=True):
        free = n if options.padding == schema.Padding.SAME else n - (k - 1) * d
        found.append(-(-free // s))
    return found


def _compare(graph: Graph, operator: Operator, where: str, wanted: Sequence[int]) -> None:
    if (shape := graph.shape(operator.output)) != tuple(wanted):
        raise WrongValueError(f"{where} has an output of the shape {shape}, by its inputs it is {tuple(wanted)}")


Rule = Callable[[Graph, Operator, str], None]
# Options, how many inputs, and the rule of the output.
_RULES: Mapping[str, tuple[str | None, tuple[int, ...], Rule]] = {
    "CONV_2D": ("Conv2DOptions", (2, 3), _convolved),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (2, 3), _convolved_by_channel),
    "FULLY_CONNECTED": (None, (2, 3), _dense),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (1,), _pooled),
    "MAX_POOL_2D": ("Pool2DOptions", (1,), _pooled),
    "ADD": (None, (2,), _broadcast),
    "PAD": (None, (2,), _padded),
    "RESHAPE": (None, (1, 2), _reshaped),
    **dict.fromkeys(("QUANTIZE", "DEQUANTIZE", "SOFTMAX", "RELU", "RELU6", "LOGISTIC"), (None, (1,), _same)),
}
