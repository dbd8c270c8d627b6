"""The count stage, beside the tables that the task page and NeSsi print."""

import importlib
import os
import re
import sys
import types
from pathlib import Path

import pytest
import safetensors.torch
import torch
from command import run
from foreign import ForeignNetwork
from test_nessi import micro_speech, person_detection
from torch import nn

from data.front_ends.integer_steps import integer_front_end
from data.scenes import SCENES
from experiments.models import classifiers
from experiments.models.costs import checkpoint_costs
from experiments.training.checkpoint import Blueprint, save
from experiments.training.devices import names_of_set, set_of
from students import build_student
from students.complexity import tflite_complexity, tflite_memory, tflite_operators, torch_complexity
from students.device.estimate import estimated
from students.layer_costs import layer_costs
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.tflite import write_tflite

# Task page, "Calculation example / DCASE2022 Task 1, Baseline": tensors by their Id, and operators by the name of what
# they compute, with the tensors in memory, its use, MACs and parameters.
TENSORS = {
    0: ("Identity_int8", (1, 10), 10),
    1: ("conv2d_input_int8", (1, 40, 51, 1), 2_040),
    2: ("sequential/activation/Relu", (1, 40, 51, 16), 32_640),
    3: ("sequential/activation_1/Relu", (1, 40, 51, 16), 32_640),
    4: ("sequential/activation_2/Relu", (1, 8, 10, 32), 2_560),
    13: ("sequential/dense/Relu", (1, 100), 100),
    14: ("sequential/dense_1/BiasAdd", (1, 10), 10),
    17: ("sequential/max_pooling2d/MaxPool", (1, 8, 10, 16), 1_280),
    18: ("sequential/max_pooling2d_1/MaxPool", (1, 2, 1, 32), 64),
    19: ("conv2d_input", (1, 40, 51, 1), 8_160),
    20: ("Identity", (1, 10), 40),
}
OPERATORS = [
    ("conv2d_input_int8", [1, 19], 10_200, 0, 0),
    ("sequential/activation/Relu", [1, 2], 34_680, 1_599_360, 848),
    ("sequential/activation_1/Relu", [2, 3], 65_280, 25_589_760, 12_608),
    ("sequential/max_pooling2d/MaxPool", [3, 17], 33_920, 32_000, 0),
    ("sequential/activation_2/Relu", [4, 17], 3_840, 2_007_040, 25_216),
    ("sequential/max_pooling2d_1/MaxPool", [4, 18], 2_624, 2_560, 0),
    ("sequential/dense/Relu", [13, 18], 164, 3_200, 6_800),
    ("sequential/dense_1/BiasAdd", [13, 14], 110, 1_000, 1_040),
    ("Identity_int8", [0, 14], 20, 0, 0),
    ("Identity", [0, 20], 50, 0, 0),
]
MEL = {"mels": 64, "hop": 1000}
SHAPE = (1, 1, 64, 32)


def official_baseline(path: Path) -> Path:
    """The file that the page counts: floats in and out, the dense layer on the map as it is, softmax as an operator."""
    net = ForeignNetwork((1, 40, 51, 1), "FLOAT32")
    net.kind = "INT8"
    x = net.conv(net.add("QUANTIZE", [0], (1, 40, 51, 1), of="QuantizeOptions"), 16, (7, 7))
    x = net.pool(net.conv(x, 16, (7, 7)), (5, 5))
    x = net.pool(net.conv(x, 32, (7, 7)), (4, 10))
    x = net.add("SOFTMAX", [net.dense(net.dense(x, 100), 10)], (1, 10))
    output = net.add("DEQUANTIZE", [x], (1, 10), kind="FLOAT32", of="DequantizeOptions")
    for operator, (name, *_) in zip(net.graph.operators, OPERATORS, strict=True):
        net.graph.tensors[operator.outputs[0]].name = name
    net.graph.tensors[0].name = "conv2d_input"
    return net.write(path, output)


def our_baseline(path: Path) -> Path:
    """The same network as the quantize stage writes it, with random weights."""
    network = build_student("baseline")
    integers = calibrate(fold(network.eval(), (1, 1, 40, 51)), [torch.randn(2, 1, 40, 51)])
    return write_tflite(integers, path, {})


def a_checkpoint(path: Path, *, devices: int = 0, builder: str = "cp_mobile", **arguments: object) -> nn.Module:
    """A student's file with random weights, with BatchNorms of some devices; returns the network."""
    network = build_student(builder, **(arguments or {"size": "6k"}))
    names = names_of_set(network, "norm", SHAPE) if devices else ()
    sets = [set_of(network, names) for _ in range(devices)]
    known = tuple("abcdefghi"[:devices])
    save(path, network, Blueprint(builder, arguments or {"size": "6k"}, MEL, SCENES, 32_000, "", known, 1.0), sets)
    return network


