"""Read weights that others trained, without running code that such a file may contain, and load them into a network.

Conventions: a file is safetensors, or a torch file as torch's weights-only loading reads it, whatever its ending; see
data/tensors.py. A state dict is a mapping from names to tensors. It may lie in other mappings, and its names may all
begin with what a trainer put before them, such as `module.`.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from pathlib import Path

import torch
from torch import nn

from data.errors import UserError, in_short
from data.files import file_sha256
from data.tensor_kinds import is_safetensors
from data.tensors import Tensors, differences, read_safetensors, read_torch, refuse_unfit, unfit

CONFIG, STORED = "config.json", ("model.safetensors", "pytorch_model.bin")  # of a folder of transformers
PREFERRED = ("state_dict", "model")  # of several state dicts in a file that fit equally
DEEPEST = 4  # mappings around a state dict, at most
SHOWN = 8  # names of what is not used

Place = tuple[str, ...]  # keys that lead to a state dict in a file

log = logging.getLogger(__name__)


def weights_digest(files: Sequence[Path]) -> str:
    """Fingerprint of the files that weights consist of.

    Raises:
        UserError: one cannot be read.
    """
    try:
        return " ".join(map(file_sha256, files))
    except OSError as error:
        raise UserError(f"teacher.weights={files[-1]} cannot be read: {error.strerror}") from error


def weights_files(path: str | Path, *, in_folder: bool = False) -> list[Path]:
    """The files that weights consist of.

    Args:
        path: a file, or, with in_folder, a folder as `save_pretrained` of transformers writes it.
        in_folder: whether a folder is wanted.

    Raises:
        UserError: it is no regular file, or no such folder.
    """
    path = Path(path)
    if not in_folder:
        if not path.is_file():
            raise UserError(
                f"teacher.weights={path} is no file{' but a folder' if path.is_dir() else ''}: name a file of weights, "
                "safetensors or torch's"
            )
        return [path]
    stored = [path / name for name in STORED if (path / name).is_file()]
    if not (path / CONFIG).is_file() or not stored:
        raise UserError(
            f"teacher.weights={path} must be a folder with {CONFIG} and {STORED[0]}, as save_pretrained writes it"
        )
    return [path / CONFIG, stored[0]]


def read_weights(path: str | Path, needed: Collection[str] = (), replaced: Sequence[str] = ()) -> Tensors:
    """Read a state dict; its tensors lie on the CPU.

    Of several state dicts in a file, that is taken which has most of the needed names, behind a common prefix, which is
    taken off. What was left out is logged: what lies beside the state dict, is without the prefix, or is of a part
    (before the first dot) that the network does not have.

    Args:
        path: of the file.
        needed: names of the network's own; without them names are returned as they are.
        replaced: see load_weights.

    Raises:
        UserError: the file is missing or damaged, would need to run code to be read, or holds no state dict.
    """
    (path,) = weights_files(path)
    remedy = "fetch it, or save it, again"
    content: object = read_safetensors(path, remedy) if is_safetensors(path) else read_torch(path, remedy)
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


def download_weights(url: str) -> Path:
    """The file of a URL, in torch's cache of downloads, to which it is fetched unless it is there.

    Raises:
        UserError: there is no network; the message names the URL and where to put the file by hand.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.is_file():
        log.info("fetching %s to %s", url, path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except OSError as error:
            raise UserError(
                f"cannot fetch {url} ({error}): put the file at {path}, or name it with teacher.weights=FILE, "
                "or start from random weights with teacher.pretrained=false"
            ) from error
    return path


def needed_names(network: nn.Module, replaced: Sequence[str] = ()) -> list[str]:
    """The names of a network's tensors that weights must have; see load_weights."""
    return [name for name in network.state_dict() if not name.startswith(tuple(replaced))]


def load_weights(
    network: nn.Module, state: Mapping[str, torch.Tensor], *, source: str, replaced: Sequence[str] = ()
) -> None:
    """Load a state dict; parameters whose names start with one of `replaced` keep their fresh values.

    Raises:
        UserError: names or shapes differ, or values are no finite numbers (all listed).
    """
    own = network.state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith(tuple(replaced))}
    needed = {name: own[name] for name in needed_names(network, replaced)}
    problems = differences({name: tensor.shape for name, tensor in needed.items()}, kept) or unfit(needed, kept)
    refuse_unfit(source, problems, "give the weights of this architecture, or arguments that match them")
    network.load_state_dict(kept, strict=False)
