"""Each augmentation against its law."""

import numpy as np
import pytest
import torch
from scipy.fft import next_fast_len
from scipy.signal import fftconvolve
from scipy.stats import beta, kstest

from data.augment import Augment, _beta, filter_by, freq_mixstyle, mask, time_roll


@pytest.fixture
def waves(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(6, 3_200, generator=generator)


@pytest.fixture
def pictures(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(6, 1, 16, 20, generator=generator) * 3 + 1


def test_each_wave_is_rolled_by_its_own_shift(waves: torch.Tensor) -> None:
    """Oracle: torch.roll, clip by clip."""
    shifts = torch.tensor([0, 1, -1, 3_199, 400, -3_000])
    expected = torch.stack([w.roll(int(s)) for w, s in zip(waves, shifts, strict=True)])
    assert torch.equal(time_roll(waves, shifts), expected)
    assert torch.equal(time_roll(time_roll(waves, shifts), -shifts), waves)


def test_an_impulse_as_response_changes_nothing(waves: torch.Tensor) -> None:
    """Oracle: convolution's identity. Tolerance 1e-5 of full scale."""
    impulse = torch.zeros(6, 100)
    impulse[:, 0] = 1
    torch.testing.assert_close(filter_by(waves, impulse), waves, atol=1e-5, rtol=0)


def test_filtering_equals_a_convolution_cut_to_the_clip(waves: torch.Tensor, generator: torch.Generator) -> None:
    """Oracle: scipy's fftconvolve in float64. Tolerance 1e-4 of a signal of deviation about 10."""
    responses = torch.randn(6, 100, generator=generator)
    expected = [fftconvolve(w.double(), r.double())[: waves.shape[1]] for w, r in zip(waves, responses, strict=True)]
    np.testing.assert_allclose(filter_by(waves, responses).numpy(), np.stack(expected), atol=1e-4)


def test_the_length_of_the_transform_is_the_next_with_small_factors() -> None:
    """Oracle: the rule by hand, as the bits of results depend on the length: 35,199 samples, a clip of 1 s at 32 kHz
    and a response of 0.1 s, are padded to 36,000 = 2^5 3^2 5^3."""

    def next_smooth(number: int) -> int:
        while True:
            rest = number
            for factor in (2, 3, 5):
                while rest % factor == 0:
                    rest //= factor
            if rest == 1:
                return number
            number += 1

    assert next_smooth(35_199) == 36_000
    for padded in [*range(1, 3_000), 17_599, 35_199, 48_509, 52_799, 323_199]:
        assert next_fast_len(padded, real=True) == next_smooth(padded)


def test_mixing_styles_with_oneself_changes_nothing(pictures: torch.Tensor) -> None:
    """Oracle: the identity. Tolerance 1e-5."""
    mixed = freq_mixstyle(pictures, torch.arange(6), torch.rand(6))
    torch.testing.assert_close(mixed, pictures, atol=1e-5, rtol=0)


def test_mixed_pictures_have_exactly_the_mixed_statistics(pictures: torch.Tensor) -> None:
    """Oracle: w * own + (1 - w) * partner's mean and deviation per band. Tolerance 1e-4."""
    partners, weights = torch.tensor([1, 2, 3, 4, 5, 0]), torch.linspace(0, 1, 6)
    mixed = freq_mixstyle(pictures, partners, weights)
    w = weights[:, None]
    for statistic in (lambda x: x.mean((1, 3)), lambda x: x.std((1, 3), unbiased=False)):
        expected = w * statistic(pictures) + (1 - w) * statistic(pictures)[partners]
        torch.testing.assert_close(statistic(mixed), expected, atol=1e-4, rtol=0)


def test_masks_hide_the_named_cells_and_no_others(pictures: torch.Tensor) -> None:
    """Oracle: slices."""
    starts, widths = torch.tensor([0, 3, 15, 4, 0, 9]), torch.tensor([16, 2, 1, 0, 1, 7])
    hidden = mask(pictures, starts, widths, axis=2)
    for clip, (start, width) in enumerate(zip(starts, widths, strict=True)):
        expected = pictures[clip].clone()
        expected[:, start : start + width] = 0
        assert torch.equal(hidden[clip], expected)
    assert torch.equal(mask(pictures.mT, starts, widths, axis=3), hidden.mT)


def test_only_clips_of_the_reference_device_are_filtered(waves: torch.Tensor, generator: torch.Generator) -> None:
    """Oracle: a response that silences; p = 1."""
    from_a = torch.tensor([True, False, True, False, False, True])
    out = Augment(impulse_p=1.0).waves(waves, None, from_a, torch.zeros(3, 50), generator)
    assert torch.equal(out.abs().amax(1) == 0, from_a)
    # No clip of device a in a batch is no error.
    assert torch.equal(
        Augment(impulse_p=1.0).waves(waves, None, ~from_a & from_a, torch.zeros(3, 50), generator), waves
    )


def test_augmentations_that_are_off_change_nothing(
    waves: torch.Tensor, pictures: torch.Tensor, generator: torch.Generator
) -> None:
    """Oracle: equality."""
    off = Augment()
    assert torch.equal(
        off.waves(waves, off.shifts(6, generator), torch.ones(6, dtype=bool), torch.randn(2, 9), generator), waves
    )
    assert torch.equal(off.pictures(pictures, generator), pictures)


def test_the_same_seed_gives_the_same_augmentation(waves: torch.Tensor, pictures: torch.Tensor) -> None:
    """Oracle: equality of two runs, and inequality with another seed."""
    everything = Augment(roll=100, impulse_p=0.5, mixstyle_p=1.0, frequency_mask=4, time_mask=5)

    def run(seed: int) -> torch.Tensor:
        g = torch.Generator().manual_seed(seed)
        out = everything.waves(waves, everything.shifts(6, g), torch.ones(6, dtype=bool), torch.eye(3, 50), g)
        return torch.cat([out.flatten(), everything.pictures(pictures, g).flatten()])

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_mixing_weights_are_beta_distributed(generator: torch.Generator) -> None:
    """Oracle: scipy's Beta(0.3, 0.3) by Kolmogorov-Smirnov, seeded."""
    assert kstest(_beta(0.3, 5_000, generator).numpy(), beta(0.3, 0.3).cdf).pvalue > 0.01
