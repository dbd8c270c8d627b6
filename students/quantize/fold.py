"""Turn a network into a plain list of layers, each BatchNorm folded into the convolution before it.

Conventions: the kinds of layers are those of layers.py. A dense layer is a convolution over the whole map. Whatever
has no integer form is refused by name. A layer has the name of its module, or that of the network's `layer_names`, a
mapping from modules' paths to names: it stands in TFLite and ONNX files, in C, in tables and in quantize.bits. A norm
that no convolution can absorb, as behind an addition, becomes a convolution of 1 x 1, channel by channel.
"""

import operator
from collections.abc import Sequence

import torch
from torch import fx, nn

from data.errors import UserError
from students import cnn_gru
from students.blocks import SubSpectralNorm, Turned, deployed
from students.clip_norms import with_measured_norms
from students.quantize.convolutions import (
    copied,
    dense,
    geometry,
    gru,
    is_by_channel,
    is_plain,
    pair,
)
from students.quantize.layer_list import LayerList
from students.quantize.layers import (
    ADD,
    AVERAGE_POOL,
    CONVOLUTION,
    GLOBAL_MEAN,
    GRU,
    INPUT,
    JOIN,
    MAX_POOL,
    MULTIPLY,
    SIGMOID,
    SILU,
    FoldedNetwork,
    Layer,
)
from students.quantize.traced import (
    adds_axes,
    even_cells,
    map_behind,
    means_of,
    module_of,
    shape_of,
    taken_by,
)


def fold(
    network: nn.Module, shape: Sequence[int] | None = None, spectrograms: torch.Tensor | None = None
) -> FoldedNetwork:
    """Trace a network in its evaluation mode and fold it. The network itself is left as it is.

    Args:
        network: log-mels (B, 1, mels, frames) to logits (B, classes).
        shape: of a spectrogram, (1, 1, mels, frames); without it dense layers and adaptive pools have no integer form.
        spectrograms: of train clips, (n, 1, mels, frames), on which norms that depend on the clip are measured; without
            them they have no integer form.

    Raises:
        UserError: it contains an operation that has no integer form (all of them listed), or takes no spectrograms of
            this shape.
    """
    network = deployed(network)
    if spectrograms is not None:
        network = with_measured_norms(network, spectrograms)
    folder = _Folder(network, shape)
    return FoldedNetwork(*folder.run()).eval()


