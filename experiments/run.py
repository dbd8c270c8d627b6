"""The command line: python -m experiments.run stage=STAGE key=value ..., the stages being those of STAGES, and all.

Heavy packages are imported when a stage runs, so that --help and every mistake are answered at once.
"""

import contextlib
import difflib
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data.errors import UserError, unknown
from experiments import config
from experiments.runs import tracking
from experiments.runs.reader import flat
from experiments.runs.record import is_first

CONF = Path(__file__).parent / "conf"
STAGES = {
    "data": "experiments.stages.data",
    "teacher": "experiments.stages.teacher",
    "ensemble": "experiments.stages.ensemble",
    "student": "experiments.stages.student",
    "quantize": "experiments.stages.quantize",
    "summary": "experiments.stages.summary",
    "score": "experiments.stages.score",
    "submit": "experiments.stages.submit",
    "validate": "experiments.stages.validate",
    "report": "experiments.stages.report",
    "workspace": "experiments.stages.workspace",
    "rank": "experiments.stages.rank",
    "energy": "experiments.stages.energy",
    "predict": "experiments.stages.predict",
    "demo": "experiments.stages.demo",
}
# These run in every process of several; the others in the first one only.
SHARED = ("teacher", "student")

log = logging.getLogger(__name__)


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def _stages(cfg: DictConfig) -> None:
    _speak()
    try:
        if "ray" in HydraConfig.get().launcher._target_:
            if cfg.fabric.devices * cfg.fabric.num_nodes > 1:
                raise UserError("hydra/launcher=ray runs jobs of one device each: leave fabric.devices, num_nodes at 1")
            os.environ.pop("SLURM_PROCID", None)  # of the one that started the worker
        for step in cfg.stage.steps:
            if step not in STAGES:
                unknown("step", step, STAGES)
            if step not in SHARED and not is_first():
                continue
            log.info("stage %s", step)
            importlib.import_module(STAGES[step]).run(cfg)
    except (UserError, OSError) as error:
        message = str(error)
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            message += "; free space or mend the permissions, or choose other folders with runs=... and cache=..."
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # maybe in a worker, whose exit would not be the command's
            raise UserError(message) from None
        _stop(message)
    finally:
        tracking.give_up()


def main() -> None:
    """Run Hydra; a mistake of the user's ends in one message and exit code 1, a defect of ours in a traceback."""
    _speak()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let exceptions come here instead of being printed by Hydra
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # two jobs' epochs are no repetition
    config.register()
    sys.argv[1:] = _with_keys(sys.argv[1:])
    if "hydra/launcher=ray" in sys.argv and importlib.util.find_spec("ray") is None:
        _stop("hydra/launcher=ray needs Ray: pip install --editable '.[cluster]'")
    try:
        _stages()
    except (UserError, ConnectionError) as error:  # the latter: no Ray at hydra.launcher.ray.init.address
        _stop(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _stop(f"{_deepest(error)}\n{_advice(sys.argv[1:])}")
    except KeyboardInterrupt:
        _stop("interrupted; finished stages and epochs are kept: give the same command again to go on")


def _speak() -> None:
    """Progress to standard output; a job asks for it again, because it may begin its life in a worker process."""
    logging.basicConfig(level=logging.INFO if is_first() else logging.ERROR, format="%(message)s", stream=sys.stdout)
    for chatty in ("filelock", "numexpr", "matplotlib"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _with_keys(arguments: list[str]) -> list[str]:
    """With `given` set to the keys of the command line; with -m, the flag first (Hydra wants it there), and `swept` set
    to the keys that have several values."""
    flags = [a for a in arguments if a in ("-m", "--multirun")]
    rest = [a for a in arguments if a not in flags]
    parser, parsed = OverridesParser.create(), []
    for argument in rest:
        with contextlib.suppress(HydraException):  # flags, their values, and mistakes, which Hydra will find too
            parsed.append(parser.parse_override(argument))
    swept = [override.key_or_group for override in parsed if flags and override.is_sweep_override()]
    # Groups are no settings; hydra/launcher=ray, which is one, could not stand in a list either.
    given = [key for override in parsed if "." in override.key_or_group for key in _named_by(override)]
    named = [f"{key}=[{','.join(found)}]" for key, found in (("swept", swept), ("given", given)) if found]
    return [*flags[:1], *rest, *named]


def _named_by(override: Override) -> list[str]:
    """The settings that an override gives: student.fit={epochs: 3} gives student.fit.epochs."""
    value = override.value()
    return list(flat({override.key_or_group: value})) if isinstance(value, dict) else [override.key_or_group]


def _stop(message: str) -> None:
    if is_first():  # the others found the same
        print(f"error: {message.rstrip()}", file=sys.stderr)
    sys.exit(1)


def _deepest(error: BaseException) -> str:
    """Hydra wraps the message that says what is wrong; OmegaConf appends its own bookkeeping to it."""
    messages = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        messages.append(str(error))
    lines = [line for message in messages for line in message.splitlines()]
    kept = [line for line in lines if line.strip() and not line.strip().startswith(("object_type=", "reference_type="))]
    return "\n".join(dict.fromkeys(kept))


def _advice(arguments: list[str]) -> str:
    """What the user may have meant: the closest known keys, and the choices of the groups."""
    groups = {
        folder.name: sorted(f.stem for f in folder.glob("*.yaml"))
        for folder in sorted(CONF.iterdir())
        if folder.is_dir()
    }
    keys = [*groups, *_keys(OmegaConf.structured(config.Config))]
    for file in CONF.glob("*/*.yaml"):
        for free in ("arguments", "mel"):
            keys += [f"{file.parent.name}.{free}.{key}" for key in OmegaConf.load(file).get(free) or {}]
    advice = []
    for argument in arguments:
        key = argument.split("=")[0].lstrip("+~")
        if "=" in argument and key not in keys and (close := difflib.get_close_matches(key, keys, n=3)):
            advice.append(f"{key!r} is no setting; did you mean {' or '.join(close)}?")
    advice += [f"{group}={'|'.join(choices)}" for group, choices in groups.items()]
    return "\n".join([*advice, "python -m experiments.run --help lists every setting"])


def _keys(tree: Mapping, prefix: str = "") -> Iterator[str]:
    for key in tree:
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(tree, key) and isinstance(tree[key], Mapping | DictConfig):
            yield from _keys(tree[key], f"{prefix}{key}.")


if __name__ == "__main__":
    main()
