"""Global Response Normalization: channels with a large norm are amplified, relative to the mean over channels.

Conventions: maps (B, C, H, W) in and out. What a channel is multiplied by depends on the clip; for a network of
integers it is measured, see clip_norms.py.
Source: Woo et al., "ConvNeXt V2", CVPR 2023, section 3, with scalar parameters, as CP-Mobile has them.
"""

import torch
from torch import nn

from students.clip_norms import ClipNorm, affine

SMALLEST = 1e-6  # of the mean norm


class GlobalResponseNorm(ClipNorm):
    """x + gamma x r + beta, with one gamma and one beta for all channels, and r the channel's norm over frequency and
    time divided by the mean norm of the clip's channels."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.gamma * (x * relative_norms(x)) + self.beta + x

    def measured(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> r, (B, C)."""
        return relative_norms(x).flatten(1)

    def constant(self, means: torch.Tensor, channels: int) -> nn.Module:
        """Of the mean r: a gain of 1 + gamma r, and beta."""
        return affine(1 + self.gamma * means, self.beta.expand(channels))


def relative_norms(x: torch.Tensor) -> torch.Tensor:
    """r of each clip and channel, (B, C, 1, 1), of maps (B, C, H, W): their mean over channels is 1."""
    norms = x.norm(p=2, dim=(2, 3), keepdim=True)
    return norms / (norms.mean(dim=1, keepdim=True) + SMALLEST)
