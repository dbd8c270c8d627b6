"""Files a second of stage=predict, beside what the network alone computes of spectrograms, and the memory of both.

Conventions: files are of one second, mono, 44.1 kHz and 24 bits, as those of the challenge. The network's weights are
random: speed does not depend on them. Both ways begin with all that they need in memory, or on a disk that was just
written; prediction ends with the text of the table.
"""

import argparse
import resource
import tempfile
import wave
from pathlib import Path

import numpy as np
import torch

from data.errors import UserError
from data.front_ends import build_front_end
from data.scenes import SCENES
from experiments.bench.teacher import DATA, RATE
from experiments.bench.timing import Row, in_turns, rates, row
from experiments.command.schema import composed
from experiments.inference.classifier import load_classifier
from experiments.inference.sounds import classified_text, classify_files, sound_files
from students import build_student
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.tflite import write_tflite

TOGETHER, CALIBRATED = 64, 8  # clips that the network alone computes at a time, as in bench quantize; for its scales
FILE_RATE, BYTES = 44_100, 3  # Hz; of a sample


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> list[Row]:
    """All rows: what, median, unit, rounds."""
    count, rounds = arguments.clips, arguments.rounds
    if count < TOGETHER or rounds < 1:
        raise UserError(f"--clips={count} must be at least {TOGETHER}, --rounds={rounds} at least 1")
    student = composed("student=cp_mobile", DATA).student
    spectrograms = build_front_end(RATE, student.mel)(torch.randn(TOGETHER, RATE) / 10)
    network = calibrate(fold(build_student(student.builder, size=arguments.size).eval()), [spectrograms[:CALIBRATED]])
    metadata = {"scenes": SCENES, "sample_rate": RATE, "mel": student.mel}
    with tempfile.TemporaryDirectory() as folder:
        sounds = Path(folder) / "sounds"
        sounds.mkdir()
        noise = np.random.default_rng(0)
        for number in range(count):
            with wave.open(str(sounds / f"{number}.wav"), "wb") as file:
                file.setparams((1, BYTES, FILE_RATE, FILE_RATE, "NONE", ""))
                file.writeframes(noise.bytes(FILE_RATE * BYTES))
        classifier = load_classifier(write_tflite(network, Path(folder) / "model.tflite", metadata))

        def predict() -> None:
            found, failures = classify_files(classifier, sound_files(sounds)[0].items())
            assert len(found) == count
            assert not failures
            classified_text(found, classifier)

        def compute() -> None:
            for _ in range(count // TOGETHER):
                classifier.probabilities(spectrograms)

        seconds = in_turns({"predict": predict, "compute": compute}, rounds)
    predicted, computed = rates(seconds["predict"], count), rates(seconds["compute"], count // TOGETHER * TOGETHER)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        row(f"the integer network in PyTorch, as the device, {TOGETHER} clips at a time", computed, "clips/s"),
        row(f"stage=predict, {count} files of one second", predicted, "files/s"),
        row("stage=predict / the network alone", np.divide(predicted, computed).tolist(), "times"),
        row("most memory resident", [peak], "MiB"),
    ]
