"""The C of the log-mel in integers, for this machine and an emulated Cortex-M4, against its definition in PyTorch."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from c_code import compiled, emulated

from data.errors import UserError
from data.front_ends.integer_log_mel import IntegerLogMel, as_samples
from data.front_ends.integer_steps import steps_of
from data.front_ends.integer_torchaudio_log_mel import IntegerTorchaudioLogMel
from students.device.front_end import front_end_files
from students.quantize.integer import Quantity

SETTINGS = {
    "default": ({}, 32_000),
    "odd power": ({"fft": 2048, "window": 1024, "hop": 331, "mels": 40, "high": 8_000.0}, 9_001),
    "small": ({"fft": 64, "window": 63, "hop": 20, "mels": 12, "high": 16_000.0}, 1_001),
    "sparse": ({"fft": 128, "window": 20, "hop": 77, "mels": 40, "low": 900.0, "high": 15_000.0}, 67),
    "unfiltered": ({"fft": 2048, "window": 1764, "hop": 882, "mels": 40, "high": 16_000.0, "pre_emphasis": 0.0}, 5_002),
    "torchaudio": ({}, 32_000),
    "torchaudio, small": ({"fft": 128, "window": 100, "hop": 50, "mels": 20, "low": 90.0, "high": 15_000.0}, 1_000),
}
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "scenelet_front_end.h"
static scenelet_front_end state;
static scenelet_front_end_scratch scratch;
static int16_t samples[SCENELET_SAMPLES];
static int8_t map[SCENELET_MAP_FIRST + SCENELET_MELS * SCENELET_MAP_ROW];
int main(int count, char **words)
{
    uint32_t seed = (uint32_t)atoi(words[1]), longest = (uint32_t)atoi(words[2]);
    (void)count;
    while (fread(samples, sizeof(int16_t), SCENELET_SAMPLES, stdin) == SCENELET_SAMPLES) {
        uint32_t at = 0;
        scenelet_front_end_begin(&state);
        while (at < SCENELET_SAMPLES) {
            uint32_t some = 1 + (seed = seed * 1664525u + 1013904223u) / 65536u % longest, left = SCENELET_SAMPLES - at;
            at += scenelet_front_end_push(&state, &scratch, samples + at, some < left ? some : left, map);
            memset(&scratch, (int)some, sizeof scratch);
        }
        if (state.frames != SCENELET_FRAMES || scenelet_front_end_push(&state, &scratch, samples, 1, map) != 0) {
            return 2;
        }
        fwrite(map, 1, sizeof map, stdout);
    }
    return 0;
}
"""


BOARD = """
#include "scenelet_front_end.h"
scenelet_front_end state;
scenelet_front_end_scratch scratch;
int16_t samples[SCENELET_SAMPLES];
int8_t map[SCENELET_MAP_FIRST + SCENELET_MELS * SCENELET_MAP_ROW];
void push(uint32_t at, uint32_t count);
void push(uint32_t at, uint32_t count)
{
    if (at == 0) {
        scenelet_front_end_begin(&state);
    }
    scenelet_front_end_push(&state, &scratch, samples + at, count, map);
}
"""


@dataclass(frozen=True)
class Case:
    """A front end, the samples of its clips, a network's input, and integers beside each row of its map."""

    front_end: IntegerLogMel
    samples: int
    quantity: Quantity
    beside: int

    @property
    def files(self) -> dict[str, str]:
        row = self.quantity.shape[2] + self.beside
        return front_end_files(self.front_end, self.samples, self.quantity, row=row, first=3 * self.beside)

    def maps(self, clips: torch.Tensor) -> np.ndarray:
        """What the C must write, int8 (n, size)."""
        quantity, beside = self.quantity, self.beside
        shift, stretch = self.front_end.shift, self.front_end.stretch
        steps = steps_of(quantity.scale, quantity.zero_point, quantity.low, quantity.high, shift, stretch)
        rows = np.pad(steps(self.front_end.integers(clips)).numpy(), ((0, 0), (0, 0), (0, beside)))
        return np.pad(rows.reshape(len(clips), -1), ((0, 0), (3 * beside, 0)))


def quantity_of(front_end: IntegerLogMel, samples: int) -> Quantity:
    scale = float(np.float32(0.0131 if front_end.shift else 0.0655))
    return Quantity(scale, -17 if front_end.shift else 30, (1, front_end.mels, front_end.frames(samples)))


