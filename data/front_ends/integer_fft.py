"""The spectrum of a real signal in integers of 32 bits, as a small processor without floating point computes it.

Conventions: values are int64 tensors that hold 32 bits; complex ones are pairs, real and imaginary part. `>>` rounds
towards minus infinity, as it does on the device. A product with a twiddle factor of 32 bits keeps the upper 32 of 64
bits, one instruction of a Cortex-M4 (SMMUL): a quarter of the product if QUARTER stands for 1, half of it if HALF does.
Shifts come before sums, where an
instruction has them for nothing. The first stage adds two values, or halves the sums of four, each later one quarters
the sums of four: no magnitude grows beyond twice the largest value's before, whose bits ROOM leaves.
Source: Cooley and Tukey, Mathematics of Computation 19, 1965, with radix 4; for real signals Sorensen et al., IEEE
Transactions on Acoustics, Speech, and Signal Processing 35(6), 1987.
"""

from functools import lru_cache

import torch

Complex = tuple[torch.Tensor, torch.Tensor]
QUARTER, HALF = 1 << 30, 1 << 31  # 1, as a factor
ROOM = 29  # bits of a signal's magnitudes


def real_spectrum(signal: torch.Tensor) -> Complex:
    """Bins 0 to n/2 - 1 of the Fourier transform of a real signal, times 2 / n.

    Args:
        signal: (..., n), n a power of two from 8 on, values below 2^ROOM in magnitude.

    Returns:
        real and imaginary parts (..., n/2), below 2^(ROOM + 1) in magnitude.
    """
    half = signal.shape[-1] // 2
    places, quarter = order(half, signal.device), half // 2
    re, im = _transform((signal[..., 0::2][..., places], signal[..., 1::2][..., places]))
    # The even samples' spectrum is (Z[k] + conj Z[-k]) / 2, i times that of the odd ones (Z[k] - conj Z[-k]) / 2: what
    # they make of bin k, they make of bin half - k but for signs.
    front = torch.arange(quarter + 1, device=signal.device)
    back = -front % half
    (front_re, front_im), (back_re, back_im) = ((re[..., k] >> 1, im[..., k] >> 1) for k in (front, back))
    even = (front_re + back_re) >> 1, (front_im - back_im) >> 1
    odd = front_re - back_re, front_im + back_im
    turned = _upper_product(odd, twiddles(quarter + 1, 2 * half, signal.device, unit=HALF))
    low = even[0] + turned[1], even[1] - turned[0]
    high = even[0] - turned[1], -even[1] - turned[0]
    low_re, low_im = low
    high_re, high_im = (part[..., 1:quarter].flip(-1) for part in high)
    return torch.cat([low_re, high_re], -1), torch.cat([low_im, high_im], -1)


def _transform(values: Complex) -> Complex:
    """The Fourier transform (..., n) of a complex signal in the order of `order`, times 2 / n."""
    (re, im), count = values, values[0].shape[-1]
    if count.bit_length() % 2 == 0:  # twice a power of four
        re, im, length = _combine_two(re), _combine_two(im), 2
    else:
        re, im, length = re << 1, im << 1, 1
    while length < count:
        length *= 4
        quarters = (-1, 4, length // 4)
        re, im = _combine_four(re.unflatten(-1, quarters), im.unflatten(-1, quarters), length)
    return re, im


def _combine_two(part: torch.Tensor) -> torch.Tensor:
    """Sum and difference of neighbours, real or imaginary parts (..., n)."""
    first, second = part[..., 0::2], part[..., 1::2]
    return torch.stack([first + second, first - second], -1).flatten(-2)


def _combine_four(re: torch.Tensor, im: torch.Tensor, length: int) -> Complex:
    """Four transforms (..., 4, length / 4) of every fourth value each, as one of all, quartered, (..., n); those that
    begin with the values 0, 2, 1 and 3 stand in this order."""
    quarter = length // 4
    a_re, a_im = re[..., 0, :] >> 2, im[..., 0, :] >> 2
    (c_re, c_im), (b_re, b_im), (d_re, d_im) = (
        _upper_product((re[..., place, :], im[..., place, :]), twiddles(quarter, length, re.device, step))
        for place, step in ((1, 2), (2, 1), (3, 3))
    )
    sum_re, sum_im, difference_re, difference_im = a_re + c_re, a_im + c_im, a_re - c_re, a_im - c_im
    odd_re, odd_im, turn_re, turn_im = b_re + d_re, b_im + d_im, b_re - d_re, b_im - d_im
    found_re = (sum_re + odd_re, difference_re + turn_im, sum_re - odd_re, difference_re - turn_im)
    found_im = (sum_im + odd_im, difference_im - turn_re, sum_im - odd_im, difference_im + turn_re)
    return torch.stack(found_re, -2).flatten(-3), torch.stack(found_im, -2).flatten(-3)


def _upper_product(value: Complex, factor: Complex) -> Complex:
    """The upper 32 bits of a product with a twiddle factor: each of its four products is rounded by itself."""
    (re, im), (w_re, w_im) = value, factor
    return (re * w_re >> 32) + (-im * w_im >> 32), (im * w_re >> 32) + (re * w_im >> 32)


@lru_cache
def twiddles(count: int, length: int, device: torch.device, step: int = 1, unit: int = QUARTER) -> Complex:
    """exp(-2 pi i k step / length) for k from 0 to count - 1, times `unit`; of HALF, 1 alone has no 32 bits."""
    angles = torch.arange(count, dtype=torch.float64) * (-2 * torch.pi * step / length)
    re, im = ((part * unit).round().long() for part in (angles.cos(), angles.sin()))
    return re.to(device), im.to(device)


@lru_cache
def order(count: int, device: torch.device) -> torch.Tensor:
    """Where the values of a signal go before the first stage: their places' bits from back to front."""
    found = torch.zeros(1, dtype=torch.long)
    while len(found) < count:
        found = torch.cat([2 * found, 2 * found + 1])
    return found.to(device)
