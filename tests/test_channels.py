"""Groups of channels found from a network's graph, and networks with fewer of them."""

import json
from pathlib import Path

import pytest
import torch
from conftest import randomise_norms
from torch import nn
from torch.nn import functional as F

from data.errors import UserError
from experiments.training import checkpoint
from students import build_student, list_students
from students.channels import groups_of
from students.cp_mobile import cp_mobile
from students.narrowing import narrow

MEL = {"mels": 80, "fft": 1024, "window": 1024, "hop": 1000}
SPECTROGRAMS = (1, 1, 240, 64)


@pytest.mark.parametrize("name", list_students())
def test_channels_that_nothing_reads_can_be_removed(name: str) -> None:
    """Oracle: a law: where the weights that read some channels are 0, the network without these channels has the same
    logits. Every second channel of every group is removed, whatever the student."""
    network, x = randomise_norms(build_student(name, classes=3)), torch.randn(SPECTROGRAMS)
    kept = {group.name: torch.arange(0, group.width, 2) for group in groups_of(network).values()}
    unread = {group.name: torch.arange(1, group.width, 2) for group in groups_of(network).values()}
    with torch.no_grad():
        for group in groups_of(network).values():
            for path, values in group.read_by:
                weight = network.get_submodule(path).weight
                weight.view(len(weight), group.width, values, -1)[:, unread[group.name]] = 0
        expected, before = network(x), sum(p.numel() for p in network.parameters())
        narrow(network, kept)
        assert torch.allclose(network(x), expected, atol=1e-4 * float(expected.abs().max()))
    assert not kept or sum(p.numel() for p in network.parameters()) < before
    assert all(group.width == len(kept[group.name]) for group in groups_of(network).values())


def test_the_groups_of_cp_mobile_are_those_of_its_figure() -> None:
    """Oracle: by hand, from the architecture: maps between blocks of a stage are added to each other, so that they have
    one width; the first block of a stage that gets wider has none in common; each expansion is a group of its own."""
    found = {name: (group.width, len(group.made_by)) for name, group in groups_of(cp_mobile(size="12k")).items()}
    assert found == {
        **{"stem_1": (4, 1), "stem_2": (16, 4), "stage1_block1_expand": (32, 1), "stage1_block2_expand": (32, 1)},
        **{"stage1_block3_expand": (32, 1), "stage2_block1_expand": (32, 1), "stage2_block1_project": (24, 2)},
        **{"stage2_block2_expand": (40, 1), "stage3_block1_expand": (40, 1), "stage3_block1_project": (40, 1)},
    }


class Odd(nn.Module):
    """What a graph may have that is not understood, or ties channels in other ways."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.twice = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.split, self.free, self.left, self.right = (nn.Conv2d(4, 4, 1) for _ in range(4))
        self.last = nn.Conv2d(4, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.twice(self.twice(F.relu(self.b(self.a(x)))))
        x = torch.cat(self.split(x).chunk(2, 1)[::-1], 1)
        x = self.free(x)
        return self.last(torch.stack([self.left(x), self.right(x)]).sum(0)).mean((2, 3))


def test_what_is_not_understood_keeps_its_width() -> None:
    """Oracle: by hand: a layer that is applied twice reads and makes one group, channels that are split and joined
    again have an order of their own, and the answer's are the classes."""
    assert {name: group.made_by for name, group in groups_of(Odd()).items()} == {
        "a": ["a"],
        "free": ["free"],
        "left": ["left", "right"],
    }


def test_a_network_without_a_graph_has_no_widths() -> None:
    """Oracle: the message, of a network that looks at its values."""

    class Looking(nn.Conv2d):
        pass

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Looking(1, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(UserError, match=r"depends on its values.*its widths are fixed"):
        groups_of(Network())


def test_a_narrower_network_is_built_from_a_checkpoint_alone(tmp_path: Path) -> None:
    """Oracle: the logits of the network that was saved; its parameters, counted by hand: four of the last map's
    channels are gone, each with its weights, two numbers of its norm and one weight of each of 10 classes."""
    arguments = {"size": "6k", "classes": 10, "widths": {"stage3_block1_project": 28}}
    network = randomise_norms(build_student("cp_mobile", **arguments))
    whole = sum(p.numel() for p in cp_mobile(size="6k").parameters())
    inner = groups_of(network)["stage3_block1_expand"].width
    assert whole - sum(p.numel() for p in network.parameters()) == 4 * (inner + 2 + 10)
    blueprint = checkpoint.Blueprint("cp_mobile", arguments, MEL, tuple(map(str, range(10))), 32_000, "clips")
    checkpoint.save(tmp_path / "c.safetensors", network, blueprint)
    loaded, found = checkpoint.load_student(tmp_path / "c.safetensors")
    x = torch.randn(SPECTROGRAMS)
    assert torch.equal(loaded(x), network(x))
    assert json.loads(json.dumps(found.arguments)) == arguments


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"stem_1": 3}, r"widths\.stem_1=3 must be at most 2"),
        (
            {"stem_9": 1, "stem_2": 9},
            r"no group of channels 'stem_9'\n.*stem_2=9 must be at most 8\nits groups are stem_1",
        ),
        ({"stem_1": 0}, "a whole number from 1"),
        ({"stem_1": True}, "a whole number from 1"),
        ([4], "a mapping"),
    ],
)
def test_widths_that_cannot_be_are_refused(widths: object, message: str) -> None:
    """Oracle: the message, which names each width that is wrong and the groups that there are."""
    with pytest.raises(UserError, match=message):
        build_student("cp_mobile", size="6k", widths=widths)
