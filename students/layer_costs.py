"""What each layer of a float network costs, by torchinfo, which NeSsi takes for networks of PyTorch.

Conventions: those of complexity.py, of torch_complexity: a convolution costs (weights + bias) x output positions,
BatchNorm its parameters once, activations and pools nothing. BatchNorm's moving statistics are no parameters, neither
here nor in NeSsi (nessi.py: total_params of torchinfo for PyTorch, trainable_weights for Keras). A recurrent layer
costs its parameters at every step, if its output is (B, steps, units). Branches that become one convolution when the
network is deployed are counted as that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from data.errors import UserError
from students.blocks import deployed
from students.limits import Complexity

REST = "(beside layers)"  # what no layer without children has, such as a parameter of a block


class LayerCost(NamedTuple):
    """One layer without children, or all that stands beside those.

    Attributes:
        name: its path in the network.
        kind: such as Conv2d.
        shape: of its output, () of what is beside layers.
        macs: multiply-accumulates of one clip.
        parameters: number of parameters.
        alive_bytes: of its inputs and outputs.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    macs: int
    parameters: int
    alive_bytes: int


class StoredLayer(NamedTuple):
    """The costs of a layer, and the bytes of its parameters in a file."""

    cost: LayerCost
    bytes: int


def layer_costs(network: nn.Module, shape: Sequence[int]) -> tuple[Complexity, list[LayerCost]]:
    """The costs of a network for an input of a shape, and those of its layers in the order in which they are computed.

    Raises:
        UserError: the network's own, for a spectrogram of a size that it does not take.
    """
    from torchinfo import summary

    network = deployed(network)
    names = {module: name for name, module in network.named_modules() if not list(module.children())}
    called: list[tuple[nn.Module, tuple[int, ...], int]] = []

    def remember(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        called.append((layer, tuple(output.shape), sum(t.nbytes for t in (*inputs, output))))

    hooks = [layer.register_forward_hook(remember) for layer in names]
    try:
        device = next(network.parameters()).device
        report = summary(network, tuple(shape), verbose=0, device=device)
    except RuntimeError as error:  # torchinfo's, around whatever went wrong
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
    finally:
        for hook in hooks:
            hook.remove()
    macs, parameters = int(report.total_mult_adds), int(report.total_params)
    size = sum(p.nbytes for p in network.parameters())
    total = Complexity(macs, parameters, size, max([0, *(alive for *_, alive in called)]))
    counted = {each.module: each for each in report.summary_list if each.is_leaf_layer and not each.is_recursive}
    layers = []
    for layer, output, alive in called:
        each = counted.pop(layer, None)  # what is called again has no other parameters
        own = (0, 0) if each is None else (int(each.macs), max(0, int(each.num_params)))
        layers.append(LayerCost(names[layer], type(layer).__name__, output, *own, alive))
    rest = (macs - sum(each.macs for each in layers), parameters - sum(each.parameters for each in layers))
    return total, [*layers, *([LayerCost(REST, "", (), *rest, 0)] if any(rest) else [])]
