"""Writing logits: interrupted at any batch, taken up again, and the same in the end."""

import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from command import run
from lightning_fabric import Fabric

from data.errors import UserError
from data.front_ends.log_mel import LogMel
from data.logits import LogitsWriter
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.datasets.datamodule import DataModule
from experiments.datasets.held_out import warn_of_leaks
from experiments.inference import teacher_logits
from experiments.inference.network import require_applicable
from experiments.runs import energy
from experiments.runs.formats import Metered
from experiments.runs.reader import read_energy
from teachers import build_teacher


@pytest.fixture
def data(miniature: ClipSet, miniature_waves: WaveStore, monkeypatch: pytest.MonkeyPatch) -> DataModule:
    """70 clips in batches of 8, the last one of 6."""
    monkeypatch.setattr(teacher_logits, "BATCH", 8)
    return DataModule(ClipSet("few", miniature.root, miniature.clips[:70]), miniature_waves, None)


def write(path: Path, data: DataModule, shifts: Sequence[int] = (0,), **changes: torch.Tensor) -> np.ndarray:
    torch.manual_seed(0)
    network = build_teacher("cp_resnet", base_channels=8, cut_channels=[0, 0, 0]).eval()
    network.load_state_dict({**network.state_dict(), **changes})
    front_end = LogMel(mels=64, fft=1024, window=1024, hop=1000)
    fabric = Fabric(accelerator="cpu", devices=1)
    teacher_logits.write_logits(fabric, path, data, network, front_end, identity={"weights": "x"}, shifts=shifts).seal()
    with h5py.File(path) as file:
        return file["logits"][:]


class Counter:
    """A meter that reads 1 kWh more each time."""

    failure = None

    def __init__(self) -> None:
        self.kwh = 0

    def read(self) -> Metered:
        self.kwh += 1
        return {"kWh": self.kwh, "seconds": 1.0, "estimated": False}

    stop = read


def test_logits_that_were_interrupted_go_on_with_what_is_missing(
    data: DataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the undisturbed file, bit for bit; calls counted: 70 clips are 9 batches, 3 of them done before. A
    meter that reads 1 kWh for each commit: the part that was stopped took 3 and its end, the rest 6 and its end, 11 in
    all; logits of other shifts are begun anew."""
    monkeypatch.setattr(energy, "Meter", Counter)
    whole = write(tmp_path / "whole.h5", data)
    monkeypatch.setattr(teacher_logits, "COMMIT", 1)
    calls, compute = [], teacher_logits.logits_of

    def counted(*arguments: object) -> torch.Tensor:
        if len(calls) == 3 and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(teacher_logits, "logits_of", counted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cut.h5", data)
    assert not (tmp_path / "cut.h5").exists()
    (tmp_path / "again").touch()
    assert read_energy(tmp_path)["energy/logits/kWh"] == 4
    np.testing.assert_array_equal(write(tmp_path / "cut.h5", data), whole)
    assert len(calls) == 9
    assert read_energy(tmp_path)["energy/logits/kWh"] == 11
    write(tmp_path / "cut.h5", data, shifts=[-1, 0, 1])
    assert read_energy(tmp_path)["energy/logits/kWh"] == 10


def test_every_shift_is_on_file(data: DataModule, tmp_path: Path) -> None:
    """Oracle: the logits of the clean clips alone, and of clips that were rolled by hand; their mean."""
    clean = write(tmp_path / "clean.h5", data)
    mean = write(tmp_path / "three.h5", data, shifts=[-700, 0, 700])
    with h5py.File(tmp_path / "three.h5") as file:
        each, shifts = file["by_shift"][:], json.loads(file.attrs["shifts"])
    assert shifts == [-700, 0, 700]
    np.testing.assert_array_equal(each[:, 1], clean)
    np.testing.assert_allclose(each.mean(1), mean, atol=1e-6)
    rolled = torch.roll(data.store.read(np.arange(8)), 700, 1)
    torch.manual_seed(0)
    network = build_teacher("cp_resnet", base_channels=8, cut_channels=[0, 0, 0]).eval()
    front_end = LogMel(mels=64, fft=1024, window=1024, hop=1000)
    with torch.no_grad():
        expected = network(front_end(rolled))
    np.testing.assert_allclose(each[:8, 2], expected, atol=1e-4)


def test_logits_that_are_no_numbers_are_not_written(data: DataModule, tmp_path: Path) -> None:
    """Oracle: the message, for a network whose first bias is not a number, and no file."""
    with pytest.raises(UserError, match="logits are not numbers"):
        write(tmp_path / "logits.h5", data, **{"1.bias": torch.full((8,), torch.nan)})
    assert not (tmp_path / "logits.h5").exists()


def test_an_ensemble_with_one_leaky_member_is_named(
    data: DataModule, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: logits of a teacher of these splits, of others, and of an ensemble of both."""
    own = data.fingerprint["clips"]
    for name, trained_on in (("good", own), ("mixed", f"{own} other"), ("bad", "other")):
        writer = LogitsWriter(tmp_path / f"{name}.h5", ["a"], ["x", "y"], {"trained_on": trained_on})
        writer.fill([0], np.zeros((1, 2), np.float32))
        writer.seal()
    warn_of_leaks([tmp_path / f"{name}.h5" for name in ("good", "mixed", "bad")], data)
    assert [record.args for record in caplog.records] == [(tmp_path / "mixed.h5",), (tmp_path / "bad.h5",)]


def test_log_mels_that_are_too_short_for_a_network_are_refused() -> None:
    """Oracle: by hand: PaSST's patches are 16 frames wide; the paper's CP-ResNet makes (n - 3) // 2 + 1 of n frames and
    halves that three times, so that 17 are needed."""
    paper = {"layout": "full", "base_channels": 8, "blocks": [4, 1, 1], "groups": [1, 1, 1], "cut_channels": [0, 0, 0]}
    small = {"width": 32, "depth": 1, "heads": 2, "frequency_patchout": 2}
    for name, arguments, least in (("passt", small, 16), ("cp_resnet", paper, 17)):
        network = build_teacher(name, pretrained=False, **arguments)
        require_applicable(network, (1, 1, 128, least), name)
        assert network.training
        with pytest.raises(UserError, match=f"{name} cannot be applied .* of 128 bands and {least - 1} frames"):
            require_applicable(network, (1, 1, 128, least - 1), name)


@pytest.mark.slow  # a command; the law is that of the test above
def test_clips_that_are_too_short_are_refused_before_the_first_stage(tmp_path: Path) -> None:
    """Oracle: 0.1 s have 10 of PaSST's frames, every 10 ms; no stage has left anything."""
    short = ["data.clip_seconds=0.1", "teacher.augment.time_mask=0", "tracking=none"]
    found = run(tmp_path, "all", "name=a", "teacher=passt_small", *short)
    assert found.returncode == 1
    assert "error: passt cannot be applied to log-mels of 128 bands and 10 frames" in found.stdout + found.stderr
    assert not (tmp_path / "runs").exists()
