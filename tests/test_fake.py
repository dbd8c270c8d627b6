"""Quantisation-aware training: its gradients against the paper's equations, its outputs against the integers'."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import randomise_norms
from hypothesis import given, settings
from hypothesis import strategies as st

from students.cp_mobile import cp_mobile
from students.quantize.calibrate import calibrate
from students.quantize.exact import calibrate_exactly
from students.quantize.fake import FakeQuantized, rounded
from students.quantize.fold import fold
from students.quantize.runtime import TFLiteModel
from students.quantize.tflite import write_tflite


@given(st.floats(-3, 3), st.floats(0.05, 0.5))
def test_gradients_are_those_of_learned_step_sizes(value: float, step: float) -> None:
    """Oracle: Esser et al., equations 1 to 3, case by case; `learn` scales the step's and no value."""
    low, high = -7, 7
    x, s = torch.tensor(value, requires_grad=True), torch.tensor(step, requires_grad=True)
    y = rounded(x, s, low, high, learn=0.25)
    y.backward()
    ratio = x.item() / s.item()
    if abs(abs(ratio) - 7) < 1e-4 or abs(ratio * 2 % 2 - 1) < 1e-4:  # on an edge either side is right
        return
    q = max(low, min(high, round(ratio)))
    assert y.item() == pytest.approx(q * s.item(), rel=1e-5)
    assert x.grad.item() == float(low < ratio < high)
    expected = q - ratio if low < ratio < high else q
    assert s.grad.item() == pytest.approx(0.25 * expected, abs=1e-4)


@pytest.mark.parametrize(
    ("ratio", "of_step"), [(-7.0, -7.0), (7.0, 7.0), (-6.0, 0.0), (6.0, 0.0), (-9.0, -7.0), (9.0, 7.0)]
)
def test_the_ends_of_the_range_belong_to_what_is_cut_off(ratio: float, of_step: float) -> None:
    """Oracle: Esser et al., equation 3, at the ends themselves: x / s <= -Q gives -Q, x / s >= Q gives Q, and no
    gradient reaches x; an integer within gives 0. The step 0.25 makes ratios exact."""
    x, s = torch.tensor(ratio * 0.25, requires_grad=True), torch.tensor(0.25, requires_grad=True)
    rounded(x, s, -7, 7).backward()
    assert (s.grad.item(), x.grad.item()) == (of_step, float(abs(ratio) < 7))


def test_steps_learn_at_the_rate_of_the_paper(generator: torch.Generator) -> None:
    """Oracle: Esser et al., section 2.2: the gradient of a step is scaled by 1 / sqrt(N Q), with N weights of an output
    channel or values of a clip's map, and Q the highest integer: written out for a 1 x 1 convolution of two channels
    over a map of 2 x 3."""
    network = fold(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1)))
    spectrograms = torch.randn(4, 1, 2, 3, generator=generator)
    integers = calibrate(network, [spectrograms])
    fake = FakeQuantized(network, integers)
    fake(spectrograms).square().sum().backward()
    read, wanted, steps = integers.quantities["input"], integers.quantities["0"], integers.weights["0"].scale
    weight_step, step = (torch.tensor(value, requires_grad=True) for value in (steps.tolist(), wanted.scale))
    x = rounded(spectrograms, torch.tensor(read.scale), -128, 127, read.zero_point)
    each = read.scale * weight_step.detach()
    w = rounded(fake.weights["0"].detach(), weight_step[:, None, None, None], -127, 127, learn=(1 * 127) ** -0.5)
    y = torch.nn.functional.conv2d(x, w, rounded(fake.biases["0"].detach(), each, -(2**30), 2**30))
    rounded(y, step, -128, 127, wanted.zero_point, learn=(2 * 2 * 3 * 127) ** -0.5).square().sum().backward()
    torch.testing.assert_close(fake.weight_steps["0"].grad, weight_step.grad)
    torch.testing.assert_close(fake.steps["0"].grad, step.grad)
    assert step.grad != 0


