"""Turn a network into a plain list of layers, each BatchNorm folded into the convolution before it.

Conventions: the kinds of layers are those of layers.py. A dense layer is a convolution over the whole map. Whatever
has no integer form is refused by name. A layer has the name of its module, or that of the network's `layer_names`, a
mapping from modules' paths to names: it stands in TFLite and ONNX files, in C, in tables and in quantize.bits. A norm
that no convolution can absorb, as behind an addition, becomes a convolution of 1 x 1, channel by channel.
"""

import itertools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import fx, nn
from torch.nn import functional as F

from data.errors import UserError
from students import cnn_gru
from students.blocks import SubSpectralNorm, deployed
from students.clip_norms import with_measured_norms
from students.quantize.convolutions import (
    absorb,
    by_channel,
    copied,
    dense,
    geometry,
    gru,
    in_parts,
    is_by_channel,
    is_plain,
    pair,
    some_filters,
)
from students.quantize.layers import (
    ADD,
    AVERAGE_POOL,
    CONVOLUTION,
    GLOBAL_MEAN,
    GRU,
    INPUT,
    JOIN,
    MAX_POOL,
    SILU,
    TAKE,
    FoldedNetwork,
    Layer,
)
from students.quantize.traced import even_cells, map_behind, shape_of, taken_by, traced


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


