"""What layers are called in files, tables and C: by what they do in which block of a network."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from data.flatbuffer import read_graph
from students.baseline import baseline
from students.complexity import tflite_operators
from students.cp_mobile import cp_mobile
from students.device.network import network_files
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.read import read_tflite
from students.quantize.tflite import write_tflite

BLOCK = ("expand", "depthwise", "project")


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    torch.manual_seed(0)
    return calibrate(fold(cp_mobile(size="6k").eval()), [torch.randn(2, 1, 64, 32)])


def test_layers_are_called_by_stage_block_and_what_they_do() -> None:
    """Oracle: by hand: Schmid et al. 2023, section 2: two convolutions, then the blocks of the stages, whose shortcut
    is added where the width stays and is pooled where the stride is not 1, then a convolution to the classes; every
    weight of the network is of one of these."""
    network = cp_mobile(size="6k", blocks=[2, 1], strides={"b2": (2, 1)})
    names = [layer.name for layer in fold(network.eval()).layers]
    assert names == [
        *("stem_1", "stem_2"),
        *(f"stage1_block1_{part}" for part in (*BLOCK, "add")),
        *(f"stage1_block2_{part}" for part in (*BLOCK, "pool", "add")),
        *(f"stage2_block1_{part}" for part in BLOCK),
        *("classifier", "mean"),
    ]
    assert sorted(network.state_dict())[:2] == ["0.0.weight", "0.1.bias"]  # those of earlier checkpoints
    shape = (1, 1, 40, 51)
    layers = fold(baseline().eval(), shape).layers
    before, behind = ["convolution_1", "convolution_2", "pool_1"], ["convolution_3", "pool_2", "dense", "classifier"]
    assert [layer.name for layer in layers] == [*before, *behind]


class _Twice(nn.Module):
    """Two additions in a part that has a name, and a module that has none."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.last, self.layer_names = _Sums(), nn.AdaptiveAvgPool2d(1), {"part": "sums"}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.part(x))


class _Sums(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two = self.one(x), self.two(x)
        return one + two + one


def test_what_a_network_does_not_name_has_its_modules_name() -> None:
    """Oracle: the attributes' names; each layer has one of its own, as before."""
    names = [layer.name for layer in fold(_Twice().eval()).layers]
    assert names == ["part_one", "part_two", "sums_add", "sums_add_1", "last"]


def test_the_names_are_in_tflite_files_tables_and_c(network: IntegerNetwork, tmp_path: Path) -> None:
    """Oracle: the names of the layers: of the file's tensors, by the schema's own reader; of the costs of its
    operators; in the C, one a row of the table of layers; read back they are the same."""
    path = write_tflite(network, tmp_path / "model.tflite", {"exact": False})
    graph = read_graph(path)
    tensors = {tensor.name for tensor in graph.tensors}
    assert {"stem_1/weight", "stage1_block1_depthwise/bias", "stage1_block1_add", "classifier", "logits"} <= tensors
    assert "stage3_block1_project" in {operator.output for operator in tflite_operators(path)}
    text = network_files(read_tflite(path)[0])["scenelet_network_tables.c"]
    names = [layer.name for layer in network.layers]
    assert re.findall(r"\}, /\* (\w+) \*/", text) == [*names[:-1], "logits"]


def test_c_depends_on_names_in_its_comments_alone(network: IntegerNetwork) -> None:
    """Oracle: the same network with other names, those of files of earlier versions and hostile ones: the same C
    without its comments, and no name ends one."""

    def renamed(name: str) -> str:
        return f"{hash_of[name]}*/ #error \n{name[::-1]}" if name != "input" else name

    hash_of = {layer.name: number * 7 % 5 for number, layer in enumerate(network.layers)}
    other = replace(
        network,
        layers=tuple(
            replace(layer, name=renamed(layer.name), inputs=tuple(map(renamed, layer.inputs)))
            for layer in network.layers
        ),
        weights={renamed(name): weights for name, weights in network.weights.items()},
        quantities={renamed(name): quantity for name, quantity in network.quantities.items()},
    )
    plain, hostile = network_files(network), network_files(other)
    for name, text in plain.items():
        assert re.sub(r"/\*.*?\*/", "", text) == re.sub(r"/\*.*?\*/", "", hostile[name])
    assert "#error" not in hostile["scenelet_network_tables.c"]
