"""The graph of a network: what calls what, with shapes, and what some modules do to the channels of a map."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F

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


# Functions and methods, and the modules that do the same with the same arguments.
MODULES: Mapping[Any, Callable[..., nn.Module]] = {
    **{F.relu: nn.ReLU, torch.relu: nn.ReLU, "relu": nn.ReLU},
    **{F.silu: nn.SiLU, torch.sigmoid: nn.Sigmoid, F.sigmoid: nn.Sigmoid, "sigmoid": nn.Sigmoid},
    **{F.max_pool2d: nn.MaxPool2d, F.avg_pool2d: nn.AvgPool2d, F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d},
    **{torch.flatten: nn.Flatten, "flatten": nn.Flatten},
}


def module_of(node: fx.Node, modules: Mapping[str, nn.Module]) -> nn.Module | None:
    """The module that a node calls, or one that does the same as the function that it calls; else None."""
    if node.op == "call_module":
        return modules[str(node.target)]
    if node.op in ("call_function", "call_method") and node.target in MODULES and node.args:
        return MODULES[node.target](*node.args[1:], **node.kwargs)
    return None


@torch.no_grad()
def constants_of(network: nn.Module, graph: fx.Graph) -> dict[fx.Node, torch.Tensor]:
    """The values of the nodes that functions compute of parameters and numbers alone."""
    found: dict[fx.Node, torch.Tensor] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            value: Any = network
            for name in str(node.target).split("."):
                value = getattr(value, name)
            found[node] = value.detach()
        elif node.op in ("call_function", "call_method") and found.keys() >= set(node.all_input_nodes) != set():
            args, kwargs = (fx.map_arg(each, found.__getitem__) for each in (node.args, node.kwargs))
            call = node.target if node.op == "call_function" else getattr(type(args[0]), str(node.target))
            found[node] = call(*args, **kwargs)
    return found


def means_of(node: fx.Node) -> tuple[int, ...] | None:
    """The axes of a map over which a node averages, ascending; None of any other node, and where no shapes are
    known."""
    if node.op != "call_method" or node.target != "mean":
        return None
    before, after = shape_of(node.args[0]), shape_of(node)
    axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    if before is None or after is None or len(before) != 4 or axes is None or "dtype" in node.kwargs:
        return None
    found = tuple(sorted(axis % 4 for axis in (axes if isinstance(axes, tuple | list) else (axes,))))
    return found if len(after) == 4 or found == (2, 3) else None


def adds_axes(node: fx.Node) -> bool:
    """Whether a node makes a map of one band and frame of values (B, C)."""
    before, after = shape_of(node.args[0]) if node.args else None, shape_of(node)
    return node.target is operator.getitem and before is not None and len(before) == 2 and after == (*before, 1, 1)


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
        linear = isinstance(modules.get(str(source.target)), nn.Linear)
        if source.op == "placeholder" or linear or means_of(source) == (2, 3):
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