def lines_of(text: str, title: str) -> list[list[str]]:
    """The cells of the rows of a printed table, below its title."""
    rows = re.split(rf"^.*{title}.*$", text, flags=re.MULTILINE)[1].split("└")[0].splitlines()
    return [[cell.strip() for cell in row.strip()[1:-1].split("│")] for row in rows if row.startswith("│")]


def test_the_official_baseline_costs_what_the_page_prints(tmp_path: Path) -> None:
    """Oracle: the page's tables, every figure of them; which tensors are alive by their names, as Ids are a
    converter's."""
    path = official_baseline(tmp_path / "baseline.tflite")
    tensors, alive = tflite_memory(path)
    assert sorted(tensors.values()) == sorted(TENSORS.values())
    operators = tflite_operators(path)
    found = [
        (each.output, {tensors[i].name for i in ids}, each.alive_bytes, each.macs, each.parameter_bytes)
        for each, ids in zip(operators, alive, strict=True)
    ]
    assert found == [(name, {TENSORS[i][0] for i in ids}, *numbers) for name, ids, *numbers in OPERATORS]


def test_the_tables_are_printed_with_their_sums_and_the_limits(tmp_path: Path) -> None:
    """Oracle: the page's table and sums, "Total 29 234 920 46 512, Max 65 280 B", and its limits, 30 MMAC and 128 KB
    (128,000 bytes): by hand 765,080 and 81,488 are left; of a float student 4 bytes for each of torch's parameters,
    less 128,000; the estimate that stands before the training of such a student, whose cycles are 120,000 a
    millisecond."""
    official_baseline(tmp_path / "baseline.tflite")
    network = a_checkpoint(tmp_path / "student.safetensors", size="54k")
    result = run(tmp_path, "count", "model=[baseline.tflite,student.safetensors]")
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.split("student.safetensors: ")
    rows = lines_of(first, "operators, in the order of execution")
    assert rows[-2:] == [["Total", "", "", "29,234,920", "46,512"], ["Max", "", "65,280", "", ""]]
    printed = [(row[0], *row[2:]) for row in rows[-12:-2]]
    assert printed == [(name, *(f"{n:,}" for n in numbers)) for name, _, *numbers in OPERATORS]
    assert ["0", "conv2d_input", "(1, 40, 51, 1)", "8,160"] in lines_of(first, "tensors, weights excluded")
    assert lines_of(first, "limits of DCASE 2023, 2024, 2025")[-2:] == [
        ["multiply-accumulates", "29,234,920", "30,000,000", "holds, 765,080 left"],
        ["bytes of parameters", "46,512", "128,000", "holds, 81,488 left"],
    ]
    size = 4 * sum(parameter.numel() for parameter in network.parameters())
    assert lines_of(second, "layers, in the order of execution")[-2][-1] == f"{size:,}"
    front_end = integer_front_end(32_000, MEL)
    on_device = lines_of(second, "estimated on a Cortex-M4, with 8 bits")
    expected = estimated(network, front_end, 32_000, 10)
    assert [row[-1] for row in on_device][:3] == [f"{value:,}" for value in expected]
    assert on_device[-1] == ["ms at 120 MHz", f"{expected.cycles / 120_000:,.0f}"]
    assert "Cortex-M4" not in first
    *_, last = lines_of(second, "limits of DCASE")
    assert last == ["bytes of parameters", f"{size:,}", "128,000", f"broken by {size - 128_000:,}"]


def test_our_own_baseline_differs_where_its_file_does(tmp_path: Path) -> None:
    """Oracle: the page's table. Ours is of integers at both ends, without softmax: the rows of conversion are missing.
    Its first dense layer is written as a convolution over the map of 2 x 1 x 32 and counted as what it is, 64 x 100,
    where the page multiplies by the last dimension, 32: 3,200 more, 29,238,120 in all. Memory and parameters are the
    same."""
    path = our_baseline(tmp_path / "model.tflite")
    ours = [row for row in tflite_operators(path) if row.kind != "PAD"]
    page = [row for row in OPERATORS if row[4] or row[3]]
    assert [row.parameter_bytes for row in ours] == [parameters for *_, parameters in page]
    assert [row.alive_bytes for row in ours] == [use for _, _, use, *_ in page]
    more = [row.macs - macs for row, (_, _, _, macs, _) in zip(ours, page, strict=True)]
    assert more == [0, 0, 0, 0, 0, 64 * 100 - 32 * 100, 0]
    assert tflite_complexity(path)[:1] == (29_238_120,)


