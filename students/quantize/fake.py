"""Quantisation-aware training: a folded network whose values are rounded as those of the integer network.

Conventions: every tensor that the file will hold as integers goes through `rounded`, whose value is an integer times
a step (the scale) and whose gradient passes the rounding as if it were not there. Steps are parameters and learn too;
zero points stay as calibration chose them. BatchNorm is folded before, so that no statistics are left to freeze.
Source: Esser et al., "Learned Step Size Quantization", ICLR 2020, sections 2.1 and 2.2; straight-through gradients:
Bengio et al., 2013. Quantising the folded weights: Jacob et al., CVPR 2018, section 3.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from students.quantize.calibrate import BIAS_LIMITS, limit_of
from students.quantize.exact import LARGEST_BIAS, LIMIT, QUARTERS, exact_weights, offsets
from students.quantize.gru import STATES
from students.quantize.integer import IntegerNetwork, Quantity, Weights
from students.quantize.layers import CONVOLUTION, GRU, INPUT, SIGMOID, FoldedNetwork, Layer, recurrence, scaled_as
from students.quantize.products import as_kernels_have_it
from students.quantize.silu import SIGMOIDS

SMALLEST_STEP = 1e-8


def rounded(
    x: torch.Tensor, step: torch.Tensor, low: int, high: int, zero_point: int = 0, learn: float = 1.0
) -> torch.Tensor:
    """The values that integers in [low, high] give to x: step * (q - zero_point).

    The gradient of x is that of what lies in the range, and 0 outside; that of the step is the paper's equation 3,
    times `learn`, which for a tensor of n values should be 1 / sqrt(n * high).
    """
    return _Rounded.apply(x, step, low - zero_point, high - zero_point, learn)


class _Rounded(torch.autograd.Function):
    """Written out, because autograd would keep five maps of each tensor's size where two are enough."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, step: torch.Tensor, low: int, high: int, learn: float) -> torch.Tensor:
        ratio = x / step
        q = ratio.round().clamp_(low, high)
        ctx.save_for_backward(ratio, step)
        ctx.low, ctx.high, ctx.learn = low, high, learn
        return q.mul_(step)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        ratio, step = ctx.saved_tensors
        inside = (ratio > ctx.low) & (ratio < ctx.high)
        of_step = None
        if ctx.needs_input_grad[1]:
            change = ratio.round().clamp_(ctx.low, ctx.high).sub_(ratio.masked_fill(~inside, 0.0))
            of_step = (change.mul_(gradient)).sum_to_size(step.shape) * ctx.learn
        return gradient * inside, of_step, None, None, None


