"""From a log-mel in integers to the integers of a network's input."""

from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.audio import decode
from data.errors import UserError
from data.front_ends import build_front_end
from data.front_ends.integer_log_mel import IntegerLogMel, as_samples
from data.front_ends.integer_steps import integer_front_end, steps_of
from data.front_ends.log_mel import LogMel
from data.waves import to_float
from students.quantize.integer import Quantity

LOGARITHMS = [-1_088_636, -1_000_000, -65_537, -1, 0, 1, 65_536, 300_000, 2**20]  # log2 of the floor is the lowest


def ideal(logarithm: int, scale: float, zero_point: int) -> Decimal:
    """The step before it is rounded, by 50 digits."""
    with localcontext() as context:
        context.prec = 50
        real = (Decimal(logarithm) * Decimal(2).ln() / 65_536 + Decimal("4.5")) / 5
        return real / Decimal(scale) + zero_point


@given(
    st.floats(2**-8, 1, width=32),
    st.integers(-128, 127),
    st.lists(st.integers(-1_100_000, 1 << 20), min_size=1, max_size=20),
)
def test_a_step_is_the_nearest_integer(scale: float, zero_point: int, logarithms: list[int]) -> None:
    """Oracle: the formula in decimal numbers of 50 digits: at most half a step away, but for 2^-20."""
    steps = steps_of(scale, zero_point, -(10**9), 10**9)
    values = torch.tensor(logarithms)
    found = (values * steps.multiplier + steps.bias) >> steps.shift
    for logarithm, step in zip(logarithms, found.tolist(), strict=True):
        assert abs(ideal(logarithm, scale, zero_point) - step) <= Decimal(0.5 + 2**-20)


@given(st.floats(1e-9, 1e9), st.integers(-128, 127))
def test_constants_fit_into_their_words(scale: float, zero_point: int) -> None:
    """Oracle: 31 and 63 bits, for any scale; and steps of the range's type, cut off at its ends."""
    steps = steps_of(scale, zero_point, -128, 127)
    assert 0 <= steps.multiplier < 1 << 31
    assert 0 <= steps.shift < 48
    largest = (1 << 23) * steps.multiplier + abs(steps.bias)
    assert largest < 1 << 63
    found = steps(torch.tensor(LOGARITHMS))
    assert found.dtype == torch.int8
    expected = [min(max(float(ideal(each, scale, zero_point)), -128), 127) for each in LOGARITHMS]
    assert np.abs(found.numpy() - np.array(expected)).max() <= 0.5 + 1e-5


def test_inputs_of_16_bits_have_their_range() -> None:
    """Oracle: the formula by hand: silence is (ln 1e-5 + 4.5) / 5 = -1.402585."""
    found = steps_of(2**-14, 0, -(2**15), 2**15 - 1)(torch.tensor([-1_088_529, 10**7]))
    assert found.dtype == torch.int16
    assert found.tolist() == [-22_980, 2**15 - 1]


def test_a_scale_that_is_too_fine_is_refused() -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match="1e-20 apart is too fine"):
        steps_of(1e-20, 0, -128, 127)


def difference(front_end: IntegerLogMel, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The steps less those of the floats of the same front end, and how far the floats are from a tie, in steps."""
    scale = float(np.float32(0.01323))
    quantity = Quantity(scale, -22, (1, front_end.mels, 64))
    steps = steps_of(scale, -22, quantity.low, quantity.high)(front_end.integers(samples))
    floats = front_end(samples / 32_768)[:, 0]
    return (steps.int() - quantity.quantize(floats).int()).abs(), ((floats.double() / scale).frac().abs() - 0.5).abs()


def test_steps_are_those_of_rounded_floats_but_for_ties() -> None:
    """Oracle: Quantity.quantize of the floats: the same, but for values within 1e-4 of a tie, which may be the next."""
    waves = torch.rand(6, 32_000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found, from_tie = difference(IntegerLogMel(), as_samples(waves * torch.logspace(0, -4, 6)[:, None]))
    assert found.max() <= 1
    assert found[from_tie > 1e-4].max() == 0


def test_the_same_of_real_clips(shared_data: Path) -> None:
    """Oracle: as before; and log_mel of the same samples, at most 0.005 apart."""
    paths = sorted((shared_data / "tau22-mini/audio").iterdir())[::10]
    decoded = decode(paths, 32_000, 1.0)
    samples = as_samples(to_float(torch.from_numpy(decoded.wave), torch.from_numpy(decoded.scale)))
    front_end = IntegerLogMel()
    found, from_tie = difference(front_end, samples)
    assert found.max() <= 1
    assert found[from_tie > 1e-4].max() == 0
    assert (found > 0).double().mean() < 1e-4
    waves = samples / 32_768
    assert (front_end(waves) - LogMel(edge_jitter=0.0)(waves)).abs().max() < 0.005


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_equal_bits_on_cuda() -> None:
    """Oracle: the CPU."""
    samples = as_samples(torch.rand(5, 32_000, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    steps, front_end = steps_of(0.013, -20, -128, 127), IntegerLogMel()
    expected = steps(front_end.integers(samples))
    assert torch.equal(steps(front_end.to("cuda").integers(samples.cuda())).cpu(), expected)


def test_a_log_mel_has_an_integer_form_of_the_same_settings() -> None:
    """Oracle: the arguments by hand; the front end that a student was trained with in integers."""
    mel = {"hop": 320, "fft": 1024, "window": 800, "mels": 64, "high": 14_000.0}
    for given_mel in ({**mel, "edge_jitter": 500.0}, {**mel, "kind": "log_mel"}, {**mel, "kind": "integer_log_mel"}):
        found = integer_front_end(32_000, {"edge_jitter": 0.0, **given_mel})
        assert (found.hop, found.fft, found.mels, found.high, found.sample_rate) == (320, 1024, 64, 14_000.0, 32_000)


@pytest.mark.parametrize(
    ("mel", "message"),
    [
        (
            {"kind": "kaldi_fbank"},
            "front end kaldi_fbank has no form in integers.*student.mel.kind=log_mel, torchaudio_log_mel or",
        ),
        ({"fft": 3072}, "the front end has no form in integers.*fft=3072 must be one of 64, 128"),
        ({"window": 5000}, "the front end has no form in integers.*window=5000 must not be longer than fft=4096"),
        ({"wave": 1}, "the front end has no form in integers.*wave"),
    ],
)
def test_settings_without_an_integer_form_are_refused(mel: dict, message: str) -> None:
    """Oracle: one message that names the setting."""
    with pytest.raises(UserError, match=message):
        integer_front_end(32_000, mel)


def test_of_another_rate_too() -> None:
    """Oracle: the bands of build_front_end at the same rate; and the message where they do not fit."""
    assert integer_front_end(16_000, {"high": 7_500.0}).high == build_front_end(16_000, {"high": 7_500.0}).high
    with pytest.raises(UserError, match="must lie between 0 and half of sample_rate=16000"):
        integer_front_end(16_000, {})
