"""Files of other converters are counted as the challenge's own tool counts them."""

from pathlib import Path

import pytest
from foreign import PLACEHOLDER, ForeignNetwork

from data.errors import UserError
from students.complexity import tflite_complexity, tflite_operators


def dcase_baseline(kind: str = "INT8", *, named: bool = True) -> tuple[ForeignNetwork, int]:
    """The baseline of DCASE 2022 and 2023, Task 1: the dense layer takes the map as it is."""
    net = ForeignNetwork((1, 40, 51, 1), kind, named=named)
    x = net.pool(net.conv(net.conv(0, 16, (7, 7)), 16, (7, 7)), (5, 5))
    x = net.pool(net.conv(x, 32, (7, 7)), (4, 10))
    return net, net.add("SOFTMAX", [net.dense(net.dense(x, 100), 10)], (1, 10))


def person_detection() -> tuple[ForeignNetwork, int]:
    """MobileNetV1 0.25 on 96 x 96 grey pixels, as TensorFlow Lite Micro publishes it."""
    net = ForeignNetwork((1, 96, 96, 1))
    x = net.depthwise(0, (3, 3), (2, 2), multiplier=8)
    outs = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
    for block, out in enumerate(outs):
        stride = (2, 2) if block in (1, 3, 5, 11) else (1, 1)
        x = net.conv(net.depthwise(x, (3, 3), stride), out, (1, 1))
    x = net.conv(net.pool(x, (3, 3), "AVERAGE_POOL_2D"), 2, (1, 1))
    x = net.add("RESHAPE", [x, net.constant((2,), "INT32")], (1, 2))
    return net, net.add("SOFTMAX", [x], (1, 2))


def micro_speech() -> tuple[ForeignNetwork, int]:
    """TensorFlow Lite Micro's keyword spotter: 8 filters over 49 frames of 40 bands, and a dense layer of 4."""
    net = ForeignNetwork((1, 1960))
    x = net.add("RESHAPE", [0, net.constant((4,), "INT32")], (1, 49, 40, 1))
    return net, net.add("SOFTMAX", [net.dense(net.depthwise(x, (10, 8), (2, 2), multiplier=8), 4)], (1, 4))


@pytest.mark.parametrize("old", [False, True])
def test_the_baseline_costs_what_is_published(old: bool, tmp_path: Path) -> None:
    """Oracle: NeSsi's published table: 29,234,920 multiply-accumulates, 46,512 bytes, peak 65,280, layer by layer."""
    net, output = dcase_baseline()
    path = net.write(tmp_path / "baseline.tflite", output, old=old)
    cost = tflite_complexity(path)
    assert (cost.macs, cost.parameter_bytes, cost.peak_bytes) == (29_234_920, 46_512, 65_280)
    macs = [1_599_360, 25_589_760, 32_000, 2_007_040, 2_560, 3_200, 1_000, 0]
    assert [operator.macs for operator in tflite_operators(path)] == macs


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("build", "macs"), [(person_detection, 7_160_192), (micro_speech, 320_032)])
def test_published_networks_cost_what_nessi_says(build, macs: int, old: bool, tmp_path: Path) -> None:
    """Oracle: NeSsi's counts of person detection (its 3 x 3 pool as 2,304, the 1 x 1 convolution as 512) and of micro
    speech (320,000, and 32 for a dense layer by the last dimension)."""
    net, output = build()
    path = net.write(tmp_path / "net.tflite", output, old=old)
    assert tflite_complexity(path).macs == macs
    found = {operator.macs for operator in tflite_operators(path)}
    assert found >= ({2_304, 512} if build is person_detection else {320_000, 32})


@pytest.mark.parametrize(("kind", "named"), [("UINT8", True), ("INT8", False), ("UINT8", False)])
def test_types_and_names_change_no_count(kind: str, named: bool, tmp_path: Path) -> None:
    """Oracle: the published figures again: 8 bits are a byte with or without sign; a tensor without a name is called
    by its number."""
    net, output = dcase_baseline(kind, named=named)
    path = net.write(tmp_path / "net.tflite", output)
    cost = tflite_complexity(path)
    assert (cost.macs, cost.parameter_bytes, cost.peak_bytes) == (29_234_920, 46_512, 65_280)
    names = [operator.output for operator in tflite_operators(path)]
    assert len(set(names)) == len(names)
    assert all(name.startswith("t" if named else "tensor ") for name in names)


