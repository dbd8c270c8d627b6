"""CP-Mobile as the public code bases of DCASE Task 1, 2023 to 2025, store it: which of its tensors is which of ours,
and the arguments that build the same network here.

Conventions: their names are `in_c.0.0.weight`, `stages.s1.b1.block.0.0.weight`, `feed_forward.0.weight` and so on;
parts 0, 1 and 2 of a block expand, filter and project; in each part 0 is the convolution, 1 its BatchNorm. A block with
Global Response Normalization has `stages.s1.b1.after_block_norm.gamma` and `beta`. Shapes tell widths and the number of
blocks, and nothing of strides: those of the published networks are taken.
Source: the layout of the files alone; the network: see cp_mobile.py.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from data.errors import UserError, in_short, listed
from data.tensors import differences, unfit
from students.cp_mobile import BASELINE, BLOCKS, MOST_BLOCKS, SIZES, WINNER, cp_mobile, round_channels

STEM, HEAD = "in_c", "feed_forward"
NEEDED = (f"{STEM}.0.0.weight", f"{STEM}.1.0.weight", f"{HEAD}.0.weight")  # by which a file is recognised
REST = ("stages",)  # what the other tensors' names begin with
DIGITS = 3  # of a factor, behind the point, at most
LARGEST = 100  # of a factor
FUSED = ("fake_quant", "activation_post_process", "_packed_params", ".zero_point")  # in names of rounded networks
_BLOCK = re.compile(r"stages\.s(\d{1,3})\.b(\d{1,3})\.")

Strides = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Recovered:
    """A network of theirs.

    Attributes:
        arguments: of cp_mobile.
        size: the published one of these widths, or None.
        strides: by block.
        network: with their weights, in evaluation mode.
    """

    arguments: Mapping[str, object]
    size: str | None
    strides: Strides
    network: nn.Module


def recovered(tensors: Mapping[str, torch.Tensor], strides: Strides | None = None) -> Recovered:
    """Build a network from tensors of theirs.

    Args:
        tensors: by their names, without a prefix.
        strides: by block; None: of the published network of these widths; for others those of 2023 with Global Response
            Normalization, and those of 2024 and 2025 without.

    Raises:
        UserError: these are the tensors of another network, of widths that the builder does not give, or no network can
            compute with them; what is wrong is listed.
    """
    if strange := [name for name in tensors if any(part in name for part in FUSED)]:
        raise UserError(
            f"it is a network whose weights are rounded ({in_short(strange[0])[1:-1]}, ...): give the checkpoint of "
            "floats that it was made of"
        )
    blocks = _blocks(tensors)
    parts = list(_numbered(blocks))
    base = _width(tensors, NEEDED[1])
    widths = [_width(tensors, f"{part}.block.2.0.weight") for part in parts]
    inner = [_width(tensors, f"{part}.block.0.0.weight") for part in parts]
    inputs, stages = [base, *widths[:-1]], [number for number, count in enumerate(blocks) for _ in range(count)]
    grn = any(".after_block_norm." in name for name in tensors)

    def is_wide(multiplier: float) -> bool:
        return all(
            round_channels(base * multiplier**stage) == width for stage, width in zip(stages, widths, strict=True)
        )

    def expands(rate: float) -> bool:
        return all(round_channels(width * rate) == wide for width, wide in zip(inputs, inner, strict=True))

    arguments: dict[str, object] = {"classes": _width(tensors, NEEDED[2]), "grn": grn}
    size = next((name for name, (b, m, e, _) in SIZES.items() if b == base and is_wide(m) and expands(e)), None)
    own = SIZES[size][3] if size else WINNER if grn else BASELINE
    if size is None:
        arguments |= {
            "base_channels": base,
            "channels_multiplier": _factor(is_wide, f"channels {[base, *widths]} by block"),
            "expansion_rate": _factor(expands, f"inner channels {inner} by block, of {inputs}"),
        }
    else:
        arguments["size"] = size
    names = {part.rpartition(".")[2] for part in parts}
    used = {name: tuple(stride) for name, stride in (strides or own).items() if strides or name in names}
    arguments |= {"blocks": list(blocks)} if tuple(blocks) != BLOCKS else {}
    arguments |= {"strides": used} if size is None or used != SIZES[size][3] else {}
    return Recovered(arguments, size, used, _with_weights(cp_mobile(**arguments), parts, tensors))  # type: ignore[arg-type]


def _with_weights(network: nn.Module, parts: Sequence[str], tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """A network with the tensors of theirs.

    Raises:
        UserError: they are not its own, or no network can compute with them.
    """
    own = network.state_dict()
    theirs = {_their_name(name, parts): tensor for name, tensor in own.items()}
    wrong = differences({name: tensor.shape for name, tensor in theirs.items()}, tensors) or unfit(theirs, tensors)
    if wrong:
        raise UserError(f"it is no CP-Mobile that can be built here:\n{listed(wrong)}\ngive the checkpoint of one")
    network.load_state_dict({name: tensors[_their_name(name, parts)] for name in own})
    return network.eval()


def _their_name(name: str, parts: Sequence[str]) -> str:
    """What a tensor of ours is called in their files; `parts` are the blocks' names there."""
    number, _, rest = name.partition(".")
    place = int(number) - 2  # behind two convolutions
    if place < 0:
        return f"{STEM}.{name}"
    if place == len(parts):
        return f"{HEAD}.{rest}"
    kind, _, rest = rest.partition(".")
    return f"{parts[place]}.{'block' if kind == 'path' else 'after_block_norm'}.{rest}"


