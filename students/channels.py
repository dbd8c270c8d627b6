"""Which channels of a network belong together, found from its graph.

Conventions: a group is a number of channels that several layers have in common: those of all maps that are added to
each other, and of what computes each channel by itself (depthwise convolutions, norms, activations, pools). Dense
convolutions and dense layers make a group and read another one. Groups of what is traced but not understood, and of the
network's input and answer, keep their width and are not listed. A group has the name of the first layer that makes it,
as quantize/fold.py names layers.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import fx, nn
from torch.nn import functional as F

from data.errors import UserError
from students.response_norm import GlobalResponseNorm

MAP, ROW, STACK = "map", "row", "stack"  # tensors (B, C, H, W), (B, values), and several maps in one
ALONG = (
    *(nn.BatchNorm2d, nn.Identity, nn.Dropout, nn.Dropout2d, GlobalResponseNorm),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh),
    *(nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
EACH = (F.relu, torch.relu, F.silu, torch.sigmoid, torch.tanh)  # functions of each value by itself
JOINT = (operator.add, torch.add, operator.mul, torch.mul)


@dataclass(frozen=True)
class Group:
    """Channels that belong together.

    Attributes:
        name: of the first layer that makes it.
        width: number of channels.
        made_by: paths of the dense convolutions and layers that compute it.
        along: paths of the depthwise convolutions and norms that compute each of its channels by itself.
        read_by: paths of the dense convolutions and layers that read it, and how many values of each channel.
    """

    name: str
    width: int
    made_by: list[str] = field(default_factory=list)
    along: list[str] = field(default_factory=list)
    read_by: list[tuple[str, int]] = field(default_factory=list)


def groups_of(network: nn.Module) -> dict[str, Group]:
    """The groups of a network whose width may change, by name, in the order of its layers.

    Args:
        network: log-mels (B, 1, mels, frames) to logits; it is left as it is.

    Raises:
        UserError: the network does something that depends on its values, so that there is no graph of it.
    """
    try:
        return _Finder(network).run()
    except fx.proxy.TraceError as error:
        raise UserError(f"what this network computes depends on its values ({error}): its widths are fixed") from error


class _Tracer(fx.Tracer):
    """Modules without children are not traced inside."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return not any(True for _ in module.children())


def _is_depthwise(module: nn.Conv2d) -> bool:
    return module.groups == module.in_channels == module.out_channels


@dataclass(frozen=True)
class _Value:
    """What a node of the graph computes: a tensor of a group's channels."""

    group: int
    form: str


class _Finder:
    """Follows the channels through the graph. Groups have numbers; those that turn out to be the same are joined."""

    def __init__(self, network: nn.Module) -> None:
        self.modules = dict(network.named_modules())
        self.names: Mapping[str, str] = getattr(network, "layer_names", {})
        self.graph = _Tracer().trace(network)
        self.found: list[Group] = []
        self.joined: list[int] = []  # number of the group that a group was joined to, or its own
        self.fixed: set[int] = set()
        self.called: dict[str, list[int]] = {}  # the groups at each module

    def run(self) -> dict[str, Group]:
        values: dict[fx.Node, _Value] = {}
        for node in self.graph.nodes:
            inputs = [values[each] for each in node.all_input_nodes]
            values[node] = self._visit(node, inputs)
            if node.op == "call_module" and self.modules[node.target].state_dict():
                at = [each.group for each in (*inputs, values[node])]
                if before := self.called.get(node.target):  # weights of a layer that is applied twice
                    self.fixed.update((*before, *at))
                self.called[node.target] = at
        fixed = {self._of(number) for number in self.fixed}
        groups = [group for number, group in enumerate(self.found) if self._of(number) == number not in fixed]
        return {group.name: group for group in groups if group.made_by}

    def _visit(self, node: fx.Node, inputs: Sequence[_Value]) -> _Value:
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        first = inputs[0] if inputs else None
        path = str(node.target)
        match module:
            case nn.Conv2d() if first and first.form == MAP and module.groups == 1:
                return self._dense(path, first, module.out_channels, 1, MAP)
            case nn.Conv2d() if first and first.form == MAP and _is_depthwise(module):
                return self._along(path, first)
            case nn.Linear() if first and first.form == ROW and not module.in_features % self._width(first):
                return self._dense(path, first, module.out_features, module.in_features // self._width(first), ROW)
            case nn.Flatten() if first and module.start_dim == 1 and module.end_dim == -1:
                return _Value(first.group, ROW)
            case nn.Module() if first and isinstance(module, ALONG):
                return self._along(path, first)
            case None if node.target in EACH and first:
                return first
            case None if node.target in JOINT and inputs:
                return self._joint(inputs, inputs[0].form)
            case None if node.target is torch.stack and len(node.args) == 1 and not node.kwargs:
                return self._joint(inputs, STACK)
            case None if node.target == "sum" and first and first.form == STACK and node.args[1:] == (0,):
                return _Value(first.group, MAP)
        return self._unknown(inputs)

    def _new(self, name: str, width: int) -> int:
        self.found.append(Group(name, width))
        self.joined.append(len(self.joined))
        return len(self.found) - 1

    def _of(self, number: int) -> int:
        while self.joined[number] != number:
            number = self.joined[number]
        return number

    def _width(self, value: _Value) -> int:
        return self.found[self._of(value.group)].width

    def _dense(self, path: str, read: _Value, outputs: int, values: int, form: str) -> _Value:
        self.found[self._of(read.group)].read_by.append((path, values))
        number = self._new(self.names.get(path, path.replace(".", "_")), outputs)
        self.found[number].made_by.append(path)
        return _Value(number, form)

    def _along(self, path: str, value: _Value) -> _Value:
        module = self.modules[path]
        if module.state_dict() and not isinstance(module, GlobalResponseNorm):  # which has one gain for all
            self.found[self._of(value.group)].along.append(path)
        return value

    def _joint(self, inputs: Sequence[_Value], form: str) -> _Value:
        """Tensors that are added or multiplied have their channels in common."""
        first, *others = inputs
        if any((each.form, self._width(each)) != (first.form, self._width(first)) for each in others):
            return self._unknown(inputs)
        for each in others:
            one, other = sorted((self._of(first.group), self._of(each.group)))
            if one != other:
                self.joined[other] = one
                for name in ("made_by", "along", "read_by"):
                    getattr(self.found[one], name).extend(getattr(self.found[other], name))
        return _Value(first.group, form)

    def _unknown(self, inputs: Sequence[_Value]) -> _Value:
        """What is not understood, an input or the answer: its channels stay, and those of what it is computed from."""
        self.fixed.update(each.group for each in inputs)
        number = self._new("", 1)
        self.fixed.add(number)
        return _Value(number, MAP)
