"""EfficientAT: MobileNetV3 with one channel and squeeze-excitation of channels, fine-tuned from its AudioSet weights.

The network is torchvision's MobileNetV3; this module gives it EfficientAT's squeeze-excitation and classifier, whose
names are those of the published files.
Conventions: log-mels (B, 1, 128, frames) in, logits (B, classes) out; any number of frames. The published weights know
the log-mel of conf/mel/efficientat.yaml, 32 kHz, 100 frames a second.
Source: Schmid et al., "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation", ICASSP 2023.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import nn

from data import bibliography
from data.errors import UserError, require, unknown
from data.ranges import Classes, Dropout
from data.resources import AUDIOSET, IMAGENET, Resource
from data.tensors import Tensors, differences
from teachers.entry import AUDIOSET_CLASSES, Pretraining, Teacher
from teachers.weights import download_weights, load_weights, needed_names, read_weights

RELEASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"
DEFAULT = "mn04"
# Size: factor on the channels, and the file of the release with its AudioSet weights.
SIZES = {
    "mn04": (0.4, "mn04_as_mAP_432.pt"),
    "mn05": (0.5, "mn05_as_mAP_443.pt"),
    "mn10": (1.0, "mn10_as_mAP_471.pt"),
    "mn20": (2.0, "mn20_as_mAP_478.pt"),
    "mn30": (3.0, "mn30_as_mAP_482.pt"),
    "mn40": (4.0, "mn40_as_mAP_484.pt"),
}
# MobileNetV3-Large at width 1: input channels, kernel, expanded channels, output channels, squeeze-excitation,
# Hardswish (or ReLU), stride.
BLOCKS = (
    (16, 3, 16, 16, False, False, 1),
    (16, 3, 64, 24, False, False, 2),
    (24, 3, 72, 24, False, False, 1),
    (24, 5, 72, 40, True, False, 2),
    (40, 5, 120, 40, True, False, 1),
    (40, 5, 120, 40, True, False, 1),
    (40, 3, 240, 80, False, True, 2),
    (80, 3, 200, 80, False, True, 1),
    (80, 3, 184, 80, False, True, 1),
    (80, 3, 184, 80, False, True, 1),
    (80, 3, 480, 112, True, True, 1),
    (112, 3, 672, 112, True, True, 1),
    (112, 5, 672, 160, True, True, 2),
    (160, 5, 960, 160, True, True, 1),
    (160, 5, 960, 160, True, True, 1),
)
HIDDEN = 1280  # channels of the classifier at width 1
EPSILON, MOMENTUM = 0.001, 0.01  # of BatchNorm
HEAD = ("classifier.5.",)
MN04 = "b9dcac1e5ce3f0c5c54a56acf99a7cccbd7bc70513ff51047cd54a35776ba95b"


def efficientat(
    *,
    classes: Classes | None = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    size: str = DEFAULT,
    dropout: Dropout = 0.2,
) -> nn.Module:
    """Build an EfficientAT.

    Args:
        classes: number of logits; the last layer is new. None: those of the weights, with their last layer.
        pretrained: start from weights: `weights` if given, else the AudioSet weights of the release for this size.
        weights: a file with a state dict of this size.
        size: one of SIZES; the number is ten times the factor on the channels.
        dropout: before the last layer.

    Raises:
        UserError: unknown size, weights that are of another size, do not fit or cannot be downloaded.
    """
    if size not in SIZES:
        unknown("EfficientAT size", size, SIZES)
    replaced = () if classes is None else HEAD
    network = _EfficientAT(size, classes or AUDIOSET_CLASSES[0], dropout)
    if weights or pretrained:
        path = weights or download_weights(RELEASE + SIZES[size][1])
        state = read_weights(path, needed_names(network, replaced), replaced)
        if (other := _size_of(state)) not in (None, size):
            raise UserError(
                f"{path} is {other}, width {SIZES[other][0]}, not {size}, width {SIZES[size][0]}: set "
                f"teacher.arguments.size={other}, or give the weights of {size}"
            )
        load_weights(network, state, source=str(path), replaced=replaced)
    return network


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """All were trained on ImageNet, then on AudioSet with the logits of PaSST, which had seen the same data."""
    size = str(arguments.get("size", DEFAULT))
    if size not in SIZES:
        unknown("EfficientAT size", size, SIZES)
    link = "https://github.com/fschmid56/EfficientAT/releases"
    model = Resource(f"EfficientAT {Path(SIZES[size][1]).stem}", link, type="model", licence="MIT")
    return Pretraining((AUDIOSET, IMAGENET), model)


TEACHER = Teacher(
    build=efficientat,
    family="CNN",
    citation=bibliography.EFFICIENTAT,
    published=_declare_pretraining,
    known={MN04: {"size": "mn04"}},
    published_classes=AUDIOSET_CLASSES,
)


class _EfficientAT(nn.Module):
    """The network; `features` and `classifier` are part of the names in its files."""

    def __init__(self, size: str, classes: int, dropout: float) -> None:
        super().__init__()
        require("torchvision", "efficientat")
        from torchvision.models.mobilenetv3 import InvertedResidual, InvertedResidualConfig, MobileNetV3

        width, _ = SIZES[size]
        blocks = [
            InvertedResidualConfig(first, kernel, expanded, last, squeeze, "HS" if hard else "RE", stride, 1, width)
            for first, kernel, expanded, last, squeeze, hard, stride in BLOCKS
        ]
        network = MobileNetV3(
            blocks,
            InvertedResidualConfig.adjust_channels(HIDDEN, width),
            num_classes=classes,
            block=partial(InvertedResidual, se_layer=_SqueezeExcitation),
            norm_layer=partial(nn.BatchNorm2d, eps=EPSILON, momentum=MOMENTUM),
            dropout=dropout,
        )
        first = network.features[0][0]
        grey = nn.Conv2d(1, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False)
        nn.init.kaiming_normal_(grey.weight, mode="fan_out")
        network.features[0][0] = grey
        self.features = network.features
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *network.classifier)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, mels, frames) -> (B, classes)."""
        return self.classifier(self.features(spectrograms))

    def layers(self) -> list[list[nn.Parameter]]:
        """See teachers/layers.py."""
        return [list(part.parameters()) for part in (*self.features, self.classifier)]


class _SqueezeExcitation(nn.Module):
    """Channels are multiplied by factors in (0, 1) that two dense layers compute from the channels' means.

    EfficientAT can have several of these side by side (of channels, bands and frames), hence the list; its published
    networks have the one of channels.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        layer = nn.Module()
        layer.fc1, layer.fc2 = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)
        self.conc_se_layers = nn.ModuleList([layer])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> the same shape."""
        (layer,) = self.conc_se_layers
        factors = layer.fc2(layer.fc1(x.mean(dim=(2, 3))).relu()).sigmoid()
        return x * factors[:, :, None, None]


def _size_of(state: Tensors) -> str | None:
    """The size that weights are of; None if it is none of SIZES."""
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)}
    for size in SIZES:
        with torch.device("meta"):  # takes no memory
            network = _EfficientAT(size, 1, 0.0)
        if not differences({name: network.state_dict()[name].shape for name in needed_names(network, HEAD)}, kept):
            return size
    return None
