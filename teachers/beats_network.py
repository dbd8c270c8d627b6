"""The network of BEATs: a transformer whose attention knows how far apart patches are, with the names of its files.

Conventions: normalised filter banks (B, 1, mels, frames) in, logits (B, classes) out; any number of frames from one
patch on, shorter spectrograms are completed with silence, and frames behind the last whole patch are not heard. Patches
are squares of PATCH; their tokens (B, T, width) are in the order of time, low bands first within each time. A token's
place is known from a convolution over the tokens and from a bias of the attention, which every block has from the first
one's table and gates by its own queries. Blocks normalise what they return ("deep norm").
Source: Chen et al., "BEATs", ICML 2023, section 3.2, and microsoft/unilm, beats/BEATs.py at commit c68101b and
beats/backbone.py at commit 9102ed9.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from data.errors import UserError
from data.front_ends.kaldi_fbank import FLOOR, normalised
from teachers.layers import transformer_layers
from teachers.spectrograms import completed

MELS, MEAN, STD = 128, 15.41663, 6.55582  # BEATs.preprocess
SILENCE = normalised(math.log(FLOOR), MEAN, STD)
PATCH, EMBEDDING = 16, 512  # of bands and frames; numbers of a patch's embedding
KERNEL, GROUPS = 128, 16  # of the convolution over tokens
BUCKETS, FARTHEST = 320, 800  # distances that the bias tells apart, and the one from which all are alike
GATES = 8  # numbers that a gate is computed from
HEAD = ("predictor.",)


class Beats(nn.Module):
    """The network; the names of its parts are those of its files.

    Args:
        classes: number of logits.
        width, depth, heads: of the transformer.
        dropout: before the last layer.

    Raises:
        UserError: `width` cannot be divided as it must be.
    """

    def __init__(self, classes: int, *, width: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % GROUPS or width % heads:
            raise UserError(
                f"width={width} must be a multiple of {GROUPS}, the groups of a convolution, and of heads={heads}"
            )
        self.patch_embedding = nn.Conv2d(1, EMBEDDING, PATCH, PATCH, bias=False)
        self.layer_norm = nn.LayerNorm(EMBEDDING)
        self.post_extract_proj = nn.Linear(EMBEDDING, width)
        self.encoder = _Encoder(width, depth, heads)
        self.predictor_dropout = nn.Dropout(dropout)
        self.predictor = nn.Linear(width, classes)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, 128, frames) -> (B, classes).

        Raises:
            UserError: spectrograms have another number of bands.
        """
        whole = completed(spectrograms, MELS, PATCH, SILENCE, "kaldi_fbank", "BEATs has")
        patches = self.patch_embedding(whole.transpose(2, 3)).flatten(2).transpose(1, 2)
        tokens = self.encoder(self.post_extract_proj(self.layer_norm(patches)))
        # The authors average the logits of the tokens, which is the same.
        return self.predictor(self.predictor_dropout(tokens.mean(dim=1)))

    def layers(self) -> list[list[nn.Parameter]]:
        """See teachers/layers.py."""
        return transformer_layers(self, self.encoder.layers, head=HEAD)


class _Encoder(nn.Module):
    """The blocks, and what comes before them."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.pos_conv = nn.Sequential(_TokenConvolution(width), nn.GELU())
        self.layer_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(_Block(width, depth, heads, has_table=not number) for number in range(depth))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, width) -> the same."""
        tokens = self.layer_norm(tokens + self.pos_conv(tokens.transpose(1, 2)).transpose(1, 2))
        bias = self.layers[0].self_attn.relative_attention_bias(_buckets(tokens.shape[1], tokens.device))
        bias = bias.permute(2, 0, 1)
        for block in self.layers:
            tokens = block(tokens, bias)
        return tokens


class _TokenConvolution(nn.Module):
    """A convolution over tokens, each of its KERNEL taps a direction `weight_v` and a length `weight_g`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        scale = math.sqrt(4 / (KERNEL * width))
        self.weight_v = nn.Parameter(scale * torch.randn(width, width // GROUPS, KERNEL))
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=(0, 1), keepdim=True))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, T) -> the same: KERNEL is even, and the last position is one too many."""
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        return F.conv1d(x, weight, self.bias, padding=KERNEL // 2, groups=GROUPS)[..., :-1]


class _Block(nn.Module):
    """Attention and two dense layers, each normalised together with `alpha` times what went in."""

    def __init__(self, width: int, depth: int, heads: int, *, has_table: bool) -> None:
        super().__init__()
        self.alpha, beta = (2 * depth) ** 0.25, (8 * depth) ** -0.25
        self.self_attn = _Attention(width, heads, has_table=has_table)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for layer in (self.fc1, self.fc2, self.self_attn.v_proj, self.self_attn.out_proj):
            nn.init.xavier_normal_(layer.weight, gain=beta)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T, width) and the bias (heads, T, T) -> tokens."""
        x = self.self_attn_layer_norm(self.alpha * x + self.self_attn(x, bias))
        return self.final_layer_norm(self.alpha * x + self.fc2(F.gelu(self.fc1(x))))


class _Attention(nn.Module):
    """Attention of several heads, with a bias for each distance, which a query may turn down or up."""

    def __init__(self, width: int, heads: int, *, has_table: bool) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.grep_linear = nn.Linear(width // heads, GATES)
        self.grep_a = nn.Parameter(torch.ones(1, heads, 1, 1))
        if has_table:
            self.relative_attention_bias = nn.Embedding(BUCKETS, heads)
            nn.init.xavier_normal_(self.relative_attention_bias.weight)
        for layer in (self.q_proj, self.k_proj):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T, width) and the bias (heads, T, T) -> tokens."""
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        first, second = self.grep_linear(query).unflatten(3, (2, -1)).sum(dim=4).sigmoid().chunk(2, dim=3)
        gates = first * (second * self.grep_a - 1) + 2  # (B, heads, T, 1)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=(gates * bias).to(query.dtype))
        return self.out_proj(found.transpose(1, 2).flatten(2))


def _buckets(count: int, device: torch.device) -> torch.Tensor:
    """Which row of the table belongs to a query (row) and a key (column): int64 (count, count).

    Half of the rows are for keys behind the query. Of each half, the first half is one distance each, the others are
    wider and wider, up to FARTHEST.
    """
    places = torch.arange(count, device=device)
    distance = places[None, :] - places[:, None]
    half, exact = BUCKETS // 2, BUCKETS // 4
    far = distance.abs().clamp_min(1).float()  # whose logarithm is only used from `exact` on
    wider = exact + ((far / exact).log() / math.log(FARTHEST / exact) * (half - exact)).long()
    return half * (distance > 0) + torch.where(distance.abs() < exact, distance.abs(), wider.clamp_max(half - 1))
