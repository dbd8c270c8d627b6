"""The words of a command, as Hydra wants them: stages without `stage=`, input files without their setting's name, old
spellings, and which settings were given by hand."""

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from data.errors import UserError, unknown
from experiments.settings.stages import RENAMED, STAGES

SWEEP = ("-m", "--multirun")

log = logging.getLogger(__name__)


def with_keys(arguments: Sequence[str]) -> list[str]:
    """The arguments for Hydra, with `given` set to the keys of the command line; with -m, the flag first (Hydra wants
    it there), and `swept` set to the keys that have several values.

    Raises:
        UserError: a word is no stage, or stands where none is expected.
    """
    flags = [a for a in arguments if a in SWEEP]
    rest = with_names([a for a in arguments if a not in flags])
    parser, parsed = OverridesParser.create(), []
    for argument in rest:
        with contextlib.suppress(HydraException):  # flags, their values, and mistakes, which Hydra will find too
            parsed.append(parser.parse_override(argument))
    swept = [override.key_or_group for override in parsed if flags and override.is_sweep_override()]
    # Groups are no settings; hydra/launcher=ray, which is one, could not stand in a list either.
    given = [key for override in parsed if "." in override.key_or_group for key in _named_by(override)]
    named = [f"{key}=[{','.join(found)}]" for key, found in (("swept", swept), ("given", given)) if found]
    return [*flags[:1], *rest, *named]


def with_names(arguments: Sequence[str]) -> list[str]:
    """`student x=1` becomes `stage=student x=1`, `score FILE` becomes `stage=score score.predictions=FILE`, and
    `predictions=FILE` becomes `score.predictions=FILE`, which is said.

    Raises:
        UserError: a word is no stage, or stands where none is expected.
    """
    found: list[str] = []
    words = [a for a in arguments if "=" not in a and not a.startswith(("-", "~"))]
    stage = next((a.removeprefix("stage=") for a in arguments if a.startswith("stage=")), None)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in RENAMED and equals:
            log.warning("%s= is now called %s=; the old name still works", key, RENAMED[key])
            found.append(f"{RENAMED[key]}={value}")
        elif argument not in words or (found and found[-1].startswith("--")):
            found.append(argument)  # a setting, a flag, or a flag's value
        elif stage is None:
            if argument not in (*STAGES, "all"):
                unknown("stage", argument, (*STAGES, "all"))
            stage = argument
            found.append(f"stage={stage}")
        else:
            found.append(_input(stage, argument))
    return found


def _input(stage: str, word: str) -> str:
    """The override by which a stage's input is named."""
    setting = STAGES[stage].input if stage in STAGES else None
    if setting is None:
        raise UserError(f"{word!r} is no setting: settings are key=value; scenelet {stage} --help lists them")
    quoted = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"{setting}='{quoted}'"


def _named_by(override: Override) -> Iterable[str]:
    """The settings that an override gives: student.fit={epochs: 3} gives student.fit.epochs."""
    value = override.value()
    return flat_keys(override.key_or_group, value) if isinstance(value, dict) else [override.key_or_group]


def flat_keys(prefix: str, tree: Mapping) -> Iterable[str]:
    """Dotted keys of dicts in dicts."""
    for key, value in tree.items():
        yield from flat_keys(f"{prefix}.{key}", value) if isinstance(value, Mapping) else [f"{prefix}.{key}"]
