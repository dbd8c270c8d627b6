"""TFLite files of other writers, and files that are none."""

import json
from collections.abc import Callable
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np
import pytest
import torch
from conftest import randomise_norms
from torch import nn

from data.errors import UserError
from data.flatbuffer import IDENTIFIER, read_graph
from students.complexity import tflite_complexity, tflite_operators
from students.cp_mobile import cp_mobile
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel
from students.quantize.tflite import to_tflite, write_tflite


def changed(path: Path, change: Callable[[schema.ModelT], object], name: str) -> Path:
    """A copy of a file whose content was changed by the schema's own classes."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    change(model)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    out = path.with_name(name)
    out.write_bytes(bytes(builder.Output()))
    return out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of ours: convolutions, additions, pools and PAD."""
    network = randomise_norms(cp_mobile(size="6k"))
    integers = calibrate(fold(network), [torch.randn(2, 1, 64, 44)])
    return write_tflite(integers, tmp_path / "new.tflite", {"a": 1})


def test_operators_of_old_converters_are_named_by_their_old_field(path: Path) -> None:
    """Oracle: converters before TensorFlow 2.4 wrote an operator's number into deprecatedBuiltinCode only, with 0 (ADD)
    in the other field; the schema's rule is the larger of both. LiteRT gives equal outputs for both files."""

    def age(model: schema.ModelT) -> None:
        for code in model.operatorCodes:
            code.builtinCode = 0

    old = changed(path, age, "old.tflite")
    spectrograms = torch.randn(3, 1, 64, 44)
    assert torch.equal(TFLiteModel(old).logits(spectrograms), TFLiteModel(path).logits(spectrograms))
    assert tflite_complexity(old) == tflite_complexity(path)
    assert len({operator.kind for operator in tflite_operators(old)}) > 3
    network, metadata = read_tflite(old)
    assert to_tflite(network, metadata) == path.read_bytes()


def test_an_old_file_is_counted_by_hand(tmp_path: Path) -> None:
    """Oracle: by hand: a 3x3 convolution 1 -> 4 with stride 2 on 8 x 6 (4 x 3 positions), then 1x1 to 3, then the mean
    of the 12 positions."""
    layers = [nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = calibrate(fold(nn.Sequential(*layers)), [torch.randn(2, 1, 8, 6)])
    path = write_tflite(network, tmp_path / "m.tflite", {})
    old = changed(path, lambda model: [setattr(code, "builtinCode", 0) for code in model.operatorCodes], "old.tflite")
    cost = tflite_complexity(old)
    assert (cost.macs, cost.parameters, cost.parameter_bytes) == (
        432 + 144 + 36,
        36 + 4 + 12 + 3,
        36 + 12 + 4 * (4 + 3),
    )


def test_an_input_that_is_left_out_is_no_parameter(path: Path) -> None:
    """Oracle: by hand: a convolution without a bias (its third input is -1) has as many parameters less as channels."""
    at = next(i for i, operator in enumerate(read_graph(path).operators) if operator.kind == "CONV_2D")
    channels = read_graph(path).shape(read_graph(path).operators[at].inputs[2])[0]

    def without_bias(model: schema.ModelT) -> None:
        model.subgraphs[0].operators[at].inputs = np.array([*model.subgraphs[0].operators[at].inputs[:2], -1], np.int32)

    bare = changed(path, without_bias, "bare.tflite")
    assert tflite_complexity(bare).parameters == tflite_complexity(path).parameters - channels


def refer_beyond(model: schema.ModelT) -> None:
    model.subgraphs[0].operators[0].inputs = np.array([0, 10_000, 2], np.int32)


def two_graphs(model: schema.ModelT) -> None:
    model.subgraphs.append(model.subgraphs[0])


def unknown_operator(model: schema.ModelT) -> None:
    model.operatorCodes[0].builtinCode = 9_999


def custom_operator(model: schema.ModelT) -> None:
    for code in model.operatorCodes:
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM


def unsigned(model: schema.ModelT) -> None:
    for tensor in model.subgraphs[0].tensors:
        tensor.type = schema.TensorType.UINT8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (refer_beyond, "changed.tflite is damaged"),
        (two_graphs, "changed.tflite is damaged"),
        (unknown_operator, "changed.tflite: it contains the operator number 9999"),
        (custom_operator, "changed.tflite: .*operator CUSTOM"),
        (unsigned, "changed.tflite: .*(UINT8|not of int8)"),
    ],
)
def test_files_that_cannot_be_are_a_message(path: Path, change: Callable, message: str) -> None:
    """Oracle: the messages of both the counter and the reader."""
    other = changed(path, change, "changed.tflite")
    for read in (tflite_complexity, read_tflite):
        with pytest.raises(UserError, match=message):
            read(other)


def test_files_that_are_none_are_a_message(tmp_path: Path, path: Path) -> None:
    """Oracle: the messages, which name no stage: for no file, for bytes of something else, and for a file cut short."""
    (tmp_path / "x.tflite").write_bytes(bytes(range(200)))
    (tmp_path / "cut.tflite").write_bytes(path.read_bytes()[:2000])
    messages = {"none.tflite": "is no file: quantise", "x.tflite": "is no TFLite file", "cut.tflite": "is damaged"}
    for read in (tflite_complexity, tflite_operators, read_tflite):
        for name, message in messages.items():
            with pytest.raises(UserError, match=message) as told:
                read(tmp_path / name)
            assert "stage=" not in str(told.value)


def test_what_was_stored_is_found_again(path: Path) -> None:
    """Oracle: what was written: the metadata, and the names of the first and last tensor."""
    graph = read_graph(path)
    assert {**json.loads(graph.metadata("scenelet")), "digest": ""} == {"a": 1, "digest": ""}
    assert graph.metadata("other") is None
    assert ([graph.name(i) for i in graph.inputs], [graph.name(i) for i in graph.outputs]) == (["input"], ["logits"])
    assert graph.shape(graph.inputs[0]) == (1, 64, 44, 1)
    assert not graph.is_constant(graph.inputs[0])
