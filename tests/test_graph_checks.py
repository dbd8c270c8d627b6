"""Each number of a model file that cannot be is named, before anything is computed with it."""

import json
from collections.abc import Callable
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import numpy as np
import pytest
from test_damaged_models import METADATA, SPECTROGRAM, model, network
from test_flatbuffer import changed

from data.errors import UserError
from data.scenes import SCENES
from experiments.inference.classifier import load_classifier
from students.complexity import tflite_complexity
from students.quantize.metadata import METADATA_NAME
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel
from students.quantize.tflite import to_tflite, write_tflite


def first(model: schema.ModelT, kind: str) -> schema.OperatorT:
    number = getattr(schema.BuiltinOperator, kind)
    codes = [code.builtinCode for code in model.operatorCodes]
    return next(step for step in model.subgraphs[0].operators if codes[step.opcodeIndex] == number)


def tensor_of(model: schema.ModelT, kind: str, place: int) -> schema.TensorT:
    """An input of the first operator of a kind; -1: its output."""
    step = first(model, kind)
    return model.subgraphs[0].tensors[step.outputs[0] if place < 0 else step.inputs[place]]


def option(kind: str, **values: int) -> Callable:
    return lambda model: [setattr(first(model, kind).builtinOptions, *each) for each in values.items()]


def field(kind: str, place: int, name: str, value: object) -> Callable:
    return lambda model: setattr(tensor_of(model, kind, place), name, value)


def quantization(kind: str, place: int, name: str, value: object) -> Callable:
    return lambda model: setattr(tensor_of(model, kind, place).quantization, name, value)


def scale(value: float) -> Callable:
    """Of the input, as that of the first PAD."""
    return quantization("PAD", 0, "scale", np.array([value], np.float32))


def zero(*values: int) -> Callable:
    return quantization("PAD", 0, "zeroPoint", np.array(values, np.int64))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def version(model: schema.ModelT) -> None:
    model.operatorCodes[0].version = 99


def swap(model: schema.ModelT) -> None:
    operators = model.subgraphs[0].operators
    operators[0], operators[1] = operators[1], operators[0]


def cycle(model: schema.ModelT) -> None:
    operators = model.subgraphs[0].operators
    operators[0].inputs = np.array([operators[-1].outputs[0], *operators[0].inputs[1:]], np.int32)


def two_outputs(model: schema.ModelT) -> None:
    model.subgraphs[0].outputs = ints(*model.subgraphs[0].outputs, *model.subgraphs[0].operators[0].outputs)


def no_input(model: schema.ModelT) -> None:
    model.subgraphs[0].inputs = ints()


