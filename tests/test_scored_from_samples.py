"""A student of integers that is scored from 16-bit samples to the class, as a device computes it."""

import csv
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from c_code import compiled
from command import QUICK, run

from data.audio import read_audio
from data.errors import UserError
from data.front_ends.integer_log_mel import IntegerLogMel
from data.front_ends.integer_steps import network_input
from data.front_ends.log_mel import LogMel
from data.scenes import ClipSet
from experiments.evaluation.metrics import softmax
from experiments.inference.classifier import load_classifier
from experiments.quantization.checks import deployed_mel, require_valid
from experiments.settings.parts import Quantize
from students.device.front_end import front_end_files
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import INPUT
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel

INTEGER = Quantize(front_end="integer")
MAIN = """
#include <stdio.h>
#include "scenelet_front_end.h"
static scenelet_front_end state;
static scenelet_front_end_scratch scratch;
static int16_t samples[SCENELET_SAMPLES];
static int8_t map[SCENELET_MELS * SCENELET_FRAMES];
int main(void)
{
    while (fread(samples, sizeof(int16_t), SCENELET_SAMPLES, stdin) == SCENELET_SAMPLES) {
        scenelet_front_end_begin(&state);
        scenelet_front_end_push(&state, &scratch, samples, SCENELET_SAMPLES, map);
        fwrite(map, 1, sizeof map, stdout);
    }
    return 0;
}
"""


def classified_in_c(network: IntegerNetwork, paths: list[Path], folder: Path) -> np.ndarray:
    """Probabilities of sound files, whose samples of 16 bits the C of the front end takes."""
    files = {**front_end_files(IntegerLogMel(mels=64), 32_000, network.quantities[INPUT]), "main.c": MAIN}
    waves = np.zeros((len(paths), 32_000))
    for wave, path in zip(waves, paths, strict=True):
        found = read_audio(path, 32_000)[:32_000]
        wave[: len(found)] = found
    samples = np.clip(np.rint(waves * 32_768), -32_768, 32_767).astype(np.int16)
    done = subprocess.run([compiled(files, folder)], input=samples.tobytes(), capture_output=True, check=True)
    steps = torch.from_numpy(np.frombuffer(done.stdout, np.int8).reshape(len(paths), 1, 64, 64).copy())
    return softmax(network.output.dequantize(network.run(steps)).numpy())


@pytest.mark.slow  # quantises and scores twice
def test_the_score_is_that_of_samples(trained: Path, miniature: ClipSet, tmp_path: Path) -> None:
    """Oracle: the C of the front end, on the files' own samples, rounded to 16 bits: the same classes and nearly the
    same probabilities, because the store, which scales each clip by its peak, has rounded the loudest samples before;
    what predicts from the file gives those of the score; the float front end stands beside it."""
    arguments = [f"data.root={miniature.root}", "checkpoint=runs/student/first/checkpoint.safetensors", *QUICK]
    result = run(trained, "stage=quantize", *arguments, "name=samples", "quantize.front_end=integer")
    assert result.returncode == 0, result.stderr
    folder = trained / "runs/quantize/samples"
    network, metadata = read_tflite(folder / "model.tflite")
    assert (metadata["mel"]["kind"], metadata["mel"]["edge_jitter"]) == ("integer_log_mel", 0)
    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    scored = np.array([[float(row[scene]) for scene in metadata["scenes"]] for row in rows])
    paths = [miniature.root / row["filename"] for row in rows]
    classifier = load_classifier(folder / "model.tflite")
    assert np.abs(classifier.classify_clips(paths) - scored).max() < 1e-7
    in_c = classified_in_c(network, paths, tmp_path)
    assert (in_c.argmax(1) == scored.argmax(1)).mean() > 0.95
    assert np.abs(in_c - scored).mean() < 0.005
    scores = json.loads((folder / "score.json").read_text())
    first = json.loads((trained / "runs/quantize/first/score.json").read_text())
    assert scores["float/log_loss"] == first["float/log_loss"]
    assert scores["float_front_end/log_loss"] == pytest.approx(first["test/log_loss"], abs=0.01)
    difference = scores["test/log_loss"] - scores["float_front_end/log_loss"]
    assert scores["test/minus_float_front_end/log_loss"] == pytest.approx(difference)
    low, high = (scores[f"test/minus_float_front_end/log_loss/{edge}"] for edge in ("low", "high"))
    assert low < difference < high
    assert 0.9 < scores["test/agreement_with_float_front_end"] <= 1


def test_every_runtime_takes_the_same_integers(small_model: Path) -> None:
    """Oracle: LiteRT's reference kernels and the executor agree on the steps of a log-mel in integers, which are those
    of its floats but for ties."""
    network, _ = read_tflite(small_model)
    front_end = IntegerLogMel(mels=64, hop=1000)
    waves = torch.rand(3, 32_000, generator=torch.Generator().manual_seed(0)) - 0.5
    logarithms = network_input(front_end, waves)
    assert (logarithms.shape, logarithms.dtype) == ((3, 1, 64, 32), torch.int64)
    assert torch.equal(TFLiteModel(small_model).logits(logarithms), network.logits(logarithms))
    quantity = network.quantities[INPUT]
    steps, rounded = quantity.quantize(logarithms), quantity.quantize(front_end(waves))
    assert steps.dtype == rounded.dtype == torch.int8
    assert (steps.int() - rounded).abs().max() <= 1
    assert (steps != rounded).double().mean() < 1e-3
    floats = LogMel(mels=64, hop=1000, edge_jitter=0.0)
    assert torch.equal(network_input(floats, waves), floats(waves))


def test_the_file_has_the_front_end_of_the_settings() -> None:
    """Oracle: the settings by hand: unchanged, or in integers, where no edge moves."""
    mel = {"mels": 64, "edge_jitter": 1000.0}
    assert deployed_mel(Quantize(), 32_000, mel) == mel
    expected = {"mels": 64, "edge_jitter": 0, "kind": "integer_log_mel"}
    assert deployed_mel(INTEGER, 32_000, mel) == deployed_mel(INTEGER, 32_000, {**mel, "kind": "log_mel"}) == expected


def test_what_has_no_integers_is_refused() -> None:
    """Oracle: the message that names the setting."""
    with pytest.raises(UserError, match=r"quantize\.bits=16f stores floats: leave quantize\.front_end out"):
        require_valid(replace(INTEGER, bits="16f"))
    with pytest.raises(UserError, match=r"quantize\.front_end=integer: front end yamnet_mel has no form in integers"):
        deployed_mel(INTEGER, 16_000, {"kind": "yamnet_mel"})
    with pytest.raises(UserError, match=r"quantize\.front_end=integer: .*fft=1500 must be one of 64, 128, 256, 512"):
        deployed_mel(INTEGER, 32_000, {"fft": 1500, "window": 1024})
