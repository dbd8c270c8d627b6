"""By which commands the row of a study was made: equal digests are equal settings, wherever the files lie."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import is_dataclass
from functools import cache

from data.settings import identity_of
from experiments.command.arguments import read_arguments
from experiments.command.schema import composed
from experiments.settings.stages import STAGES
from experiments.study.cells import Command

DIGITS_OF_DIGEST = 12
PLACES = ("runs=", "data.root=")  # words that are paths and nothing else
# Settings on which no answer depends, and the hardware, which is whatever a study's commands find.
ASIDE = ("runs", "cache", "name", "force", "tracking", "fabric", "limits")
_FOLDERS = re.compile(r"[^ =,\"\[\]]*/")  # of the paths in other words


def digest_of(commands: Sequence[Command]) -> str:
    """Of commands and of all settings that their stages read, the defaults too."""
    text = "\n".join(map(_described, commands))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS_OF_DIGEST]


@cache  # most commands are part of several cells
def _described(command: Command) -> str:
    """What the results of a command depend on, as one line."""
    settings = composed(*read_arguments(command).for_hydra())
    read = {key.partition(".")[0] for step in settings.steps for key in STAGES[step].reads} - {*ASIDE}
    values = {name: getattr(settings, name) for name in read}
    values |= {step: settings.of(own) for step in settings.steps if (own := STAGES[step].own) is not None}
    found = {name: identity_of(value) if is_dataclass(value) else value for name, value in values.items()}
    if "data" in found:
        del found["data"]["root"]  # clips are known by their names and labels
    words = [word for word in command if not word.startswith(PLACES)]
    return _FOLDERS.sub("", " ".join([*words, json.dumps(found, sort_keys=True, default=str)]))
