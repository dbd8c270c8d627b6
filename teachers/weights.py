"""Read weights that others trained, without running code that such a file may contain, and load them into a network.

Conventions: those of data/state_dicts.py.
"""

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from data.errors import UserError
from data.files import file_sha256
from data.state_dicts import read_content, state_dict
from data.tensors import Tensors, differences, refuse_unfit, unfit
from teachers.layers import layers_of

CONFIG, STORED = "config.json", ("model.safetensors", "pytorch_model.bin")  # of a folder of transformers
COUNTER = "num_batches_tracked"

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


def loaded_digest(network: nn.Module) -> str:
    """Fingerprint of the weights that a network begins with, whatever file they came in.

    It is the SHA-256 of all tensors but those of the last layer, which is most often new, and the counters of
    BatchNorm, in the order of their names: of each the name, the shape (numbers with blanks between them) and the
    values, float32 with the lowest byte first, each followed by a zero byte.

    Args:
        network: as its builder returns it.
    """
    last = {id(parameter) for layer in layers_of(network)[-1:] for parameter in layer}
    layers = {name.rpartition(".")[0] for name, each in network.named_parameters() if id(each) in last}
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        layer, _, own = name.rpartition(".")
        if layer not in layers and own != COUNTER:
            values = tensor.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes()
            for part in (name.encode(), " ".join(map(str, tensor.shape)).encode(), values):
                digest.update(part + b"\0")
    return digest.hexdigest()


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
    """Read a state dict; its tensors lie on the CPU. Which one, and what is left out: see data.state_dicts.state_dict.

    Args:
        path: of the file.
        needed: names of the network's own; without them names are returned as they are.
        replaced: see load_weights.

    Raises:
        UserError: the file is missing or damaged, would need to run code to be read, or holds no state dict.
    """
    (path,) = weights_files(path)
    return state_dict(read_content(path), path, needed, replaced)


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


def cannot_fetch(network: str, file: str, link: str) -> NoReturn:
    """Raise the error about published weights that only a person can fetch.

    Args:
        network: its name.
        file: the name of the file.
        link: the page that leads to it.

    Raises:
        UserError: always.
    """
    raise UserError(
        f"{network} has no weights at an address from which they could be fetched: fetch {file} by hand, from "
        f"{link}, and name it with teacher.weights=FILE, or start from random weights with teacher.pretrained=false"
    )


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
