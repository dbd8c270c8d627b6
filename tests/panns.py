"""Files of PANNs in their published form, with weights that follow from a formula, whatever a library draws."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank

from teachers.panns_network import build_network

FFT = {32_000: 1024, 16_000: 512, 8_000: 256}
HIGH = {32_000: 14_000.0, 16_000: 8_000.0, 8_000: 4_000.0}


def numbers(count: int, number: int) -> torch.Tensor:
    """The number-th sequence of float32 in [-1, 1): whole numbers modulo 2**32, scaled."""
    i = np.arange(count, dtype=np.int64)
    mixed = (i * i % 65_521 * 40_503 + i * 2_654_435_761 + number * 7_919_317) % 2**32
    return torch.from_numpy((mixed / 2**31 - 1).astype(np.float32))


def formula(shapes: Mapping[str, torch.Size]) -> dict[str, torch.Tensor]:
    """Weights of any network of PANNs: numbers times what keeps activations in range (He et al., 2015), or near 1 and 0
    in BatchNorm; bn0 scales decibels."""
    state = {}
    for number, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        value = numbers(math.prod(shape), number).reshape(shape)
        if len(shape) > 1:
            value *= math.sqrt(6 / math.prod(shape[1:]))
        elif name == "bn0.running_mean":
            value -= 30
        elif name.endswith("running_var"):
            value = (200 if name.startswith("bn0.") else 1) * (1 + value / 4)
        elif name.endswith("num_batches_tracked"):
            value = torch.tensor(600_000)
        else:
            value = value / 4 + (name.endswith("weight") and name[:2] != "fc")
        state[name] = value
    return state


def tables(rate: int) -> dict[str, torch.Tensor]:
    """What torchlibrosa keeps of its front end, in float64 until the end."""
    fft = FFT[rate]
    angles = 2 * np.pi / fft * (np.arange(fft // 2 + 1)[:, None] * np.arange(fft) % fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi / fft * np.arange(fft))
    return {
        "spectrogram_extractor.stft.conv_real.weight": torch.from_numpy(np.cos(angles) * window)[:, None].float(),
        "spectrogram_extractor.stft.conv_imag.weight": torch.from_numpy(-np.sin(angles) * window)[:, None].float(),
        "logmel_extractor.melW": torch.from_numpy(mel_bank(rate)).float(),
    }


def mel_bank(rate: int) -> np.ndarray:
    """(bins, 64), by transformers."""
    return mel_filter_bank(FFT[rate] // 2 + 1, 64, 50.0, HIGH[rate], rate, norm="slaney", mel_scale="slaney")


def write(path: Path, size: str, rate: int = 32_000, **beside: Any) -> dict[str, torch.Tensor]:
    """Write a file as published; returns the network's part of its weights."""
    with torch.device("meta"):
        network = build_network(size, 527, 0.5)
    state = formula({name: tensor.shape for name, tensor in network.state_dict().items()})
    model = {**tables(rate), **state}
    torch.save({"iteration": 600_000, "model": model, **beside}, path, _use_new_zipfile_serialization=False)
    return state


def sounds(rate: int) -> torch.Tensor:
    """Two clips of a second: a rising tone and a beating one in noise, so that no band is near the lowest value."""
    t = torch.arange(rate, dtype=torch.float64) / rate
    rising = (2 * torch.pi * (200 * t + 1500 * t**2)).sin()
    beating = (2 * torch.pi * 990 * t).sin() * (2 * torch.pi * 3 * t).sin()
    return torch.stack([0.3 * rising, 0.2 * beating]).float() + 0.05 * numbers(2 * rate, 0).reshape(2, rate)
