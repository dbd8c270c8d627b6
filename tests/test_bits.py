"""Bits by layer: the best choice there is, from measured sensitivities."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from data.errors import UserError
from students.quantize.bits import Option, allocate, measure
from students.quantize.calibrate import weight_scales
from students.quantize.fold import fold

options = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 30), st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=7
)


@given(options, st.integers(0, 60))
def test_no_other_choice_is_better(found: list, more: int) -> None:
    """Oracle: every choice tried."""
    layers = {str(n): (Option(4, a, x), Option(8, a + b, y)) for n, (a, b, x, y) in enumerate(found)}
    budget = sum(small.bytes for small, _ in layers.values()) + more
    chosen = allocate(layers, budget)

    def cost(bits: tuple[int, ...]) -> tuple[float, int]:
        picked = [o for found, b in zip(layers.values(), bits, strict=True) for o in found if o.bits == b]
        return sum(o.loss for o in picked), sum(o.bytes for o in picked)

    best, ours = (
        min(c for b in itertools.product((4, 8), repeat=len(layers)) if (c := cost(b))[1] <= budget),
        cost(tuple(chosen.values())),
    )
    assert ours[1] <= budget
    assert ours[0] == pytest.approx(best[0])
    with pytest.raises(UserError, match="below the smallest possible"):
        allocate(layers, budget - more - 1)


def test_of_equal_losses_the_fewest_bytes_are_chosen() -> None:
    """Oracle: by hand: a layer that loses nothing by 4 bits has them although there is room for 8."""
    layers = {"a": (Option(4, 10, 0.5), Option(8, 20, 0.5)), "b": (Option(4, 10, 0.5), Option(8, 20, 0.25))}
    assert allocate(layers, 100) == {"a": 4, "b": 8}
    assert allocate({"a": layers["a"][::-1]}, 100) == {"a": 4}


def test_sensitivity_is_the_divergence_of_one_rounded_layer(generator: torch.Generator) -> None:
    """Oracle: the second layer rounded by hand at its scales, softmax and divergence written
    out; 8 bits lose less than 4; bytes by hand."""
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers).eval()
    spectrograms = torch.randn(5, 1, 9, 9, generator=generator)
    folded = fold(network)
    found = measure(folded, spectrograms, batch=2)
    assert [(o.bits, o.bytes) for o in found["0"]] == [(4, 18 + 16), (8, 36 + 16)]
    assert [(o.bits, o.bytes) for o in found["2"]] == [(4, 6 + 12), (8, 12 + 12)]
    assert all(four.loss > eight.loss > 0 for four, eight in found.values())
    with torch.no_grad():
        p = F.softmax(network(spectrograms).double(), 1)
        scale = torch.from_numpy(weight_scales(network[2].weight.double().numpy(), 4))[:, None, None, None]
        network[2].weight.copy_((network[2].weight / scale).round().clamp(-7, 7) * scale)
        q = F.softmax(network(spectrograms).double(), 1)
    assert found["2"][0].loss == pytest.approx(float((p * (p / q).log()).sum(1).mean()), rel=1e-3)
    spectrograms[0, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="no numbers"):
        measure(folded, spectrograms)
