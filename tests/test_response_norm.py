"""Global Response Normalization: its law, and what becomes of it in a network of integers."""

import pytest
import torch
from conftest import randomise_norms
from torch import nn

from data.errors import UserError
from students.clip_norms import with_measured_norms
from students.cp_mobile import cp_mobile
from students.quantize.fold import fold
from students.response_norm import GlobalResponseNorm, relative_norms


def grown(size: str = "6k") -> nn.Module:
    """A CP-Mobile whose norms are random, as training leaves them."""
    return randomise_norms(cp_mobile(size=size, grn=True))


def test_each_channel_is_scaled_by_its_share_of_the_norm() -> None:
    """Oracle: by hand: channels of norms 3 and 1 have a mean of 2, hence 1.5 and 0.5; with gamma 2 and beta 1 a value x
    becomes x + 2 * 1.5 x + 1 and x + 2 * 0.5 x + 1."""
    x = torch.tensor([[[[1.0, 2.0, 2.0]], [[0.0, -1.0, 0.0]]]])
    norm = GlobalResponseNorm()
    assert torch.equal(norm(x), x)  # as it begins
    nn.init.constant_(norm.gamma, 2.0)
    nn.init.constant_(norm.beta, 1.0)
    expected = torch.tensor([[[[5.0, 9.0, 9.0]], [[1.0, -1.0, 1.0]]]])
    torch.testing.assert_close(norm(x), expected, rtol=0, atol=1e-5)


def test_relative_norms_have_the_mean_one(generator: torch.Generator) -> None:
    """Oracle: the definition, for each clip, and whatever factor all channels have."""
    x = torch.randn(3, 7, 5, 4, generator=generator)
    torch.testing.assert_close(relative_norms(x).mean(1), torch.ones(3, 1, 1))
    torch.testing.assert_close(relative_norms(50 * x), relative_norms(x))


def test_measured_on_one_clip_the_network_answers_as_before(generator: torch.Generator) -> None:
    """Oracle: the network itself: of the clip on which norms were measured the constant is the clip's own. On other
    clips it is another function, and the network that was given is left as it is."""
    network, clip, other = grown(), *torch.randn(2, 1, 1, 64, 48, generator=generator)
    other = 3 * other
    with torch.no_grad():
        expected, elsewhere = network(clip), network(other)
        measured = with_measured_norms(network, clip)
        torch.testing.assert_close(measured(clip), expected, rtol=1e-4, atol=1e-4)
        assert (measured(other) - elsewhere).abs().max() > 1e-2
        assert torch.equal(network(clip), expected)
    assert not any(isinstance(module, GlobalResponseNorm) for module in measured.modules())
    plain = cp_mobile(size="6k")
    assert with_measured_norms(plain, clip) is plain


def test_gains_are_the_mean_of_the_clips(generator: torch.Generator) -> None:
    """Oracle: by hand, of a network that is a norm alone: 1 + gamma times the mean over clips of their relative norms,
    of more clips than are computed at once, of different numbers in the parts."""
    norm = GlobalResponseNorm()
    nn.init.constant_(norm.gamma, 0.7)
    nn.init.constant_(norm.beta, -0.2)
    clips = torch.randn(40, 3, 4, 5, generator=generator) * torch.tensor([1.0, 2.0, 5.0])[:, None, None]
    measured = with_measured_norms(nn.Sequential(norm), clips)[0]
    torch.testing.assert_close(measured.weight, 1 + 0.7 * relative_norms(clips).mean((0, 2, 3)))
    one = torch.ones(1, 3, 1, 1)
    torch.testing.assert_close(measured(one), one * measured.weight[:, None, None] - 0.2)


def test_a_convolution_takes_the_gains_up_where_nothing_is_added(generator: torch.Generator) -> None:
    """Oracle: the layers by hand: a layer of its own behind each addition, and none behind the blocks whose width
    changes; and the logits of the network with measured norms."""
    network, clips = grown(), torch.randn(3, 1, 64, 48, generator=generator)
    folded = fold(network, None, clips)
    plain = {layer.name for layer in fold(cp_mobile(size="6k")).layers}
    own = {layer.name: layer for layer in folded.layers if layer.name not in plain}
    assert list(own) == [f"{block}_norm" for block in ("stage1_block1", "stage1_block2", "stage1_block3")] + (
        ["stage2_block2_norm"]
    )
    for name, layer in own.items():
        assert layer.inputs == (name.replace("_norm", "_add"),)
        assert (layer.kernel, layer.relu) == ((1, 1), True)
        assert layer.groups == len(folded.convolutions[name].weight)
    with torch.no_grad():
        expected = with_measured_norms(network, clips)(clips)
        torch.testing.assert_close(folded(clips), expected, rtol=1e-4, atol=1e-4)


def test_without_clips_it_has_no_integer_form() -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match="no integer form: GlobalResponseNorm"):
        fold(grown())
