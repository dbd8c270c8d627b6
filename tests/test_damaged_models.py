"""Damaged and hostile model files: refused in a message, or executed, but never a crash, a traceback or a long wait."""

import copy
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import fuzzing
import numpy as np
import pytest
import torch
from torch import nn

from data.damage import WrongValueError
from data.errors import UserError
from data.flatbuffer import IDENTIFIER
from data.scenes import SCENES
from experiments.inference.classifier import load_classifier
from students.blocks import SubSpectralNorm
from students.cnn_gru import GRU, AsMap
from students.complexity import tflite_complexity, tflite_memory, tflite_operators
from students.quantize.calibrate import calibrate
from students.quantize.digest import DIGEST
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import ADD, CONVOLUTION
from students.quantize.network_checks import check_network
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.tflite import Writer, to_tflite
from students.tf_sepnet import ShuffledHalf

SHAPE = (64, 32)
METADATA = {
    "arguments": {},
    "builder": "x",
    "exact": False,
    "mel": {"kind": "log_mel", "mels": SHAPE[0], "hop": 1000, "window": 3072, "fft": 4096, "low": 0.0, "high": 15500.0},
    "devices": ["a", "b \u00e4"],
    "sample_rate": 32_000,
    "scenes": list(SCENES),
}
WAVE = torch.linspace(-1, 1, 32_000)[None]
SPECTROGRAM = torch.linspace(-1, 2, SHAPE[0] * SHAPE[1]).reshape(1, 1, *SHAPE)
KERNELS = ("device", "host", "plain", *(["micro"] if has_micro() else []))
NUMBERS = (0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 65_535, 10**6, 2**31 - 1, -(2**31), 2**40, 0.0, -1.0, 1e-45, 1e-38)
FLOATS = (*(float(n) for n in NUMBERS), 1e30, 3e38, float("inf"), float("nan"))
VALUES = (None, True, "", "x", "\x1b[31m", "a" * 5000, [], [[]] * 3, {}, {"a": 1}, *NUMBERS, *FLOATS, 10**400)


class Residual(nn.Module):
    """A depthwise convolution, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.path = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.path(x))


class Shuffled(nn.Module):
    """Both halves of the channels, in turn, of a map that more is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = ShuffledHalf(0), ShuffledHalf(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.first(x), self.second(x)], 1)


