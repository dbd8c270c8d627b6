"""What the user may have meant: the closest known settings, and the choices of the groups."""

import difflib
from collections.abc import Iterator, Mapping, Sequence

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from experiments.command.schema import CONF
from experiments.settings.stages import STAGES

BLOCKS = ("mel", "augment", "fit")  # groups of yaml files that others include


def advice(arguments: Sequence[str]) -> str:
    """Suggestions for each argument whose key is unknown, then the groups and where to read more."""
    groups = group_choices()
    keys = [*groups, *_keys(OmegaConf.structured(ConfigStore.instance().load("schema.yaml").node))]
    for file in CONF.glob("*/*.yaml"):
        for free in ("arguments", "mel"):
            keys += [f"{file.parent.name}.{free}.{key}" for key in OmegaConf.load(file).get(free) or {}]
    found = []
    for argument in arguments:
        key = argument.split("=")[0].lstrip("+~")
        if "=" in argument and key not in keys and (close := closest(key, keys)):
            found.append(f"{key!r} is no setting; did you mean {' or '.join(close)}?")
    found += [f"{group}={'|'.join(choices)}" for group, choices in groups.items()]
    return "\n".join([*found, "scenelet --help lists the stages, scenelet STAGE --help the settings of one"])


def group_choices() -> dict[str, list[str]]:
    """The choices of each group of the command line."""
    folders = [folder for folder in sorted(CONF.iterdir()) if folder.is_dir() and folder.name not in BLOCKS]
    found = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}
    return {"stage": [*STAGES, "all"], **found}


def closest(key: str, keys: Sequence[str]) -> list[str]:
    """At most three known keys that are nearly the same, or that end in the same word below the same group."""
    close = difflib.get_close_matches(key, keys, n=3)
    group, _, last = key.rpartition(".")
    known_as = {"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay"}
    last = known_as.get(last, last)
    same = [k for k in keys if k.rpartition(".")[2] == last and k.startswith(group.split(".")[0])]
    return list(dict.fromkeys([*same, *close]))[:3]


def deepest_message(error: BaseException) -> str:
    """Hydra wraps the message that says what is wrong; OmegaConf appends its own bookkeeping to it."""
    messages = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        messages.append(str(error))
    lines = [line for message in messages for line in message.splitlines()]
    kept = [line for line in lines if line.strip() and not line.strip().startswith(("object_type=", "reference_type="))]
    return "\n".join(dict.fromkeys(kept))


def _keys(tree: Mapping | DictConfig, prefix: str = "") -> Iterator[str]:
    for key in tree:
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(tree, key) and isinstance(tree[key], Mapping | DictConfig):
            yield from _keys(tree[key], f"{prefix}{key}.")
