"""Calibration: the scales and integers that ranges and weights lead to."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from data.errors import UserError
from students.cp_mobile import cp_mobile
from students.quantize.calibrate import calibrate, correct_biases, weight_scales
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork


def test_corrected_biases_bring_the_channel_means_back(generator: torch.Generator) -> None:
    """Oracle: the float network's mean logits.

    Weights rounded down to multiples of 16 shift them by far; with corrected biases the shift is below one step.
    """
    layers = [nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network, spectrograms = fold(nn.Sequential(*layers)), torch.rand(16, 1, 32, 32, generator=generator)
    fine = calibrate(network, [spectrograms])
    coarse = {name: replace(w, weight=w.weight // 16 * 16) for name, w in fine.weights.items()}
    shifted = replace(fine, weights=coarse)

    def shift(integer: IntegerNetwork) -> float:
        """Largest shift of a mean logit, in steps of the output."""
        means = (integer.logits(spectrograms) - network(spectrograms).detach()).mean(0)
        return float(means.abs().max() / integer.output.scale)

    corrected = correct_biases(network, shifted, spectrograms)
    assert shift(shifted) > 5
    assert shift(corrected) < 1
    assert all(np.array_equal(corrected.weights[name].weight, w.weight) for name, w in coarse.items())


def test_ranges_of_least_error(generator: torch.Generator) -> None:
    """Oracle: every range tried by hand on values with a far one among them: the chosen scale is within a step of the
    best; the far value is cut off, which min-max does not do; and the edges of the setting."""
    spectrogram = torch.randn(1, 1, 40, 50, generator=generator)
    spectrogram[0, 0, 0, 0] = 60.0
    folded = fold(nn.Sequential(nn.Conv2d(1, 1, 1)))
    found = calibrate(folded, [spectrogram], percentile="mse").quantities["input"]
    values, low, high = spectrogram.flatten().double(), float(spectrogram.min()), 60.0

    def error(share: float) -> float:
        step = share * (high - low) / 255
        return float(((values.clamp(share * low, share * high) / step).round() * step - values).square().sum())

    best = min(np.linspace(0.3, 1, 500), key=error)
    assert found.scale == pytest.approx(best * (high - low) / 255, rel=0.05)
    assert found.scale <= calibrate(folded, [spectrogram], percentile=100).quantities["input"].scale
    clips = torch.randn(6, 1, 20, 30, generator=generator) * torch.arange(1, 7).view(6, 1, 1, 1)
    for percentile in (99.0, 100, "mse"):  # it is the share of all values, not of each batch's
        whole, parts = (calibrate(folded, batches, percentile=percentile) for batches in ([clips], clips.split(2)))
        assert whole.quantities == parts.quantities
    for wrong in (50, 101, "mean"):
        with pytest.raises(UserError, match="or mse"):
            calibrate(folded, [spectrogram], percentile=wrong)


def test_four_bits_lose_least_where_the_scale_says(generator: torch.Generator) -> None:
    """Oracle: every scale tried by hand for one channel of 50 normal weights; with 8 bits the largest is the largest
    integer; nothing leaves +-7, or +-127."""
    weight = torch.randn(3, 2, 5, 5, generator=generator, dtype=torch.float64).numpy()
    assert (weight_scales(weight, 8) == (np.abs(weight).max((1, 2, 3)) / 127).astype(np.float32)).all()

    def error(scale: float) -> float:
        return float(((np.clip(np.round(weight[1] / scale), -7, 7) * scale - weight[1]) ** 2).sum())

    tried = [error(s) for s in np.abs(weight[1]).max() / 7 * np.linspace(0.3, 1.0, 2000)]
    assert error(weight_scales(weight, 4)[1]) <= 1.02 * min(tried)
    assert error(weight_scales(weight, 4)[1]) < 0.95 * tried[-1]
    with pytest.raises(UserError, match="5 bits"):
        calibrate(fold(nn.Sequential(nn.Conv2d(1, 2, 1))), [torch.randn(1, 1, 4, 4)], bits={"0": 5})


def test_calibration_refuses_nothing_and_nonsense() -> None:
    """Oracle: the messages for zero clips and for a NaN."""
    folded = fold(cp_mobile(size="6k"))
    with pytest.raises(UserError, match="no clips"):
        calibrate(folded, [])
    with pytest.raises(UserError, match="layer input gives values that are not numbers"):
        calibrate(folded, [torch.full((1, 1, 64, 64), float("nan"))])
