"""Which tensors of a file of others are a network's: what trainers put around and before a state dict is taken off.

Conventions: a file is safetensors, or a torch file as torch's weights-only loading reads it, whatever its ending; see
data/tensors.py. A state dict is a mapping from names to tensors. It may lie in other mappings, and its names may all
begin with what a trainer put before them, such as `module.`.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from pathlib import Path

import torch

from data.errors import UserError, in_short
from data.tensor_kinds import is_safetensors
from data.tensors import Tensors, read_safetensors, read_torch

PREFERRED = ("state_dict", "model")  # of several state dicts in a file that fit equally
DEEPEST = 4  # mappings around a state dict, at most
SHOWN = 8  # names of what is not used
REMEDY = "fetch it, or save it, again"

Place = tuple[str, ...]  # keys that lead to a state dict in a file

log = logging.getLogger(__name__)


def read_content(path: Path) -> object:
    """What a file of tensors holds, which lie on the CPU.

    Raises:
        UserError: the file is missing or damaged, or would need to run code to be read.
    """
    return read_safetensors(path, REMEDY) if is_safetensors(path) else read_torch(path, REMEDY)


def state_dict(
    content: object, path: str | Path, needed: Collection[str] = (), replaced: Sequence[str] = ()
) -> Tensors:
    """The state dict in the content of a file.

    Of several, that is taken which has most of the needed names, behind a common prefix, which is taken off. What was
    left out is logged: what lies beside the state dict, is without the prefix, or is of a part (before the first dot)
    that the network does not have.

    Args:
        content: see read_content.
        path: of the file, for messages.
        needed: names of the network's own; without them names are returned as they are.
        replaced: beginnings of further names of the network.

    Raises:
        UserError: there is none.
    """
    wanted, depth = set(needed), max((name.count(".") + 1 for name in needed), default=1)
    found = {place: (tensors, *_prefix(tensors, wanted, depth)) for place, tensors in _state_dicts(content)}
    if not found:
        raise UserError(
            f"{path} holds no state dict (names to tensors): save one with torch.save(network.state_dict())"
        )
    ranks: dict[Place, int] = {(name,): rank for rank, name in enumerate(PREFERRED)}
    order = sorted(found, key=lambda place: (ranks.get(place[-1:], len(ranks)), -len(found[place][0])))
    place = max(order, key=lambda place: found[place][2])  # the first of those that are equal
    tensors, prefix, count = found[place]
    parts = {name.split(".")[0] for name in (*needed, *replaced)}
    kept = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if not count or (name.startswith(prefix) and _is_of(name.removeprefix(prefix), parts))
    }
    said = [f"its entry {_dotted(place)} is taken"] if place else []
    equal = [each for each in order if each != place and count == found[each][2] > 0]
    said += [f"and not {_dotted(each)}, which has the same names" for each in equal[:SHOWN]]
    share = "all" if count == len(wanted) else f"{count} of the {len(wanted)}"
    said += [f"the prefix {in_short(prefix)} of {share} names that are needed is taken off"] if prefix else []
    unused = [name for name in tensors if name.startswith(prefix) and name.removeprefix(prefix) not in kept]
    unused += [name for name in tensors if not name.startswith(prefix)] + _beside(content, place)
    if unused:
        more = f" and {len(unused) - SHOWN} more" if len(unused) > SHOWN else ""
        said.append(f"not used: {', '.join(in_short(name)[1:-1] for name in unused[:SHOWN])}{more}")
    if said:
        log.info("%s: %s", path, "; ".join(said))
    return kept


def _state_dicts(content: object, place: Place = (), seen: set[int] | None = None) -> Iterator[tuple[Place, Tensors]]:
    """All state dicts in the content of a file, each with the keys that lead to it."""
    seen = set() if seen is None else seen
    if not isinstance(content, Mapping) or len(place) > DEEPEST or id(content) in seen:
        return
    seen.add(id(content))  # a mapping may lie in itself
    names = {name: value for name, value in content.items() if isinstance(name, str)}
    if tensors := {name: value for name, value in names.items() if isinstance(value, torch.Tensor)}:
        yield place, tensors
    for name, value in names.items():
        yield from _state_dicts(value, (*place, name), seen)


def _dotted(place: Place) -> str:
    return in_short(".".join(place))


def _prefix(names: Collection[str], wanted: Set[str], depth: int) -> tuple[str, int]:
    """What stands before most of the wanted names, of `depth` parts at most (before equally many, the shortest), and
    how many these are."""
    counts = Counter[str]()
    for name in names:
        parts = name.rsplit(".", depth)  # of a name of thousands of parts, only the last can be a wanted one's
        for number in range(len(parts)):
            if ".".join(parts[number:]) in wanted:
                counts["".join(f"{part}." for part in parts[:number])] += 1
    return min(counts.items(), key=lambda item: (-item[1], len(item[0])), default=("", 0))


def _is_of(name: str, parts: Collection[str]) -> bool:
    """Whether a tensor is of one of a network's parts; numbers are parts of every sequence of layers."""
    first = name.split(".")[0]
    return not parts or first in parts or first.isdigit()


def _beside(content: object, place: Place) -> list[str]:
    """The entries beside the state dict at a place, and its own that are no tensors."""
    if not isinstance(content, Mapping):
        return []
    own = place[0] if place else None
    return [str(name) for name, value in content.items() if name != own and not isinstance(value, torch.Tensor)] + [
        str(name) for name, value in content.items() if place and name != own and isinstance(value, torch.Tensor)
    ]


def tensors_ending(content: object, ending: str) -> list[torch.Tensor]:
    """All tensors in the content of a file whose names end with some parts."""
    return [
        tensor
        for _, tensors in _state_dicts(content)
        for name, tensor in tensors.items()
        if f".{name}".endswith(f".{ending}")
    ]
