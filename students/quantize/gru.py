"""A gated recurrent unit in integers: weights of 8 bits, a state of 16 bits, sigmoid and tanh by a table.

Conventions: a convolution before it has multiplied its input by W and added b: gates, (B, 3 units, 1, steps) of 8 bits,
for the reset, the update and the candidate, in the order of PyTorch. States are (B, units, 1, steps). At each step

    r, z = sigmoid(gates_rz + (U h + c)_rz)      n = tanh(gates_n + r (U h + c)_n)      h' = n + z (h - n)

Between the int8 of gates and of states all tensors have 16 bits and fixed scales, those that the kernels' table of
sigmoids wants: sums 2^-12, which hold +-8, all others 2^-15, and differences of two of these 2^-14. Each operation is
an operator of TensorFlow Lite and is rounded as its reference kernels round it, which all equal those of tflite-micro.
Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation",
EMNLP 2014, in PyTorch's form (torch.nn.GRU). Sigmoid and tanh: TensorFlow Lite, kernels/internal/reference/integer_ops,
logistic.h and tanh.h.
"""

import numpy as np
import torch

from students.quantize.arithmetic import Quantity, Weights, convolution_factors, fixed_point, rescale, rescale_once

GATES = 3
SUMS, STATES, DIFFERENCES = (Quantity(2.0**exponent, 0, (0, 0, 0), 16) for exponent in (-12, -15, -14))
LEFT_SHIFT = 15  # of the sides of additions with 16 bits
THRICE = 3  # the table's unit is a third of 2^-12
# 65,536 sigmoid(x) for x = 0, 1/24, ..., 255/24, as the kernels have it. It follows no rounding of the real values,
# from which it differs by up to 1.1, and was found by what the kernels answer to all integers.
_SIGMOIDS = """
32768 33451 34133 34813 35493 36169 36843 37513 38180 38841 39498 40149 40794 41432 42064 42688 43304 43912 44511
45102 45683 46255 46817 47369 47911 48443 48964 49475 49975 50464 50942 51409 51865 52311 52745 53169 53581 53983
54374 54755 55125 55485 55834 56174 56503 56823 57133 57433 57724 58007 58280 58544 58800 59048 59288 59519 59743
59959 60168 60370 60565 60753 60935 61110 61279 61441 61599 61750 61896 62036 62172 62302 62428 62549 62666 62778
62886 62990 63090 63186 63279 63368 63454 63536 63615 63691 63765 63835 63903 63968 64030 64090 64148 64204 64257
64308 64357 64405 64450 64494 64536 64576 64614 64652 64687 64721 64754 64786 64816 64845 64873 64900 64926 64950
64974 64997 65019 65039 65060 65079 65097 65115 65132 65149 65164 65179 65194 65208 65221 65234 65246 65258 65269
65280 65291 65301 65310 65319 65328 65337 65345 65352 65360 65367 65374 65381 65387 65393 65399 65404 65410 65415
65420 65425 65429 65433 65438 65442 65445 65449 65453 65456 65459 65462 65465 65468 65471 65474 65476 65479 65481
65483 65485 65488 65489 65491 65493 65495 65497 65498 65500 65501 65503 65504 65505 65507 65508 65509 65510 65511
65512 65513 65514 65515 65516 65517 65517 65518 65519 65520 65520 65521 65522 65522 65523 65523 65524 65524 65525
65525 65526 65526 65526 65527 65527 65528 65528 65528 65529 65529 65529 65529 65530 65530 65530 65530 65531 65531
65531 65531 65531 65532 65532 65532 65532 65532 65532 65533 65533 65533 65533 65533 65533 65533 65533 65534 65534
65534 65534 65534 65534 65534 65534 65534 65534 65535
"""
SIGMOIDS = tuple(map(int, _SIGMOIDS.split()))


