"""The graph of a network: what calls what, with shapes, and what some modules do to the channels of a map."""

from collections.abc import Mapping, Sequence

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from data.errors import UserError
from students.blocks import Taken


class _Tracer(fx.Tracer):
    """Modules without children are not traced inside, so that a refusal names them and not their arithmetic."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return not any(True for _ in module.children())


def traced(network: nn.Module, shape: Sequence[int] | None) -> fx.Graph:
    """The graph of a network; its nodes have shapes if that of a spectrogram, (1, 1, mels, frames), is given.

    Raises:
        UserError: the network takes no spectrograms of this shape.
    """
    graph = _Tracer().trace(network)
    if shape is None:
        return graph
    weight = next(network.parameters())
    try:
        with torch.no_grad():
            ShapeProp(fx.GraphModule(network, graph)).propagate(weight.new_zeros(shape))
    except RuntimeError as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from error
        raise UserError(
            f"this network takes no spectrograms of {shape[2]} bands and {shape[3]} frames ({cause})"
        ) from error
    return graph


def shape_of(node: fx.Node) -> tuple[int, ...] | None:
    """Of a node's tensor, where the shape of the spectrogram was given."""
    meta = node.meta.get("tensor_meta")
    return None if meta is None else tuple(meta.shape)


def map_behind(node: fx.Node, modules: Mapping[str, nn.Module]) -> tuple[int, int, int] | None:
    """(C, H, W) of the map whose flattened values are the input of a dense layer, or of what leads to one; None if
    its input is not flattened, or no shapes are known."""
    source = node.args[0]
    row = shape = shape_of(source)
    if row is None or len(row) != 2:
        return None
    while shape is not None and len(shape) == 2:  # through dropouts and ReLUs
        if source.op == "placeholder" or isinstance(modules.get(str(source.target)), nn.Linear):
            return row[1], 1, 1
        source = source.args[0]
        shape = shape_of(source)
    if shape is None or len(shape) != 4:
        return None
    _, channels, height, width = shape
    return (channels, height, width) if channels * height * width == row[1] else None


def even_cells(node: fx.Node) -> tuple[int, int] | None:
    """The window of an adaptive pool whose windows lie side by side without a remainder; None of any other."""
    before, after = shape_of(node.args[0]), shape_of(node)
    if before is None or after is None or len(before) != 4 or len(after) != 4:
        return None
    if any(n % cells for n, cells in zip(before[2:], after[2:], strict=True)):
        return None
    return before[2] // after[2], before[3] // after[3]


def taken_by(module: nn.Module, node: fx.Node) -> tuple[int, ...] | None:
    """The channels of its input that a module takes, in their order; None of one that does something else, or where no
    shapes are known."""
    shape = shape_of(node.args[0]) if node.args else None
    if shape is None:
        return None
    channels = torch.arange(shape[1])
    if isinstance(module, Taken):
        return tuple(module.taken(channels).tolist())
    if isinstance(module, nn.ChannelShuffle):
        return tuple(channels.view(module.groups, -1).T.flatten().tolist())
    return None
