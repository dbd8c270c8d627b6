"""The plain list of layers that a network becomes before it becomes integers.

Conventions: tensors are named after the layer that computes them; "input" is the log-mel spectrogram (B, 1, mels,
frames). A layer is a convolution, an addition, or a pool, each with an optional ReLU behind it: what integer kernels
compute in one step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

INPUT = "input"

CONVOLUTION, ADD = "convolution", "add"
AVERAGE_POOL, MAX_POOL, GLOBAL_MEAN = "average_pool", "max_pool", "global_mean"

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
        """The output of a pool, or of the global mean, for (B, C, H, W)."""
        if self.kind == MAX_POOL:
            return F.max_pool2d(x, self.kernel, self.stride)
        if self.kind == AVERAGE_POOL:
            return F.avg_pool2d(x, self.kernel, self.stride, self.padding)
        return x.mean((2, 3), keepdim=True)


class FoldedNetwork(nn.Module):
    """The same function as the network it was made from, as a list of layers.

    Attributes:
        layers: in the order of execution; the last one computes the logits.
        convolutions: weights and biases, by layer name.
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
            return self.convolutions[layer.name](inputs[0])
        if layer.kind == ADD:
            return inputs[0] + inputs[1]
        return layer.pooled(inputs[0])