class FakeQuantized(nn.Module):
    """Log-mels (B, 1, mels, frames) to logits (B, classes), within a step of those of the integer network.

    Attributes:
        layers: as in layers.py.
        bits: layer name to the bits of its weights.
        exact: whether its logits equal those of its integers in every runtime; see exact.py.
    """

    def __init__(self, network: FoldedNetwork, integers: IntegerNetwork) -> None:
        """Begin at the weights of the float network and the scales of its calibration."""
        super().__init__()
        self.layers = integers.layers
        self.bits = {name: w.bits for name, w in integers.weights.items()}
        self._quantities = dict(integers.quantities)
        self.weights = nn.ParameterDict({n: _parameter(c.weight) for n, c in network.convolutions.items()})
        self.biases = nn.ParameterDict({n: _parameter(c.bias) for n, c in network.convolutions.items()})
        self.weight_steps = nn.ParameterDict({n: _parameter(w.scale) for n, w in integers.weights.items()})
        self.exact = integers.exact
        # The spectrogram's scale is what the front end gives, a sigmoid's is one for all, and a pool's that of its
        # input: none of them learns.
        self._scaled = scaled_as(network.layers)
        self._given = {INPUT, *(layer.name for layer in network.layers if layer.kind == SIGMOID)}
        own = dict.fromkeys(one for one in self._scaled.values() if one not in self._given)
        self.steps = nn.ParameterDict({name: _parameter(integers.quantities[name].scale) for name in own})
        # Named as in the training states of earlier versions.
        self.register_buffer("picture_step", torch.tensor(integers.quantities[INPUT].scale))
        if self.exact:  # powers of two do not learn
            self.freeze_steps()

    def freeze_steps(self) -> None:
        """Let no step learn from now on."""
        self.steps.requires_grad_(False)
        self.weight_steps.requires_grad_(False)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, mels, frames) -> (B, classes), in float32 whatever the precision around it: coarser numbers would
        round otherwise than the integers."""
        with torch.autocast(spectrograms.device.type, enabled=False):
            return self._forward(spectrograms.float())

    def _forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        tensors = {INPUT: _as_integers(spectrograms, self.picture_step, self._quantities[INPUT])}
        for layer in self.layers:
            inputs = [tensors[name] for name in layer.inputs]
            y = self._compute(layer, inputs, self._step(layer.inputs[0]))
            y = F.relu(y) if layer.relu else y
            tensors[layer.name] = _as_integers(y, self._step(layer.name), self._quantities[layer.name])
        return tensors[self.layers[-1].name].flatten(1)

    def _compute(self, layer: Layer, inputs: list[torch.Tensor], step: torch.Tensor) -> torch.Tensor:
        if not layer.has_weights:
            return layer.computed(inputs)
        read_bits = self._quantities[layer.inputs[0]].bits
        if layer.kind == GRU:  # its state has steps too fine to matter
            step, read_bits = step.new_tensor(STATES.scale), STATES.bits
        weight, steps = self.weights[layer.name], self._weight_steps(layer.name)
        bias, each = self.biases[layer.name], (step * steps).detach()  # the bias has no step of its own
        high = limit_of(self.bits[layer.name])
        if self.exact:
            high, offset = LIMIT, each * self._offsets(layer)
            steps, each = QUARTERS * steps, QUARTERS * each
            bias = rounded(bias - offset, each, -LARGEST_BIAS, LARGEST_BIAS) + offset
        else:
            limit = BIAS_LIMITS[read_bits]
            bias = rounded(bias, each, -limit, limit)
        learn = 1 / math.sqrt(weight.shape[1:].numel() * high)
        weight = rounded(weight, steps[:, None, None, None], -high, high, learn=learn)
        if layer.kind == GRU:
            return recurrence(inputs[0], weight, bias)
        return layer.convolved(inputs[0], weight, bias)

    def _offsets(self, layer: Layer) -> torch.Tensor:
        read, wanted = (self._quantities[name].scale for name in (layer.inputs[0], layer.name))
        return offsets(read, (QUARTERS * self.weight_steps[layer.name]).log2(), wanted)

    def _step(self, name: str) -> torch.Tensor:
        """Of the integers of a tensor."""
        one = self._scaled[name]
        if one in self._given:
            return self.picture_step if one == INPUT else self.picture_step.new_tensor(SIGMOIDS.scale)
        return self.steps[one].abs().clamp_min(SMALLEST_STEP)

    def _scale(self, name: str) -> float:
        is_given = self._scaled[name] == INPUT
        return self._quantities[INPUT].scale if is_given else float(self._step(name))

    def _weight_steps(self, name: str) -> torch.Tensor:
        return self.weight_steps[name].abs().clamp_min(SMALLEST_STEP)

    @torch.no_grad()
    def integers(self) -> IntegerNetwork:
        """The integer network whose rounding this one has."""
        quantities = {name: replace(own, scale=self._scale(name)) for name, own in self._quantities.items()}
        weights = {}
        for layer in self.layers:
            source, read = quantities[layer.inputs[0]], [quantities[name] for name in layer.inputs]
            quantities[layer.name] = as_kernels_have_it(layer, read, quantities[layer.name])
            if layer.kind == CONVOLUTION and self.exact:
                weights[layer.name] = self._exact_weights(layer)
            elif layer.has_weights:
                weights[layer.name] = self._weights(layer.name, STATES if layer.kind == GRU else source)
        return IntegerNetwork(self.layers, weights, quantities, self.exact)

    def _exact_weights(self, layer: Layer) -> Weights:
        convolution = nn.Conv2d(1, 1, 1)
        convolution.weight, convolution.bias = self.weights[layer.name], self.biases[layer.name]
        read, wanted = (self._quantities[name].scale for name in (layer.inputs[0], layer.name))
        return exact_weights(
            convolution, (QUARTERS * self.weight_steps[layer.name]).log2().cpu(), read, wanted, layer.name
        )

    def _weights(self, name: str, read: Quantity) -> Weights:
        bits, steps = self.bits[name], self._weight_steps(name).cpu()
        weight = (self.weights[name].cpu() / steps[:, None, None, None]).round()
        weight = weight.clamp(-limit_of(bits), limit_of(bits)).to(torch.int8).numpy()
        bias = self.biases[name].cpu().double() / (steps.double() * float(np.float32(read.scale)))
        limit, dtype = BIAS_LIMITS[read.bits], torch.int32 if read.bits == 8 else torch.int64
        bias = bias.round().clamp(-limit, limit).to(dtype).numpy()
        return Weights(weight, bias, steps.numpy(), bits)


def _as_integers(x: torch.Tensor, step: torch.Tensor, quantity: Quantity) -> torch.Tensor:
    """A map (B, C, H, W) as the integers of a tensor hold it, whose step learns."""
    learn = 1 / math.sqrt(x.shape[1:].numel() * quantity.high)
    return rounded(x, step, quantity.low, quantity.high, quantity.zero_point, learn)


def _parameter(values: torch.Tensor | np.ndarray | float) -> nn.Parameter:
    return nn.Parameter(torch.as_tensor(values, dtype=torch.float32).detach().clone())