def _blocks(tensors: Mapping[str, torch.Tensor]) -> list[int]:
    """The number of blocks of each stage.

    Raises:
        UserError: the file has none, or they are not numbered from 1 on, through all stages.
    """
    found = sorted({(int(match[2]), int(match[1])) for name in tensors if (match := _BLOCK.match(name))})
    counts = Counter(stage for _, stage in found)
    blocks = [counts[stage] for stage in sorted(counts)]
    wanted = list(_numbered(blocks))
    if not blocks or len(wanted) > MOST_BLOCKS or wanted != [f"stages.s{stage}.b{number}" for number, stage in found]:
        missing = [name for name in NEEDED if name not in tensors]
        lacking = (
            f"it lacks {', '.join(missing)}"
            if missing
            else f"its blocks are not numbered from s1.b1 to at most b{MOST_BLOCKS}"
        )
        raise UserError(f"it is no CP-Mobile of the public code bases: {lacking}; give the checkpoint of one")
    return blocks


def _numbered(blocks: Sequence[int]) -> Iterator[str]:
    """What the names of each block's tensors begin with."""
    number = 0
    for stage, count in enumerate(blocks, start=1):
        for _ in range(count):
            number += 1
            yield f"stages.s{stage}.b{number}"


def _width(tensors: Mapping[str, torch.Tensor], name: str) -> int:
    """Output channels of a convolution.

    Raises:
        UserError: there is no such tensor, or it is none of a convolution.
    """
    if name not in tensors or tensors[name].ndim != 4 or not len(tensors[name]):
        found = f"of the shape {in_short(tuple(tensors[name].shape))}" if name in tensors else "missing"
        raise UserError(f"it is no CP-Mobile of the public code bases: {name} is {found}; give the checkpoint of one")
    return len(tensors[name])


def _factor(fits: Callable[[float], bool], what: str) -> float:
    """The factor with the fewest digits that gives some widths.

    Raises:
        UserError: none does; `what` is for the message.
    """
    for digits in range(DIGITS + 1):
        for number in range(1, LARGEST * 10**digits + 1):
            if fits(number / 10**digits):
                return number / 10**digits
    raise UserError(f"it has {what}, which no factor gives: give the checkpoint of a CP-Mobile")
