"""PaSST: an audio transformer, fine-tuned from AudioSet weights on one-second clips.

The network is that of the package hear21passt; this module builds it for any number of frames, without its messages,
and adapts the published weights to that number.
Conventions: log-mels (B, 1, 128, frames) in, logits (B, classes) out; 1 second at hop 320 has 100 frames.
Source: Koutini et al., "Efficient Training of Audio Transformers with Patchout", Interspeech 2022.
"""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from data import bibliography
from data.errors import UserError, require, unknown
from data.ranges import Bands, Classes, Depth, Frames, Heads, Patches, Width
from data.resources import AUDIOSET, FSD50K, IMAGENET, OPENMIC, Resource
from teachers.entry import AUDIOSET_CLASSES, Pretraining, Teacher
from teachers.layers import transformer_layers
from teachers.weights import download_weights, load_weights, needed_names, read_weights

PATCH = 16
AUDIOSET_IMAGENET = (AUDIOSET, IMAGENET)  # training on AudioSet started from weights of ImageNet


@dataclass(frozen=True)
class Architecture:
    """A network that published weights exist for; all have the width of DeiT-base and a distillation token.

    Attributes:
        stride: of the patches, in bands and frames.
        depth: number of transformer blocks.
        datasets: what the weights were trained on.
    """

    stride: int
    depth: int = 12
    datasets: tuple[Resource, ...] = AUDIOSET_IMAGENET


DEFAULT = "passt_s_swa_p16_128_ap476"
# Those with an "stfthop" in their name want mel.hop (at 32 kHz) to be that and as many more frames.
ARCHITECTURES = {
    DEFAULT: Architecture(10),
    "passt_s_kd_p16_128_ap486": Architecture(10),
    "passt_l_kd_p16_128_ap47": Architecture(10, depth=7),
    "passt_s_p16_s16_128_ap468": Architecture(16),
    "passt_s_swa_f128_stfthop100_p16_s10_ap473": Architecture(10),
    "passt_s_swa_f128_stfthop160_p16_s10_ap473": Architecture(10),
    "passt-s-f128-20sec-p16-s10-ap474-swa": Architecture(10),
    "passt-s-f128-30sec-p16-s10-ap473-swa": Architecture(10),
    "passt_b_f128_p16_s16_ap_459": Architecture(16),
    "passt_u600_f128_p16_s16_ap_460": Architecture(16),
    "openmic_passt_s_f128_10sec_p16_s10_ap85": Architecture(10, datasets=(*AUDIOSET_IMAGENET, OPENMIC)),
    "fsd50k_passt_s_f128_p16_s10_ap655": Architecture(10, datasets=(*AUDIOSET_IMAGENET, FSD50K)),
    "fsd50k_passt_s_n_f128_p16_s16_ap642": Architecture(16, datasets=(*AUDIOSET_IMAGENET, FSD50K)),
}
SECOND = ("head_dist.",)
HEAD = ("head.", *SECOND)
POSITIONS = "time_new_pos_embed"  # (1, width, 1, columns)


