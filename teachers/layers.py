"""The parameters of a teacher, layer by layer from the input to the output: for layer-wise learning rates and freezing.

Conventions: a layer is a list of parameters; all layers together have every parameter once.
"""

from torch import nn


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
