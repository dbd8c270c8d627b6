"""Dynamic range compression as an augmentation."""

import math

import pytest
import torch

from data.augment import ATTACK_SECONDS, FRAME_SECONDS, RELEASE_SECONDS, compress
from data.augmentation import Augmentation
from data.augmenter import Augmenter, Sounds

RATE = 16_000
FRAME = round(FRAME_SECONDS * RATE)


def square_wave(*levels: float, seconds: float = 1.0) -> torch.Tensor:
    """(1, samples): parts of so many seconds, each with the root mean square of a level, dB, in every frame."""
    count = round(seconds * RATE)
    signs = 1 - 2 * (torch.arange(count) % 2).float()
    return torch.cat([signs * 10 ** (level / 20) for level in levels])[None]


def levels_of(waves: torch.Tensor) -> torch.Tensor:
    """dB of each frame."""
    return 10 * waves[0].unfold(0, FRAME, FRAME).square().mean(1).log10()


def level_of(waves: torch.Tensor) -> float:
    return float(10 * waves.square().mean().log10())


def test_what_is_above_the_threshold_exceeds_it_by_a_part() -> None:
    """Oracle: the static curve: both parts 20 dB and more above the threshold, 12 dB apart: 12 / ratio afterwards, at
    the end of each part, five release times after its beginning (0.01 dB); one of them below: 8 dB above it become
    8 / ratio, what is below keeps its distance from it. The level of the whole stays (1e-4 dB)."""
    wave = square_wave(-30.0, -18.0)
    for offset, apart in ((-40.0, 12 / 4), (level_of(square_wave(-26.0)) - level_of(wave), 4 + 8 / 4)):
        out = compress(wave, torch.tensor([offset]), torch.tensor([4.0]), RATE)
        found = levels_of(out)
        assert float(found[-1] - found[len(found) // 2 - 2]) == pytest.approx(apart, abs=0.01)
        assert level_of(out) == pytest.approx(level_of(wave), abs=1e-4)


def test_the_gain_follows_with_its_time_constants() -> None:
    """Oracle: by hand: after a step of the level, the distance from the new gain falls by exp(-frame / time) a frame,
    of the attack where the level rises and of the release where it falls (1 %, frames 2 to 5 behind the step)."""
    wave = square_wave(-30.0, -10.0, -30.0)
    out = compress(wave, torch.tensor([-60.0]), torch.tensor([2.0]), RATE)
    gains = levels_of(out) - levels_of(wave)
    count = len(gains) // 3
    for start, seconds in ((count, ATTACK_SECONDS), (2 * count, RELEASE_SECONDS)):
        left = (gains[start : start + count] - gains[start + count - 3]).abs()
        for frame in range(2, 5):
            assert float(left[frame + 1] / left[frame]) == pytest.approx(math.exp(-FRAME_SECONDS / seconds), rel=0.03)


def test_nothing_changes_without_a_ratio_below_the_threshold_and_in_silence(generator: torch.Generator) -> None:
    """Oracle: the input: ratio 1; a threshold above all that is there; silence stays silence, without what is no
    number; a wave that does not end with a frame keeps its length; each clip has its own parameters."""
    waves = torch.randn(3, RATE + 7, generator=generator) / 10
    waves[2] = 0
    out = compress(waves, torch.tensor([-20.0, 60.0, 0.0]), torch.tensor([1.0, 20.0, 20.0]), RATE)
    torch.testing.assert_close(out, waves, rtol=1e-5, atol=1e-7)
    assert torch.equal(out[2], torch.zeros(RATE + 7))
    alone = compress(waves[:1], torch.tensor([-20.0]), torch.tensor([3.0]), RATE)
    both = compress(waves[:2], torch.tensor([-20.0, 60.0]), torch.tensor([3.0, 3.0]), RATE)
    torch.testing.assert_close(both[:1], alone)
    assert (alone - waves[:1]).abs().max() > 1e-3


def test_clips_that_are_compressed_are_those_that_were_filtered(generator: torch.Generator) -> None:
    """Oracle: by hand: clips of another device stay as they are; of those of the reference device all that were
    filtered by an impulse (which changes nothing) are compressed with probability 1; without responses all of the
    reference device; with probability 0 none is, and nothing is drawn."""
    waves = torch.randn(40, RATE // 4, generator=generator) * torch.linspace(0.01, 1, RATE // 4)
    from_a = torch.arange(40) % 2 == 0
    impulse = torch.zeros(1, 10)
    impulse[0, 0] = 1
    on = Augmentation(impulse_p=0.5, compress_p=1.0, compress_spread=0.0)
    out = Augmenter(on).augment_waves(
        Sounds(waves, from_a, impulse, sample_rate=RATE), torch.Generator().manual_seed(0)
    )
    changed = (out.waves - waves).abs().amax(1) > 1e-4
    assert torch.equal(changed, out.filtered)
    assert 0 < int(changed.sum()) < int(from_a.sum())
    assert not changed[~from_a].any()
    alone = Augmenter(on).augment_waves(Sounds(waves, from_a, sample_rate=RATE), torch.Generator().manual_seed(0)).waves
    assert torch.equal((alone - waves).abs().amax(1) > 1e-4, from_a)
    off, before = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0).get_state()
    assert Augmenter(Augmentation()).augment_waves(Sounds(waves, from_a), off).waves is waves
    assert torch.equal(off.get_state(), before)


def test_ratios_and_thresholds_are_drawn_within_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: what the compressor is given for 400 clips: ratios from 1 to 3, thresholds within 6 dB, both reaching
    nine tenths of their range."""
    given = []
    monkeypatch.setattr("data.augmenter.compress", lambda waves, *rest: given.append(rest) or waves)
    settings = Augmentation(compress_p=1.0, compress_ratio=3.0, compress_spread=6.0)
    sounds = Sounds(torch.zeros(400, 10), torch.ones(400, dtype=torch.bool), sample_rate=RATE)
    Augmenter(settings).augment_waves(sounds, torch.Generator().manual_seed(0))
    ((offsets, ratios, rate),) = given
    assert rate == RATE
    assert 1 <= ratios.min() < 1.2
    assert 2.8 < ratios.max() <= 3
    assert -6 <= offsets.min() < -5.4
    assert 5.4 < offsets.max() <= 6
