"""YAMNet: a small CNN of depthwise separable convolutions (MobileNet v1), fine-tuned from its AudioSet weights.

Conventions: YAMNet's log-mels (B, 1, 64, frames) in (data/front_ends/yamnet_mel.py), logits (B, classes) out. The
network hears patches of PATCH frames every PATCH_HOP; of longer spectrograms the logits are the mean over the patches
(YAMNet's publication takes the mean of the scores), frames behind the last whole patch are not heard, and shorter
spectrograms are completed with silence. BatchNorm is folded into the convolutions, which therefore have biases.
Convolutions are padded as TensorFlow's SAME does it: where the two ends cannot have equally many zeros, the far end has
one more.
Source: Plakal and Ellis, "YAMNet", TensorFlow models, research/audioset/yamnet, 2019.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from data import bibliography
from data.front_ends.patch_mel import MELS, PATCH
from data.front_ends.yamnet_mel import OFFSET, PATCH_HOP
from data.ranges import Classes, Dropout
from data.resources import AUDIOSET, Resource
from teachers.entry import Pretraining, Teacher
from teachers.spectrograms import completed
from teachers.weights import download_weights, load_weights, needed_names
from teachers.yamnet_files import read_yamnet

URL = "https://storage.googleapis.com/audioset/yamnet.h5"
STEM = 32  # channels
# Stride and channels of each depthwise separable convolution.
BLOCKS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024))
HEAD = ("head.",)
# Of google/yamnet/1, from its TFLite file with weights of 8 bits.
TF_HUB = "44ae9cf7d72e32f9c7cf1ea2ce0a79581f392df721753008c487b2b073b252c4"
CLASSES = (521, "yamnet")  # those of AudioSet but six, and in another order


def yamnet(
    *,
    classes: Classes | None = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """Build a YAMNet.

    Args:
        classes: number of logits; the last layer is new. None: those of the weights, with their last layer.
        pretrained: start from weights: `weights` if given, else Keras' from their official URL.
        weights: a file: Keras' yamnet.h5, a yamnet.tflite, or a state dict of this network.
        dropout: before the last layer.

    Raises:
        UserError: weights that do not fit or cannot be downloaded.
    """
    replaced = () if classes is None else HEAD
    network = YamNet(classes or CLASSES[0], dropout)
    if weights or pretrained:
        path = Path(weights or download_weights(URL))
        state = read_yamnet(path, needed_names(network, replaced), replaced)
        load_weights(network, state, source=str(path), replaced=replaced)
    return network


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    link = "https://github.com/tensorflow/models/tree/master/research/audioset/yamnet"
    return Pretraining((AUDIOSET,), Resource("YAMNet", link, type="model", licence="Apache-2.0"))


class YamNet(nn.Module):
    """The network; `body` and `head` are part of the names in its files.

    Args:
        classes: number of logits; the published network has 521.
        dropout: before the last layer.
    """

    def __init__(self, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = [_Convolution(1, STEM, 3, stride=2)]
        channels = STEM
        for stride, width in BLOCKS:
            depthwise = _Convolution(channels, channels, 3, stride=stride, groups=channels)
            layers.append(nn.Sequential(depthwise, _Convolution(channels, width, 1)))
            channels = width
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, 64, frames) -> (B, classes).

        Raises:
            UserError: spectrograms have another number of bands.
        """
        silence = torch.tensor(OFFSET).log().item()
        whole = completed(spectrograms, MELS, PATCH, silence, "yamnet_mel", "YAMNet has")
        patches = whole.unfold(3, PATCH, PATCH_HOP).permute(0, 3, 1, 4, 2)  # (B, patches, 1, PATCH, MELS)
        maps = self.body(patches.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        embeddings = maps.mean(dim=(2, 3)).unflatten(0, patches.shape[:2]).mean(dim=1)
        return self.head(self.dropout(embeddings))

    def layers(self) -> list[list[nn.Parameter]]:
        """See teachers/layers.py."""
        return [*(list(block.parameters()) for block in self.body), list(self.head.parameters())]


class _Convolution(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, and ReLU."""

    def __init__(self, channels: int, width: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, width, kernel, stride=stride, groups=groups)
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")  # there is no BatchNorm that would mend the scale
        nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, width, ceil(H / stride), ceil(W / stride))."""
        return F.relu(super().forward(F.pad(x, (*self._padding(x.shape[3]), *self._padding(x.shape[2])))))

    def _padding(self, size: int) -> tuple[int, int]:
        """Zeros before and behind an axis."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        return total // 2, total - total // 2


TEACHER = Teacher(
    build=yamnet,
    family="CNN",
    citation=bibliography.YAMNET,
    published=_declare_pretraining,
    known={TF_HUB: {}},
    published_classes=CLASSES,
)
