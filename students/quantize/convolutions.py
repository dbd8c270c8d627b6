"""Convolutions that do what other modules of a network do: dense layers, BatchNorm, and both products of a GRU.

Source of the folding: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from students.blocks import Pair


def dense(module: nn.Linear, shape: tuple[int, int, int]) -> nn.Conv2d:
    """The convolution over a whole map (C, H, W) that does what a dense layer does to it once it is flattened."""
    convolution = nn.Conv2d(shape[0], module.out_features, shape[1:], device=module.weight.device)
    with torch.no_grad():
        convolution.weight.copy_(module.weight.view(-1, *shape))
        convolution.bias.zero_() if module.bias is None else convolution.bias.copy_(module.bias)
    return convolution


@torch.no_grad()
def gru(module: nn.GRU, bands: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    """The convolutions that multiply the input of a GRU, each column of a map (C, bands, steps) a step, and its state
    (units, 1, 1), by the weights of all gates."""
    inputs, units = module.input_size, module.hidden_size
    of_input = nn.Conv2d(inputs // bands, 3 * units, (bands, 1), device=module.weight_ih_l0.device)
    of_state = nn.Conv2d(units, 3 * units, 1, device=module.weight_hh_l0.device)
    of_input.weight.copy_(module.weight_ih_l0.view_as(of_input.weight))
    of_input.bias.copy_(module.bias_ih_l0)
    of_state.weight.copy_(module.weight_hh_l0.view_as(of_state.weight))
    of_state.bias.copy_(module.bias_hh_l0)
    return of_input, of_state


def copied(module: nn.Conv2d) -> nn.Conv2d:
    """A convolution of the same weights, with biases, which are 0 if it had none."""
    copy = nn.Conv2d(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
        bias=True,
        device=module.weight.device,
    )
    with torch.no_grad():
        copy.weight.copy_(module.weight)
        copy.bias.zero_() if module.bias is None else copy.bias.copy_(module.bias)
    return copy


@torch.no_grad()
def by_channel(norm: nn.BatchNorm2d) -> nn.Conv2d:
    """The convolution of 1 x 1 that does what a norm does."""
    channels = norm.num_features
    convolution = nn.Conv2d(channels, channels, 1, groups=channels, device=norm.weight.device)
    convolution.weight.fill_(1.0)
    convolution.bias.zero_()
    absorb(convolution, norm)
    return convolution


@torch.no_grad()
def averaging(
    channels: int, kernel: Pair = (1, 1), stride: Pair = (1, 1), padding: Pair = (0, 0), *, groups: int = 1
) -> nn.Conv2d:
    """The convolution that averages over a window: all channels together, or in as many groups each by itself."""
    convolution = nn.Conv2d(channels, groups, kernel, stride, padding, groups=groups)
    convolution.weight.fill_(groups / (channels * kernel[0] * kernel[1]))
    convolution.bias.zero_()
    return convolution


@torch.no_grad()
def adapting(channels: int, wanted: int) -> nn.Conv2d:
    """The convolution of 1 x 1 that averages channels over neighbours, as adaptive pools do, to another number."""
    convolution = nn.Conv2d(channels, wanted, 1)
    convolution.weight.copy_(F.adaptive_avg_pool1d(torch.eye(channels), wanted).T[:, :, None, None])
    convolution.bias.zero_()
    return convolution


@torch.no_grad()
def some_filters(module: nn.Conv2d, channels: Sequence[int]) -> nn.Conv2d:
    """The convolution that computes some of a dense one's channels, in their order."""
    one = nn.Conv2d(
        module.in_channels,
        len(channels),
        module.kernel_size,
        module.stride,
        module.padding,
        module.dilation,
        device=module.weight.device,
    )
    one.weight.copy_(module.weight[list(channels)])
    one.bias.copy_(module.bias[list(channels)])
    return one


@torch.no_grad()
def in_parts(module: nn.Conv2d, parts: int) -> nn.Conv2d:
    """The filters of a depthwise convolution, each so many times, see Layer."""
    channels = module.out_channels * parts
    convolution = nn.Conv2d(channels, channels, module.kernel_size, groups=channels, device=module.weight.device)
    convolution.weight.copy_(module.weight.repeat_interleave(parts, 0))
    convolution.bias.copy_(module.bias.repeat_interleave(parts, 0))
    return convolution


@torch.no_grad()
def absorb(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Let a convolution do what the norm behind it does.

    w' = w g / s, b' = (b - m) g / s + c with s = sqrt(variance + eps), in float64 because s may be tiny.
    """
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = convolution.weight.double() * gain[:, None, None, None]
    bias = (convolution.bias.double() - norm.running_mean.double()) * gain + norm.bias.double()
    convolution.weight.copy_(weight)
    convolution.bias.copy_(bias)


def is_plain(module: nn.Conv2d) -> bool:
    """Whether kernels compute a convolution: it is padded with as many zeros before as behind."""
    return not isinstance(module.padding, str) and module.padding_mode == "zeros"


def is_by_channel(module: nn.BatchNorm2d) -> bool:
    """Whether a norm has one factor and one offset a channel."""
    return module.affine and module.track_running_stats and type(module).forward is nn.BatchNorm2d.forward


def geometry(
    module: nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d,
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding, each (frequency, time)."""
    return pair(module.kernel_size), pair(module.stride), pair(module.padding)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """A number for both axes, or one each."""
    return value if isinstance(value, tuple) else (value, value)
