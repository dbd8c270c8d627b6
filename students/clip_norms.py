"""Norms whose factors and offsets depend on the clip, and what becomes of them in a network of integers.

Conventions: maps are (B, C, bands, frames). What such a norm multiplies by and adds is measured on some clips and stays
what it is by their average: then it is a factor and an offset of each channel, which a convolution takes up.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import nn

AT_ONCE = 32  # clips
NEGLIGIBLE = 1e-12  # beside a variance of 1


class ClipNorm(nn.Module):
    """A norm that depends on the clip.

    Attributes:
        in_turn: whether it is measured when the norms before it do not depend on the clip any more.
    """

    in_turn = False

    def measured(self, x: torch.Tensor) -> torch.Tensor:
        """What is averaged over clips, (B, ...), of maps (B, C, bands, frames)."""
        raise NotImplementedError

    def constant(self, means: torch.Tensor, channels: int) -> nn.Module:
        """The norm that does not depend on the clip, of what was averaged, for maps of so many channels."""
        raise NotImplementedError


@torch.no_grad()
def with_measured_norms(network: nn.Module, spectrograms: torch.Tensor) -> nn.Module:
    """A copy of a network in its evaluation mode in which each ClipNorm is the one that does not depend on the clip, by
    the mean over some clips. Without such layers the network itself.

    Args:
        network: log-mels (B, 1, mels, frames) to logits (B, classes); it is left as it is.
        spectrograms: log-mels (n, 1, mels, frames) of train clips.
    """
    norms = {path: module for path, module in network.named_modules() if isinstance(module, ClipNorm)}
    if not norms:
        return network
    network = copy.deepcopy(network).eval()
    together = [path for path, norm in norms.items() if not norm.in_turn]
    for paths in (together, *([path] for path, norm in norms.items() if norm.in_turn)):
        for path, norm in _measured(network, paths, spectrograms).items():
            network.set_submodule(path, norm)
    return network


def _measured(network: nn.Module, paths: Sequence[str], spectrograms: torch.Tensor) -> dict[str, nn.Module]:
    """What norms of a network become, by their paths."""
    sums: dict[str, torch.Tensor] = {}
    widths: dict[str, int] = {}
    norms: dict[str, ClipNorm] = {path: network.get_submodule(path) for path in paths}

    def adding(path: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def add(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            sums[path] = sums.get(path, 0) + norms[path].measured(inputs[0]).double().sum(0)
            widths[path] = inputs[0].shape[1]

        return add

    hooks = [norm.register_forward_pre_hook(adding(path)) for path, norm in norms.items()]
    device = next(network.parameters(), spectrograms).device
    for some in spectrograms.split(AT_ONCE) if paths else ():
        network(some.to(device))
    for hook in hooks:
        hook.remove()
    return {path: norm.constant(sums[path].float() / len(spectrograms), widths[path]) for path, norm in norms.items()}


@torch.no_grad()
def affine(gains: torch.Tensor, offsets: torch.Tensor) -> nn.BatchNorm2d:
    """The norm that multiplies each channel by a gain and adds an offset, both (C,)."""
    norm = nn.BatchNorm2d(len(gains), eps=NEGLIGIBLE, device=gains.device)  # of mean 0 and variance 1
    norm.weight.copy_(gains)
    norm.bias.copy_(offsets)
    return norm.eval()