def many(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors += [schema.TensorT()] * 10_001


def amounts(model: schema.ModelT) -> None:
    buffer = model.buffers[tensor_of(model, "PAD", 1).buffer]
    buffer.data = np.frombuffer(np.array([[0, 0], [1, 2**30], [1, 1], [0, 0]], np.int32).tobytes(), np.uint8)


def weight(model: schema.ModelT) -> None:
    buffer = model.buffers[tensor_of(model, "CONV_2D", 1).buffer]
    buffer.data = np.append(np.uint8(128), buffer.data[1:])


def short_bias(model: schema.ModelT) -> None:
    buffer = model.buffers[tensor_of(model, "CONV_2D", 2).buffer]
    buffer.data = buffer.data[:-4]


def note(text: bytes) -> Callable:
    def change(model: schema.ModelT) -> None:
        (found,) = (each for each in model.metadata if each.name == METADATA_NAME.encode())
        model.buffers[found.buffer].data = np.frombuffer(text, np.uint8)

    return change


NEST = b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (scale(0), "has the scale 0: scales are from"),
        (scale(-1), "has the scale -1"),
        (scale(float("nan")), "has the scale nan"),
        (scale(float("inf")), "has the scale inf"),
        (scale(1e-45), "has the scale 1.4013e-45"),
        (quantization("PAD", 0, "scale", np.ones(3, np.float32)), "has 3 scales and 1 zero points"),
        (zero(128), "has the zero point 128: with 8 bits it is from -128 to 127"),
        (zero(), "has 1 scales and 0 zero points"),
        (quantization("CONV_2D", 1, "scale", np.zeros(8, np.float32)), "has scales of weights from 0 to 0"),
        (quantization("CONV_2D", 1, "scale", np.ones(1, np.float32)), "has 1 scales: each output channel has one"),
        (quantization("CONV_2D", 1, "scale", np.full(8, 1e9, np.float32)), "multiplies its sums by"),
        (quantization("CONV_2D", 1, "zeroPoint", np.arange(8)), "zero_points is"),
        (
            quantization("CONV_2D", 1, "zeroPoint", np.full(1000, 7)),
            r"zero_points is \[7 7 .*\[\.\.\.\], scenelet writes \[0",
        ),
        (quantization("CONV_2D", 1, "quantizedDimension", 2), "axis is 2, scenelet writes 0"),
        (quantization("ADD", -1, "scale", np.full(1, 1e-9, np.float32)), "addition.* multiplies its input"),
        (quantization("MAX_POOL_2D", -1, "scale", np.full(1, 1, np.float32)), "pool .*: it changes neither"),
        (option("CONV_2D", strideH=0), r"operator 1 \(CONV_2D\) has windows of .*strides of \(0, 2\)"),
        (option("CONV_2D", strideW=-1), r"strides of \(2, -1\)"),
        (
            option("CONV_2D", strideW=1),
            r"has an output of the shape \(1, 32, 16, 8\), by its inputs it is \(1, 32, 31, 8\)",
        ),
        (option("CONV_2D", padding=7), "the padding 7"),
        (option("CONV_2D", dilationHFactor=2**31 - 1), r"by its inputs it is \(1, -2147483614"),
        (option("CONV_2D", fusedActivationFunction=3), "fusedActivationFunction 3, which scenelet does not write"),
        (option("MAX_POOL_2D", filterWidth=0), r"has windows of \(2, 0\)"),
        (option("DEPTHWISE_CONV_2D", depthMultiplier=9), "options is .*'depthMultiplier': 9"),
        (version, r"operator 0 \(PAD\): version is 99, scenelet writes 2"),
        (field("CONV_2D", 0, "shape", ints(1, 2**16, 2**16, 1)), "their product at most 2,147,483,647"),
        (field("CONV_2D", 0, "shape", ints(1, 64, -32, 1)), "each number must be at least 1"),
        (field("CONV_2D", 0, "shape", ints(2, 64, 32, 1)), "by its inputs it is"),
        (field("CONV_2D", 0, "shape", np.ones(1000, np.int32)), "shape has 1,000 elements, at most 8 are read"),
        (field("CONV_2D", 0, "type", 99), "is of type 99"),
        (field("CONV_2D", 0, "type", schema.TensorType.STRING), "is of STRING"),
        (field("CONV_2D", 0, "isVariable", True), "has isVariable, which is not supported"),
        (field("CONV_2D", 0, "name", b"x" * 5000), "name has 5,000 bytes"),
        (field("CONV_2D", 1, "shape", ints(8, 3, 3, 2)), "has 72 bytes, INT8 of .* are 144"),
        (field("CONV_2D", 1, "shape", ints(72, 1, 1, 1)), "by its inputs it is"),
        (field("CONV_2D", 2, "shape", ints(4, 2)), r"has biases of the shape \(4, 2\), not \(8,\)"),
        (field("CONV_2D", 2, "type", schema.TensorType.FLOAT32), "is of INT8 and .* of FLOAT32"),
        (short_bias, "has 28 bytes, INT32 of .* are 32"),
        (weight, "has weights of 8 bits that are not from -127 to 127"),
        (amounts, r"by its inputs it is \(1, 1073741"),
        (swap, "which is not computed before"),
        (cycle, "which is not computed before"),
        (two_outputs, "it has 1 inputs and 2 outputs"),
        (no_input, "it has no input, no output, or no operator"),
        (many, "tensors has 10,0.. elements, at most 10,000 are read"),
        (note(b"[1]"), "metadata are .*, not an object"),
        (note(b'{"sample_rate": Infinity}'), "contain Infinity, which is not a number"),
        (note(NEST), "nested 501 deep, at most 20"),
        (note(b" " * 2**21), "metadata have 2,097,152 bytes"),
        (note(b"\xff\xfe"), "is damaged"),
    ],
)
def test_a_number_that_cannot_be_is_named(change: Callable, said: str, tmp_path: Path) -> None:
    """Oracle: the message, which names the file and what to do; no runtime sees the file, whose crash would be ours."""
    (tmp_path / "good.tflite").write_bytes(model())
    path = changed(tmp_path / "good.tflite", change, "bad.tflite")
    for read in (read_tflite, TFLiteModel, load_classifier):
        with pytest.raises(UserError, match=said) as told:
            read(path)
        assert str(told.value).startswith(str(path))
        assert str(told.value).isprintable()
        assert "quantise the student again" in str(told.value)


