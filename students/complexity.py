"""What a network costs: multiply-accumulates, bytes of parameters, peak memory, counted the way the challenge's own
tool counts.

Conventions: costs are for one clip. Two countings exist and give different numbers for one network:
`torch_complexity` for float networks (torchinfo: a convolution costs (weights + bias) x output positions, BatchNorm
its parameters once, activations and pools nothing) and `tflite_complexity` for integer files (pools and additions
cost, sizes are bytes as stored).
Source: NeSsi, the official counter of DCASE Task 1 since 2022, whose rules for both are reproduced here.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from data.errors import UserError

# DCASE 2023 Task 1: all parameters, whatever their format; one 1-second inference.
LIMITS = {"macs": 30_000_000, "parameter_bytes": 128_000}


@dataclass(frozen=True)
class Complexity:
    """Costs of a network.

    Attributes:
        macs: multiply-accumulates of one clip.
        parameters: number of parameters.
        parameter_bytes: bytes they take.
        peak_bytes: largest sum of the activations that must be kept at once.
    """

    macs: int
    parameters: int
    parameter_bytes: int
    peak_bytes: int

    def within_limits(self) -> dict[str, bool]:
        """Whether each limit of the task holds."""
        return {cost: getattr(self, cost) <= limit for cost, limit in LIMITS.items()}

    def figures(self) -> dict[str, float]:
        """Costs by flat name, as in score.json, and within_limit/<cost>, 1 or 0."""
        verdicts = {f"within_limit/{cost}": float(holds) for cost, holds in self.within_limits().items()}
        return dataclasses.asdict(self) | verdicts


def over_limits(cost: Complexity, limits: Mapping[str, int] = LIMITS) -> list[str]:
    """In words, which limits a float network would break at 8 bits, that is with one byte a parameter; [] if none."""
    costs = {
        "macs": (cost.macs, "multiply-accumulates"),
        "parameter_bytes": (cost.parameters, "parameters, bytes at 8 bits"),
    }
    return [
        f"{value:,} {what}, at most {limits[name]:,}" for name, (value, what) in costs.items() if value > limits[name]
    ]


def torch_complexity(network: nn.Module, shape: Sequence[int]) -> Complexity:
    """Costs of a float network for an input (1, 1, mels, frames), by torchinfo.

    Bytes are those of the parameters' own type. Peak memory is the largest input plus output of one leaf layer: a
    lower bound, because a traced module does not say which other tensors are still needed. A recurrent layer costs
    its parameters at every step, if its output is (B, steps, units).

    Raises:
        UserError: the network's own, for a picture that it does not take.
    """
    from torchinfo import summary

    network = network.eval()
    peaks = [0]

    def remember(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        peaks.append(sum(t.nbytes for t in (*inputs, output)))

    leaves = [m for m in network.modules() if not any(True for _ in m.children())]
    hooks = [m.register_forward_hook(remember) for m in leaves]
    try:
        device = next(network.parameters()).device
        report = summary(network, tuple(shape), verbose=0, device=device)
    except RuntimeError as error:  # torchinfo's, around whatever went wrong
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
    finally:
        for hook in hooks:
            hook.remove()
    size = sum(p.nbytes for p in network.parameters())
    return Complexity(int(report.total_mult_adds), int(report.total_params), size, max(peaks))


@dataclass(frozen=True)
class Operator:
    """One operator of a TFLite file and what it costs.

    Attributes:
        kind: such as CONV_2D.
        output: name of the tensor it makes.
        macs: multiply-accumulates of one clip.
        parameter_bytes: of its weights and biases, as stored (two weights of 4 bits are a byte).
        scale_bytes: of the scales and zero points of its weights and biases, which no limit counts: 4 and 8 each.
        alive_bytes: of the activations that must be kept while it works.
    """

    kind: str
    output: str
    macs: int
    parameter_bytes: int
    scale_bytes: int
    alive_bytes: int


def tflite_complexity(path: str | Path) -> Complexity:
    """Costs of a TFLite file, by NeSsi's rules for it.

    Raises:
        UserError: the file is cut short or contains an operator without a rule.
    """
    operators = tflite_operators(path)
    model, graph = _read(path)
    arrays = [graph.tensors[i] for i in sorted({i for op in graph.operators for i in _parameters(model, graph, op)})]
    return Complexity(
        macs=sum(operator.macs for operator in operators),
        parameters=sum(math.prod(int(n) for n in t.shape) for t in arrays),
        parameter_bytes=sum(len(model.buffers[t.buffer].data) for t in arrays),
        peak_bytes=max(operator.alive_bytes for operator in operators),
    )


def tflite_operators(path: str | Path) -> list[Operator]:
    """The costs of a TFLite file operator by operator, by NeSsi's rules; see tflite_complexity."""
    try:
        return _operators(*_read(path))
    except UserError:
        raise
    except Exception as error:  # what a wild offset leads to
        raise UserError(f"{path} is damaged ({error}): run stage=quantize again") from error