def passt(
    *,
    classes: Classes | None = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    arch: str = DEFAULT,
    mels: Bands = 128,
    frames: Frames = 100,
    frequency_patchout: Patches = 6,
    time_patchout: Patches = 0,
    width: Width = 768,
    depth: Depth | None = None,
    heads: Heads = 12,
    checkpointing: bool = False,
) -> nn.Module:
    """Build a PaSST.

    Args:
        classes: number of logits; the head is new. None: AudioSet's, with the head of the weights.
        pretrained: start from weights: `weights` if given, else the architecture's own from its official URL.
        weights: a file with a state dict of this architecture.
        arch: one of ARCHITECTURES: stride of the patches, depth, and which weights.
        mels: bands of a spectrogram.
        frames: most frames of a spectrogram; positional embeddings are cut to them.
        frequency_patchout, time_patchout: rows and columns of patches left out in training (section 2.2).
        width, depth, heads: another geometry, for a small network without published weights.
        checkpointing: keep only the blocks' inputs for the backward pass and compute the rest again: about a third
            more time, a fraction of the memory.

    Raises:
        UserError: unknown arch, patchout that leaves nothing, weights that do not fit or cannot be downloaded.
    """
    architecture = _find_architecture(arch)
    stride = architecture.stride
    rows, columns = ((size - PATCH) // stride + 1 for size in (mels, frames))
    if frequency_patchout >= rows or time_patchout >= columns:
        raise UserError(
            f"passt: spectrograms of {mels} x {frames} have {rows} x {columns} patches; "
            f"frequency_patchout={frequency_patchout} and time_patchout={time_patchout} leave none: choose less"
        )
    package = _import_package()
    network = package.PaSST(
        img_size=(mels, frames),
        patch_size=PATCH,
        stride=(stride, stride),
        num_classes=classes or AUDIOSET_CLASSES[0],
        embed_dim=width,
        depth=depth or architecture.depth,
        num_heads=heads,
        distilled=True,
        s_patchout_f=frequency_patchout,
        s_patchout_t=time_patchout,
    )
    # The second head of DeiT is not part of PaSST's output; dropping it leaves no parameter without a gradient.
    network.head_dist = nn.Identity()
    for block in network.blocks:
        block.attn = _FusedAttention(block.attn)
    if checkpointing:
        network.blocks = _Checkpointed(*network.blocks)
    if weights or pretrained:
        path = weights or download_weights(package.default_cfgs[arch]["url"])
        replaced = SECOND if classes is None else HEAD
        state = read_weights(path, needed_names(network, replaced), replaced)
        columns = network.time_new_pos_embed.shape[-1]
        if (positions := state.get(POSITIONS)) is not None and positions.ndim:
            state[POSITIONS] = positions[..., :columns]
        load_weights(network, state, source=str(path), replaced=replaced)
    return _LogitsOnly(network)


def _find_architecture(arch: str) -> Architecture:
    if arch not in ARCHITECTURES:
        unknown("PaSST arch", arch, ARCHITECTURES)
    return ARCHITECTURES[arch]


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """What the weights of the arguments' `arch` were trained on."""
    arch, link = str(arguments.get("arch", DEFAULT)), "https://github.com/kkoutini/PaSST/releases"
    # No licence is stated; the package that downloads them, hear21passt, is under Apache-2.0.
    return Pretraining(_find_architecture(arch).datasets, Resource(f"PaSST {arch}", link, type="model"))


TEACHER = Teacher(
    build=passt,
    family="transformer",
    citation=bibliography.PASST,
    published=_declare_pretraining,
    published_classes=AUDIOSET_CLASSES,
)


def _import_package() -> ModuleType:
    """hear21passt's module, told not to print the shapes of its first forward pass."""
    require("hear21passt", "passt")
    from hear21passt.models import passt as package

    package.first_RUN = False
    # Spectrograms may be shorter than the network was built for: it may be trained on crops longer than the clips.
    warnings.filterwarnings("ignore", message="Input image size", module=package.__name__.replace(".", r"\."))
    # The package logs to the root logger at import; its one message (adapted positional embeddings) is of no use here.
    logging.getLogger("hear21passt").setLevel(logging.ERROR)
    return package


class _FusedAttention(nn.Module):
    """The package's attention by torch's fused kernel; its parameters keep their names."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = attention.num_heads, attention.qkv, attention.proj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, tokens, width) -> (B, tokens, width)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Checkpointed(nn.Sequential):
    """Blocks whose activations are computed a second time for the backward pass instead of being kept."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self:
            x = checkpoint(block, x, use_reentrant=False) if torch.is_grad_enabled() else block(x)
        return x


class _LogitsOnly(nn.Module):
    """The network with the output of this package: PaSST returns (logits, features).

    `network` is part of the names in checkpoints.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, mels, frames) -> (B, classes)."""
        return self.network(spectrograms)[0]

    def layers(self) -> list[list[nn.Parameter]]:
        """See teachers/layers.py."""
        return transformer_layers(self.network, self.network.blocks, head=("norm.", *HEAD))
