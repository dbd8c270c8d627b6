"""The networks of a search: all combinations of values of a student's arguments and of its front end's.

Conventions: a network's key is a digest of its choices, the same in every space that has it.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from data.ranges import in_words

DIGITS = 8  # of a key

Tried = Mapping[str, Sequence[Any] | None]


@dataclass(frozen=True, eq=False)
class Network:
    """A choice of arguments.

    Attributes:
        arguments: of the student's builder.
        mel: of the front end.
    """

    arguments: Mapping[str, Any]
    mel: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Of the network, in tables and names of folders."""
        text = json.dumps([self.arguments, self.mel], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]

    @property
    def words(self) -> str:
        """The choices, as "base_channels=16 blocks=[2,1,1] mels=128"."""
        return " ".join(f"{name}={in_words(value)}" for name, value in {**self.arguments, **self.mel}.items())

    @property
    def settings(self) -> list[str]:
        """The choices as words of a command line; a student's yaml need not name all arguments of its builder."""
        groups = {"++student.arguments": self.arguments, "student.mel": self.mel}
        return [f"{key}.{name}={in_words(value)}" for key, group in groups.items() for name, value in group.items()]

    def command(self, student: str, bits: int) -> str:
        """What trains the network in full, and makes it integers, as a line for a shell.

        Args:
            student: its family.
            bits: of its weights.
        """
        words = ("stage.steps=[student,quantize]", "name=NAME", f"student={student}", *self.settings)
        return shlex.join(["scenelet", *words, f"quantize.bits={bits}"])


def networks_of(
    arguments: Mapping[str, Sequence[Any] | None], mel: Mapping[str, Sequence[Any] | None]
) -> list[Network]:
    """All combinations, in the order of the values, the last name's first.

    Args:
        arguments, mel: the values that are tried, by name; None: as they are.
    """
    tried = [{name: values for name, values in group.items() if values is not None} for group in (arguments, mel)]
    first, second = ([dict(zip(group, values, strict=True)) for values in product(*group.values())] for group in tried)
    return [Network(own, front_end) for own in first for front_end in second]
