"""The CNN-GRU: its recurrence step by step, its costs by hand."""

import pytest
import torch
from torch import nn

from data.errors import UserError
from students.cnn_gru import cnn_gru
from students.complexity import torch_complexity
from students.limits import over_limits
from students.quantize.fold import fold


def test_the_recurrence_runs_over_time(generator: torch.Generator) -> None:
    """Oracle: a GRUCell with the same weights, given the map frame by frame; all bands of a frame at once."""
    network = cnn_gru(classes=4, base_channels=8, units=6).eval()
    spectrograms = torch.randn(2, 1, 96, 40, generator=generator)
    gru = network.recurrence
    cell = nn.GRUCell(gru.input_size, gru.hidden_size)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in gru.state_dict().items()})
    with torch.no_grad():
        maps = network.convolutions(spectrograms)
        states = [torch.zeros(2, 6)]
        for step in range(maps.shape[-1]):
            states.append(cell(maps[..., step].reshape(2, -1), states[-1]))
        expected = network.head(torch.stack(states[1:]).mean(0))
        assert len(states) == 1 + 10
        torch.testing.assert_close(network(spectrograms), expected, rtol=0, atol=1e-6)


def test_its_costs_are_counted_by_hand() -> None:
    """Oracle: arithmetic, at 256 bands and 64 frames: convolutions are weights x positions, BatchNorm and the linear
    layer their parameters, the GRU three gates of (128 + 64) x 64 weights and 2 x 64 biases at each of 16 steps.

    torchinfo counts so of itself, because the layer's output is (1, 16, 64): its second dimension are the steps.
    """
    maps = [(1, 16, 128 * 32), (16, 24, 64 * 16), (24, 32, 32 * 16), (32, 48, 16 * 16), (48, 64, 8 * 16)]
    convolutions = sum(9 * inputs * outputs * positions for inputs, outputs, positions in maps)
    norms = 2 * sum(outputs for _, outputs, _ in maps)
    gates = 3 * ((128 + 64) * 64 + 2 * 64)
    head = 64 * 10 + 10
    cost = torch_complexity(cnn_gru(), (1, 1, 256, 64))
    assert cost.macs == convolutions + norms + 16 * gates + head
    assert cost.parameters == sum(9 * i * o for i, o, _ in maps) + norms + gates + head
    assert over_limits(cost) == []
    assert cost.macs < 0.6 * 30e6
    assert cost.parameters < 0.75 * 128_000


def test_widths_that_cannot_be_are_refused() -> None:
    """Oracle: the message; and that of a map whose bands are not two equal halves."""
    for wrong in ({"base_channels": 7}, {"base_channels": 0}, {"units": 0}):
        with pytest.raises(UserError, match="must be even"):
            cnn_gru(**wrong)
    with pytest.raises(UserError, match=r"no integer form: AdaptiveAvgPool2d\."):
        fold(cnn_gru(), (1, 1, 96, 64))
