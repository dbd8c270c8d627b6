"""What a layer of a network computes of each clip: the classifier's input, or the map of a layer that is named."""

import embeddings
import numpy as np
import pytest
import torch
from torch import nn

from data.errors import UserError
from data.settings import POOLED
from experiments.inference.features import Features, WithFeatures, channels_of
from students import build_student
from teachers import build_teacher

pytestmark = pytest.mark.usefixtures("_narrow")
STUDENTS = ["cp_mobile", "baseline", "bc_resnet", "cnn_gru", "cnn_gru_2025", "rep_mobile", "tf_sepnet"]
TEACHERS = {
    "ast": ((128, 98), {"width": 32, "depth": 1, "heads": 2}, "network.audio_spectrogram_transformer.layers.0", 32),
    "beats": ((128, 98), {"width": 32, "depth": 1, "heads": 2}, "encoder.layers.0", 32),
    "cp_resnet": ((64, 64), {"base_channels": 8, "cut_channels": [0, 0, 0]}, "4", 8),
    "edgel3": ((256, 398), {}, "body.layers.4", 2),
    "efficientat": ((128, 100), {}, "features.1", 8),
    "openl3": ((256, 199), {}, "body.layers.4", 2),
    "panns": ((64, 101), {"size": "cnn6"}, "conv_block1", 64),
    "pase": ((1, 1600), {"size": "pase"}, "body.blocks.3.conv", 128),
    "passt": ((128, 100), {"width": 32, "depth": 2, "heads": 2}, "network.blocks.0", 32),
    "soundnet": ((1, 8000), {"layer": "pool5"}, "body.conv3", 64),
    "timm_cnn": ((64, 64), {"model_name": "mobilenetv3_small_050"}, "blocks.2", 24),
    "vggish": ((64, 96), {}, "body.features.3", 128),
    "yamnet": ((64, 240), {}, "body.3", 128),
}


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings.make_narrow(monkeypatch)


def last_layer(network: nn.Module) -> nn.Module:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)][-1]


@pytest.mark.parametrize("name", [*STUDENTS, *TEACHERS])
def test_features_are_what_the_classifier_sees(name: str, generator: torch.Generator) -> None:
    """Oracle: the last layer, given them as one position or one vector, gives the mean of what it gave; a gradient
    reaches the first layer."""
    (bands, frames), arguments, *_ = TEACHERS.get(name, ((80, 48), {}))
    if name in TEACHERS:
        network = build_teacher(name, pretrained=False, **arguments).eval()
    else:
        network = build_student(name).eval()
    features, classifier = Features(network), last_layer(network)
    out: list[torch.Tensor] = []
    classifier.register_forward_hook(lambda *found: out.append(found[2]))
    network(torch.randn(3, 1, bands, frames, generator=generator))
    found = features(3)
    assert found.ndim == 2
    if isinstance(classifier, nn.Conv2d):
        expected, again = out[0].mean((2, 3)), classifier(found[:, :, None, None])[:, :, 0, 0]
    else:
        expected, again = out[0], classifier(found)
    torch.testing.assert_close(again, expected)
    (found * torch.randn(found.shape, generator=generator)).sum().backward()  # a norm has the same sum for any input
    assert next(network.parameters()).grad.abs().max() > 0


def test_features_of_a_dense_layer_are_averaged_over_all_positions(generator: torch.Generator) -> None:
    """Oracle: numpy's mean over steps and bands of what a dense layer is given, (B, steps, bands, channels)."""
    network = nn.Sequential(nn.Identity(), nn.Linear(4, 2))
    features, inputs = Features(network), torch.randn(3, 5, 6, 4, generator=generator)
    network(inputs)
    np.testing.assert_allclose(features(3).numpy(), inputs.numpy().mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_named_layer_of_every_teacher_gives_a_vector_for_each_clip(name: str, generator: torch.Generator) -> None:
    """Oracle: the channels of the architecture; each clip's features are those of the clip alone, also where it is
    heard in patches (YAMNet, four of them); the logits beside them are the network's own."""
    (bands, frames), arguments, layer, channels = TEACHERS[name]
    network = build_teacher(name, classes=7, pretrained=False, **arguments).eval()
    assert channels_of(network, layer, (1, 1, bands, frames), "teacher.features") == channels
    clips = torch.randn(3, 1, bands, frames, generator=generator)
    with torch.no_grad():
        logits, both = network(clips), WithFeatures(network, layer)
        together, alone = both(clips), torch.cat([both(clip[None]) for clip in clips])
    assert together.shape == (3, 7 + channels)
    assert torch.equal(together[:, :7], logits)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_a_map_is_averaged_over_bands_and_frames_and_tokens_over_their_number() -> None:
    """Oracle: by hand: maps (B, channels, bands, frames), tokens (B, tokens, channels), vectors (B, channels)."""
    network = nn.Sequential(nn.Identity(), nn.Linear(4, 1))
    values = torch.arange(2 * 3 * 5 * 4, dtype=torch.float32)
    expected = {(2, 3, 5, 4): (2, 3), (6, 5, 4): (1,), (30, 4): ()}
    for shape, positions in expected.items():
        features = Features(network, "0")
        network(values.view(shape))
        found = features(shape[0])
        torch.testing.assert_close(found, values.view(shape).mean(positions) if positions else values.view(shape))
        features.close()


class Odd(nn.Module):
    """A network with a layer that takes no part, one whose output is no map, and one that mixes the clips."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.shapes, self.whole = nn.Linear(2, 2), Shapes(), nn.Flatten(0)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes(x)
        self.whole(x)
        return self.head(x.mean(3).flatten(1))


class Shapes(nn.Module):
    def forward(self, x: torch.Tensor) -> list[int]:
        return [*x.shape]


@pytest.mark.parametrize("layer", ["unused", "shapes", "whole"])
def test_a_layer_without_a_map_of_each_clip_is_refused(layer: str) -> None:
    """Oracle: the message, which names the setting; the network is as it was, without a hook and still in training."""
    network = Odd()
    with pytest.raises(UserError, match=rf"^teacher\.features={layer}: this layer gives no map"):
        channels_of(network, layer, (1, 1, 64, 8), "teacher.features")
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in network.modules())
    assert network.training
    assert channels_of(network, POOLED, (1, 1, 64, 8), "teacher.features") == 64


def test_layers_that_there_are_not_are_answered_with_those_that_there_are() -> None:
    """Oracle: by hand: the layers of a network in two levels, in the message."""
    network = nn.Sequential(nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3)), nn.ReLU()), nn.Flatten())
    with pytest.raises(UserError) as refused:
        channels_of(network, "0.2", (1, 1, 8, 8), "student.distill.layer")
    assert str(refused.value).splitlines() == [
        "student.distill.layer=0.2: the network has no such layer; choose pooled, the input of its classifier, or one "
        "of these, or a layer in one of them:",
        *("  0", "  0.0", "  0.1", "  1"),
    ]


def test_what_was_handed_out_is_not_handed_out_again() -> None:
    """Oracle: the message of a second call without a pass between, which would be of other clips."""
    network = nn.Sequential(nn.Linear(4, 2))
    features = Features(network)
    network(torch.zeros(3, 4))
    features(3)
    with pytest.raises(UserError, match="gives no map"):
        features(3)
