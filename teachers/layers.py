"""The parameters of a teacher, layer by layer from the input to the output: for layer-wise learning rates and freezing.

Conventions: a layer is a list of parameters; all layers together have every parameter once.
"""

import torch
from torch import nn

from data.errors import UserError


def layers_of(network: nn.Module) -> list[list[nn.Parameter]]:
    """The layers of a network, without those that have no parameters.

    They are what its method `layers` returns, if it has one (the transformers: embeddings, each block, head); timm's
    groups of parameters, if it is one of timm's networks; else its children.
    """
    if hasattr(network, "layers"):
        layers = network.layers()
    elif hasattr(network, "group_matcher"):
        from timm.models import group_parameters

        parameters = dict(network.named_parameters())
        groups = group_parameters(network, network.group_matcher(coarse=False))
        layers = [[parameters[name] for name in groups[number] if name in parameters] for number in sorted(groups)]
    else:
        layers = [list(child.parameters()) for child in network.children()]
    return [layer for layer in layers if layer]


def transformer_layers(network: nn.Module, blocks: nn.Module, *, head: tuple[str, ...]) -> list[list[nn.Parameter]]:
    """The layers of a transformer: what comes before the blocks, each block, and the head.

    Args:
        network: the transformer.
        blocks: its blocks, a part of the network.
        head: how the names of the head's parameters begin.
    """
    inside = {id(parameter) for parameter in blocks.parameters()}
    outside = [(name, p) for name, p in network.named_parameters() if id(p) not in inside]
    first = [p for name, p in outside if not name.startswith(head)]
    last = [p for name, p in outside if name.startswith(head)]
    return [first, *(list(block.parameters()) for block in blocks), last]


class Head(nn.Sequential):
    """From embeddings (B, features) to logits (B, classes): a dense layer, behind a hidden one with ReLU if wanted.

    Args:
        features: of an embedding.
        classes: number of logits.
        hidden: units of the hidden layer; None: there is none.
        dropout: before the last layer.
    """

    def __init__(self, features: int, classes: int, *, hidden: int | None = None, dropout: float = 0.0) -> None:
        first = [] if hidden is None else [nn.Linear(features, hidden), nn.ReLU()]
        super().__init__(*first, nn.Dropout(dropout), nn.Linear(hidden or features, classes))


@torch.no_grad()
def head_of(network: nn.Module, spectrograms: torch.Tensor) -> nn.Module:
    """The last layer of a network, or its Head: the dense one whose output is the network's.

    It is found by applying the network, so that no builder has to name it. The network is in evaluation mode then.

    Args:
        network: of any builder.
        spectrograms: (B, 1, mels, frames) that it takes.

    Raises:
        UserError: what comes out of the network is not the output of a dense layer that takes features (B, F).
    """
    outputs: dict[nn.Module, torch.Tensor] = {}

    def keep(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        if inputs[0].ndim == 2:
            outputs[layer] = output

    hooks = [each.register_forward_hook(keep) for each in network.modules() if isinstance(each, nn.Linear | Head)]
    try:
        logits = network.eval()(spectrograms)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, output in reversed(outputs.items()):  # a Head is behind its own last layer
        if output is logits:
            return layer
    raise UserError(
        "this network's logits are not the output of a dense layer: its last layer cannot be trained alone; freeze the "
        "first layers instead"
    )