def test_zero_stays_zero_whatever_the_zero_point() -> None:
    """Oracle: 0 is an integer times the step, so padding is exact."""
    for zero_point in (-128, -5, 40):
        assert rounded(torch.zeros(1), torch.tensor(0.3), -128, 127, zero_point).item() == 0.0


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_it_answers_as_the_integers_that_it_becomes(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Oracle: LiteRT's reference kernels on the file, with layers of 4 and of 8 bits, after the steps were moved as
    training moves them. A rounding that falls otherwise is carried through the layers: a logit may differ by 6 steps
    of 256, all of them by 1 on average."""
    folder: Path = tmp_path_factory.mktemp("fake")
    g = torch.Generator().manual_seed(seed)
    network, spectrograms = (
        fold(randomise_norms(cp_mobile(size="6k"), seed)),
        torch.randn(8, 1, 64, 48, generator=g),
    )
    drawn = np.random.default_rng(seed)
    bits = {name: int(drawn.choice([4, 8])) for name in network.convolutions}
    fake = FakeQuantized(network, calibrate(network, [spectrograms], bits=bits)).eval()
    with torch.no_grad():
        for parameter in [*fake.steps.values(), *fake.weight_steps.values()]:
            parameter.mul_(1 + 0.1 * torch.rand(parameter.shape, generator=g))
    integers = fake.integers()
    assert {name: w.bits for name, w in integers.weights.items()} == bits
    model = TFLiteModel(write_tflite(integers, folder / "m.tflite", {}))
    with torch.no_grad():
        steps = ((model.logits(spectrograms) - fake(spectrograms)) / integers.output.scale).abs()
    assert steps.max() <= 6
    assert steps.mean() <= 1


def test_with_exact_integers_it_answers_as_they_do_bit_by_bit(generator: torch.Generator) -> None:
    """Oracle: the integer network, in every logit, after weights and biases were moved as training moves
    them."""
    network, spectrograms = (
        fold(randomise_norms(cp_mobile(size="6k"))),
        torch.randn(4, 1, 64, 48, generator=generator),
    )
    fake = FakeQuantized(*calibrate_exactly(network, [spectrograms])).eval()
    with torch.no_grad():
        for parameter in [*fake.weights.values(), *fake.biases.values()]:
            parameter += 0.1 * parameter.std(correction=0) * torch.randn(parameter.shape, generator=generator)
        expected = fake(spectrograms)
    assert len(expected.unique()) > 4
    assert torch.equal(fake.integers().logits(spectrograms), expected)


def test_frozen_steps_stay(generator: torch.Generator) -> None:
    """Oracle: equality after a step of Adam, which moves everything else."""
    network, spectrograms = (
        fold(randomise_norms(cp_mobile(size="6k"))),
        torch.randn(4, 1, 64, 48, generator=generator),
    )
    fake = FakeQuantized(network, calibrate(network, [spectrograms]))
    optimizer = torch.optim.Adam(fake.parameters(), lr=1e-3, weight_decay=1e-4)
    fake.freeze_steps()
    before = {name: value.clone() for name, value in fake.state_dict().items()}
    fake(spectrograms).square().mean().backward()
    optimizer.step()
    same = {name for name, value in fake.state_dict().items() if torch.equal(value, before[name])}
    assert same == {name for name in before if "step" in name}


def test_training_brings_four_bits_back(generator: torch.Generator) -> None:
    """Oracle: the float network's logits: 60 steps of imitation leave less than half of what rounding to 4 bits lost,
    measured on the integers; every parameter has moved."""
    network = fold(randomise_norms(cp_mobile(size="6k")))
    spectrograms = torch.randn(16, 1, 64, 48, generator=generator)
    fake = FakeQuantized(network, calibrate(network, [spectrograms], bits=dict.fromkeys(network.convolutions, 4)))
    before = {name: value.clone() for name, value in fake.state_dict().items()}
    with torch.no_grad():
        wanted = network(spectrograms)

    def lost() -> float:
        return float((fake.integers().logits(spectrograms) - wanted).square().mean())

    at_first = lost()
    optimizer = torch.optim.Adam(fake.parameters(), lr=1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        (fake(spectrograms) - wanted).square().mean().backward()
        optimizer.step()
    assert lost() < 0.5 * at_first
    moved = {name for name, value in fake.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == before.keys() - {"picture_step"}