MEL = METADATA["mel"]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"scenes": SCENES[:3]}, "names 3 different classes, its network has 10 logits"),
        ({"scenes": [*SCENES[:9], "bus"]}, "names 9 different classes"),
        ({"scenes": [*SCENES[:9], "\x1b[31m"]}, r"classes are named '\\x1b\[31m'"),
        ({"scenes": [*SCENES[:9], " "]}, "classes are named ' '"),
        ({"scenes": [*SCENES[:9], "a" * 300]}, "classes are named 'aaa"),
        ({"scenes": [*SCENES[:9], 7]}, "does not name its classes"),
        ({"scenes": [*SCENES[:9], "filename"]}, "classes are named filename"),
        ({"sample_rate": None}, "does not name its front end"),
        ({"sample_rate": 32_000.0}, "does not name its front end"),
        ({"sample_rate": True}, "does not name its front end"),
        ({"sample_rate": 10**9}, "sample_rate"),
        ({"mel": []}, "does not name its front end"),
        ({"mel": {**MEL, "kind": []}}, "does not name its front end"),
        ({"mel": {**MEL, "kind": "x"}}, "unknown front end 'x'"),
        ({"mel": {**MEL, "mels": 10**6}}, "mels"),
        ({"mel": {**MEL, "mels": "64"}}, "mels"),
        ({"mel": {**MEL, "hop": 1000.0}}, "hop"),
        ({"mel": {**MEL, "hop": 10**30}}, "hop|a clip of 1 s has"),
        ({"mel": {**MEL, "fft": 2**40}}, "fft"),
        ({"mel": {**MEL, "high": 1e300}}, "high"),
        ({"mel": {**MEL, "new": 1}}, "new"),
        ({"mel": {**MEL, "hop": 500}}, "a clip of 1 s has"),
        ({"mel": {**MEL, "fft": 65_536}}, "Padding size should be less"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(about: dict, said: str, tmp_path: Path) -> None:
    """Oracle: the message, which names the file."""
    (tmp_path / "m.tflite").write_bytes(model(METADATA | about))
    with pytest.raises(UserError, match=said) as told:
        load_classifier(tmp_path / "m.tflite")
    assert "m.tflite" in str(told.value)
    assert str(told.value).isprintable()


def test_small_windows_over_long_sounds_are_refused(tmp_path: Path) -> None:
    """Oracle: by hand: a transform of 65,536 at each of 32,000 samples a second would be two billion values."""
    mel = {**MEL, "mels": 4, "hop": 1, "window": 65_536, "fft": 65_536}
    (tmp_path / "m.tflite").write_bytes(model(METADATA | {"mel": mel}))
    with pytest.raises(UserError, match=r"m.tflite: .*fft=65,?536.*hop=1"):
        load_classifier(tmp_path / "m.tflite")


def test_what_is_executed_is_what_was_read(tmp_path: Path) -> None:
    """Oracle: a file in which names are gone and buffers lie in another order: the same logits, and again our bytes."""

    def strip(model: schema.ModelT) -> None:
        graph = model.subgraphs[0]
        for tensor in graph.tensors:
            tensor.name = None
        order = np.random.default_rng(0).permutation(len(model.buffers) - 1) + 1
        model.buffers = [model.buffers[0], *(model.buffers[i] for i in order)]
        for holder in (*graph.tensors, *model.metadata):
            holder.buffer = 0 if holder.buffer == 0 else int(np.flatnonzero(order == holder.buffer)[0]) + 1

    path = write_tflite(network(8, 8), tmp_path / "good.tflite", METADATA)
    bare = changed(path, strip, "bare.tflite")
    assert tflite_complexity(bare) == tflite_complexity(path)
    logits = TFLiteModel(path).logits(SPECTROGRAM)
    assert (TFLiteModel(bare).logits(SPECTROGRAM) == logits).all()
    back, metadata = read_tflite(bare)
    assert json.dumps(metadata, sort_keys=True) == json.dumps(METADATA, sort_keys=True)
    assert (back.logits(SPECTROGRAM) == logits).all()
    assert len(to_tflite(back, metadata)) > 0


def test_files_that_once_crashed_are_messages(shared_cases: Path) -> None:
    """Oracle: files that ended the process, took gigabytes or reached the terminal: each is refused by its name."""
    files = sorted((shared_cases / "damaged_files").glob("*.tflite"))
    assert files
    for path in files:
        with pytest.raises(UserError, match=path.name):
            load_classifier(path)
    with pytest.raises(UserError, match=r"energy_abort_a.tflite: operator 6"):
        TFLiteModel(shared_cases / "damaged_files" / "energy_abort_a.tflite")