class _Folder(LayerList):
    def run(self) -> tuple[tuple[Layer, ...], dict[str, nn.Conv2d]]:
        last = INPUT
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self.made_by[node] = INPUT
            elif node.op == "output":
                last = self.made_by[node.args[0]]
            elif node not in self.constants:
                self._visit(node)
        if self.refused:
            raise UserError(
                "this network cannot be made of integers, these parts have no integer form: "
                + "; ".join(dict.fromkeys(self.refused))
                + ". Train a student without them (student, or its arguments: see its yaml), or store floats of 16 "
                "bits (quantize.bits=16f)"
            )
        needed = {last}
        for layer in reversed(self.layers.values()):
            if layer.name in needed:
                needed.update(layer.inputs)
        kept = tuple(layer for layer in self.layers.values() if layer.name in needed)
        return kept, {name: layer for name, layer in self.convolutions.items() if name in needed}

    def _visit(self, node: fx.Node) -> None:
        module = module_of(node, self.modules)
        sources = [self.made_by[a] for a in node.args if isinstance(a, fx.Node) and a in self.made_by]
        name = self.name_of(node)
        if isinstance(module, nn.BatchNorm2d | nn.ReLU) and node.args[0] in self.unknown:
            self.skip(node)
            return
        if module and not sources:  # it is called with a parameter
            self.refuse(node, type(module).__name__)
            return
        match module:
            case nn.Conv2d() if is_plain(module) and name not in self.convolutions:
                self.convolutions[name] = copied(module)
                numbers = *geometry(module), module.groups, pair(module.dilation)
                self.add(node, Layer(name, CONVOLUTION, tuple(sources), False, *numbers))
            case nn.BatchNorm2d() if is_by_channel(module) and self.is_alone(node.args[0], CONVOLUTION):
                self.absorb(node, node.args[0], module)
            case SubSpectralNorm() if self.is_alone(node.args[0], CONVOLUTION) and self.may_divide(node, module):
                self.divide(node, module)
            case SubSpectralNorm() if module.num_features == module.sub_bands:
                self.refuse(node, "SubSpectralNorm of a single channel (let it have two)")
            case nn.BatchNorm2d() if is_by_channel(module) and name not in self.convolutions:
                self.add_norm(node, name, node.args[0], module)
            case nn.AvgPool2d() if module.count_include_pad and not module.ceil_mode and not module.divisor_override:
                self.add(node, Layer(name, AVERAGE_POOL, tuple(sources), False, *geometry(module)))
            case nn.MaxPool2d() if not module.padding and module.dilation == 1 and not module.ceil_mode:
                self.add(node, Layer(name, MAX_POOL, tuple(sources), False, *geometry(module)))
            case nn.AdaptiveMaxPool2d() if (cells := even_cells(node)) is not None:
                self.add(node, Layer(name, MAX_POOL, tuple(sources), False, cells, cells))
            case nn.Linear() if (
                map_of := map_behind(node, self.modules)
            ) is not None and name not in self.convolutions:
                self.convolutions[name] = dense(module, map_of)
                self.add(node, Layer(name, CONVOLUTION, tuple(sources), False, map_of[1:]))
            case nn.AdaptiveAvgPool2d() if module.output_size in (1, (1, 1)):
                self.add(node, Layer(name, GLOBAL_MEAN, tuple(sources)))
            case nn.AdaptiveAvgPool2d() if (cells := even_cells(node)) is not None:
                self.add(node, Layer(name, AVERAGE_POOL, tuple(sources), False, cells, cells))
            case cnn_gru.GRU() if (shape := shape_of(node.args[0])) is not None and name not in self.convolutions:
                gates = f"{name}_gates"
                self.convolutions[gates], self.convolutions[name] = gru(module, shape[2])
                self.layers[gates] = Layer(gates, CONVOLUTION, tuple(sources), False, (shape[2], 1))
                self.add(node, Layer(name, GRU, (gates,)))
            case nn.ReLU() if self.is_alone(node.args[0], CONVOLUTION, ADD):
                self.relu(node)
            case nn.SiLU() | nn.Sigmoid():
                self.add(node, Layer(name, SILU if isinstance(module, nn.SiLU) else SIGMOID, tuple(sources)))
            case Turned() if (shape := shape_of(node.args[0])) is not None and shape[3] == 1:
                self.turn(node, name, shape[2], module.bands)
            case nn.Identity() | nn.Dropout() | nn.Dropout1d() | nn.Dropout2d() | cnn_gru.AsMap():
                self.made_by[node] = sources[0]
            case nn.Flatten() if self.layers.get(sources[0], Layer("", "", ())).kind == GLOBAL_MEAN:
                self.made_by[node] = sources[0]
            case nn.Flatten() if module.start_dim == 1 and all(map_behind(user, self.modules) for user in node.users):
                self.made_by[node] = sources[0]
            case nn.Module() if (channels := taken_by(module, node)) is not None:
                self.take(node, name, channels)
            case None if node.target is torch.cat and node.args[1:] == (1,) and self.made_by.keys() >= {*node.args[0]}:
                self.add(node, Layer(name, JOIN, tuple(self.made_by[each] for each in node.args[0])))
            case None if node.target in (operator.add, torch.add) and len(sources) == 2 and not node.kwargs:
                self.add(node, Layer(name, ADD, tuple(sources)))
            case None if node.target in (operator.mul, torch.mul) and len(sources) == 2 and not node.kwargs:
                self.add(node, Layer(name, MULTIPLY, tuple(sources)))
            case None if (factors := self.factors_at(node)) is not None:
                self.scale(node, name, factors)
            case None if adds_axes(node):
                self.made_by[node] = sources[0]
            case None if (axes := means_of(node)) is not None:
                self.average(node, name, axes)
            case _:
                self.refuse(
                    node, type(module).__name__ if module else getattr(node.target, "__name__", str(node.target))
                )
