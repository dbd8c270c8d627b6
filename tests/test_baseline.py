"""The DCASE 2022/23 baseline against its published tables."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import randomise_norms
from torch import nn
from torch.nn import functional as F

from data.augmentation import Augmentation
from data.errors import UserError
from data.front_ends import build_front_end
from data.front_ends.integer_log_mel import as_samples
from data.front_ends.integer_steps import integer_front_end
from experiments.command.composition import group_choices
from experiments.inference.metering import RATE
from experiments.run import resolve
from experiments.settings.shared import Settings
from experiments.training.budget import fitted
from experiments.training.optimization import learning_rate_factor
from students.baseline import baseline
from students.complexity import tflite_complexity, tflite_operators, torch_complexity
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.tflite import to_tflite, write_tflite


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Those of the baseline."""
    return resolve(["student", "student=baseline"])


def layers(*kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in baseline() if isinstance(module, kinds)]


def test_each_layer_has_its_published_parameters() -> None:
    """Oracle: the Keras table of the baseline's repository; for BatchNorm it counts the running statistics too."""
    assert [sum(p.numel() for p in module.parameters()) for module in layers(nn.Conv2d)] == [800, 12_560, 25_120]
    assert [sum(p.numel() for p in module.parameters()) for module in layers(nn.Linear)] == [6_500, 1_010]
    norms = [
        sum(t.numel() for t in (*module.parameters(), module.running_mean, module.running_var))
        for module in layers(nn.BatchNorm2d)
    ]
    assert norms == [64, 64, 128]


