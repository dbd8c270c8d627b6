"""The C of a network of integers, compiled for this machine, against the executor in PyTorch."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from c_code import compiled
from conftest import randomise_norms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from data.errors import UserError
from students.baseline import baseline
from students.cp_mobile import cp_mobile
from students.device.network import network_files
from students.device.plan import planned
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import INPUT

# Reads clips, computes them layer by layer, and writes the map of each layer.
MAIN = """
#include <stdio.h>
#include "scenelet_network.h"
int main(void)
{
    int32_t layer;
    while (fread(scenelet_arena + SCENELET_INPUT, 1, INPUTS, stdin) == INPUTS) {
        for (layer = 0; layer < SCENELET_LAYERS; layer++) {
            scenelet_compute_layer(layer);
            fwrite(scenelet_arena + scenelet_places[layer], 1, (unsigned)scenelet_sizes[layer], stdout);
        }
    }
    return 0;
}
"""


def maps_in_c(network: IntegerNetwork, q: torch.Tensor, folder: Path) -> list[dict[str, np.ndarray]]:
    """The map of each layer (C, H, W), by name, of each of the clips."""
    count = q[0].numel()
    program = compiled({**network_files(network), "main.c": f"#define INPUTS {count}\n{MAIN}"}, folder)
    done = subprocess.run([program], input=q.numpy().tobytes(), capture_output=True, check=True)
    rest, found = np.frombuffer(done.stdout, np.int8), []
    for _ in q:
        maps = {}
        for layer in network.layers:
            channels, height, width = network.quantities[layer.name].shape
            size = channels * height * width
            maps[layer.name] = rest[:size].reshape(height, width, channels).transpose(2, 0, 1)
            rest = rest[size:]
        found.append(maps)
    assert not len(rest)
    return found


def require_equal_maps(network: IntegerNetwork, spectrograms: torch.Tensor, folder: Path) -> None:
    q = network.quantities[INPUT].quantize(spectrograms)
    expected: dict[str, torch.Tensor] = {}
    network.run(q, expected)
    for clip, maps in enumerate(maps_in_c(network, q, folder)):
        for name, values in maps.items():
            np.testing.assert_array_equal(values, expected[name][clip].numpy(), err_msg=name)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([8, 16]),
    st.dictionaries(st.sampled_from(["b1", "b2", "b3", "b4"]), st.tuples(st.integers(1, 2), st.integers(1, 2))),
    st.tuples(st.integers(40, 70), st.integers(33, 50)),
    st.integers(0, 1000),
)
def test_every_map_is_that_of_the_executor(
    tmp_path: Path, base: int, strides: dict, size: tuple[int, int], seed: int
) -> None:
    """Oracle: IntegerNetwork.run, every byte of every layer, over random networks, odd and even maps, all strides,
    layers of 4 and of 8 bits."""
    torch.manual_seed(seed)
    network = randomise_norms(cp_mobile(size="6k", base_channels=base, strides=strides), seed)
    folded, spectrograms = fold(network), torch.randn(2, 1, *size)
    bits = {name: int(np.random.default_rng(seed).choice([4, 8])) for name in folded.convolutions}
    require_equal_maps(calibrate(folded, [spectrograms], bits=bits), spectrograms, tmp_path)


def pools() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, (3, 5), stride=(2, 1), padding=(1, 2)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.AvgPool2d(3, 2, 1),
        nn.Conv2d(6, 4, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


@pytest.mark.parametrize(("build", "size"), [(baseline, (40, 51)), (pools, (31, 22))])
def test_pools_and_dense_layers_are_those_of_the_executor(build, size: tuple[int, int], tmp_path: Path) -> None:
    """Oracle: IntegerNetwork.run, every byte of every layer."""
    network, spectrograms = randomise_norms(build()), torch.randn(3, 1, *size)
    require_equal_maps(calibrate(fold(network, (1, 1, *size)), [spectrograms]), spectrograms, tmp_path)


def test_maps_that_are_alive_together_do_not_overlap() -> None:
    """Oracle: each pair of maps by hand: one is written before the other is last read, and the bytes of both; the block
    is at least as large as the maps that a step reads and writes, and smaller than all maps together."""
    network = calibrate(fold(randomise_norms(cp_mobile(size="12k"))), [torch.randn(1, 1, 256, 64)])
    plan, sizes = planned(network), {name: int(np.prod(q.shape)) for name, q in network.quantities.items()}
    first = {INPUT: -1} | {layer.name: step for step, layer in enumerate(network.layers)}
    last = dict(first)
    for step, layer in enumerate(network.layers):
        last |= dict.fromkeys(layer.inputs, step)
    for a in sizes:
        for b in sizes:
            if a != b and first[a] <= last[b] and first[b] <= last[a]:
                assert plan.offsets[a] + sizes[a] <= plan.offsets[b] or plan.offsets[b] + sizes[b] <= plan.offsets[a]
    needed = max(sizes[layer.name] + sum(sizes[name] for name in layer.inputs) for layer in network.layers)
    assert needed <= plan.size < sum(sizes.values()) / 3


def test_equal_networks_make_equal_files_without_floats() -> None:
    """Oracle: the text of two calls; the words that a device's code does not have."""
    network = calibrate(fold(cp_mobile(size="6k")), [torch.randn(1, 1, 40, 33)])
    files = network_files(network)
    assert files == network_files(network)
    for text in files.values():
        assert text.startswith("/* SPDX-License-Identifier: Apache-2.0.")
        assert not re.search(r"\b(float|double|malloc|calloc|free)\b", text)


def test_what_has_no_kernel_is_refused() -> None:
    """Oracle: the messages, for activations of 16 bits, and for tensors of several devices."""
    plain = calibrate(fold(cp_mobile(size="6k")), [torch.randn(1, 1, 40, 33)])
    with pytest.raises(UserError, match=r"tensors of the devices a, b, and C is of one"):
        network_files(replace(plain, sets={"a": {}, "b": {}}))
    network = calibrate(fold(cp_mobile(size="6k")), [torch.randn(1, 1, 40, 33)], activations=16)
    with pytest.raises(UserError, match=r"16 bits have no kernels on devices: quantize with quantize\.activations=8"):
        network_files(network)
