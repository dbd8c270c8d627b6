"""Which of a network's parameters lie near the sound and which near the answer: for layer-wise learning rates and
freezing.

Conventions: layers are lists of parameters, from the input to the output; together they are all parameters, each
once.
"""

from torch import nn


def layers_of(network: nn.Module) -> list[list[nn.Parameter]]:
    """The layers of a teacher.

    A network says it itself by a method `layers` (the transformers: embeddings, each block, head), or is one of
    timm's, which know their own stages, or is a plain sequence.
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
    """Embeddings, each of the blocks, and what is named `head` (beginnings of parameters' names)."""
    inside = {id(parameter) for parameter in blocks.parameters()}
    outside = [(name, p) for name, p in network.named_parameters() if id(p) not in inside]
    first = [p for name, p in outside if not name.startswith(head)]
    last = [p for name, p in outside if name.startswith(head)]
    return [first, *(list(block.parameters()) for block in blocks), last]
