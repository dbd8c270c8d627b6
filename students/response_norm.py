"""Global Response Normalization: channels with a large norm are amplified, relative to the mean over channels.

Conventions: maps (B, C, H, W) in and out. What a channel is multiplied by depends on the clip. For a network of
integers it is measured on some clips and stays what it is on their average: then the layer is a gain and an offset of
each channel, which a convolution takes up.
Source: Woo et al., "ConvNeXt V2", CVPR 2023, section 3, with scalar parameters, as CP-Mobile has them.
"""

import copy
from collections.abc import Callable

import torch
from torch import nn

AT_ONCE = 32  # clips
SMALLEST = 1e-6  # of the mean norm
NEGLIGIBLE = 1e-12  # beside a variance of 1


class GlobalResponseNorm(nn.Module):
    """x + gamma x r + beta, with one gamma and one beta for all channels, and r the channel's norm over frequency and
    time divided by the mean norm of the clip's channels."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.gamma * (x * relative_norms(x)) + self.beta + x


def relative_norms(x: torch.Tensor) -> torch.Tensor:
    """r of each clip and channel, (B, C, 1, 1), of maps (B, C, H, W): their mean over channels is 1."""
    norms = x.norm(p=2, dim=(2, 3), keepdim=True)
    return norms / (norms.mean(dim=1, keepdim=True) + SMALLEST)


@torch.no_grad()
def with_measured_norms(network: nn.Module, spectrograms: torch.Tensor) -> nn.Module:
    """A copy of a network in its evaluation mode in which each GlobalResponseNorm is a BatchNorm: the gain of a channel
    is 1 + gamma r, with the mean r of some clips, and its offset is beta. Without such layers the network itself.

    Args:
        network: log-mels (B, 1, mels, frames) to logits; it is left as it is.
        spectrograms: log-mels (n, 1, mels, frames) of train clips.
    """
    norms = {path: module for path, module in network.named_modules() if isinstance(module, GlobalResponseNorm)}
    if not norms:
        return network
    network = copy.deepcopy(network).eval()
    sums: dict[str, torch.Tensor] = {}

    def adding(path: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def add(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            sums[path] = sums.get(path, 0) + relative_norms(inputs[0]).double().sum((0, 2, 3))

        return add

    hooks = [network.get_submodule(path).register_forward_pre_hook(adding(path)) for path in norms]
    device = next(network.parameters()).device
    for some in spectrograms.split(AT_ONCE):
        network(some.to(device))
    for hook in hooks:
        hook.remove()
    for path, norm in norms.items():
        network.set_submodule(path, _affine(1 + norm.gamma * sums[path].float() / len(spectrograms), norm.beta))
    return network


def _affine(gains: torch.Tensor, offset: torch.Tensor) -> nn.BatchNorm2d:
    """The BatchNorm that multiplies each channel by a gain and adds an offset."""
    norm = nn.BatchNorm2d(len(gains), eps=NEGLIGIBLE, device=gains.device)  # of mean 0 and variance 1
    norm.weight.copy_(gains)
    norm.bias.copy_(offset.expand(len(gains)))
    return norm.eval()