def case_of(name: str) -> Case:
    settings, samples = SETTINGS[name]
    kind = IntegerTorchaudioLogMel if name.startswith("torchaudio") else IntegerLogMel
    front_end = kind(**settings)
    return Case(front_end, samples, quantity_of(front_end, samples), len(name) % 2)


def clips_of(samples: int) -> torch.Tensor:
    """Noise from full scale down to single steps, a tone, a click, both ends of the range, a clipped wave, silence."""
    generator = torch.Generator().manual_seed(0)
    waves = torch.rand(10, samples, generator=generator) * 2 - 1
    waves[1:4] *= torch.tensor([[1e-1], [1e-3], [3e-5]])
    waves[4] = torch.sin(torch.arange(samples) * 0.3)
    waves[5] = torch.zeros(samples).index_fill(0, torch.tensor([samples // 2]), -1.0)
    waves[6] = -1
    waves[7] = 1 - 2 * (torch.arange(samples) % 2)
    waves[8] = 5 * waves[0]
    waves[9] = 0
    return as_samples(waves)


@pytest.mark.parametrize("name", SETTINGS)
def test_equal_to_the_definition_in_every_bit(name: str, tmp_path: Path) -> None:
    """Oracle: the front end and its steps in PyTorch, whatever the sizes of the pieces that come in, and with what the
    scratch memory was overwritten in between; on this machine, with sanitizers."""
    case = case_of(name)
    program = compiled({**case.files, "main.c": MAIN}, tmp_path)
    clips = clips_of(case.samples)
    expected = case.maps(clips)
    assert len(np.unique(expected)) > 100
    for seed, longest in ((1, 1), (2, 700), (3, case.samples)):
        done = subprocess.run(
            [program, str(seed), str(longest)], input=clips.numpy().tobytes(), capture_output=True, check=True
        )
        found = np.frombuffer(done.stdout, np.int8).reshape(expected.shape)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("name", "some"),
    [("default", [0, 8]), ("odd power", [1, 4, 9]), ("small", range(10)), ("torchaudio, small", range(10))],
)
def test_equal_on_an_emulated_microcontroller(name: str, some: Sequence[int], tmp_path: Path) -> None:
    """Oracle: IntegerLogMel and its steps, for the instructions of a Cortex-M4; of the default settings, 64 frames of
    4096 points, 20 million modelled cycles at most, and 16 KiB of scratch memory."""
    case = case_of(name)
    keep = ["push", "samples", "map", "scratch"]
    program = emulated({**case.files, "main.c": BOARD}, tmp_path, keep)
    clips = clips_of(case.samples)[list(some)]
    for clip, expected in zip(clips, case.maps(clips), strict=True):
        program.write("samples", clip.numpy().tobytes())
        program.clear()
        program.call("push", 0, 1234 % case.samples)
        program.call("push", 1234 % case.samples, case.samples)
        np.testing.assert_array_equal(np.frombuffer(program.read("map"), np.int8), expected)
    if name == "default":
        assert program.counts[0].cycles <= 20_000_000
        assert program.symbols["scratch"].size == 4 * 4096


def test_equal_settings_make_equal_files_without_floats() -> None:
    """Oracle: the text of two calls; the words that a device's code does not have."""
    quantity = quantity_of(IntegerLogMel(), 32_000)
    files = front_end_files(IntegerLogMel(), 32_000, quantity)
    assert files == front_end_files(IntegerLogMel(), 32_000, quantity)
    for text in files.values():
        assert text.startswith("/* SPDX-License-Identifier: Apache-2.0.")
        assert not re.search(r"\b(float|double|malloc|calloc|free)\b", text)


def test_clips_that_are_too_short_to_be_mirrored_are_refused() -> None:
    """Oracle: half of the transform, and one sample for the emphasis."""
    front_end = IntegerLogMel()
    front_end_files(front_end, 2050, quantity_of(front_end, 2050))
    with pytest.raises(UserError, match="2049 samples are too short"):
        front_end_files(front_end, 2049, quantity_of(front_end, 2049))


def test_inputs_of_16_bits_are_refused() -> None:
    """Oracle: the message: kernels have 8 bits."""
    front_end = IntegerLogMel()
    with pytest.raises(UserError, match="16 bits have no kernels on devices: quantize with"):
        front_end_files(front_end, 32_000, replace(quantity_of(front_end, 32_000), bits=16))