def recur(gates: torch.Tensor, weights: Weights, read: Quantity, wanted: Quantity) -> torch.Tensor:
    """The integers of all states, not yet cut off, of those of gates; `weights` are (3 units, units, 1, 1)."""
    steps = requantized(gates.long(), read, SUMS)[:, :, 0]
    units = weights.weight.shape[1]
    state, states = torch.zeros(len(gates), units, dtype=torch.int64, device=gates.device), []
    matrix = torch.from_numpy(weights.weight[:, :, 0, 0].T.copy()).to(gates.device, torch.float64)
    bias = torch.from_numpy(weights.bias).to(gates.device)
    factors = zip(*convolution_factors(weights, STATES, SUMS), strict=True)
    mantissa, exponent = (torch.tensor(column, device=gates.device) for column in factors)
    for step in steps.unbind(2):
        # Products of 8 and 16 bits and their sums are exact in float64.
        sums = cut(rescale_once((state.double() @ matrix).long() + bias, mantissa, exponent))
        (gate_r, gate_z, gate_n), (sum_r, sum_z, sum_n) = step.chunk(GATES, 1), sums.chunk(GATES, 1)
        r, z = logistic(cut(gate_r + sum_r)), logistic(cut(gate_z + sum_z))
        n = tanh(cut(gate_n + cut(product(r, sum_n))))
        state = cut(n + 2 * cut(product(z, cut(half(state - n)))))
        states.append(state)
    return requantized(torch.stack(states, 2)[:, :, None], STATES, wanted)


def requantized(x: torch.Tensor, read: Quantity, wanted: Quantity) -> torch.Tensor:
    """The same values in the integers of another scale, cut off: the operator QUANTIZE."""
    y = rescale(x - read.zero_point, *_factor(float(np.float32(read.scale)) / float(np.float32(wanted.scale))))
    return (y + wanted.zero_point).clamp(wanted.low, wanted.high)


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a of the scale 2^-15 times b, of the scale of b: the operator MUL."""
    return rescale(a * b, *_factor(STATES.scale))


def half(x: torch.Tensor) -> torch.Tensor:
    """A difference of two states of the scale 2^-15 in the scale 2^-14: what the operator SUB does last."""
    return rescale(x << LEFT_SHIFT - 1, *_factor(2.0**-LEFT_SHIFT))


def logistic(x: torch.Tensor) -> torch.Tensor:
    """Sigmoids, of the scale 2^-15, of sums of the scale 2^-12, by linear interpolation in the table."""
    magnitude = (THRICE * x).abs()
    y = _interpolated(magnitude, 9, 0x7FFF << 10)
    return torch.where(x >= 0, y + (1 << 9), (1 << 25) - y + (1 << 9) - 1) >> 10


def tanh(x: torch.Tensor) -> torch.Tensor:
    """tanh(x) = 2 sigmoid(2 x) - 1 in the same scales."""
    magnitude = (THRICE * x).abs()
    y = _interpolated(magnitude, 8, 0xFFFF << 8) - (1 << 23)
    return torch.where(x >= 0, y + (1 << 7), -y + (1 << 7) - 1) >> 8


def cut(x: torch.Tensor) -> torch.Tensor:
    """Within 16 bits."""
    return x.clamp(STATES.low, STATES.high)


def _interpolated(magnitude: torch.Tensor, bits: int, largest: int) -> torch.Tensor:
    """Of the table at magnitude / 2^bits, times 2^bits; beyond its end the largest."""
    table = torch.tensor(SIGMOIDS, device=magnitude.device)
    place = (magnitude >> bits).clamp(max=len(SIGMOIDS) - 2)
    between = (table[place] << bits) + (magnitude & (1 << bits) - 1) * (table[place + 1] - table[place])
    return torch.where(magnitude >> bits < len(SIGMOIDS) - 1, between, largest)


def _factor(multiplier: float) -> tuple[torch.Tensor, torch.Tensor]:
    mantissa, exponent = (torch.tensor(number) for number in fixed_point(multiplier))
    return mantissa, exponent
