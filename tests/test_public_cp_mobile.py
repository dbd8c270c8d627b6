"""Checkpoints of CP-Mobile as the public code bases store them, read and built here."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from public_networks import STRIDES, WIDTHS, Tensors, public_logits, public_tensors

from data.errors import UserError
from students.public_cp_mobile import recovered


def without(tensors: Tensors, *names: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name not in names}


def put(name: str, tensor: torch.Tensor, tensors: Tensors | None = None) -> Tensors:
    """A network of 6k, with another tensor."""
    return {**(tensors or public_tensors(*WIDTHS["6k"])), name: tensor}


@pytest.mark.parametrize(
    ("widths", "blocks", "grn", "strides", "given"),
    [
        (WIDTHS["61k"], (3, 2, 1), False, STRIDES[2024], False),
        (WIDTHS["61k"], (3, 2, 1), True, STRIDES[2024], False),
        (WIDTHS["127k"], (3, 2, 1), True, STRIDES[2023], False),
        (WIDTHS["6k"], (3, 2, 1), False, STRIDES[2023], False),
        (WIDTHS["6k"], (3, 2, 1), False, {"b1": (2, 1), "b6": (1, 3)}, True),
        (([24, 32, 40], [48, 48, 48, 48, 64, 64]), (3, 2, 1), True, STRIDES[2023], False),
        (([24, 32, 40], [48, 48, 48, 48, 64, 64]), (3, 2, 1), False, STRIDES[2024], False),
        (([16, 32], [32, 32, 64]), (1, 2), False, {"b3": (1, 2)}, False),
    ],
)
def test_logits_are_those_of_the_public_network(
    widths: tuple, blocks: tuple[int, ...], grn: bool, strides: Mapping[str, tuple[int, int]], given: bool
) -> None:
    """Oracle: the public network written out from its description, on the same tensors; of published widths its own
    strides, of others those of 2023 with GRN and of 2024 without. Tolerance 1e-4."""
    tensors = public_tensors(*widths, blocks=blocks, grn=grn)
    found = recovered(tensors, strides if given else None)
    assert found.strides == strides
    x = torch.randn(2, 1, 96, 65)
    with torch.no_grad():
        torch.testing.assert_close(found.network(x), public_logits(tensors, x, strides), atol=1e-4, rtol=0)


def test_names_and_shapes_are_those_of_the_public_files(shared_cases: Path) -> None:
    """Oracle: the list of names and shapes of a file of 61k that the public code saved."""
    lines = (shared_cases / "peer_cp_mobile_names.txt").read_text().splitlines()
    listed = dict(line.split("  ") for line in lines if not line.startswith("#"))
    made = public_tensors(*WIDTHS["61k"])
    assert listed == {name: "x".join(map(str, tensor.shape)) or "()" for name, tensor in made.items()}


@pytest.mark.parametrize(("size", "parameters"), [("6k", 6_074), ("61k", 61_148), ("127k", 126_940)])
def test_published_widths_are_known_by_their_size(size: str, parameters: int) -> None:
    """Oracle: the published numbers of parameters, of 6k and 127k less the 12 of GRN; 126,952 and 6,086 with it."""
    for grn in (False, True):
        found = recovered(public_tensors(*WIDTHS[size], grn=grn))
        assert found.arguments == {"classes": 10, "grn": grn, "size": size}
        assert sum(each.numel() for each in found.network.parameters()) == parameters + 12 * grn


def test_other_widths_have_the_shortest_factors() -> None:
    """Oracle: by hand: 8 round(16 m / 8) is 24 and 8 round(16 m^2 / 8) is 40 for m from 1.5 to 1.65; 16 to 32 is 2."""
    tensors = public_tensors([16, 24, 40], [32, 32, 32, 32, 48, 48], classes=3)
    assert recovered(tensors).arguments == {
        **{"classes": 3, "grn": False, "base_channels": 16, "channels_multiplier": 1.5, "expansion_rate": 2.0},
        "strides": STRIDES[2024],
    }


def test_numbers_of_16_bits_are_read_as_they_are() -> None:
    """Oracle: the same tensors as float32; the baseline's script of 2024 saves halves after its test."""
    halves = {n: t.half() if t.is_floating_point() else t for n, t in public_tensors(*WIDTHS["6k"]).items()}
    network, x = recovered(halves).network, torch.randn(1, 1, 64, 64)
    wanted = public_logits({name: tensor.float() for name, tensor in halves.items()}, x, STRIDES[2023])
    torch.testing.assert_close(network(x), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "no CP-Mobile of the public code bases: it lacks in_c.0.0.weight, in_c.1.0.weight, feed_forward.0.weight"),
        ({"layer1.0.weight": torch.ones(2)}, "it lacks in_c.0.0.weight"),
        (without(public_tensors(*WIDTHS["6k"]), "in_c.1.0.weight"), "in_c.1.0.weight is missing"),
        (without(public_tensors(*WIDTHS["6k"]), "stages.s2.b4.block.1.1.bias"), "only in the network: stages.s2.b4.bl"),
        (put("stages.s3.b8.block.0.0.weight", torch.ones(8, 8, 1, 1)), "blocks are not numbered"),
        (put("stages.s3.b6.block.1.0.weight", torch.ones(32, 1, 5, 5)), r"s3.b6.*: \(32, 1, 5, 5\) in the file, \(32,"),
        (put("in_c.1.0.weight", torch.ones(8)), r"in_c.1.0.weight is of the shape \(8,\)"),
        (put("in_c.0.1.running_var", -torch.ones(2)), "in_c.0.1.running_var: -1.0 where nothing may be below 0"),
        (put("in_c.0.1.bias", torch.tensor([0.0, torch.nan])), "in_c.0.1.bias: values that are not finite"),
        (put("in_c.0.1.bias", torch.ones(2, dtype=torch.int32)), "in_c.0.1.bias: int32 in the file, floats"),
        (put("in_c.0.0.weight_fake_quant.scale", torch.ones(1)), "weights are rounded .*: give the checkpoint of floa"),
        (public_tensors([12, 24, 48], [24, 24, 24, 24, 48, 48]), "no factor gives"),
        (public_tensors([8, 16, 32], [16, 16, 24, 16, 32, 32]), "inner channels .*which no factor gives"),
        (put("head.weight", torch.ones(2)), "1 only in the file: head.weight"),
    ],
)
def test_other_networks_are_refused(tensors: Tensors, said: str) -> None:
    """Oracle: the message: what is missing or of another shape, width, type or value."""
    with pytest.raises(UserError, match=said):
        recovered(tensors)


def test_strides_of_blocks_that_are_not_there_are_refused() -> None:
    """Oracle: the message of the builder."""
    with pytest.raises(UserError, match=r"strides for \['b9'\], but the blocks are"):
        recovered(public_tensors(*WIDTHS["6k"]), {"b9": (2, 2)})