class _Folder:
    def __init__(self, network: nn.Module, shape: Sequence[int] | None) -> None:
        self.modules = dict(network.named_modules())
        self.names: Mapping[str, str] = getattr(network, "layer_names", {})
        self.graph = traced(network, shape)
        self.layers: dict[str, Layer] = {}
        self.convolutions: dict[str, nn.Conv2d] = {}
        self.made_by: dict[fx.Node, str] = {}  # which layer's output a node of the graph stands for
        self.refused: list[str] = []
        self.unknown: set[fx.Node] = set()  # nodes without an integer form, and the norms and ReLUs behind them
        self.last = INPUT

    def run(self) -> tuple[tuple[Layer, ...], dict[str, nn.Conv2d]]:
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self.made_by[node] = INPUT
            elif node.op == "output":
                self.last = self.made_by[node.args[0]]
            else:
                self._visit(node)
        if self.refused:
            raise UserError(
                "this network cannot be made of integers, these parts have no integer form: "
                + "; ".join(dict.fromkeys(self.refused))
                + ". Train a student without them (student, or its arguments: see its yaml), or store floats of 16 "
                "bits (quantize.bits=16f)"
            )
        needed = {self.last}
        for layer in reversed(self.layers.values()):
            if layer.name in needed:
                needed.update(layer.inputs)
        kept = tuple(layer for layer in self.layers.values() if layer.name in needed)
        return kept, {name: layer for name, layer in self.convolutions.items() if name in needed}

    def _visit(self, node: fx.Node) -> None:
        module = self.modules[node.target] if node.op == "call_module" else None
        sources = [self.made_by[a] for a in node.args if isinstance(a, fx.Node)]
        name = self._name(node)
        if isinstance(module, nn.BatchNorm2d | nn.ReLU) and node.args[0] in self.unknown:
            self._skip(node)
            return
        match module:
            case nn.Conv2d() if is_plain(module) and name not in self.convolutions:
                self.convolutions[name] = copied(module)
                numbers = *geometry(module), module.groups, pair(module.dilation)
                self._add(node, Layer(name, CONVOLUTION, tuple(sources), False, *numbers))
            case nn.BatchNorm2d() if is_by_channel(module) and self._is_alone(node, CONVOLUTION):
                absorb(self.convolutions[sources[0]], module)
                self.made_by[node] = sources[0]
            case SubSpectralNorm() if self._is_alone(node, CONVOLUTION) and self._is_divided(node, module.sub_bands):
                convolution = in_parts(self.convolutions[sources[0]], module.sub_bands)
                absorb(convolution, module)
                self.convolutions[sources[0]] = convolution
                self.layers[sources[0]] = replace(self.layers[sources[0]], parts=module.sub_bands)
                self.made_by[node] = sources[0]
            case SubSpectralNorm() if module.num_features == module.sub_bands:
                self._refuse(node, "SubSpectralNorm of a single channel (let it have two)")
            case nn.BatchNorm2d() if is_by_channel(module) and name not in self.convolutions:
                self.convolutions[name] = convolution = by_channel(module)
                self._add(node, Layer(name, CONVOLUTION, tuple(sources), groups=convolution.groups))
            case nn.AvgPool2d() if module.count_include_pad and not module.ceil_mode and not module.divisor_override:
                self._add(node, Layer(name, AVERAGE_POOL, tuple(sources), False, *geometry(module)))
            case nn.MaxPool2d() if not module.padding and module.dilation == 1 and not module.ceil_mode:
                self._add(node, Layer(name, MAX_POOL, tuple(sources), False, *geometry(module)))
            case nn.AdaptiveMaxPool2d() if (cells := even_cells(node)) is not None:
                self._add(node, Layer(name, MAX_POOL, tuple(sources), False, cells, cells))
            case nn.Linear() if (
                map_of := map_behind(node, self.modules)
            ) is not None and name not in self.convolutions:
                self.convolutions[name] = dense(module, map_of)
                self._add(node, Layer(name, CONVOLUTION, tuple(sources), False, map_of[1:]))
            case nn.AdaptiveAvgPool2d() if module.output_size in (1, (1, 1)):
                self._add(node, Layer(name, GLOBAL_MEAN, tuple(sources)))
            case nn.AdaptiveAvgPool2d() if (cells := even_cells(node)) is not None:
                self._add(node, Layer(name, AVERAGE_POOL, tuple(sources), False, cells, cells))
            case cnn_gru.GRU() if (shape := shape_of(node.args[0])) is not None and name not in self.convolutions:
                gates = f"{name}_gates"
                self.convolutions[gates], self.convolutions[name] = gru(module, shape[2])
                self.layers[gates] = Layer(gates, CONVOLUTION, tuple(sources), False, (shape[2], 1))
                self._add(node, Layer(name, GRU, (gates,)))
            case nn.ReLU() if self._is_alone(node, CONVOLUTION, ADD):
                self._relu(node)
            case nn.SiLU():
                self._add(node, Layer(name, SILU, tuple(sources)))
            case nn.Identity() | nn.Dropout() | nn.Dropout2d() | cnn_gru.AsMap():
                self.made_by[node] = sources[0]
            case nn.Flatten() if self.layers.get(sources[0], Layer("", "", ())).kind == GLOBAL_MEAN:
                self.made_by[node] = sources[0]
            case nn.Flatten() if module.start_dim == 1 and all(map_behind(user, self.modules) for user in node.users):
                self.made_by[node] = sources[0]
            case nn.Module() if (channels := taken_by(module, node)) is not None:
                self._take(node, name, channels)
            case None if node.target is torch.cat and node.args[1:] == (1,) and not node.kwargs:
                self._add(node, Layer(name, JOIN, tuple(self.made_by[each] for each in node.args[0])))
            case None if node.target in (operator.add, torch.add) and len(sources) == 2 and not node.kwargs:
                self._add(node, Layer(name, ADD, tuple(sources)))
            case None if node.target in (F.relu, torch.relu) and self._is_alone(node, CONVOLUTION, ADD):
                self._relu(node)
            case _:
                self._refuse(
                    node, type(module).__name__ if module else getattr(node.target, "__name__", str(node.target))
                )

    def _name(self, node: fx.Node) -> str:
        """Of the layer that a node becomes: its module's; of an addition its own, behind the module it is in."""
        if node.op == "call_module":
            return self.names.get(str(node.target), str(node.target).replace(".", "_"))
        inside = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
        owner = self.names.get(inside[-1]) if inside else None
        if owner is None:
            return node.name
        name = f"{owner}_{getattr(node.target, '__name__', node.name)}"
        number = next(n for n in itertools.count(1) if f"{name}_{n}" not in self.layers)
        return name if name not in self.layers else f"{name}_{number}"

    def _refuse(self, node: fx.Node, what: str) -> None:
        self.refused.append(what)
        self._skip(node)

    def _skip(self, node: fx.Node) -> None:
        self.unknown.add(node)
        self.made_by[node] = next((self.made_by[a] for a in node.args if isinstance(a, fx.Node)), INPUT)

    def _add(self, node: fx.Node, layer: Layer) -> None:
        if layer.name in self.layers or layer.name == INPUT:
            self._refuse(node, f"{layer.name} (a module that is used twice, or called {INPUT})")
            return
        self.layers[layer.name] = layer
        self.made_by[node] = layer.name

    def _relu(self, node: fx.Node) -> None:
        name = self.made_by[node.args[0]]
        self.layers[name] = replace(self.layers[name], relu=True)
        self.made_by[node] = name

    def _is_divided(self, node: fx.Node, parts: int) -> bool:
        """Whether the node's input is a depthwise convolution's map whose bands so many parts share evenly."""
        layer, shape = self.layers[self.made_by[node.args[0]]], shape_of(node)
        each = len(self.convolutions[layer.name].weight)
        return layer.groups == each > 1 and layer.parts == 1 and shape is not None and shape[2] % parts == 0

    def _take(self, node: fx.Node, name: str, channels: tuple[int, ...]) -> None:
        """Channels of a map in some order: those filters of a dense convolution, where all that is made of it are such;
        else a layer of its own."""
        source = self.layers.get(self.made_by[node.args[0]])
        aliases = [] if source is None else [each for each, made in self.made_by.items() if made == source.name]
        users = {user for alias in aliases for user in alias.users} - set(aliases)
        if source and source.kind == CONVOLUTION and source.groups == 1 and all(map(self._takes, users)):
            self.convolutions[name] = some_filters(self.convolutions[source.name], channels)
            self._add(node, replace(source, name=name))
            return
        self._add(node, Layer(name, TAKE, (self.made_by[node.args[0]],), channels=channels))

    def _takes(self, node: fx.Node) -> bool:
        return node.op == "call_module" and taken_by(self.modules[str(node.target)], node) is not None

    def _is_alone(self, node: fx.Node, *kinds: str) -> bool:
        """Whether the node's input is a layer of these kinds, without ReLU, whose output no other node needs."""
        layer = self.layers.get(self.made_by[node.args[0]])
        if layer is None or layer.kind not in kinds or layer.relu:
            return False
        # Nodes that only pass the layer's output on (dropout, a folded norm) are users and aliases at once.
        aliases = [alias for alias, name in self.made_by.items() if name == layer.name]
        return sum(len(alias.users) for alias in aliases) == len(aliases)
