"""What a network is estimated to cost on a device, against what it costs there."""

from pathlib import Path

import pytest
import torch
from c_code import need
from command import QUICK, run
from conftest import randomise_norms
from torch import nn

from data.front_ends.integer_log_mel import IntegerLogMel
from data.scenes import SCENES, ClipSet
from experiments.device.measure import measured
from experiments.device.toolchain import DEVICE
from students.baseline import baseline
from students.bc_resnet import bc_resnet
from students.cnn_gru import cnn_gru
from students.cnn_gru_2025 import cnn_gru_2025
from students.cp_mobile import cp_mobile
from students.device.estimate import estimated, front_end_cycles, layer_cycles
from students.device.library import Model, library_files
from students.quantize.answer import Confidence
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.tf_sepnet import tf_sepnet

SAMPLES = 32_000


def windows() -> nn.Module:
    """Convolutions channel by channel that no assembly computes."""
    layers: list[nn.Module] = [nn.Conv2d(1, 10, 3, 2, 1)]
    layers += [nn.Conv2d(10, 10, kernel, groups=10) for kernel in ((5, 3), (3, 1), (1, 1))]
    return nn.Sequential(*layers, nn.Conv2d(10, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("build", "mel"),
    [
        (lambda: cp_mobile(size="12k"), {"fft": 1024, "window": 1024, "mels": 128}),
        (lambda: cp_mobile(size="6k", base_channels=16), {"fft": 2048, "window": 2048, "mels": 64, "hop": 700}),
        (lambda: cp_mobile(size="6k", grn=True), {"fft": 1024, "window": 1024, "mels": 64}),
        (bc_resnet, {"fft": 1024, "window": 960, "mels": 40, "hop": 320}),
        (lambda: cnn_gru(base_channels=8, units=30), {"fft": 1024, "window": 1024, "mels": 64}),
        (lambda: cnn_gru_2025(base_channels=8), {"fft": 1024, "window": 1024, "mels": 64}),
        (lambda: tf_sepnet(base_channels=16), {"fft": 1024, "window": 1024, "mels": 64}),
        (windows, {"fft": 1024, "window": 1024, "mels": 40}),
        (baseline, {"fft": 2048, "window": 1280, "mels": 40, "hop": 640}),
    ],
)
@pytest.mark.slow  # some seconds
def test_estimate_is_near_what_is_measured(build, mel: dict) -> None:
    """Oracle: the compiler's sizes, and the cycles on an emulated Cortex-M4: RAM is equal, the others within 6 %."""
    need(DEVICE)
    network, front_end = randomise_norms(build()), IntegerLogMel(**mel)
    shape = (1, 1, front_end.mels, front_end.frames(SAMPLES))
    before = torch.get_rng_state()
    guess = estimated(network, front_end, SAMPLES, len(SCENES))
    assert torch.equal(torch.get_rng_state(), before)  # what is trained does not depend on it
    spectrograms = torch.randn(shape)
    integers = calibrate(fold(network, shape, spectrograms), [spectrograms])
    model = Model(integers, front_end, SAMPLES, SCENES, Confidence())
    cost = measured(library_files(model, "0"), model, [0] * len(integers.layers))
    assert guess.ram == sum(cost.ram.values()) - cost.ram["stack"]
    assert guess.flash == pytest.approx(sum(cost.flash.values()), rel=0.06)
    assert guess.cycles == pytest.approx(cost.cycles, rel=0.06)
    assert front_end_cycles(front_end, SAMPLES) == pytest.approx(cost.front_end.cycles, rel=0.03)
    for layer, part in zip(integers.layers, cost.layers, strict=True):
        assert layer_cycles(integers, layer) == pytest.approx(part.cycles, rel=0.25, abs=5_000), layer.name


@pytest.mark.slow  # several commands
def test_a_student_is_refused_over_its_budget(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the messages, before anything is trained; with limits=warn it is trained, and its record does not know of
    the budget."""
    words = ["stage=student", f"data.root={miniature.root}", "distill=none", "refit=false", "name=s", *QUICK]
    refused = run(trained, *words, "student.budget.ram=20000", "student.budget.cycles=1000000")
    assert refused.returncode == 1
    assert "bytes of RAM, student.budget.ram=20,000" in refused.stderr
    assert "cycles a clip, student.budget.cycles=1,000,000" in refused.stderr
    assert not (trained / "runs" / "student" / "s").exists()
    warned = run(trained, *words, "student.budget.ram=20000", "limits=warn")
    assert warned.returncode == 0, warned.stderr
    assert "is estimated to be over its budget" in warned.stdout + warned.stderr
    assert "estimated with 8 bits on a Cortex-M4" in warned.stdout
    again = run(trained, *words)
    assert "the result is reused" in again.stdout


def test_a_network_without_integers_has_no_budget(tmp_path: Path) -> None:
    """Oracle: the message."""
    with pytest.raises(Exception, match="AdaptiveAvgPool2d"):
        estimated(cnn_gru(), IntegerLogMel(mels=96), SAMPLES, 10)
    own = ("student=cnn_gru", "student.mel.mels=96", "student.budget.ram=1000000")
    refused = run(tmp_path, "stage=student", *own, "distill=none", "name=s")
    assert refused.returncode == 1
    assert "student.budget is for students that devices compute" in refused.stderr
