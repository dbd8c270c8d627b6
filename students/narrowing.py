"""A network with fewer channels than its builder gives it.

Conventions: channels are removed from whole groups (channels.py). What is left is an ordinary network of the same
family, which build_student makes of the same arguments and the argument `widths`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from data.errors import UserError, in_short, listed
from data.ranges import Width
from students.blocks import SubSpectralNorm
from students.channels import groups_of

WIDTHS = "widths"  # the argument of build_student


@torch.no_grad()
def narrow(network: nn.Module, kept: Mapping[str, torch.Tensor]) -> dict[str, list[tuple[int, torch.Tensor]]]:
    """Remove channels from a network, in place: its parameters are the same objects and have fewer values.

    Args:
        network: see groups_of.
        kept: the channels that stay, by group, as ascending indices; other groups stay as they are.

    Returns:
        what was taken of each tensor that was changed, by its name in the network: axes and their indices.
    """
    groups, taken = groups_of(network), dict[str, list[tuple[int, torch.Tensor]]]()
    for name, indices in kept.items():
        group = groups[name]
        for path in (*group.made_by, *group.along):
            layer = network.get_submodule(path)
            values = layer.sub_bands if isinstance(layer, SubSpectralNorm) else 1
            rows = _values_of(indices, values)
            for own in layer.state_dict():
                if own != "num_batches_tracked":
                    taken.setdefault(f"{path}.{own}", []).append((0, rows))
            _set_widths(layer, len(rows), outputs=True)
        for path, values in group.read_by:
            columns = _values_of(indices, values)
            taken.setdefault(f"{path}.weight", []).append((1, columns))
            _set_widths(network.get_submodule(path), len(columns), outputs=False)
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    for name, axes in taken.items():
        tensors[name].data = some_of(tensors[name].data, axes)
        tensors[name].grad = None
    return taken


def _values_of(indices: torch.Tensor, values: int) -> torch.Tensor:
    """The indices of some channels' values, of so many each, one channel's after the other's."""
    return (indices[:, None] * values + torch.arange(values)).flatten()


def some_of(tensor: torch.Tensor, axes: Sequence[tuple[int, torch.Tensor]]) -> torch.Tensor:
    """The entries of a tensor at some indices of some axes."""
    for axis, indices in axes:
        tensor = tensor.index_select(axis, indices.to(tensor.device))
    return tensor


def with_widths(network: nn.Module, widths: Mapping[str, Width]) -> nn.Module:
    """The network, in place, with the first channels of each of its groups.

    Args:
        network: as its builder makes it.
        widths: number of channels by group; those that are not named stay as they are.

    Raises:
        UserError: a name is no group's, or a group has fewer channels (all listed).
    """
    groups = groups_of(network)
    problems = [
        f"{WIDTHS}.{name}={width} must be at most {groups[name].width}"
        if name in groups
        else f"{WIDTHS}: there is no group of channels {in_short(name)}"
        for name, width in widths.items()
        if name not in groups or width > groups[name].width
    ]
    if problems:
        own = ", ".join(f"{group.name} ({group.width})" for group in groups.values())
        raise UserError(f"this network cannot have such {WIDTHS}:\n{listed(problems)}\nits groups are {own or 'none'}")
    narrow(network, {name: torch.arange(width) for name, width in widths.items() if width < groups[name].width})
    return network


def _set_widths(layer: nn.Module, width: int, *, outputs: bool) -> None:
    """Let the numbers of channels that a layer says of itself be those of its tensors."""
    match layer:
        case nn.Conv2d() if outputs:
            layer.out_channels = width
            if layer.groups > 1:
                layer.in_channels = layer.groups = width
        case nn.Conv2d():
            layer.in_channels = width
        case nn.BatchNorm2d():
            layer.num_features = width
        case nn.Linear() if outputs:
            layer.out_features = width
        case nn.Linear():
            layer.in_features = width
