"""Each augmentation against its law."""

import itertools
import subprocess
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import next_fast_len
from scipy.signal import fftconvolve
from scipy.stats import beta, kstest

from data.augment import Mixing, filter_by, freq_mixstyle, mask, time_roll
from data.augmentation import Augmentation, descriptions, setting
from data.augmenter import STEPS, Augmenter, Sounds, Step, _beta
from data.errors import UserError


@pytest.fixture
def waves(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(6, 3_200, generator=generator)


@pytest.fixture
def spectrograms(generator: torch.Generator) -> torch.Tensor:
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


@pytest.mark.parametrize("length", [None, 926, 925])
def test_filtering_equals_a_convolution_cut_to_the_clip(
    waves: torch.Tensor, generator: torch.Generator, length: int | None
) -> None:
    """Oracle: scipy's fftconvolve in float64. Tolerance 1e-4 of a signal of deviation about 10. With 926 samples the
    convolution is one sample longer than 1,024 and with 925 just as long: none may come round to the start."""
    waves, responses = waves[:, :length], torch.randn(6, 100, generator=generator)
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


def test_mixing_styles_with_oneself_changes_nothing(spectrograms: torch.Tensor) -> None:
    """Oracle: the identity. Tolerance 1e-5."""
    mixed = freq_mixstyle(spectrograms, torch.arange(6), torch.rand(6))
    torch.testing.assert_close(mixed, spectrograms, atol=1e-5, rtol=0)


def test_mixed_spectrograms_have_exactly_the_mixed_statistics(spectrograms: torch.Tensor) -> None:
    """Oracle: w * own + (1 - w) * partner's mean and deviation per band. Tolerance 1e-4."""
    partners, weights = torch.tensor([1, 2, 3, 4, 5, 0]), torch.linspace(0, 1, 6)
    mixed = freq_mixstyle(spectrograms, partners, weights)
    w = weights[:, None]
    for statistic in (lambda x: x.mean((1, 3)), lambda x: x.std((1, 3), unbiased=False)):
        expected = w * statistic(spectrograms) + (1 - w) * statistic(spectrograms)[partners]
        torch.testing.assert_close(statistic(mixed), expected, atol=1e-4, rtol=0)


def test_deviations_are_those_of_the_population_plus_a_small_number() -> None:
    """Oracle: by hand, one band of two frames: -0.001 and 0.001 have the variance 1e-6, so the deviation sqrt(2e-6);
    all of the partner's, -1 and 1 with the deviation 1 (rounded), makes of 0.001 / sqrt(2e-6) = 0.7071. With Bessel's
    correction it would be 0.8165."""
    spectrograms = torch.tensor([[-1e-3, 1e-3], [-1.0, 1.0]]).view(2, 1, 1, 2)
    mixed = freq_mixstyle(spectrograms, torch.tensor([1, 0]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(mixed[0].flatten(), torch.tensor([-0.7071, 0.7071]), atol=1e-4, rtol=0)
    torch.testing.assert_close(mixed[1].flatten(), torch.tensor([-1.0, 1.0]))


def test_masks_hide_the_named_cells_and_no_others(spectrograms: torch.Tensor) -> None:
    """Oracle: slices."""
    starts, widths = torch.tensor([0, 3, 15, 4, 0, 9]), torch.tensor([16, 2, 1, 0, 1, 7])
    hidden = mask(spectrograms, starts, widths, axis=2)
    for clip, (start, width) in enumerate(zip(starts, widths, strict=True)):
        expected = spectrograms[clip].clone()
        expected[:, start : start + width] = 0
        assert torch.equal(hidden[clip], expected)
    assert torch.equal(mask(spectrograms.mT, starts, widths, axis=3), hidden.mT)


def test_only_clips_of_the_reference_device_are_filtered(waves: torch.Tensor, generator: torch.Generator) -> None:
    """Oracle: a response that silences; p = 1."""
    from_a, always = torch.tensor([True, False, True, False, False, True]), Augmenter(Augmentation(impulse_p=1.0))
    out = always.augment_waves(Sounds(waves, from_a, torch.zeros(3, 50)), generator)
    assert torch.equal(out.waves.abs().amax(1) == 0, from_a)
    # No clip of device a in a batch is no error, and neither are no responses.
    for sounds in (Sounds(waves, ~from_a & from_a, torch.zeros(3, 50)), Sounds(waves, from_a)):
        assert torch.equal(always.augment_waves(sounds, generator).waves, waves)


def test_augmentations_that_are_off_change_nothing(
    waves: torch.Tensor, spectrograms: torch.Tensor, generator: torch.Generator
) -> None:
    """Oracle: equality, and the generator, of which nothing is drawn."""
    off, before = Augmenter(Augmentation()), generator.get_state()
    sounds = off.augment_waves(Sounds(waves, torch.ones(6, dtype=bool), torch.randn(2, 9)), generator)
    assert torch.equal(sounds.waves, waves)
    assert sounds.shifts is None
    assert torch.equal(off.augment_spectrograms(spectrograms, generator), spectrograms)
    assert off.draw_mixing(6, generator) is None
    assert torch.equal(generator.get_state(), before)


def test_the_same_seed_gives_the_same_augmentation(waves: torch.Tensor, spectrograms: torch.Tensor) -> None:
    """Oracle: equality of two runs, and inequality with another seed."""
    everything = Augmenter(Augmentation(roll=100, impulse_p=0.5, mixstyle_p=1.0, frequency_mask=4, time_mask=5))

    def run(seed: int) -> torch.Tensor:
        g = torch.Generator().manual_seed(seed)
        out = everything.augment_waves(Sounds(waves, torch.ones(6, dtype=bool), torch.eye(3, 50)), g).waves
        return torch.cat([out.flatten(), everything.augment_spectrograms(spectrograms, g).flatten()])

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


SETTINGS = {
    "roll": (0, 400),
    "impulse_p": (0.0, 0.6),
    "mixstyle_p": (0.0, 0.5, 1.0),
    "frequency_mask": (0, 5, 48),
    "time_mask": (0, 7),
    "mixup_p": (0.0, 0.5, 1.0),
}


@pytest.mark.parametrize("seed", [0, 1])
def test_every_draw_is_made_in_the_order_of_earlier_versions(
    waves: torch.Tensor, spectrograms: torch.Tensor, seed: int
) -> None:
    """Oracle: the draws written out one after the other, as in the version before augmentations were classes: equal
    waves, spectrograms, mixtures and states of the generator, to the last bit, for every combination of settings."""
    from_a, responses, size = torch.tensor([True, False, True, True, False, True]), torch.eye(3, 50), 6
    for values in itertools.product(*SETTINGS.values()):
        a = Augmentation(**dict(zip(SETTINGS, values, strict=True)))
        g, h = (torch.Generator().manual_seed(seed) for _ in range(2))
        shifts, sound, picture, mixing = None, waves, spectrograms, None
        if a.roll:
            shifts = torch.randint(-a.roll, a.roll + 1, (size,), generator=g)
            sound = time_roll(sound, shifts)
        if a.impulse_p:
            chosen = (from_a & (torch.rand(size, generator=g) < a.impulse_p)).nonzero().flatten()
            picks = responses[torch.randint(0, 3, (size,), generator=g)]
            if len(chosen):
                sound = sound.index_copy(0, chosen, filter_by(sound[chosen], picks[chosen]))
        if a.mixstyle_p and torch.rand(1, generator=g).item() < a.mixstyle_p:
            weights = _beta(0.3, size, g)
            picture = freq_mixstyle(picture, torch.randperm(size, generator=g), weights)
        for axis, widest in ((2, a.frequency_mask), (3, a.time_mask)):
            if widest:
                widths = torch.randint(0, min(widest, picture.shape[axis]) + 1, (size,), generator=g)
                starts = (torch.rand(size, generator=g) * (picture.shape[axis] - widths + 1)).long()
                picture = mask(picture, starts, widths, axis=axis)
        if a.mixup_p and torch.rand(1, generator=g).item() < a.mixup_p:
            mixing = torch.randperm(size, generator=g), _beta(0.3, size, g)

        augmenter = Augmenter(a)
        sounds = augmenter.augment_waves(Sounds(waves, from_a, responses), h)
        assert torch.equal(sounds.waves, sound)
        assert (sounds.shifts is None) == (shifts is None)
        assert shifts is None or torch.equal(sounds.shifts, shifts)
        assert torch.equal(augmenter.augment_spectrograms(spectrograms, h), picture)
        found = augmenter.draw_mixing(size, h)
        assert (found is None) == (mixing is None)
        if mixing is not None:
            assert torch.equal(found.partners, mixing[0])
            assert torch.equal(found.weights, mixing[1])
        assert torch.equal(g.get_state(), h.get_state())


def test_draws_of_a_seed_are_those_of_earlier_versions() -> None:
    """Oracle: integers that commit 3a5d0b9 drew with this seed: shifts, masked bands and frames, partners of mixup."""
    settings = Augmentation(roll=400, impulse_p=0.6, mixstyle_p=0.5, frequency_mask=5, time_mask=7, mixup_p=1.0)
    augmenter, g, size = Augmenter(settings), torch.Generator().manual_seed(7), 5
    sounds = Sounds(torch.ones(size, 1_000), torch.ones(size, dtype=bool), torch.ones(2, 3))
    shifts = augmenter.augment_waves(sounds, g).shifts
    found = augmenter.augment_spectrograms(torch.arange(1.0, 81.0).view(1, 1, 8, 10).repeat(size, 1, 1, 1), g)[:, 0]
    hidden = [(found == 0).all(other).nonzero().tolist() for other in (2, 1)]
    partners = augmenter.draw_mixing(size, g).partners
    assert shifts.tolist() == [50, 99, 192, -245, -270]
    bands = {0: [3], 1: [6], 2: [6], 3: [2, 3, 4, 5, 6], 4: [5, 6, 7]}
    frames = {0: [1], 1: [1, 2, 3], 2: [4, 5, 6, 7, 8, 9], 3: [7], 4: [5, 6, 7, 8, 9]}
    for places, expected in zip(hidden, (bands, frames), strict=True):
        assert places == [[clip, place] for clip, some in expected.items() for place in some]
    assert partners.tolist() == [2, 3, 4, 0, 1]


def test_every_setting_is_read_by_the_augmentation_that_it_turns_on_and_describes_itself() -> None:
    """Oracle: the fields themselves: none without a description, no switch without the organisers' word, none that
    nothing reads (crops are drawn in data/recordings.py, training/budget.py reads roll_clips)."""
    described = {each.name: each.metadata for each in fields(Augmentation)}
    assert all(metadata["about"] for metadata in described.values())
    switches = [name for name, metadata in described.items() if "word" in metadata]
    assert switches == [*(step.switch for step in STEPS), "crop"]
    read = [name for step in STEPS for name in step.reads]
    assert sorted([*read, "crop", "crop_seconds", "roll_clips"]) == sorted(described)


def test_descriptions_are_of_what_is_on() -> None:
    """Oracle: the organisers' words, by hand."""
    assert descriptions({}) == descriptions(asdict(Augmentation())) == []
    settings = {"roll": 4000, "impulse_p": 0.6, "mixstyle_alpha": 0.3, "time_mask": 0, "mixup_p": 0.1, "crop": True}
    words = ["time rolling", "device impulse response augmentation", "mixup", "random cropping"]
    assert descriptions(settings) == words
    recorded = {f"student.augment.{name}": value for name, value in settings.items()}
    assert descriptions({**recorded, "frequency_mask": 48}, prefix="student.augment.") == words
    rest = {"mixstyle_p": 0.4, "frequency_mask": 48, "time_mask": 3}
    assert descriptions(rest) == ["freq-mixstyle", "frequency masking", "time masking"]


def test_a_new_augmentation_is_a_class_and_its_settings(waves: torch.Tensor) -> None:
    """Oracle: an augmentation that the test adds: it inverts half of the waves, in a place of its own among the others,
    and is described in reports; those before it draw what they did."""

    @dataclass(frozen=True, kw_only=True)
    class More(Augmentation):
        invert_p: float = setting(0.0, "probability that a wave is inverted", "polarity inversion")

    class Invert(Step):
        switch, reads = "invert_p", ("invert_p",)

        def augment_waves(self, sounds: Sounds, generator: torch.Generator) -> Sounds:
            chosen = torch.rand(len(sounds.waves), generator=generator) < self.settings.invert_p
            return replace(sounds, waves=torch.where(chosen[:, None], -sounds.waves, sounds.waves))

    settings, sounds = More(roll=100, invert_p=0.5), Sounds(waves, torch.ones(6, dtype=bool))
    plain = Augmenter(settings).augment_waves(sounds, torch.Generator().manual_seed(0))
    found = Augmenter(settings, (*STEPS, Invert)).augment_waves(sounds, torch.Generator().manual_seed(0))
    assert {float(sign) for sign in (found.waves / plain.waves).unique()} == {-1.0, 1.0}
    assert torch.equal(found.shifts, plain.shifts)
    assert descriptions(asdict(settings), kind=More) == ["time rolling", "polarity inversion"]


WRONG = {
    "a shift": ({"roll": -1}, r"augment.roll=-1 must be from 0"),
    "a probability": ({"mixup_p": 1.5}, r"augment.mixup_p=1.5 must be from 0 to 1"),
    "an exponent": ({"mixstyle_alpha": 0.0}, r"augment.mixstyle_alpha=0.0 must be above 0"),
    "a crop of nothing": ({"crop": True, "crop_seconds": 0.0}, r"augment.crop_seconds=0.0 must be above 0"),
    "a length of no crop": ({"crop_seconds": 5.0}, r"augment.crop_seconds=5.0 needs augment.crop=true"),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_out_of_range_are_refused(name: str) -> None:
    """Oracle: the message."""
    values, message = WRONG[name]
    with pytest.raises(UserError, match=message):
        Augmentation(**values)


def test_importing_the_settings_imports_nothing_heavy() -> None:
    """Oracle: the interpreter's own list of modules, in a new process."""
    code = "import sys, data.augmentation; sys.exit(bool({'torch', 'numpy', 'scipy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent).returncode == 0


@pytest.mark.parametrize(("length", "transform"), [(35_100, 36_000), (32_000, 32_400)])
def test_waves_are_padded_to_a_length_with_small_factors(
    length: int, transform: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the smallest number 2^a 3^b 5^c from length + 100 - 1 on, by hand: 36,000 = 2^5 3^2 5^3 and 32,400 =
    2^4 3^4 5^2. What a complex transform takes, 35,200 = 2^7 5^2 11 and 32,256 = 2^9 3^2 7, is another one."""
    lengths, plain = [], torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda values, n: lengths.append(n) or plain(values, n))
    filter_by(torch.zeros(1, length), torch.zeros(1, 100))
    assert lengths == [transform, transform]


def test_mixtures_are_the_weighted_means_of_the_paper(generator: torch.Generator) -> None:
    """Oracle: Zhang et al., equation 1, clip by clip, for waves and for labels (class by class)."""
    weights = torch.tensor([1.0, 0.25, 0.0])
    for values in (torch.randn(3, 1, 4, 5, generator=generator), torch.randn(3, 7, generator=generator)):
        found = Mixing(torch.tensor([1, 2, 0]), weights)(values)
        a, b, c = values
        torch.testing.assert_close(found, torch.stack([a, 0.25 * b + 0.75 * c, a]))


@pytest.mark.parametrize("drawn", [0.5, 0.25])
def test_a_probability_is_reached_by_draws_below_it_alone(
    drawn: float, waves: torch.Tensor, spectrograms: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a uniform draw in [0, 1) is below p with the probability p; a draw of p itself changes
    nothing."""
    monkeypatch.setattr("data.augmenter._uniform", lambda size, generator: torch.full((size,), drawn))
    everything = Augmenter(Augmentation(impulse_p=0.5, mixstyle_p=0.5, mixup_p=0.5))
    sounds = Sounds(waves, torch.ones(6, dtype=bool), torch.zeros(2, 9))
    generator, changes = torch.Generator().manual_seed(0), drawn < 0.5
    assert torch.equal(everything.augment_waves(sounds, generator).waves, waves) != changes
    assert torch.equal(everything.augment_spectrograms(spectrograms, generator), spectrograms) != changes
    assert (everything.draw_mixing(6, generator) is None) != changes


def test_mixing_weights_are_beta_distributed(generator: torch.Generator) -> None:
    """Oracle: scipy's Beta(0.3, 0.3) by Kolmogorov-Smirnov, seeded."""
    assert kstest(_beta(0.3, 5_000, generator).numpy(), beta(0.3, 0.3).cdf).pvalue > 0.01