@cache
def network(bits: int, activations: int) -> IntegerNetwork:
    """Every kind of operator that is written, few of each; every second layer has weights of so many bits. One device
    has all numbers of the first layer of its own, another one the scales of the last layer."""
    torch.manual_seed(0)
    shuffled = [Shuffled()] if activations == 8 else []  # tflite-micro gathers no integers of 16 bits
    stem = [nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), Residual(8), *shuffled, nn.AvgPool2d(3, (2, 4), 1)]
    parts = [nn.Conv2d(8, 8, (3, 1), padding=(2, 0), dilation=(2, 1), groups=8), SubSpectralNorm(8, 2)]
    gru = [GRU(8 * 8, 4, batch_first=True), AsMap()]
    head = [nn.Conv2d(4, len(SCENES), 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    folded = fold(nn.Sequential(*stem, *parts, *gru, *head).eval(), (1, 1, *SHAPE))
    widths = {name: max(bits, min(folded.widths(name))) for name in list(folded.convolutions)[::2]}
    general = calibrate(folded, [torch.randn(2, 1, *SHAPE)], bits=widths, activations=activations)
    (first, one), *_, (last, two) = general.weights.items()
    own = replace(one, weight=-one.weight, bias=one.bias + 1, scale=2 * one.scale)
    return replace(general, sets={"a": {first: own}, "b \u00e4": {last: replace(two, scale=two.scale / 2)}})


def model(metadata: Mapping[str, Any] = METADATA, bits: int = 8, activations: int = 8) -> bytes:
    """A file without a digest, as earlier versions wrote them: with one, hardly a mutant would come to be executed."""
    return Writer(network(bits, activations)).build(metadata)


def counted(path: Path) -> None:
    tflite_complexity(path), tflite_operators(path), tflite_memory(path)


def computed(path: Path) -> None:
    network, _ = read_tflite(path)
    for one in (network, *map(network.of_device, network.sets)):
        one.logits(SPECTROGRAM)


def executed(path: Path) -> None:
    for kernels in KERNELS:
        TFLiteModel(path, kernels=kernels).logits(SPECTROGRAM)


def classified(path: Path) -> None:
    classifier = load_classifier(path)
    samples = round(classifier.clip_seconds * classifier.sample_rate)
    wave = WAVE if samples == WAVE.shape[1] else torch.zeros(1, samples)
    classifier.probabilities(classifier.spectrograms(wave))


def structural(original: bytes, count: int, seed: int) -> Iterator[fuzzing.Mutant]:
    """Copies in which one to three numbers or lists of the schema's objects are replaced."""
    draw = random.Random(seed)
    while count:
        unpacked, changes = schema.ModelT.InitFromPackedBuf(original, 0), []
        for _ in range(draw.choice((1, 1, 2, 3))):
            holder, field, name = draw.choice(list(fields_of(unpacked)))
            value = changed(getattr(holder, field), draw)
            setattr(holder, field, value)
            changes.append(f"{name}={value!s:.60}")
        builder = flatbuffers.Builder(1 << 16)
        try:
            builder.Finish(unpacked.Pack(builder), IDENTIFIER)
        except Exception:  # the builder's, of a number that does not fit into its field
            continue
        count -= 1
        yield ", ".join(changes), bytes(builder.Output())


def fields_of(value: Any, name: str = "") -> Iterator[tuple[Any, str, str]]:
    """Every field of an object and of those in it that is a number or a list of numbers: object, field, name."""
    for field, inner in vars(value).items():
        path = f"{name}.{field}".lstrip(".")
        if isinstance(inner, bool | int | float | np.ndarray):
            yield value, field, path
        for place, one in enumerate(inner if isinstance(inner, list) else [inner]):
            if hasattr(one, "Pack"):
                yield from fields_of(one, f"{path}[{place}]" if isinstance(inner, list) else path)


def changed(value: Any, draw: random.Random) -> Any:
    if not isinstance(value, np.ndarray):
        return draw.choice(NUMBERS) if isinstance(value, int) else draw.choice(FLOATS)
    if draw.random() < 0.3 or not len(value):
        return np.resize(value, draw.choice((0, 1, 2, 3, 5, 16, 1000)))
    value, choices = value.copy(), FLOATS if value.dtype.kind == "f" else NUMBERS
    with np.errstate(all="ignore"):
        number = np.array(draw.choice(choices)).astype(value.dtype)
    value[slice(None) if draw.random() < 0.2 else draw.randrange(len(value))] = number
    return value


def texts(count: int, seed: int) -> Iterator[fuzzing.Mutant]:
    """Files whose metadata have one to three other values, or lack some."""
    draw = random.Random(seed)
    for _ in range(count):
        metadata, changes = json.loads(json.dumps(METADATA)), []
        for _ in range(draw.choice((1, 1, 2, 3))):
            holder = draw.choice([metadata, metadata["mel"]] if isinstance(metadata.get("mel"), dict) else [metadata])
            key = draw.choice([*(holder or ["new"]), "new"])
            value = draw.choice([*VALUES, [draw.choice(VALUES)] * 10, ["a", *SCENES[1:]], ["\x1b", *SCENES[1:]]])
            if draw.random() < 0.1:
                holder.pop(key, None)
            else:
                holder[key] = copy.deepcopy(value)  # or a later change would lead into itself
            changes.append(f"{key}={value!r:.60}")
        yield ", ".join(changes), model(metadata)


def numeric(original: IntegerNetwork, count: int, seed: int) -> Iterator[fuzzing.Mutant]:
    """Files that are consistent in themselves, of networks with one to three other scales, zero points or integers."""
    draw = random.Random(seed)
    for _ in range(count):
        quantities, weights, changes = dict(original.quantities), dict(original.weights), []
        for _ in range(draw.choice((1, 1, 2, 3))):
            kind, scale = (
                draw.choice(("scale", "scales", "zero point", "weights", "integers")),
                2.0 ** draw.randint(-70, 70),
            )
            name = draw.choice(list(weights if kind in ("weights", "integers") else quantities))
            match kind:
                case "scale":
                    quantities[name] = replace(quantities[name], scale=scale)
                case "scales":
                    quantities = {key: replace(each, scale=scale) for key, each in quantities.items()}
                case "zero point":
                    quantities[name] = replace(quantities[name], zero_point=draw.choice((-129, -128, 0, 127, 128)))
                case "weights":
                    some = np.arange(len(weights[name].scale)) < draw.choice((1, 1000))
                    scales = np.where(some, scale, weights[name].scale).astype(np.float32)
                    weights[name] = replace(weights[name], scale=scales)
                case "integers":
                    limits = np.iinfo(weights[name].bias.dtype)
                    bias = np.full_like(weights[name].bias, draw.choice((limits.min, 0, limits.max)))
                    weight = np.full_like(weights[name].weight, draw.choice((-7, 0, 7, 127)))
                    weights[name] = replace(weights[name], bias=bias, weight=weight)
            changes.append(f"{kind} {scale:g} of {name}")
        for layer in original.layers:
            if layer.kind not in (CONVOLUTION, ADD):  # a pool has the scale of its input
                shape = original.quantities[layer.name].shape
                quantities[layer.name] = replace(quantities[layer.inputs[0]], shape=shape)
        with np.errstate(all="ignore"):
            yield ", ".join(changes), Writer(replace(original, quantities=quantities, weights=weights)).build(METADATA)


def damaged(bits: int, activations: int, count: int) -> Iterator[fuzzing.Mutant]:
    """A quarter of each kind."""
    original, seed, share = model(bits=bits, activations=activations), bits + activations, -(-count // 4)
    yield from fuzzing.mutants(original, share, seed)
    yield from structural(original, share, seed)
    yield from numeric(network(bits, activations), share, seed)
    yield from texts(share, seed)


def test_a_scale_that_is_no_number_is_refused_without_a_warning_of_a_library() -> None:
    """Oracle: the signalling NaN of IEEE 754 (its first bit of the fraction 0), whose cast raises "invalid"; numpy's
    warnings are errors here."""
    original = network(8, 8)
    name = next(iter(original.weights))
    scale = original.weights[name].scale.astype(np.float32)
    scale.view(np.uint32)[0] = 0x7FA00000
    weights = {**original.weights, name: replace(original.weights[name], scale=scale)}
    with np.errstate(all="raise"), pytest.raises(WrongValueError, match="scales of weights that are no finite numbers"):
        check_network(replace(original, weights=weights))


@pytest.mark.parametrize(
    ("reader", "bits", "activations"),
    [
        pytest.param(counted, 8, 8, marks=pytest.mark.slow),  # up to three quarters of a minute, as those executed
        (computed, 4, 8),
        pytest.param(executed, 8, 8, marks=pytest.mark.slow),
        pytest.param(executed, 8, 16, marks=pytest.mark.slow),
        (classified, 8, 8),
    ],
)
def test_no_model_file_is_a_crash(reader, bits: int, activations: int, fuzz: int, tmp_path: Path) -> None:
    """Oracle: the rule for strangers' files: a message that names the file, within 10 s and 2 GB; the undamaged one is
    accepted. Executed means by every runtime that there is."""
    original = model(bits=bits, activations=activations)
    refused = fuzzing.survive(reader, original, damaged(bits, activations, fuzz), tmp_path, "m.tflite")
    assert refused > fuzz // 4


def meaning(network: IntegerNetwork, metadata: Mapping[str, Any]) -> list[Any]:
    """All that a network computes with, whatever its layers are called, and the metadata that have a meaning."""
    places = {name: place for place, name in enumerate(network.quantities)}
    layers = [(places[each.name], *(places[name] for name in each.inputs)) for each in network.layers]
    forms = [replace(each, name="", inputs=()) for each in network.layers]
    weights = [
        [
            (places[name], each.bits, *(values.tobytes() for values in (each.weight, each.bias, each.scale)))
            for name, each in some.items()
        ]
        for some in (network.weights, *network.sets.values())
    ]
    said = json.loads(json.dumps({name: metadata[name] for name in METADATA}))
    return [layers, forms, list(network.quantities.values()), weights, network.exact, said]


@pytest.mark.parametrize(
    ("bits", "activations"),
    [
        (4, 8),
        pytest.param(8, 8, marks=pytest.mark.slow),  # as long again, of the same fields
        pytest.param(8, 16, marks=pytest.mark.slow),
    ],
)
def test_a_file_of_ours_is_read_as_it_was_written_or_refused(
    bits: int, activations: int, fuzz: int, tmp_path: Path
) -> None:
    """Oracle: every number of the network and all that is said of it, of the undamaged file, whatever bits were flipped
    and whatever else was changed."""
    original, path = to_tflite(network(bits, activations), METADATA), tmp_path / "m.tflite"
    path.write_bytes(original)
    expected = meaning(*read_tflite(path))
    assert expected == meaning(network(bits, activations), METADATA)
    draw, refused = random.Random(bits + activations), 0
    flipped = []
    for _ in range(fuzz):
        data = bytearray(original)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        flipped.append(("a bit", bytes(data)))
    for what, data in [*flipped, *fuzzing.mutants(original, fuzz // 4, bits), *structural(original, fuzz // 4, bits)]:
        path.write_bytes(data)
        try:
            assert meaning(*read_tflite(path)) == expected, what
        except UserError:
            refused += 1
    assert refused > fuzz // 4


def test_a_file_without_a_digest_is_read(tmp_path: Path) -> None:
    """Oracle: the same network and metadata, written with a digest; with that of another file it is refused."""
    (tmp_path / "old.tflite").write_bytes(model())
    found, metadata = read_tflite(tmp_path / "old.tflite")
    assert to_tflite(found, metadata) == to_tflite(network(8, 8), METADATA)
    (tmp_path / "new.tflite").write_bytes(model({**METADATA, DIGEST: "0" * 64}))
    with pytest.raises(UserError, match=r"new\.tflite.*its digest is not that of what it holds"):
        read_tflite(tmp_path / "new.tflite")
