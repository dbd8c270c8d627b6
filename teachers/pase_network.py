"""The encoders of PASE and PASE+, which hear waves, with the names of their files.

Conventions: waves at 16 kHz (N, 1, 1, samples) in, at least SHORTEST; 100 frames a second of 100 numbers (PASE) or 256
(PASE+), whose mean over time (N, 100 or 256) comes out. Maps within are (N, channels, 1, frames); they are mirrored at
both ends before a convolution. The first layer's kernels are band-passes of which two frequencies are learned. PASE+
has a quasi-recurrent layer behind the convolutions, and adds the projected means of every convolution's map to the last
one's.
Source: Pascual et al., Interspeech 2019, and Ravanelli et al., ICASSP 2020; santi-pdp/pase, pase/models/modules.py at
commit 0865007 (SincConv_fast, FeBlock, build_rnn_block), frontend.py at commit dbbc08a (WaveFe), cfg/PASE.cfg at commit
b2c1cdc. Of cfg/frontend/PASE+.cfg that repository's history has only a variant with a GRU, PASE+_gru.cfg at commit
33a42bc; its other numbers are taken from there. The recurrent layer: salesforce/pytorch-qrnn, torchqrnn/qrnn.py at
commit 0e8afb5 (QRNNLayer), window 2.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

RATE = 16_000  # Hz
# Of the convolutions: channels, length of the kernel, stride.
CONVOLUTIONS = (
    *((64, 251, 1), (64, 20, 10), (128, 11, 2), (128, 11, 1)),
    *((256, 11, 2), (256, 11, 1), (512, 11, 2), (512, 11, 2)),
)
FEATURES = {"pase": 100, "pase+": 256}
RECURRENT = 512  # numbers of the recurrent layer
SHORTEST = 471  # samples, which leave 48, 24, 12 and 6 for the convolutions of stride 2: more than what is mirrored
LOWEST, NARROWEST = 50.0, 50.0  # Hz


class Pase(nn.Module):
    """An encoder.

    Args:
        size: one of FEATURES.
    """

    def __init__(self, size: str) -> None:
        super().__init__()
        features, channels, blocks = FEATURES[size], 1, []
        for width, kernel, stride in CONVOLUTIONS:
            blocks.append(_Block(channels, width, kernel, stride))
            channels = width
        self.blocks = nn.ModuleList(blocks)
        self.denseskips, self.rnn = nn.ModuleList(), None
        if size == "pase+":
            skips = [_Convolution(width, features, 1, bias=False) for width, *_ in CONVOLUTIONS[:-1]]
            self.denseskips, self.rnn = nn.ModuleList(skips), _Recurrent(channels, RECURRENT)
            channels = RECURRENT
        self.W = _Convolution(channels, features, 1)
        self.norm_out = nn.BatchNorm2d(features, affine=False)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """(N, 1, 1, samples) -> (N, features)."""
        x, maps = waves, []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        out = self.W(x if self.rnn is None else self.rnn(x))
        for skip, earlier in zip(self.denseskips, maps, strict=False):
            out = out + _shortened(skip(earlier), out.shape[3])
        return self.norm_out(out).mean(dim=(2, 3))


class _Convolution(nn.Conv1d):
    """A convolution over time of maps as others have them, of one row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, 1, T) -> (N, out, 1, ...)."""
        return super().forward(x[:, :, 0])[:, :, None]


class _Block(nn.Module):
    """A convolution of maps that are mirrored at both ends, BatchNorm and PReLU; the first one is of band-passes."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        is_exact = stride == 1 and kernel % 2
        self.mirrored = (kernel // 2 - (0 if is_exact else 1), kernel // 2)
        self.conv = _BandPasses(width, kernel) if channels == 1 else _Convolution(channels, width, kernel, stride)
        self.norm, self.act = nn.BatchNorm2d(width), nn.PReLU(width, init=0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, 1, T) -> (N, width, 1, T / stride or so)."""
        return self.act(self.norm(self.conv(F.pad(x, (*self.mirrored, 0, 0), mode="reflect"))))


class _BandPasses(nn.Module):
    """Band-passes of one channel; of each the lower edge and the width are learned, in Hz, beyond the least ones."""

    def __init__(self, count: int, length: int) -> None:
        super().__init__()
        half, edges = length // 2, (30.0, RATE / 2 - (LOWEST + NARROWEST))  # of the lowest and highest, equally far on
        first, last = (math.log10(1 + hertz / 700) for hertz in edges)  # HTK's scale
        hertz = 700 * (torch.logspace(first, last, count + 1, dtype=torch.float64) - 1)[:, None]
        self.low_hz_, self.band_hz_ = nn.Parameter(hertz[:-1].float()), nn.Parameter(hertz.diff(dim=0).float())
        taper = 0.54 - 0.46 * torch.cos(2 * math.pi * torch.linspace(0, length / 2 - 1, half) / length)
        self.register_buffer("taper", taper, persistent=False)
        self.register_buffer("times", 2 * math.pi * torch.arange(-half, 0) / RATE, persistent=False)

    def kernels(self) -> torch.Tensor:
        """(count, length): differences of two sinc functions, by a Hamming window; 1 in the middle."""
        low = LOWEST + self.low_hz_.abs()
        high = (low + NARROWEST + self.band_hz_.abs()).clamp(LOWEST, RATE / 2)
        left = ((high * self.times).sin() - (low * self.times).sin()) / (self.times / 2) * self.taper
        left = left / (2 * (high - low))
        return torch.cat([left, torch.ones_like(low), left.flip(1)], dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 1, T) -> (N, count, 1, T - length + 1)."""
        return F.conv1d(x[:, :, 0], self.kernels()[:, None].to(x.dtype))[:, :, None]


class _Recurrent(nn.Module):
    """A quasi-recurrent layer: gates are computed of a frame and the one before it, and only the sum is recurrent."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        layer = nn.Module()
        layer.linear = nn.Linear(2 * channels, 3 * width)
        self.layers = nn.ModuleList([layer])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, 1, T) -> (N, width, 1, T)."""
        pairs = torch.cat([x, F.pad(x, (1, 0))[..., :-1]], dim=1)[:, :, 0].transpose(1, 2)
        values, forget, output = self.layers[0].linear(pairs).chunk(3, dim=2)
        forget, sums = forget.sigmoid(), []
        for new, share in zip((forget * values.tanh()).unbind(1), forget.unbind(1), strict=True):
            sums.append(new + (1 - share) * sums[-1] if sums else new)
        return (output.sigmoid() * torch.stack(sums, dim=1)).transpose(1, 2)[:, :, None]


def _shortened(maps: torch.Tensor, frames: int) -> torch.Tensor:
    """(N, features, 1, T) -> (N, features, 1, frames): means of T // frames neighbours, without what is left over."""
    every = maps.shape[3] // frames
    return maps[..., : frames * every].unflatten(3, (frames, every)).mean(dim=4)