def _operators(model, graph) -> list[Operator]:
    found = []
    for operator, alive in zip(graph.operators, _alive(model, graph), strict=True):
        own = [graph.tensors[i] for i in _parameters(model, graph, operator)]
        kind = _kind(model, operator)
        scales = [
            0 if t.quantization is None or t.quantization.scale is None else len(t.quantization.scale) for t in own
        ]
        found.append(
            Operator(
                kind=kind,
                output=graph.tensors[operator.outputs[0]].name.decode(),
                macs=_macs(kind, operator, graph.tensors),
                parameter_bytes=sum(len(model.buffers[t.buffer].data) for t in own),
                scale_bytes=sum((4 + 8) * count for count in scales),
                alive_bytes=alive,
            )
        )
    return found


def _read(path: str | Path):
    import ai_edge_litert.schema_py_generated as schema

    try:
        model = schema.ModelT.InitFromPackedBuf(bytearray(Path(path).read_bytes()), 0)
        (graph,) = model.subgraphs
    except Exception as error:  # flatbuffers raises whatever a wild offset leads to
        raise UserError(f"{path} is damaged or no TFLite file ({error}): run stage=quantize again") from error
    return model, graph


def _kind(model, operator) -> str:
    import ai_edge_litert.schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    return names[model.operatorCodes[operator.opcodeIndex].builtinCode]


def _parameters(model, graph, operator) -> list[int]:
    """Tensors that are constant; but what PAD is told (four pairs of numbers) is no parameter of the network."""
    if _kind(model, operator) == "PAD":
        return []
    return [int(i) for i in operator.inputs if _is_constant(model, graph.tensors[i])]


def _is_constant(model, tensor) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _macs(name: str, operator, tensors) -> int:
    shapes = [[int(n) for n in tensors[i].shape] for i in operator.inputs]
    output = math.prod(int(n) for n in tensors[operator.outputs[0]].shape)
    options = operator.builtinOptions
    match name:
        case "CONV_2D":
            return output * math.prod(shapes[1][1:])
        case "DEPTHWISE_CONV_2D":
            return output * shapes[1][1] * shapes[1][2]
        case "ADD":
            return output
        case "MEAN":
            return math.prod(shapes[0])
        case "AVERAGE_POOL_2D" | "MAX_POOL_2D":
            return output * options.filterHeight * options.filterWidth
        case "FULLY_CONNECTED":
            # The rule takes the input's last dimension, not its elements: a flattened map is undercounted by it.
            return shapes[0][-1] * output
        case "PAD" | "RESHAPE" | "SOFTMAX":
            return 0
    raise UserError(f"there is no rule for counting the operator {name}")


def _alive(model, graph) -> list[int]:
    """For each operator the bytes of the activations alive at once: made already, and needed now or later."""
    widths = {0: 4, 2: 4, 4: 8, 7: 2, 9: 1}  # FLOAT32, INT32, INT64, INT16, INT8
    sizes = {
        i: 0 if _is_constant(model, t) else math.prod(int(n) for n in t.shape) * widths[t.type]
        for i, t in enumerate(graph.tensors)
    }
    last_use = {int(i): len(graph.operators) for i in graph.outputs}
    for step, operator in reversed(list(enumerate(graph.operators))):
        for i in operator.inputs:
            last_use.setdefault(int(i), step)
    alive, found = {int(i) for i in graph.inputs}, []
    for step, operator in enumerate(graph.operators):
        alive |= {int(i) for i in operator.outputs}
        found.append(sum(sizes[i] for i in alive))
        alive = {i for i in alive if last_use.get(i, -1) > step}
    return found
