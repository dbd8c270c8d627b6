"""The GRU in integers: its arithmetic against the kernels and the real functions, its file, its training."""

from dataclasses import replace
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from conftest import randomise_norms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from data.errors import UserError
from data.flatbuffer import IDENTIFIER
from students.cnn_gru import GRU, AsMap, cnn_gru
from students.complexity import tflite_complexity, tflite_operators
from students.quantize.bits import least_bytes, measure
from students.quantize.buffers import AlignedBuffer
from students.quantize.calibrate import calibrate, correct_biases
from students.quantize.devices import with_devices
from students.quantize.exact import calibrate_exactly
from students.quantize.export import write_onnx
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.gru import SIGMOIDS, STATES, SUMS, half, logistic, product, tanh
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import CONVOLUTION, FoldedNetwork
from students.quantize.layers import GRU as RECURRENCE
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.tflite import to_tflite, write_tflite
from students.quantize.tflite_float import write_float_tflite
from students.quantize.tflite_gru import operators_of

ALL = torch.arange(-(2**15), 2**15)


def recurrent(units: int, bands: int, factor: float = 1.0) -> nn.Module:
    """A convolution, a GRU over its columns, and a layer of classes."""
    gru = GRU(3 * bands, units, batch_first=True)
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter *= factor
    head = (AsMap(), nn.Conv2d(units, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(nn.Conv2d(1, 3, 1), gru, *head).eval()


def folded(network: nn.Module, clips: torch.Tensor) -> FoldedNetwork:
    return fold(network, (1, *clips.shape[1:]), clips)


def of_litert(operator: str, version: int, sums: torch.Tensor) -> torch.Tensor:
    """What a reference kernel of one function makes of integers of the scale of sums."""
    tensors = []
    for name, quantity in (("x", SUMS), ("y", STATES)):
        tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = np.array([quantity.scale], np.float32), np.zeros(1, np.int64)
        tensor.name, tensor.shape, tensor.type = name, [1, len(sums)], schema.TensorType.INT16
        tensor.quantization, tensor.buffer = quantization, 0
        tensors.append(tensor)
    step, code, graph, model = schema.OperatorT(), schema.OperatorCodeT(), schema.SubGraphT(), schema.ModelT()
    step.inputs, step.outputs = [0], [1]
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, operator)
    code.version = version
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, [step], [0], [1]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [AlignedBuffer()]
    builder = flatbuffers.Builder(1 << 10)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    runtime = Interpreter(
        model_content=bytes(builder.Output()), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    runtime.allocate_tensors()
    runtime.set_tensor(0, sums.to(torch.int16).numpy()[None])
    runtime.invoke()
    return torch.from_numpy(runtime.get_tensor(1)[0]).long()


@pytest.mark.parametrize(
    ("ours", "operator", "real"), [(logistic, "LOGISTIC", torch.sigmoid), (tanh, "TANH", torch.tanh)]
)
def test_functions_are_those_of_the_kernels_for_every_sum(ours, operator: str, real) -> None:
    """Oracle: LiteRT's reference kernels, of all 65,536 sums; the real functions, within 5 of 32,768 steps (sigmoid)
    and 12 (tanh); a larger sum never has a smaller value."""
    found = ours(ALL)
    assert torch.equal(found, of_litert(operator, 3, ALL))
    exact = real(ALL.double() * SUMS.scale) / STATES.scale
    assert (found - exact).abs().max() <= (5 if operator == "LOGISTIC" else 12)
    assert (found.diff() >= 0).all()


def test_the_table_is_the_sigmoid_almost() -> None:
    """Oracle: sigmoid(i / 24) in float64, times 65,536: within 1.2, which is more than a rounding."""
    exact = 65_536 * torch.sigmoid(torch.arange(256, dtype=torch.float64) / 24)
    assert (torch.tensor(SIGMOIDS) - exact).abs().max() <= 1.2
    assert len(SIGMOIDS) == 256


def test_products_and_halves_are_rounded_to_the_nearest() -> None:
    """Oracle: real numbers: within half a step, but for two roundings in a row, which may add as much again."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randint(-(2**15), 2**15, (2, 10_000), generator=generator)
    assert (product(a, b) - a.double() * b / 2**15).abs().max() <= 0.5 + 2**-14
    assert half(torch.tensor([0, 1, -1, 2, 3, -3, 65_535])).tolist() == [0, 1, -1, 1, 2, -2, 32_768]  # by hand


@pytest.mark.parametrize(("units", "bands"), [(5, 1), (8, 3)])
def test_folding_keeps_the_recurrence(units: int, bands: int, generator: torch.Generator) -> None:
    """Oracle: torch.nn.GRU in the network itself."""
    clips, network = torch.randn(3, 1, bands, 7, generator=generator), recurrent(units, bands, 3.0)
    one = folded(network, clips)
    assert [(layer.name, layer.kind) for layer in one.layers[1:3]] == [("1_gates", CONVOLUTION), ("1", RECURRENCE)]
    torch.testing.assert_close(one(clips), network(clips), rtol=0, atol=1e-5)


@pytest.mark.parametrize("activations", [8, 16])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(2, 9),
    st.integers(1, 3),
    st.sampled_from([1, 4, 10, 11, 23]),
    st.sampled_from([0.3, 3.0, 30.0]),
    st.integers(0, 1000),
)
def test_the_file_equals_its_simulation_in_every_byte(
    tmp_path: Path, activations: int, units: int, bands: int, steps: int, factor: float, seed: int
) -> None:
    """Oracle: LiteRT's reference kernels, and tflite-micro where it is installed, over random GRUs, with sums that 16
    bits hold and others; what is read back has the same bytes again."""
    torch.manual_seed(seed)
    clips = torch.randn(8, 1, bands, steps)  # whose logits are not all nearly the same
    ours = calibrate(folded(recurrent(units, bands, factor), clips), [clips], activations=activations)
    path = write_tflite(ours, tmp_path / "m.tflite", {})
    q = ours.quantities["input"].quantize(clips)
    expected = ours.run(q).numpy()
    for kernels in ("device", "micro") if has_micro() else ("device",):
        found = TFLiteModel(path, kernels=kernels).run_integers(q.permute(0, 2, 3, 1).numpy())
        np.testing.assert_array_equal(found, expected)
    assert to_tflite(read_tflite(path)[0], {}) == path.read_bytes()


def test_a_whole_student_answers_as_its_floats(tmp_path: Path, generator: torch.Generator) -> None:
    """Oracle: the float network: the logits of a CNN-GRU differ by 3 of 256 steps on average, and by 12 at most."""
    clips = torch.randn(8, 1, 64, 40, generator=generator)
    network = randomise_norms(cnn_gru(base_channels=8, units=12))
    one = folded(network, clips)
    ours = correct_biases(one, calibrate(one, [clips]), clips)
    with torch.no_grad():
        steps = (ours.logits(clips) - network(clips)).abs() / ours.output.scale
    assert steps.mean() <= 3
    assert steps.max() <= 12
    assert len(ours.logits(clips).unique()) > 10


def test_its_file_is_counted_by_hand(tmp_path: Path) -> None:
    """Oracle: arithmetic, of 5 units and 4 steps: weights are there once; a step multiplies 15 x 5 weights, and five
    additions of 5 values each count one, as NeSsi counts them. Zeros and axes are constants, but no parameters."""
    clips, layers = torch.randn(2, 1, 1, 4), 3 * 1 + 3
    ours = calibrate(folded(recurrent(5, 1), clips), [clips])
    path = write_tflite(ours, tmp_path / "m.tflite", {})
    operators = tflite_operators(path)
    of_gru = [each for each in operators if each.kind not in ("CONV_2D", "AVERAGE_POOL_2D")]
    assert len(operators) == 4 + operators_of(4)
    assert sum(each.kind == "CONV_2D" for each in operators) == 3 + 4
    gates, head = 15 * 3 + 15, 5 * 4 + 4
    cost = tflite_complexity(path)
    assert cost.parameters == layers + gates + 15 * 5 + 15 + head
    assert cost.parameter_bytes == (3 + 4 * 3) + (15 * 3 + 4 * 15) + (15 * 5 + 8 * 15) + (5 * 4 + 4 * 4)
    assert cost.macs == 3 * 4 + 4 * 15 * 3 + 4 * (15 * 5 + 4 * 5) + 4 * 5 * 4 + 4 * 4
    assert sum(each.parameter_bytes for each in operators) == cost.parameter_bytes
    assert sum(each.amount_bytes for each in operators) == 2 * 4 + 2 * 5  # two axes, a state
    assert sum(each.macs for each in of_gru) == 4 * 4 * 5


def test_training_with_rounding_answers_as_its_integers(generator: torch.Generator) -> None:
    """Oracle: the integer network: within 3 steps of the logits, after training as well, which brings both nearer to
    another float network; and every number has moved."""
    clips, network = torch.randn(16, 1, 2, 9, generator=generator), recurrent(8, 2, 3.0)
    one = folded(network, clips)
    fake = FakeQuantized(one, calibrate(one, [clips], bits={"1_gates": 4, "3": 4}))
    before = {name: value.clone() for name, value in fake.state_dict().items()}
    wanted = recurrent(8, 2, 3.0)(clips).detach()

    def lost() -> float:
        with torch.no_grad():
            integers = fake.integers()
            steps = (integers.logits(clips) - fake(clips)).abs() / integers.output.scale
            assert steps.max() <= 3
            return float((integers.logits(clips) - wanted).square().mean())

    at_first, optimizer = lost(), torch.optim.Adam(fake.parameters(), lr=1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        (fake(clips) - wanted).square().mean().backward()
        optimizer.step()
    assert lost() < 0.6 * at_first
    moved = {name for name, value in fake.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == before.keys() - {"picture_step"}


def test_what_a_gru_does_not_have_is_refused(tmp_path: Path) -> None:
    """Oracle: the messages, and the bits that it may have: those of all weights together are 4 where they can be."""
    clips, network = torch.randn(2, 1, 2, 5), recurrent(4, 2)
    one = folded(network, clips)
    ours = calibrate(one, [clips])
    with pytest.raises(UserError, match="4 bits for the weights of 1: it is a GRU, whose weights have 8"):
        calibrate(one, [clips], bits={"1": 4})
    with pytest.raises(UserError, match="exact=all: 1 is a GRU"):
        calibrate_exactly(one, [clips])
    with pytest.raises(UserError, match="1 is a GRU, which ONNX files have no form of here"):
        write_onnx(ours, tmp_path / "m.onnx")
    with pytest.raises(UserError, match="1 is a GRU, which TFLite files have in integers alone"):
        write_float_tflite(one, ours, tmp_path / "f.tflite", {})
    with pytest.raises(UserError, match="no integer form: GRU"):  # without the shape its bands are not known
        fold(network)
    options = measure(one, clips)
    assert [[option.bits for option in options[name]] for name in ("1", "1_gates")] == [[8], [4, 8]]
    assert options["1"][0].bytes == least_bytes(one, "1") == 12 * 4 + 8 * 12


def test_devices_have_grus_of_their_own(tmp_path: Path) -> None:
    """Oracle: the network of the device alone, in LiteRT's reference kernels."""
    clips, general, other = torch.randn(4, 1, 2, 5), recurrent(4, 2), recurrent(4, 2, 2.0)
    one = folded(general, clips)
    integers = correct_biases(one, calibrate(one, [clips]), clips)
    ours = with_devices(integers, {"a": folded(other, clips)}, clips)
    assert set(ours.sets["a"]) >= {"1", "1_gates"}
    path = write_tflite(ours, tmp_path / "m.tflite", {})
    back, _ = read_tflite(path)
    q = ours.quantities["input"].quantize(clips)
    expected = back.of_device("a").run(q)
    assert not torch.equal(expected, back.run(q))
    assert torch.equal(expected, ours.of_device("a").run(q))
    model = TFLiteModel(path, device="a")
    np.testing.assert_array_equal(model.run_integers(q.permute(0, 2, 3, 1).numpy()), expected.numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: with_scale(n, "1_gates", 8.0), r"the GRU '1' multiplies gates by 32768"),
        (lambda n: with_scale(n, "1", 2.0**-30), r"the GRU '1' multiplies states by 32768"),
    ],
)
def test_scales_that_kernels_cannot_multiply_by_are_refused(change, message: str, tmp_path: Path) -> None:
    """Oracle: the messages, of scales of gates and of states."""
    clips = torch.randn(2, 1, 2, 5)
    ours = calibrate(folded(recurrent(4, 2), clips), [clips])
    path = write_tflite(change(ours), tmp_path / "m.tflite", {})
    with pytest.raises(UserError, match=message):
        read_tflite(path)


def with_scale(network: IntegerNetwork, name: str, scale: float) -> IntegerNetwork:
    quantity = replace(network.quantities[name], scale=scale)
    return replace(network, quantities={**network.quantities, name: quantity})
