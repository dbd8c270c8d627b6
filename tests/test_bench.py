"""Benches compare ways that do the same: what is slower must not be slower because it is something else."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from c_code import need

from data.front_ends import build_front_end
from experiments.bench import __main__ as bench
from experiments.bench.teacher import RATE, _network, _unfused, naive_front_end, settings_of
from experiments.device.toolchain import DEVICE
from students.quantize.runtime import has_micro


@pytest.mark.parametrize("name", ["passt_small", "ast_small", "cp_resnet", "yamnet"])
def test_the_naive_way_gives_the_same_logits(name: str) -> None:
    """Oracle: the packages' own front ends and forward passes, where they are installed. Tolerance 1e-3 of logits of
    about 1."""
    teacher = settings_of(name)
    waves = torch.randn(2, RATE, generator=torch.Generator().manual_seed(0)) / 10
    network = _network(teacher).eval()
    theirs = _unfused(deepcopy(network))
    with torch.no_grad():
        ours = network(build_front_end(RATE, teacher.mel)(waves))
        found = theirs(naive_front_end(teacher.mel).eval()(waves))
    assert ours.std() > 0.01
    torch.testing.assert_close(found, ours, atol=1e-3, rtol=0)


def test_a_bench_writes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Oracle: the JSON's own arithmetic: ratios of the rates of each round; and the names in the table."""
    out = tmp_path / "teacher.json"
    monkeypatch.setenv("COLUMNS", "160")
    arguments = ["bench", "teacher", "--teachers", "cp_resnet", "--batch", "16", "--rounds", "2", "--out", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    bench.main()
    rows = {row["what"]: row for row in json.loads(out.read_text())["rows"]}
    for verb in ("logits", "fine-tuning"):
        ours, naive, ratio = (rows[f"cp_resnet: {verb}, {way}"] for way in ("scenelet", "naive", "scenelet / naive"))
        expected = [a / b for a, b in zip(ours["rounds"], naive["rounds"], strict=True)]
        assert ratio["rounds"] == pytest.approx(expected)
    printed = capsys.readouterr().out
    assert all(what in printed for what in rows)
    monkeypatch.setattr("sys.argv", [*arguments[:3], "pasta"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "unknown teacher 'pasta'" in capsys.readouterr().err


@pytest.mark.slow  # two processes that load torch
def test_each_teacher_has_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the published number of parameters of CP-ResNet's variant (docs/teachers.md: 127,684); the memory of the
    smaller one, which comes last, is not that of the larger one before it, whose float32 parameters alone are more."""
    out = tmp_path / "logits.json"
    words = ["bench", "logits", "--teachers", "vggish,cp_resnet", "--rounds", "1", "--batch", "2", "--out", str(out)]
    monkeypatch.setattr("sys.argv", words)
    bench.main()
    rows = {row["what"]: row["median"] for row in json.loads(out.read_text())["rows"]}
    assert rows["cp_resnet: parameters, 10 classes"] == 127_684
    assert min(rows[f"{name}: logits"] for name in ("vggish", "cp_resnet")) > 0
    weights = 4e-9 * rows["vggish: parameters, 10 classes"]
    memory = {name: rows[f"{name}: memory of the process"] for name in ("vggish", "cp_resnet")}
    assert memory["vggish"] > weights
    assert memory["cp_resnet"] < memory["vggish"] - weights / 2


def test_every_form_of_a_student_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the list of forms, each with a positive time; without a compiler there is no compiled one."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    out = tmp_path / "quantize.json"
    monkeypatch.setattr("sys.argv", ["bench", "quantize", "--size", "6k", "--rounds", "1", "--out", str(out)])
    bench.main()
    rows = {row["what"]: row["median"] for row in json.loads(out.read_text())["rows"]}
    alone = {f"LiteRT, weights of {bits} bits, {kernels} kernels" for bits in (8, 4) for kernels in ("device", "host")}
    alone |= {"LiteRT, float, host kernels", "PyTorch, float, 1 thread", "onnxruntime, int8"}
    together = {"PyTorch, float", "integer network in PyTorch, as the device", "LiteRT, host kernels"}
    together |= {"onnxruntime, int8"}
    assert rows.keys() == {f"one clip: {way}" for way in alone} | {f"64 clips: {way}" for way in together}
    assert min(rows.values()) > 0


@pytest.mark.slow  # runs a network on an emulated processor, and asks tflite-micro for some twenty arenas
@pytest.mark.parametrize("exact", [False, True])
def test_costs_on_a_device_are_those_of_its_parts(exact: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: by hand: the network alone takes fewer cycles, bytes of RAM and of flash than with the front end; the
    arena is a multiple of 16 bytes, and larger than the network's input."""
    need(DEVICE)
    out = tmp_path / "device.json"
    words = ["bench", "device", "--size", "6k", "--out", str(out), *(["--exact"] if exact else [])]
    monkeypatch.setattr("sys.argv", words)
    bench.main()
    rows = {row["what"]: row["median"] for row in json.loads(out.read_text())["rows"]}
    for what in ("instructions", "cycles", "RAM", "flash"):
        assert 0 < rows[f"scenelet, network: {what}"] < rows[f"scenelet, from samples to scene: {what}"]
    assert rows["scenelet, network: cycles a MAC"] == pytest.approx(rows["scenelet, network: cycles"] / rows["MACs"])
    if has_micro():
        assert rows["tflite-micro: arena"] % 16 == 0
        assert rows["tflite-micro: arena"] > 256 * 64
