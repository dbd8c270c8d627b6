"""Impulse responses as an array."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.errors import UserError
from data.impulse import read_impulses


def test_every_response_has_unit_energy_and_one_length(shared_data: Path) -> None:
    """Oracle: 66 files in the collection; a sum of squares of 1."""
    responses = read_impulses(shared_data / "micirp", 32_000)
    assert responses.shape == (66, 3_200)
    np.testing.assert_allclose(np.square(responses).sum(1), 1, atol=1e-5)


def test_a_response_keeps_its_shape(tmp_path: Path) -> None:
    """Oracle: an echo written by hand: two impulses, 4:3."""
    echo = np.zeros(1000)
    echo[0], echo[500] = 0.8, 0.6
    soundfile.write(tmp_path / "echo.wav", echo, 32_000, "FLOAT")
    response = read_impulses(tmp_path, 32_000)[0]
    assert response[0] == pytest.approx(0.8, abs=1e-6)
    assert response[500] == pytest.approx(0.6, abs=1e-6)
    assert np.count_nonzero(response) == 2


def test_a_long_response_is_cut_to_a_tenth_of_a_second_and_fades_out_in_its_last_tenth(tmp_path: Path) -> None:
    """Oracle: 4,000 equal samples at 32 kHz, by hand: 3,200 remain, of which the last 320 go down from 1 to 0 in equal
    steps; 3,199 samples are not cut, and do not fade."""
    for number, length in enumerate((4000, 3199)):
        soundfile.write(tmp_path / f"{number}.wav", np.full(length, 0.5), 32_000, "FLOAT")
    long, short = read_impulses(tmp_path, 32_000)
    expected = np.array([1.0] * 2880 + [1 - k / 319 for k in range(320)])
    np.testing.assert_allclose(long, expected / np.sqrt((expected**2).sum()), atol=1e-6)
    np.testing.assert_allclose(short, [1 / np.sqrt(3199)] * 3199 + [0], atol=1e-6)


def test_an_empty_folder_or_a_silent_response_is_refused(tmp_path: Path) -> None:
    """Oracle: the messages."""
    with pytest.raises(UserError, match="holds no sound files"):
        read_impulses(tmp_path, 32_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 32_000)
    with pytest.raises(UserError, match=r"silent\.wav is silent"):
        read_impulses(tmp_path, 32_000)
