"""The C of calibrated answers, compiled for this machine, against its definition."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from c_code import compiled

from data.errors import UserError
from students.cp_mobile import cp_mobile
from students.device.answer import answer_files
from students.quantize.answer import MOST_SHIFT, UNKNOWN, Confidence, exponentials, known, probabilities, smoothed
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork

# Reads logits, and writes for each clip: scene, answer, those of the average, and the probabilities of both.
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "scenelet_answer.h"
int main(int count, char **words)
{
    static scenelet_average average;
    int8_t logits[SCENELET_CLASSES];
    (void)count;
    scenelet_average_begin(&average, (uint32_t)atoi(words[1]));
    while (fread(logits, 1, SCENELET_CLASSES, stdin) == SCENELET_CLASSES) {
        uint16_t probabilities[SCENELET_CLASSES];
        int32_t answers[4];
        uint32_t part;
        for (part = 0; part < 2; part++) {
            int32_t scene = part ? scenelet_average_add(&average, probabilities)
                                 : scenelet_probabilities(logits, probabilities);
            answers[2 * part] = scene;
            answers[2 * part + 1] = scenelet_known(scene, probabilities);
            fwrite(answers + 2 * part, sizeof(int32_t), 2, stdout);
            fwrite(probabilities, sizeof(uint16_t), SCENELET_CLASSES, stdout);
        }
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return calibrate(fold(cp_mobile(size="6k")), [torch.randn(1, 1, 40, 33)])


def with_output(network: IntegerNetwork, scale: float, classes: int) -> IntegerNetwork:
    """Another scale and number of logits; what else there is does not matter to answers."""
    output = replace(network.output, scale=scale, shape=(classes, 1, 1))
    return replace(network, quantities={**network.quantities, network.layers[-1].name: output})


@pytest.mark.parametrize(
    ("scale", "classes", "confidence"),
    [
        (0.11, 10, Confidence(1.37, 0.55)),
        (0.02, 1, Confidence(0.05, 1.0)),
        (0.3, 37, Confidence(20.0)),
        (1e-4, 300, Confidence(20.0, 0.003)),
    ],
)
def test_equal_to_the_definition_in_every_bit(
    network: IntegerNetwork, tmp_path: Path, scale: float, classes: int, confidence: Confidence
) -> None:
    """Oracle: students/quantize/answer.py and NumPy's arg max, on random, extreme, equal and nearly equal logits, by
    clips and by moving averages."""
    g = np.random.default_rng(0)
    logits = g.integers(-128, 128, (400, classes), np.int8)
    logits[100:200] = g.integers(-3, 3, (100, classes))
    logits[200:300] = g.choice([-128, 127], (100, classes))
    logits[300] = 5
    program = compiled({**answer_files(with_output(network, scale, classes), confidence), "main.c": MAIN}, tmp_path)
    expected = probabilities(logits, exponentials(scale, confidence.temperature))
    for shift in (0, 3, MOST_SHIFT, MOST_SHIFT + 1):
        done = subprocess.run([program, str(shift)], input=logits.tobytes(), capture_output=True, check=True)
        kind = np.dtype([("scene", "<i4"), ("answer", "<i4"), ("probabilities", "<u2", (classes,))])
        found = np.frombuffer(done.stdout, kind).reshape(len(logits), 2)
        average = smoothed(expected, min(shift, MOST_SHIFT))
        for part, (scenes, values) in enumerate(((logits.argmax(axis=1), expected), (average.argmax(axis=1), average))):
            np.testing.assert_array_equal(found["probabilities"][:, part], values)
            np.testing.assert_array_equal(found["scene"][:, part], scenes)
            np.testing.assert_array_equal(found["answer"][:, part], known(scenes, values, confidence.least))
    if confidence == Confidence(1.37, 0.55):
        assert 0 < (found["answer"][:, 0] == UNKNOWN).mean() < 1


def test_equal_networks_make_equal_files_without_floats(network: IntegerNetwork) -> None:
    """Oracle: the text of two calls; the words that a device's code does not have."""
    files = answer_files(network, Confidence(1.2, 0.4))
    assert files == answer_files(network, Confidence(1.2, 0.4))
    for text in files.values():
        assert text.startswith("/* SPDX-License-Identifier: Apache-2.0.")
        assert not re.search(r"\b(float|double|malloc|calloc|free)\b", text)


def test_what_has_no_answers_is_refused(network: IntegerNetwork) -> None:
    """Oracle: the messages, for logits of 16 bits, and for more classes than 32 bits hold the sums of."""
    wide = calibrate(fold(cp_mobile(size="6k")), [torch.randn(1, 1, 40, 33)], activations=16)
    with pytest.raises(UserError, match=r"logits of 16 bits .* quantize with quantize\.activations=8"):
        answer_files(wide, Confidence())
    with pytest.raises(UserError, match=r"65,536 classes, and probabilities on devices are of 65,535 at most"):
        answer_files(with_output(network, 0.1, 65_536), Confidence())