def test_conversion_at_the_ends_costs_memory_only(tmp_path: Path) -> None:
    """Oracle: by hand, NeSsi's rules: QUANTIZE and DEQUANTIZE have no multiply-accumulates; floats are 4 bytes: the
    input 4 x 320 beside its 320 integers."""
    net = ForeignNetwork((1, 16, 20, 1), "FLOAT32")
    net.kind = "INT8"
    x = net.add("QUANTIZE", [0], (1, 16, 20, 1), of="QuantizeOptions")
    x = net.dense(net.pool(x, (16, 20)), 3)
    x = net.add("DEQUANTIZE", [x], (1, 3), kind="FLOAT32", of="DequantizeOptions")
    path = net.write(tmp_path / "net.tflite", x, old=True)
    cost = tflite_complexity(path)
    assert (cost.macs, cost.parameter_bytes, cost.peak_bytes) == (320 + 3, 3 + 12, 5 * 320)
    assert [op.alive_bytes for op in tflite_operators(path)] == [5 * 320, 320 + 1, 1 + 3, 3 + 12]


def test_operators_between_the_layers_cost_nothing(tmp_path: Path) -> None:
    """Oracle: NeSsi's source: multiply-accumulates of convolutions, dense layers, pools, means and additions, and of
    nothing else; by hand: 4 x 6 x 8 for the sum, as much for the mean, twice that for each window of 1 x 2."""
    net = ForeignNetwork((1, 4, 6, 8))
    shape = net.shape(0)
    x = net.add("ADD", [0, net.add("MUL", [0, 0], shape)], shape, of="AddOptions")
    for kind in ("LOGISTIC", "RELU", "HARD_SWISH", "LEAKY_RELU", "RELU6", "TANH", "ELU"):
        x = net.add(kind, [x], shape)
    x = net.add("SUB", [x, net.constant((1,))], shape)
    x = net.add("CONCATENATION", [x, x], (1, 4, 6, 16))
    x = net.add("SPLIT", [net.constant((1,), "INT32"), x], shape, shape)
    x = net.add("STRIDED_SLICE", [x, *(net.constant((4,), "INT32") for _ in range(3))], shape)
    x = net.add("TRANSPOSE", [x, net.constant((4,), "INT32")], (1, 6, 4, 8))
    x = net.add("SQUEEZE", [net.add("PACK", [x], (1, 1, 6, 4, 8))], (1, 6, 4, 8))
    x = net.add("EXPAND_DIMS", [net.pool(x, (1, 2)), net.constant((1,), "INT32")], (1, 1, 6, 2, 8))
    x = net.add("RESHAPE", [x], (1, 6, 2, 8))
    x = net.add("MEAN", [x, net.constant((2,), "INT32")], (1, 8), of="ReducerOptions")
    assert tflite_complexity(net.write(tmp_path / "net.tflite", x)).macs == 192 + 96 * 2 + 96


@pytest.mark.parametrize("kind", ["TRANSPOSE_CONV", "BATCH_MATMUL", "UNIDIRECTIONAL_SEQUENCE_LSTM", "CUSTOM", "GELU"])
def test_an_operator_is_counted_or_refused_by_name(kind: str, tmp_path: Path) -> None:
    """Oracle: the message: what multiplies matrices and has no rule is not counted as 0; GELU, whose number stands in
    the new field alone, is one of those that cost nothing."""
    net = ForeignNetwork((1, 4))
    state = net.tensor((1, 4))
    net.graph.tensors[state].isVariable = kind.endswith("LSTM")  # which no operator computes
    path = net.write(tmp_path / "net.tflite", net.add(kind, [0, state][: 1 + kind.endswith("LSTM")], (1, 4)))
    if kind == "GELU":
        assert net.model.operatorCodes[0].deprecatedBuiltinCode == PLACEHOLDER
        assert tflite_complexity(path).macs == 0
        return
    with pytest.raises(UserError, match=rf"net.tflite: .*operator {kind}$"):
        tflite_complexity(path)


def test_the_larger_of_both_fields_is_the_operator(tmp_path: Path) -> None:
    """Oracle: the schema's rule, which LiteRT follows: a placeholder beside a smaller number is an operator that no
    network can have; it is refused, not taken for the smaller number."""
    net = ForeignNetwork((1, 4))
    output = net.add("RELU", [0], (1, 4))
    net.model.operatorCodes[0].deprecatedBuiltinCode = PLACEHOLDER
    with pytest.raises(UserError, match="operator PLACEHOLDER_FOR_GREATER_OP_CODES"):
        tflite_complexity(net.write(tmp_path / "net.tflite", output))