def test_the_amounts_of_a_pad_are_no_parameters_and_stand_beside_them(small_model: Path) -> None:
    """Oracle: four pairs of 32-bit numbers are 32 bytes, by hand; NeSsi sums all constant inputs, so its total is
    larger by 32 for each PAD."""
    pads = sum(row.kind == "PAD" for row in tflite_operators(small_model))
    assert pads > 0
    assert sum(row.amount_bytes for row in tflite_operators(small_model)) == 32 * pads
    result = run(small_model.parent, "count", "model=model.tflite")
    rows = [line[-1] for line in lines_of(result.stdout, "operators, in the order of execution")]
    ours = tflite_complexity(small_model).parameter_bytes
    assert {f"{ours:,}", f"{ours + 32 * pads:,}"} <= {*rows}


@pytest.mark.parametrize("build", [official_baseline, our_baseline, person_detection, micro_speech])
def test_nessi_itself_counts_the_same(build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: NeSsi, from a checkout that SCENELET_NESSI names, operator by operator: tensors in memory, their bytes,
    multiply-accumulates, bytes of parameters. Only its reader of TFLite files is imported: nessi.py needs TensorFlow.
    A PAD's amounts are no parameter of ours, but stand beside them."""
    folder = os.environ.get("SCENELET_NESSI")
    if not folder or not (Path(folder) / "tflite_tools").is_dir():
        pytest.skip("needs NeSsi: set SCENELET_NESSI to a checkout of github.com/AlbertoAncilotto/NeSsi")
    monkeypatch.syspath_prepend(folder)
    if importlib.util.find_spec("prettytable") is None:  # with which it prints
        monkeypatch.setitem(sys.modules, "prettytable", types.SimpleNamespace(PrettyTable=None))
    nessi = importlib.import_module("tflite_tools.tflite_model")
    path = tmp_path / "model.tflite"
    if build in (person_detection, micro_speech):
        net, output = build()
        net.write(path, output)
    else:
        build(path)
    (_, alive), operators = tflite_memory(path), tflite_operators(path)
    theirs = nessi.TFLiteModel.load_from_file(str(path))._execution_schedule_info(macs=True, size=True)
    for each, ids, (_, tensors, use, macs, size) in zip(operators, alive, theirs, strict=True):
        assert {*ids} == {tensor.id for tensor in tensors if tensor.size}
        assert (each.alive_bytes, each.macs) == (use, macs)
        assert each.parameter_bytes + each.amount_bytes == size
        assert bool(each.amount_bytes) == (each.kind == "PAD")


def test_what_has_no_rule_is_named_and_counts_nothing(tmp_path: Path) -> None:
    """Oracle: the message: all operators without a rule, one's own among them; no table is printed of such a file, and
    those of the others are."""
    net = ForeignNetwork((1, 4))
    x = net.add("BATCH_MATMUL", [net.add("CUSTOM", [0, 0], (1, 4)), 0], (1, 4))
    net.write(tmp_path / "odd.tflite", net.add("RELU", [x], (1, 4)))
    official_baseline(tmp_path / "good.tflite")
    result = run(tmp_path, "count", "model=[odd.tflite,good.tflite]")
    assert result.returncode == 1
    assert "1 of 2 files cannot be counted" in result.stderr
    assert "odd.tflite: there is no rule for counting the operators CUSTOM, BATCH_MATMUL" in result.stderr
    assert result.stdout.count("Total") == 1


def test_bad_files_are_messages(tmp_path: Path) -> None:
    """Oracle: the messages, one for each file, which name it; nothing is printed as if it had been counted."""
    good = official_baseline(tmp_path / "good.tflite").read_bytes()
    (tmp_path / "text.tflite").write_text("not a network at all")
    (tmp_path / "short.tflite").write_bytes(good[: len(good) // 2])
    (tmp_path / "empty.tflite").touch()
    (tmp_path / "text.safetensors").write_text("not a network at all")
    safetensors.torch.save_file({"x": torch.zeros(3)}, tmp_path / "bare.safetensors")
    said = {
        "text.tflite": "is no TFLite file: its identifier is",
        "short.tflite": "is damaged",
        "empty.tflite": "is no TFLite file: its identifier is",
        "text.safetensors": "is damaged or no safetensors file",
        "bare.safetensors": "is no checkpoint of this version of scenelet: its metadata lack 'blueprint'",
    }
    result = run(tmp_path, "count", f"model=[{','.join(said)}]")
    assert result.returncode == 1
    for name, words in said.items():
        assert f"{name} {words}" in result.stderr
    (tmp_path / "a_folder.tflite").mkdir()
    missing = run(tmp_path, "count", "model=[gone.tflite,a_folder.tflite]")
    assert missing.returncode == 1
    assert "model=gone.tflite does not exist" in missing.stderr
    assert "model=a_folder.tflite is a folder: name a file in it" in missing.stderr
    assert not any("Traceback" in each.stderr or "Total" in each.stdout for each in (result, missing))


@pytest.mark.parametrize(("half", "size"), [(False, 4), (True, 2)])
def test_floats_count_as_they_are_stored(half: bool, size: int, tmp_path: Path) -> None:
    """Oracle: the task page: "32K parameters when using float32 (32000 * 32 bits / 8 = 128KB)", so 4 bytes each and 2
    of 16 bits; their number is that of torch's own parameters: BatchNorm's weight and bias, and not its moving
    statistics, as NeSsi counts them (nessi.py, get_torch_size: torchinfo's total_params)."""
    network = a_checkpoint(path := tmp_path / "checkpoint.safetensors")
    number, macs = sum(p.numel() for p in network.parameters()), torch_complexity(network, SHAPE).macs
    if half:
        save(path, halves(network), Blueprint("cp_mobile", {"size": "6k"}, MEL, SCENES, 32_000, "", (), 1.0))
    total, rows = checkpoint_costs(path)
    assert (total.parameters, total.parameter_bytes) == (number, size * number)
    assert sum(row.bytes for row in rows) == size * number
    assert total.macs == macs == sum(row.cost.macs for row in rows)
    with safetensors.safe_open(path, "pt") as file:
        stored = {name: file.get_tensor(name).nbytes for name, _ in network.named_parameters()}
    assert total.parameter_bytes == sum(stored.values())


def halves(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        parameter.data = parameter.data.half()
    return network


def test_branches_count_as_one_convolution_with_the_bytes_of_all(tmp_path: Path) -> None:
    """Oracle: torch's own parameters, 4 bytes each, of all branches of a Rep-Mobile, which the file has; torchinfo's
    multiply-accumulates and parameters of the network that is deployed."""
    network = a_checkpoint(path := tmp_path / "checkpoint.safetensors", builder="rep_mobile", size="6k")
    (total, rows), one = checkpoint_costs(path), torch_complexity(network, SHAPE)
    assert (total.macs, total.parameters) == (one.macs, one.parameters)
    assert total.parameter_bytes == sum(row.bytes for row in rows) == 4 * sum(p.numel() for p in network.parameters())


def test_every_devices_tensors_count(tmp_path: Path) -> None:
    """Oracle: the task page: "counting ALL parameters": those of a student's BatchNorms, by torch, once for the general
    network and once for each of three devices; a clip costs the multiply-accumulates of one network."""
    network = a_checkpoint(tmp_path / "checkpoint.safetensors", devices=3)
    norms = sum(2 * layer.num_features for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))
    number = sum(parameter.numel() for parameter in network.parameters())
    total, rows = checkpoint_costs(tmp_path / "checkpoint.safetensors")
    assert (total.parameters, total.parameter_bytes) == (number + 3 * norms, 4 * (number + 3 * norms))
    assert [row.cost.name for row in rows[-3:]] == ["of device a", "of device b", "of device c"]
    assert {row.bytes for row in rows[-3:]} == {4 * norms}
    assert total.macs == torch_complexity(network, SHAPE).macs


def test_a_network_that_makes_the_features_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the task page: "the network used to generate them counts in the calculated model size and complexity!" By
    hand: a front end with a convolution of 64 filters of 400 samples every 1,000, in front of the same student."""

    class Learnt(nn.Module):
        sample_rate, mels, low, high, padding, decibel = 32_000, 64, 0.0, 16_000.0, "none", None

        def __init__(self) -> None:
            super().__init__()
            self.filters = nn.Conv1d(1, 64, 400, 1000, bias=False)

        def frames(self, samples: int) -> int:
            return (samples - 400) // 1000 + 1

        def forward(self, waves: torch.Tensor) -> torch.Tensor:
            return self.filters(waves[:, None])[:, None]

    network = a_checkpoint(tmp_path / "checkpoint.safetensors")
    monkeypatch.setattr(classifiers, "build_front_end", lambda *_: Learnt())
    total, (first, *_) = checkpoint_costs(tmp_path / "checkpoint.safetensors")
    plain = torch_complexity(network, (1, 1, 64, 32))
    assert total.parameters == plain.parameters + 64 * 400
    assert total.parameter_bytes == 4 * total.parameters
    assert total.macs == plain.macs + 64 * 400 * 32
    assert (first.cost.name, first.cost.shape) == ("front end", (1, 1, 64, 32))


def test_the_rows_of_a_network_make_up_its_sum(tmp_path: Path) -> None:
    """Oracle: torchinfo's totals; of a network with parameters beside its layers (GRN) and with recurrent layers."""
    for builder, arguments in (("cp_mobile", {"size": "6k", "grn": True}), ("cnn_gru", {})):
        network = build_student(builder, **arguments)
        total, rows = layer_costs(network, SHAPE)
        assert total == torch_complexity(network, SHAPE)
        assert sum(row.macs for row in rows) == total.macs
        assert sum(row.parameters for row in rows) == total.parameters == sum(p.numel() for p in network.parameters())
