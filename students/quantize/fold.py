"""Turn a network into a plain list of layers, each BatchNorm absorbed by the convolution before it.

Conventions: tensors are named after the layer that makes them; "input" is the log-mel picture (B, 1, mels, frames). A
layer is a convolution, an addition, or an average pool, each with an optional ReLU behind it: what integer kernels
compute in one go. Anything else is refused by name.
Source of the folding: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import fx, nn
from torch.nn import functional as F

from data.errors import UserError

INPUT = "input"

CONVOLUTION, ADD, AVERAGE_POOL, GLOBAL_MEAN = "convolution", "add", "average_pool", "global_mean"

Observer = Callable[[str, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Layer:
    """One step: `inputs` are names of earlier layers (or "input"); kernel, stride and padding are (frequency, time).

    A convolution is dense (groups 1) or depthwise (as many groups as channels).
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    relu: bool = False
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """What an average pool, or the global mean, makes of (B, C, H, W)."""
        if self.kind == AVERAGE_POOL:
            return F.avg_pool2d(x, self.kernel, self.stride, self.padding)
        return x.mean((2, 3), keepdim=True)


class FoldedNetwork(nn.Module):
    """The same function as the network it was made from, as a list of layers.

    Attributes:
        layers: in the order of execution; the last one makes the logits.
        convolutions: weights and biases, by layer name.
    """

    def __init__(self, layers: tuple[Layer, ...], convolutions: dict[str, nn.Conv2d]) -> None:
        super().__init__()
        self.layers = layers
        self.convolutions = nn.ModuleDict(convolutions)

    def forward(self, pictures: torch.Tensor, observe: Observer | None = None) -> torch.Tensor:
        """(B, 1, mels, frames) -> logits (B, classes).

        `observe(name, tensor)` sees the input and every layer's output, and what it returns is used instead.
        """
        observe = observe or (lambda _, tensor: tensor)
        tensors = {INPUT: observe(INPUT, pictures)}
        for layer in self.layers:
            y = self.compute(layer, tensors)
            tensors[layer.name] = observe(layer.name, F.relu(y) if layer.relu else y)
        return tensors[self.layers[-1].name].flatten(1)

    def compute(self, layer: Layer, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """One layer's output before its ReLU, from the tensors made so far."""
        inputs = [tensors[name] for name in layer.inputs]
        if layer.kind == CONVOLUTION:
            return self.convolutions[layer.name](inputs[0])
        if layer.kind == ADD:
            return inputs[0] + inputs[1]
        return layer.pooled(inputs[0])


def fold(network: nn.Module) -> FoldedNetwork:
    """Trace a network in its evaluation mode and fold it. The network itself is left as it is.

    Raises:
        UserError: it contains an operation that has no integer form (all of them listed).
    """
    folder = _Folder(network.eval())
    return FoldedNetwork(*folder.run()).eval()


class _Tracer(fx.Tracer):
    """Modules without children are not looked into, so that a refusal names them and not their arithmetic."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return not any(True for _ in module.children())


class _Folder:
    def __init__(self, network: nn.Module) -> None:
        self.modules = dict(network.named_modules())
        self.graph = _Tracer().trace(network)
        self.layers: dict[str, Layer] = {}
        self.convolutions: dict[str, nn.Conv2d] = {}
        self.made_by: dict[fx.Node, str] = {}  # which layer's output a node of the graph stands for
        self.refused: list[str] = []

    def run(self) -> tuple[tuple[Layer, ...], dict[str, nn.Conv2d]]:
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self.made_by[node] = INPUT
            elif node.op != "output":
                self._visit(node)
        if self.refused:
            raise UserError(
                "this network cannot be made of integers, these parts have no integer form: "
                + "; ".join(dict.fromkeys(self.refused))
                + ". Train a student without them (for CP-Mobile: student.arguments.grn=false)"
            )
        return tuple(self.layers.values()), self.convolutions

    def _visit(self, node: fx.Node) -> None:
        module = self.modules[node.target] if node.op == "call_module" else None
        sources = [self.made_by[a] for a in node.args if isinstance(a, fx.Node)]
        name = (str(node.target) if module is not None else node.name).replace(".", "_")
        match module:
            case nn.Conv2d() if _is_plain(module) and name not in self.convolutions:
                self.convolutions[name] = _copy(module)
                self._add(node, Layer(name, CONVOLUTION, tuple(sources), False, *_geometry(module), module.groups))
            case nn.BatchNorm2d() if module.affine and module.track_running_stats and self._is_alone(node, CONVOLUTION):
                _absorb(self.convolutions[sources[0]], module)
                self.made_by[node] = sources[0]
            case nn.AvgPool2d() if module.count_include_pad and not module.ceil_mode and not module.divisor_override:
                self._add(node, Layer(name, AVERAGE_POOL, tuple(sources), False, *_geometry(module)))
            case nn.AdaptiveAvgPool2d() if module.output_size in (1, (1, 1)):
                self._add(node, Layer(name, GLOBAL_MEAN, tuple(sources)))
            case nn.ReLU() if self._is_alone(node, CONVOLUTION, ADD):
                self._relu(node)
            case nn.Identity() | nn.Dropout():
                self.made_by[node] = sources[0]
            case nn.Flatten() if self.layers.get(sources[0], Layer("", "", ())).kind == GLOBAL_MEAN:
                self.made_by[node] = sources[0]
            case None if node.target in (operator.add, torch.add) and len(sources) == 2 and not node.kwargs:
                self._add(node, Layer(name, ADD, tuple(sources)))
            case None if node.target in (F.relu, torch.relu) and self._is_alone(node, CONVOLUTION, ADD):
                self._relu(node)
            case _:
                self._refuse(node, type(module).__name__ if module is not None else str(node.target))

    def _refuse(self, node: fx.Node, what: str) -> None:
        self.refused.append(what)
        self.made_by[node] = next((self.made_by[a] for a in node.args if isinstance(a, fx.Node)), INPUT)

    def _add(self, node: fx.Node, layer: Layer) -> None:
        self.layers[layer.name] = layer
        self.made_by[node] = layer.name

    def _relu(self, node: fx.Node) -> None:
        name = self.made_by[node.args[0]]
        self.layers[name] = replace(self.layers[name], relu=True)
        self.made_by[node] = name

    def _is_alone(self, node: fx.Node, *kinds: str) -> bool:
        """Whether the node's input is a layer of these kinds, without ReLU, whose output nobody else needs."""
        layer = self.layers.get(self.made_by[node.args[0]])
        if layer is None or layer.kind not in kinds or layer.relu:
            return False
        # Nodes that only pass the layer's output on (dropout, a folded norm) are users and aliases at once.
        aliases = [alias for alias, name in self.made_by.items() if name == layer.name]
        return sum(len(alias.users) for alias in aliases) == len(aliases)


def _is_plain(module: nn.Conv2d) -> bool:
    depthwise = module.groups == module.in_channels == module.out_channels
    return module.padding_mode == "zeros" and module.dilation == (1, 1) and (module.groups == 1 or depthwise)


def _geometry(module: nn.Conv2d | nn.AvgPool2d) -> tuple[tuple[int, int], ...]:
    values = (module.kernel_size, module.stride, module.padding)
    return tuple(value if isinstance(value, tuple) else (value, value) for value in values)


def _copy(module: nn.Conv2d) -> nn.Conv2d:
    copy = nn.Conv2d(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        module.stride,
        module.padding,
        groups=module.groups,
        bias=True,
        device=module.weight.device,
    )
    with torch.no_grad():
        copy.weight.copy_(module.weight)
        copy.bias.zero_() if module.bias is None else copy.bias.copy_(module.bias)
    return copy


@torch.no_grad()
def _absorb(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """w' = w g / s, b' = (b - m) g / s + c with s = sqrt(variance + eps), in float64 because s may be tiny."""
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = convolution.weight.double() * gain[:, None, None, None]
    bias = (convolution.bias.double() - norm.running_mean.double()) * gain + norm.bias.double()
    convolution.weight.copy_(weight)
    convolution.bias.copy_(bias)
