"""The spectrum of a real signal in integers of 32 bits, as a small processor without floating point computes it.

Conventions: values are int64 tensors that hold 32 bits; complex ones are pairs, real and imaginary part. `>>` rounds
towards minus infinity, as it does on the device. A product with a twiddle factor of 16 bits (Q15) keeps the upper 32 of
48 bits, which is half of the product: one instruction of a Cortex-M4 (SMULWB). Every stage halves its sums, once where
it combines two values and twice where it combines four: no value grows beyond the largest magnitude before.
Source: Cooley and Tukey, Mathematics of Computation 19, 1965, with radix 4; for real signals Sorensen et al., IEEE
Transactions on Acoustics, Speech, and Signal Processing 35(6), 1987.
"""

from functools import lru_cache

import torch

Complex = tuple[torch.Tensor, torch.Tensor]
UNIT = 1 << 15  # 1 in Q15
ROOM = 29  # bits of a signal's magnitudes


def real_spectrum(signal: torch.Tensor) -> Complex:
    """Bins 0 to n/2 - 1 of the Fourier transform of a real signal, divided by n.

    Args:
        signal: (..., n), n a power of two from 4 on, values below 2^ROOM in magnitude.

    Returns:
        real and imaginary parts (..., n/2), below 2^(ROOM + 1) in magnitude.
    """
    half = signal.shape[-1] // 2
    places = order(half, signal.device)
    re, im = _transform((signal[..., 0::2][..., places], signal[..., 1::2][..., places]))
    # The even samples' spectrum is (Z[k] + conj Z[-k]) / 2, i times that of the odd ones (Z[k] - conj Z[-k]) / 2.
    back = -torch.arange(half, device=signal.device) % half
    even = (re + re[..., back]) >> 1, (im - im[..., back]) >> 1
    odd = (re - re[..., back]) >> 1, (im + im[..., back]) >> 1
    turned = _half_product(odd, twiddles(half, signal.shape[-1], signal.device))
    return (even[0] >> 1) + turned[1], (even[1] >> 1) - turned[0]


def _transform(values: Complex) -> Complex:
    """The Fourier transform (..., n) of a complex signal in the order of `order`, divided by n."""
    (re, im), count, length = values, values[0].shape[-1], 1
    if count.bit_length() % 2 == 0:  # an odd power of two: pairs first
        re, im, length = _combine_two(re), _combine_two(im), 2
    while length < count:
        length *= 4
        quarters = (-1, 4, length // 4)
        re, im = _combine_four(re.unflatten(-1, quarters), im.unflatten(-1, quarters), length)
    return re, im


def _combine_two(part: torch.Tensor) -> torch.Tensor:
    """Sum and difference of neighbours, real or imaginary parts (..., n)."""
    first, second = part[..., 0::2], part[..., 1::2]
    return torch.stack([first + second, first - second], -1).flatten(-2) >> 1


def _combine_four(re: torch.Tensor, im: torch.Tensor, length: int) -> Complex:
    """Four transforms (..., 4, length / 4) of every fourth value each, as one of all, (..., n)."""
    quarter = length // 4
    a_re, a_im = re[..., 0, :] >> 1, im[..., 0, :] >> 1
    (b_re, b_im), (c_re, c_im), (d_re, d_im) = (
        _half_product((re[..., n, :], im[..., n, :]), twiddles(quarter, length, re.device, n)) for n in (1, 2, 3)
    )
    sum_re, sum_im, difference_re, difference_im = a_re + c_re, a_im + c_im, a_re - c_re, a_im - c_im
    odd_re, odd_im, turn_re, turn_im = b_re + d_re, b_im + d_im, b_re - d_re, b_im - d_im
    found_re = (sum_re + odd_re, difference_re + turn_im, sum_re - odd_re, difference_re - turn_im)
    found_im = (sum_im + odd_im, difference_im - turn_re, sum_im - odd_im, difference_im + turn_re)
    return (torch.stack(found_re, -2) >> 1).flatten(-3), (torch.stack(found_im, -2) >> 1).flatten(-3)


def _half_product(value: Complex, factor: Complex) -> Complex:
    """Half of a product with a twiddle factor: each of its four products is rounded by itself."""
    (re, im), (w_re, w_im) = value, factor
    return (re * w_re >> 16) - (im * w_im >> 16), (im * w_re >> 16) + (re * w_im >> 16)


@lru_cache
def twiddles(count: int, length: int, device: torch.device, step: int = 1) -> Complex:
    """exp(-2 pi i k step / length) for k from 0 to count - 1, Q15: 16 bits, but for k = 0, where it is 1 and a device
    shifts instead of multiplying."""
    angles = torch.arange(count, dtype=torch.float64) * (-2 * torch.pi * step / length)
    re, im = ((part * UNIT).round().clamp(-UNIT, UNIT - 1).long() for part in (angles.cos(), angles.sin()))
    re[0] = UNIT
    return re.to(device), im.to(device)


@lru_cache
def order(count: int, device: torch.device) -> torch.Tensor:
    """Where the values of a signal go before the first stage: those of each quarter of the last stage together."""
    found = torch.arange(2 if count.bit_length() % 2 == 0 else 1)
    while len(found) < count:
        found = torch.cat([4 * found + n for n in range(4)])
    return found.to(device)
