"""The layers that a network's graph becomes, as they are found one after the other: what fold.py adds to.

Conventions: nodes are those of the graph; a node stands for the output of a layer, and so do those behind it that only
pass it on, such as a dropout or a norm that a convolution has absorbed.
"""

import itertools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import fx, nn

from students.blocks import SubSpectralNorm
from students.clip_norms import affine
from students.quantize.convolutions import absorb, adapting, averaging, by_channel, in_parts, some_filters
from students.quantize.layers import AVERAGE_POOL, CONVOLUTION, GLOBAL_MEAN, INPUT, TAKE, TURN, Layer
from students.quantize.traced import constants_of, shape_of, taken_by, traced

CHANNELS, BANDS, FRAMES = 1, 2, 3  # axes


class LayerList:
    """Of a network in its evaluation mode.

    Attributes:
        layers, convolutions: by name, as in layers.py.
        made_by: which layer's output a node stands for.
        constants: values of nodes that depend on parameters alone.
        refused: what has no integer form.
        unknown: nodes without an integer form, and the norms and ReLUs behind them.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int] | None) -> None:
        self.device = next((each.device for each in network.parameters()), torch.device("cpu"))
        self.modules = dict(network.named_modules())
        self.names: Mapping[str, str] = getattr(network, "layer_names", {})
        self.graph = traced(network, shape)
        self.constants = constants_of(network, self.graph)
        self.layers: dict[str, Layer] = {}
        self.convolutions: dict[str, nn.Conv2d] = {}
        self.made_by: dict[fx.Node, str] = {}
        self.refused: list[str] = []
        self.unknown: set[fx.Node] = set()

    def name_of(self, node: fx.Node) -> str:
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

    def refuse(self, node: fx.Node, what: str) -> None:
        """A node that has no integer form."""
        self.refused.append(what)
        self.skip(node)

    def skip(self, node: fx.Node) -> None:
        """A node behind one that has none."""
        self.unknown.add(node)
        self.made_by[node] = next((self.made_by[a] for a in node.all_input_nodes if a in self.made_by), INPUT)

    def add(self, node: fx.Node, layer: Layer) -> None:
        """A node that becomes a layer."""
        if layer.name in self.layers or layer.name == INPUT:
            self.refuse(node, f"{layer.name} (a module that is used twice, or called {INPUT})")
            return
        self.layers[layer.name] = layer
        self.made_by[node] = layer.name

    def relu(self, node: fx.Node) -> None:
        """A ReLU that the layer before it computes."""
        name = self.made_by[node.args[0]]
        self.layers[name] = replace(self.layers[name], relu=True)
        self.made_by[node] = name

    def absorb(self, node: fx.Node, source: fx.Node, norm: nn.BatchNorm2d) -> None:
        """A norm behind a convolution, which computes it."""
        absorb(self.convolutions[self.made_by[source]], norm)
        self.made_by[node] = self.made_by[source]

    def add_norm(self, node: fx.Node, name: str, source: fx.Node, norm: nn.BatchNorm2d) -> None:
        """A norm that is a convolution of its own."""
        self.convolutions[name] = convolution = by_channel(norm)
        self.add(node, Layer(name, CONVOLUTION, (self.made_by[source],), groups=convolution.groups))

    def factors_at(self, node: fx.Node) -> tuple[fx.Node, torch.Tensor] | None:
        """The map that a node multiplies by constants, and by which, one for each of its channels; None of other
        nodes, and where no shapes are known."""
        if node.target not in (operator.mul, torch.mul) or len(node.args) != 2 or node.kwargs:
            return None
        for source, other in (node.args, node.args[::-1]):
            factors = self.constants.get(other) if isinstance(other, fx.Node) else other
            shape = shape_of(source) if isinstance(source, fx.Node) and source in self.made_by else None
            if shape is None or len(shape) != 4 or not isinstance(factors, torch.Tensor | int | float):
                continue
            channels, factors = shape[CHANNELS], torch.as_tensor(factors, dtype=torch.float32, device=self.device)
            if factors.numel() == 1 or (factors.numel() == channels and factors.shape[-3:] == (channels, 1, 1)):
                return source, factors.flatten().expand(channels)
        return None

    def scale(self, node: fx.Node, name: str, factors: tuple[fx.Node, torch.Tensor]) -> None:
        """Factors of channels. Behind an average pool that nothing else needs both are one convolution."""
        source, gains = factors
        made, norm = self.made_by[source], affine(gains, torch.zeros_like(gains))
        if self.is_alone(source, AVERAGE_POOL):
            layer = self.layers[made]
            convolution = averaging(len(gains), layer.kernel, layer.stride, layer.padding, groups=len(gains))
            self.convolutions[made] = convolution.to(self.device)
            self.layers[made] = replace(layer, kind=CONVOLUTION, groups=len(gains))
        if self.is_alone(source, CONVOLUTION) and self.layers[made].parts == 1:
            self.absorb(node, source, norm)
        else:
            self.add_norm(node, name, source, norm)

    def average(self, node: fx.Node, name: str, axes: tuple[int, ...]) -> None:
        """The mean of a map over some axes, see means_of: over channels it is a convolution."""
        shape, source = shape_of(node.args[0]) or (), (self.made_by[node.args[0]],)
        if axes == (BANDS, FRAMES):
            self.add(node, Layer(name, GLOBAL_MEAN, source))
        elif axes in ((BANDS,), (FRAMES,)):
            window = (shape[BANDS], 1) if axes == (BANDS,) else (1, shape[FRAMES])
            self.add(node, Layer(name, AVERAGE_POOL, source, False, window, window))
        elif axes == (CHANNELS,):
            self.convolutions[name] = averaging(shape[CHANNELS]).to(self.device)
            self.add(node, Layer(name, CONVOLUTION, source))
        else:
            self.refuse(node, "mean")

    def turn(self, node: fx.Node, name: str, had: int, bands: int) -> None:
        """A map whose bands become channels; where they are averaged to fewer or more, a convolution does that then."""
        turned = Layer(f"{name}_map" if had != bands else name, TURN, (self.made_by[node.args[0]],))
        if had == bands:
            self.add(node, turned)
            return
        self.layers[turned.name] = turned
        self.convolutions[name] = adapting(had, bands).to(self.device)
        self.add(node, Layer(name, CONVOLUTION, (turned.name,)))

    def may_divide(self, node: fx.Node, norm: SubSpectralNorm) -> bool:
        """Whether the node's input is a depthwise convolution's map whose bands a norm's parts share evenly."""
        layer, shape = self.layers[self.made_by[node.args[0]]], shape_of(node)
        each = len(self.convolutions[layer.name].weight)
        is_even = shape is not None and shape[BANDS] % norm.sub_bands == 0
        return layer.groups == each > 1 and layer.parts == 1 and is_even

    def divide(self, node: fx.Node, norm: SubSpectralNorm) -> None:
        """A norm of parts of the bands, which the convolution before it computes, of as many parts."""
        name = self.made_by[node.args[0]]
        self.convolutions[name] = in_parts(self.convolutions[name], norm.sub_bands)
        self.layers[name] = replace(self.layers[name], parts=norm.sub_bands)
        self.absorb(node, node.args[0], norm)

    def take(self, node: fx.Node, name: str, channels: tuple[int, ...]) -> None:
        """Channels of a map in some order: those filters of a dense convolution, where all that is made of it are such;
        else a layer of its own."""
        source = self.layers.get(self.made_by[node.args[0]])
        aliases = [] if source is None else [each for each, made in self.made_by.items() if made == source.name]
        users = {user for alias in aliases for user in alias.users} - set(aliases)
        if source and source.kind == CONVOLUTION and source.groups == 1 and all(map(self._takes, users)):
            self.convolutions[name] = some_filters(self.convolutions[source.name], channels)
            self.add(node, replace(source, name=name))
            return
        self.add(node, Layer(name, TAKE, (self.made_by[node.args[0]],), channels=channels))

    def is_alone(self, source: fx.Node, *kinds: str) -> bool:
        """Whether a node is a layer of these kinds, without ReLU, whose output a single other node needs."""
        layer = self.layers.get(self.made_by[source])
        if layer is None or layer.kind not in kinds or layer.relu:
            return False
        # Nodes that only pass the layer's output on (dropout, a folded norm) are users and aliases at once.
        aliases = [alias for alias, name in self.made_by.items() if name == layer.name]
        return sum(len(alias.users) for alias in aliases) == len(aliases)

    def _takes(self, node: fx.Node) -> bool:
        return node.op == "call_module" and taken_by(self.modules[str(node.target)], node) is not None
