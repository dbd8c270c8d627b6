"""The C of the log-mel in integers, compiled for this machine, against its definition in PyTorch."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from c_code import compiled

from data.errors import UserError
from data.front_ends.integer_log_mel import IntegerLogMel, as_samples
from students.device.front_end import front_end_files

SETTINGS = {
    "default": ({}, 32_000),
    "odd power": ({"fft": 2048, "window": 1024, "hop": 331, "mels": 40, "high": 8_000.0}, 9_001),
    "small": ({"fft": 64, "window": 63, "hop": 20, "mels": 12, "high": 16_000.0}, 1_000),
}
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "scenelet_front_end.h"
static scenelet_front_end state;
static int16_t samples[SCENELET_SAMPLES];
static int32_t values[SCENELET_MELS * SCENELET_FRAMES];
int main(int count, char **words)
{
    uint32_t seed = (uint32_t)atoi(words[1]), longest = (uint32_t)atoi(words[2]);
    (void)count;
    while (fread(samples, sizeof(int16_t), SCENELET_SAMPLES, stdin) == SCENELET_SAMPLES) {
        uint32_t at = 0;
        scenelet_front_end_begin(&state);
        while (at < SCENELET_SAMPLES) {
            uint32_t some = 1 + (seed = seed * 1664525u + 1013904223u) / 65536u % longest, left = SCENELET_SAMPLES - at;
            at += scenelet_front_end_push(&state, samples + at, some < left ? some : left, values);
        }
        if (state.frames != SCENELET_FRAMES || scenelet_front_end_push(&state, samples, 1, values) != 0) {
            return 2;
        }
        fwrite(values, sizeof(int32_t), SCENELET_MELS * SCENELET_FRAMES, stdout);
    }
    return 0;
}
"""


@pytest.fixture(scope="module", params=SETTINGS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[IntegerLogMel, int, Path]:
    """A front end, the samples of its clips, and its C as a program for this machine, with sanitizers."""
    settings, samples = SETTINGS[request.param]
    front_end = IntegerLogMel(**settings)
    files = {**front_end_files(front_end, samples), "main.c": MAIN}
    return front_end, samples, compiled(files, tmp_path_factory.mktemp("c"))


def test_equal_to_the_definition_in_every_bit(built: tuple[IntegerLogMel, int, Path]) -> None:
    """Oracle: IntegerLogMel, on noise from full scale down to single steps, tones, a click, silence, both ends of the
    range, and a clipped wave; whatever the sizes of the pieces that come in."""
    front_end, samples, program = built
    generator = torch.Generator().manual_seed(0)
    waves = torch.rand(9, samples, generator=generator) * 2 - 1
    waves[1:4] *= torch.tensor([[1e-1], [1e-3], [3e-5]])
    waves[4] = torch.sin(torch.arange(samples) * 0.3)
    waves[5] = torch.zeros(samples).index_fill(0, torch.tensor([samples // 2]), -1.0)
    waves[6] = -1
    waves[7] = 1 - 2 * (torch.arange(samples) % 2)
    waves[8] = 5 * waves[0]
    clips = torch.cat([as_samples(waves), torch.zeros(1, samples, dtype=torch.int16)])
    expected = front_end.integers(clips).numpy()
    for seed, longest in ((1, 1), (2, 700), (3, samples)):
        done = subprocess.run(
            [program, str(seed), str(longest)], input=clips.numpy().tobytes(), capture_output=True, check=True
        )
        found = np.frombuffer(done.stdout, np.int32).reshape(expected.shape)
        np.testing.assert_array_equal(found, expected)


def test_equal_settings_make_equal_files_without_floats() -> None:
    """Oracle: the text of two calls; the words that a device's code does not have."""
    files = front_end_files(IntegerLogMel(), 32_000)
    assert files == front_end_files(IntegerLogMel(), 32_000)
    for text in files.values():
        assert text.startswith("/* SPDX-License-Identifier: Apache-2.0.")
        assert not re.search(r"\b(float|double|malloc|calloc|free)\b", text)


def test_clips_that_are_too_short_to_be_mirrored_are_refused() -> None:
    """Oracle: half of the transform, and one sample for the emphasis."""
    front_end_files(IntegerLogMel(), 2050)
    with pytest.raises(UserError, match="2049 samples are too short"):
        front_end_files(IntegerLogMel(), 2049)
