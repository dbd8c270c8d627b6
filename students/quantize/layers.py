"""The plain list of layers that a network becomes before it becomes integers.

Conventions: tensors are named after the layer that computes them; "input" is the log-mel spectrogram (B, 1, mels,
frames). A layer is a convolution, an addition, or a pool, each with an optional ReLU behind it: what integer kernels
compute in one step; or a function of each value, or a product of two maps; or the recurrence of a GRU, over the steps
(columns) of a map of its gates, see gru.py; or it moves values and computes none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

INPUT = "input"

CONVOLUTION, ADD, GRU = "convolution", "add", "gru"
SILU, SIGMOID, MULTIPLY = "silu", "sigmoid", "multiply"
AVERAGE_POOL, MAX_POOL, GLOBAL_MEAN = "average_pool", "max_pool", "global_mean"
TAKE, JOIN = "take", "join"  # some channels of a map, in some order; the channels of several maps one after the other
TURN = "turn"  # the bands of a map of one frame become channels, and its channels frames
# What kernels compute by tables, or round each in its own way, and what it is called
SPECIAL = {GRU: "a GRU", SILU: "a SiLU", SIGMOID: "a sigmoid", MULTIPLY: "a product of maps"}
EIGHT_BITS = (SILU, SIGMOID, MULTIPLY)  # which read and write those alone

BITS = (4, 8)  # that weights may have

Observer = Callable[[str, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Layer:
    """One step: `inputs` are names of earlier layers (or "input"); kernel, stride, padding and dilation are (frequency,
    time).

    A convolution is dense (groups 1), depthwise (as many groups as channels that are read) or between; only
    convolutions are dilated. A depthwise one of several parts has weights of its own for each of so many equal parts of
    its output's rows: those of channel c in part p are the filter c parts + p. Of an addition or a product one side may
    have a single band or frame, which belongs to all of the other one's. `channels` are those that are taken of a map.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    relu: bool = False
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)
    parts: int = 1
    channels: tuple[int, ...] = ()

    @property
    def extent(self) -> tuple[int, int]:
        """Bands and frames from the first to the last cell of a window."""
        (height, width), (down, along) = self.kernel, self.dilation
        return (height - 1) * down + 1, (width - 1) * along + 1

    def convolved(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The output of a convolution (B, C', H', W') for (B, C, H, W), by any weights and biases."""
        (top, left), (stride, _) = self.padding, self.stride
        if self.parts == 1:
            return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        x = F.pad(x, (0, 0, top, top))
        rows = ((x.shape[2] - self.extent[0]) // stride + 1) // self.parts
        window = (rows - 1) * stride + self.extent[0]
        return torch.cat(
            [
                F.conv2d(
                    x.narrow(2, part * rows * stride, window),
                    weight[part :: self.parts],
                    None if bias is None else bias[part :: self.parts],
                    self.stride,
                    (0, left),
                    self.dilation,
                    self.groups,
                )
                for part in range(self.parts)
            ],
            2,
        )

    def by_row(self, values: torch.Tensor, height: int) -> torch.Tensor:
        """What belongs to each filter of a convolution, (O,), beside its output of a height: (C', 1 or height, 1)."""
        if self.parts == 1:
            return values[:, None, None]
        return values.view(-1, self.parts).repeat_interleave(height // self.parts, 1)[:, :, None]

    @property
    def has_weights(self) -> bool:
        """Whether it multiplies by weights of its own."""
        return self.kind in (CONVOLUTION, GRU)

    @property
    def rescales(self) -> bool:
        """Whether it computes values of another scale than its input's, as pools and what moves values do not."""
        return not (self.is_pool or self.moves)

    def computed(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """The output of a layer without weights, of real inputs (B, C, H, W), before its ReLU."""
        if self.kind == ADD:
            return inputs[0] + inputs[1]
        if self.kind == MULTIPLY:
            return inputs[0] * inputs[1]
        if self.kind in (SILU, SIGMOID):
            return (F.silu if self.kind == SILU else torch.sigmoid)(inputs[0])
        return self.moved(inputs) if self.moves else self.pooled(inputs[0])

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """The output of a pool, or of the global mean, for (B, C, H, W)."""
        if self.kind == MAX_POOL:
            return F.max_pool2d(x, self.kernel, self.stride)
        if self.kind == AVERAGE_POOL:
            return F.avg_pool2d(x, self.kernel, self.stride, self.padding)
        return x.mean((2, 3), keepdim=True)

    @property
    def is_pool(self) -> bool:
        """Whether it computes each value from a window, without weights."""
        return self.kind in (AVERAGE_POOL, MAX_POOL, GLOBAL_MEAN)

    @property
    def is_paired(self) -> bool:
        """Whether it computes each value from those at the same place of several maps."""
        return self.kind in (ADD, MULTIPLY, JOIN)

    @property
    def moves(self) -> bool:
        """Whether its values are those of its inputs, in other places."""
        return self.kind in (TAKE, JOIN, TURN)

    def moved(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """The output of what moves values, for inputs (B, C, H, W)."""
        if self.kind == TURN:
            return inputs[0].permute(0, 2, 3, 1)
        return torch.cat(list(inputs), 1) if self.kind == JOIN else inputs[0][:, list(self.channels)]


def scaled_as(layers: Sequence[Layer]) -> dict[str, str]:
    """Of each tensor the one whose scale it has: itself, or the input of a pool; all maps that are joined have one."""
    found = {INPUT: INPUT}
    for layer in layers:
        joined = {found[name] for name in layer.inputs}
        one = found[layer.inputs[0]] if INPUT not in joined else INPUT
        found[layer.name] = layer.name if layer.rescales else one
        if layer.kind == JOIN:
            found = {name: one if own in joined else own for name, own in found.items()}
    return found


class FoldedNetwork(nn.Module):
    """The same function as the network it was made from, as a list of layers.

    Attributes:
        layers: in the order of execution; the last one computes the logits.
        convolutions: weights and biases, by layer name; those of a GRU are what its state is multiplied by.
    """

    def __init__(self, layers: tuple[Layer, ...], convolutions: dict[str, nn.Conv2d]) -> None:
        super().__init__()
        self.layers = layers
        self.convolutions = nn.ModuleDict(convolutions)

    def forward(self, spectrograms: torch.Tensor, observe: Observer | None = None) -> torch.Tensor:
        """(B, 1, mels, frames) -> logits (B, classes).

        `observe(name, tensor)` is called with the input and every layer's output, and what it returns is used instead.
        """
        observe = observe or (lambda _, tensor: tensor)
        tensors = {INPUT: observe(INPUT, spectrograms)}
        for layer in self.layers:
            y = self.compute(layer, tensors)
            tensors[layer.name] = observe(layer.name, F.relu(y) if layer.relu else y)
        return tensors[self.layers[-1].name].flatten(1)

    def compute(self, layer: Layer, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """One layer's output before its ReLU, from the tensors computed so far."""
        inputs = [tensors[name] for name in layer.inputs]
        if layer.kind == CONVOLUTION:
            convolution = self.convolutions[layer.name]
            if layer.parts == 1:  # as a module, which can be counted
                return convolution(inputs[0])
            return layer.convolved(inputs[0], convolution.weight, convolution.bias)
        if layer.kind == GRU:
            convolution = self.convolutions[layer.name]
            return recurrence(inputs[0], convolution.weight, convolution.bias)
        return layer.computed(inputs)

    def widths(self, name: str) -> tuple[int, ...]:
        """The bits that the weights of a layer may have: those of a GRU, whose state has 16, have 8."""
        kinds = {layer.name: layer.kind for layer in self.layers}
        return BITS if kinds[name] == CONVOLUTION else BITS[-1:]


def recurrence(gates: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """All states (B, units, 1, steps) of a GRU that begins at 0, see gru.py.

    Args:
        gates: (B, 3 units, 1, steps).
        weight: (3 units, units, 1, 1).
        bias: (3 units,).
    """
    state, states = gates.new_zeros(len(gates), weight.shape[1]), []
    for step in gates[:, :, 0].unbind(2):
        sums = F.linear(state, weight[:, :, 0, 0], bias)
        (gate_r, gate_z, gate_n), (sum_r, sum_z, sum_n) = step.chunk(3, 1), sums.chunk(3, 1)
        n = torch.tanh(gate_n + torch.sigmoid(gate_r + sum_r) * sum_n)
        state = n + torch.sigmoid(gate_z + sum_z) * (state - n)
        states.append(state)
    return torch.stack(states, 2)[:, :, None]