def test_its_layers_are_those_of_the_task_s_page() -> None:
    """Oracle: the page's table of the network before quantisation: 17 rows of shape (bands, frames, channels) and
    parameters, a BatchNorm's with its running statistics. Its row of the second pool has the shape of the pool's input;
    the row after it has that of the output."""
    published = """
        Conv2d 40 51 16 800 | BatchNorm2d 40 51 16 64 | ReLU 40 51 16 0
        Conv2d 40 51 16 12560 | BatchNorm2d 40 51 16 64 | ReLU 40 51 16 0 | MaxPool 8 10 16 0 | Dropout 8 10 16 0
        Conv2d 8 10 32 25120 | BatchNorm2d 8 10 32 128 | ReLU 8 10 32 0 | AdaptiveMaxPool2d 2 1 32 0 | Dropout 2 1 32 0
        Flatten 64 0 | Linear 100 6500 | Dropout 100 0 | Linear 10 1010
    """
    found: list[str] = []

    def note(module: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        channels, *positions = output.shape[1:]
        counted = [*module.parameters(), *(b for name, b in module.named_buffers() if name.startswith("running"))]
        shape = [*positions, channels, sum(each.numel() for each in counted)]
        found.append(" ".join(map(str, [type(module).__name__, *shape])))

    network = baseline().eval()
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(note)
    network(torch.zeros(1, 1, 40, 51))
    dense_relu = found.pop(15)  # Keras has it in the dense layer
    assert dense_relu == "ReLU 100 0"
    assert found == [" ".join(row.split()) for line in published.split("\n") for row in line.split("|") if row.strip()]
    assert len(found) == 17


def test_a_second_of_sound_costs_what_is_published(settings: Settings) -> None:
    """Oracle: NeSsi's table of the baseline's file, 29,234,920 in all, at the yaml's front end.

    Its rules: a convolution counts output elements x weights of one of them, a pool output elements x cells under it,
    a dense layer inputs x outputs, where "inputs" is the last dimension of the map before it is flattened: 32, so
    that the table has 3,200 for the first dense layer instead of 64 x 100. torchinfo also counts biases and BatchNorm.
    """
    found: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            found.append(output.numel() * module.weight[0].numel())
        else:  # windows lie side by side: cells under one are the cells that there are, by output, less cut edges
            window = [i // o for i, o in zip(inputs[0].shape[2:], output.shape[2:], strict=True)]
            found.append(output.numel() * math.prod(window))

    network = baseline().eval()
    for module in network:
        if isinstance(module, nn.Conv2d | nn.Linear | nn.MaxPool2d | nn.AdaptiveMaxPool2d):
            module.register_forward_hook(count)
    rate = settings.data.sample_rate
    spectrograms = build_front_end(rate, settings.student.mel)(torch.randn(1, rate) / 10)
    network(spectrograms)
    assert found == [1_599_360, 25_589_760, 32_000, 2_007_040, 2_560, 6_400, 1_000]
    assert sum(found) - 3_200 == 29_234_920
    by_torchinfo = 2_040 * (800 + 12_560) + 80 * 25_120 + 6_500 + 1_010 + 2 * (16 + 16 + 32)
    assert torch_complexity(network, spectrograms.shape).macs == by_torchinfo


def test_its_bytes_are_the_published_ones() -> None:
    """Oracle: 46,512 bytes of int8 weights and int32 biases (BatchNorm folded), and 65,280 of int8 activations at the
    peak, which are four times as many in float32."""
    weighted = layers(nn.Conv2d, nn.Linear)
    assert sum(module.weight.numel() + 4 * module.bias.numel() for module in weighted) == 46_512
    assert torch_complexity(baseline(), (1, 1, 40, 51)).peak_bytes == 4 * 65_280


def test_the_last_pool_is_the_published_one(generator: torch.Generator) -> None:
    """Oracle: a pool of 4 x 10 on the map that a 1-second clip leaves."""
    (pool,) = layers(nn.AdaptiveMaxPool2d)
    maps = torch.randn(2, 32, 8, 10, generator=generator)
    assert torch.equal(pool(maps), F.max_pool2d(maps, (4, 10)))


def test_every_second_of_a_longer_clip_counts(generator: torch.Generator) -> None:
    """Oracle: ten seconds with an event in one of them give other logits than ten without, at three classes; and
    what is too short to be pooled is refused."""
    network = baseline(classes=3).eval()
    quiet = torch.zeros(1, 1, 64, 501)
    with torch.no_grad():
        silence = network(quiet)
        for second in range(10):
            event = quiet.clone()
            event[..., 50 * second : 50 * second + 50] = torch.randn(64, 50, generator=generator)
            assert (network(event) - silence).abs().max() > 1e-3
    assert silence.shape == (1, 3)
    for refused in (lambda: network(quiet[..., :4]), lambda: torch_complexity(network, (1, 1, 64, 4))):
        with pytest.raises(UserError, match="64 bands and 4 frames are too small"):
            refused()
    with pytest.raises(UserError, match="dropout=1"):
        baseline(dropout=1)


@pytest.mark.parametrize("data", group_choices()["data"])
def test_front_end_and_recipe_are_those_of_the_task_s_page(data: str) -> None:
    """Oracle: sentences of the page, on every data set: "Log mel-band energies (40 bands), analysis frame 40 ms (50%
    hop size)"; "Input shape: 40 * 51 (1 seconds)"; "Audio is provided in a single-channel 44.1kHz 24-bit format";
    "200 epochs (batch size 16)"; "Adam (learning rate 0.001)"; "Approximately 30% of the original training data is
    assigned to validation set"; "best performing model is selected". What it does not speak of does not happen."""
    settings = resolve(["student", "student=baseline", f"data={data}"])
    student, rate, mel = settings.student, settings.data.sample_rate, settings.student.mel
    assert rate == RATE == 44_100
    assert (mel["window"] / rate, mel["hop"] / mel["window"], mel["high"]) == (0.040, 0.5, rate / 2)
    assert build_front_end(rate, mel)(torch.zeros(1, rate)).shape == (1, 1, 40, 51)
    assert mel["pre_emphasis"] == mel["edge_jitter"] == 0
    fit = student.fit
    assert (fit.epochs, fit.batch_size, fit.optimizer, fit.learning_rate) == (200, 16, "adam", 1e-3)
    assert (settings.data.validation_fraction, fit.keep, settings.refit) == (0.3, "best", False)
    assert (fit.least_steps, fit.rate_steps, fit.weight_decay, fit.clip, fit.ema, fit.average) == (None, None, *[0] * 4)
    assert fitted(fit, 102_150, epochs=None, devices=1, given=()) == fitted(fit, 100, epochs=None, devices=1, given=())
    assert (student.augment, settings.distill) == (Augmentation(), "none")
    assert student.arguments == {"dropout": 0.3}


def test_its_front_end_has_the_values_of_the_definition(settings: Settings) -> None:
    """Oracle: by hand in float64: frames of 1,764 samples every 882, mirrored at the ends, a Hann window, the power of
    each of 40 bands equally far apart on the mel scale up to half of the sample rate, and log(x + 1e-5), of which a
    network takes (value + 4.5) / 5. Tolerance 1e-4."""
    wave = np.random.default_rng(0).standard_normal(44_100) * 0.1
    padded = np.pad(wave, 1024, mode="reflect")
    hann = np.pad(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1764) / 1763), (2048 - 1764) // 2)
    power = np.stack([np.abs(np.fft.rfft(padded[i * 882 : i * 882 + 2048] * hann)) ** 2 for i in range(51)], axis=1)
    bins, mels = (1127 * np.log(1 + np.asarray(hertz) / 700) for hertz in (np.arange(1025) * 44_100 / 2048, 22_050))
    place = bins[None] / mels * 41 - np.arange(1, 41)[:, None]
    expected = (np.log(np.maximum(0, 1 - np.abs(place)) @ power + 1e-5) + 4.5) / 5
    waves = torch.from_numpy(wave).float()[None]
    found = build_front_end(44_100, settings.student.mel)(waves)[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    as_integers = integer_front_end(44_100, settings.student.mel)(as_samples(waves) / 32_768)[0, 0]
    np.testing.assert_allclose(as_integers, expected, atol=1e-3)


def test_its_learning_rate_stays(settings: Settings) -> None:
    """Oracle: the published recipe: 1e-3 throughout, however long it is made."""
    recipe = settings.student.fit
    for some in (recipe, recipe.lasting(3)):
        assert {learning_rate_factor(epoch / 7, some) for epoch in range(7 * some.epochs)} == {1.0}


def test_it_becomes_integers_that_cost_what_is_published(tmp_path: Path, generator: torch.Generator) -> None:
    """Oracle: the float network before folding (1e-5), LiteRT's reference kernels and tflite-micro in every byte, and
    NeSsi's published table by operator: 46,512 bytes, peak 65,280, 29,234,920 multiply-accumulates.

    One of the table's figures is a quirk: it multiplies a dense layer's outputs by the last dimension of what was
    flattened, 32, where there are 64 inputs. Ours is written as a convolution over the map, counted as what it is:
    3,200 more.
    """
    network = randomise_norms(baseline(classes=10))
    spectrograms = torch.randn(4, 1, 40, 51, generator=generator)
    folded = fold(network, (1, 1, 40, 51))
    with torch.no_grad():
        expected = network(spectrograms)
        assert (folded(spectrograms) - expected).abs().max() <= 1e-5 * expected.abs().max()
    integers = calibrate(folded, [spectrograms])
    model = TFLiteModel(write_tflite(integers, tmp_path / "m.tflite", {}))
    assert torch.equal(model.logits(spectrograms), integers.logits(spectrograms))
    back, metadata = read_tflite(model.path)
    assert to_tflite(back, metadata) == model.path.read_bytes()
    if has_micro():
        assert torch.equal(TFLiteModel(model.path, kernels="micro").logits(spectrograms), integers.logits(spectrograms))
    table = [op for op in tflite_operators(model.path) if op.kind != "PAD"]
    macs = [1_599_360, 25_589_760, 32_000, 2_007_040, 2_560, 6_400, 1_000]
    assert [op.macs for op in table] == macs
    assert [op.parameter_bytes for op in table] == [848, 12_608, 0, 25_216, 0, 6_800, 1_040]
    assert [op.scale_bytes for op in table] == [12 * 2 * n for n in (16, 16, 0, 32, 0, 100, 10)]
    assert max(op.alive_bytes for op in table) == table[1].alive_bytes == 65_280
    cost = tflite_complexity(model.path)
    assert (cost.parameter_bytes, cost.peak_bytes, cost.macs) == (46_512, 65_280, 29_234_920 + 64 * 100 - 32 * 100)


def test_a_pool_with_a_remainder_has_no_integer_form() -> None:
    """Oracle: 40 x 26 leaves 8 x 5 cells behind the first pool, which the last one halves; 45 x 51 leaves 9 bands for
    two cells, whose windows overlap; without a shape nothing is known."""
    fold(baseline(), (1, 1, 40, 26))
    with pytest.raises(UserError, match="AdaptiveMaxPool2d"):
        fold(baseline(), (1, 1, 45, 51))
    with pytest.raises(UserError, match="AdaptiveMaxPool2d; Flatten; Linear"):
        fold(baseline())
