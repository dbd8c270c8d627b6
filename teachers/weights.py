"""Read weights that others trained, without running code that such a file may contain.

Conventions: a file is safetensors, or a torch file that holds tensors only. Both give a state dict on the CPU.
"""

import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from data.errors import UserError, listed

log = logging.getLogger(__name__)


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict (names to tensors on the CPU); a dict around it, under "state_dict" or "model", is taken off.

    Raises:
        UserError: the file is missing, damaged, or would need to run code to be read.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights={path} is no file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged, or holds more than tensors, and reading such a file could run anything: "
            "save its state dict as safetensors and give that"
        ) from error
    except (safetensors.SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} is damaged or of another kind ({error}): fetch it again") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict (names to tensors)")
    return dict(state)


def download_weights(url: str) -> dict[str, torch.Tensor]:
    """Read a state dict from a URL, or from torch's cache of downloads if it is there.

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
    return read_weights(path)


def load_weights(
    network: nn.Module, state: Mapping[str, torch.Tensor], *, source: str, replaced: Sequence[str] = ()
) -> None:
    """Load a state dict; parameters whose names start with one of `replaced` keep their fresh values.

    Raises:
        UserError: names or shapes differ (all listed).
    """
    own = network.state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith(tuple(replaced))}
    needed = {name for name in own if not name.startswith(tuple(replaced))}
    problems = [f"{name}: missing in the file" for name in sorted(needed - kept.keys())]
    problems += [f"{name}: not in the network" for name in sorted(kept.keys() - own.keys())]
    problems += [
        f"{name}: {tuple(kept[name].shape)} in the file, {tuple(own[name].shape)} in the network"
        for name in sorted(kept.keys() & own.keys())
        if kept[name].shape != own[name].shape
    ]
    if problems:
        raise UserError(
            f"{source} does not fit the network, {len(problems)} differences:\n{listed(problems)}\n"
            "give the weights of this architecture, or arguments that match them"
        )
    network.load_state_dict(kept, strict=False)
