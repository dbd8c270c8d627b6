"""The command line: scenelet STAGE key=value ..., or python -m experiments.run stage=STAGE key=value ...

The stages and their settings are declared in settings/stages.py. Heavy packages are imported when a stage runs, so
that --help and every mistake are answered at once.
"""

import gc
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from data.errors import UserError
from data.names import printable
from experiments.command.arguments import Command, read_arguments
from experiments.command.composition import CONF, ROOT, register
from experiments.command.console import answering, flush, logging_put_back, start_logging, variables
from experiments.command.help import answered
from experiments.command.launcher import refusal
from experiments.command.mistakes import explained
from experiments.command.schema import composed, settings_of
from experiments.command.sweeps import ends_with_summary, summary_of, without_summary
from experiments.distributed.memory import keep_freed_memory
from experiments.distributed.processes import is_first
from experiments.runs import tracking
from experiments.runs.claims import claim, claiming
from experiments.runs.layout import RECORD
from experiments.settings.shared import Settings
from experiments.settings.stages import STAGES
from experiments.stages.files import require_made, require_named
from experiments.stages.whereabouts import layout_of

__all__ = ["STAGES", "main", "resolve", "run_stages"]

INTERRUPTED = 130  # exit code of a command that Ctrl-C ended, as shells have it

log = logging.getLogger(__name__)

_jobs: list[Settings] = []  # of a sweep, in this process, whose runs are averaged when all of them are finished


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages that the arguments ask for; a mistake of the user's ends in one message and exit code 1, a defect
    of ours in a traceback.

    Args:
        arguments: without the program's name; None: those of the process.

    Raises:
        SystemExit: the command did not succeed.
    """
    given, before = list(sys.argv[1:] if arguments is None else arguments), sys.argv
    try:
        with answering():
            if answered(given):
                return
        _run(read_arguments(given))
    except (UserError, OSError) as error:  # the latter: no Ray at hydra.launcher.ray.init.address, or a full disk
        if isinstance(error, BrokenPipeError):
            raise
        _stop(str(error))
    except KeyboardInterrupt as stop:
        kept = "interrupted; what was finished is kept: the same command again goes on from there"
        _stop(str(stop) or kept, INTERRUPTED)
    finally:
        sys.argv = before
        flush()


def _run(command: Command) -> None:
    """Have Hydra run the jobs of a command, or answer.

    Raises:
        UserError: see run_stages, and what Hydra refuses.
    """
    if (has_ray := "hydra/launcher=ray" in command.overrides) and importlib.util.find_spec("ray") is None:
        raise UserError("hydra/launcher=ray needs Ray: pip install '.[cluster]'")
    register()
    sys.argv = [sys.argv[0], *command.for_hydra()]
    # Exceptions are to come here instead of being printed; two jobs' epochs are no repetition.
    ours = variables(HYDRA_FULL_ERROR="1", RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0")
    with ours, answering() if command.is_question else logging_put_back():
        if not command.is_question:
            start_logging()
            for notice in command.notices():
                log.warning("%s", notice)
        outer = HydraConfig.instance().cfg
        _jobs.clear()
        try:
            _run_hydra()
            if _jobs:
                run_stages(summary_of(_jobs))
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explained(error, command)) from error
        except OSError as error:
            if not has_ray or isinstance(error, BrokenPipeError):
                raise
            raise UserError(refusal(error)) from error
        finally:
            HydraConfig.instance().cfg = outer  # a sweep leaves its own


@hydra.main(config_path=str(CONF), config_name=ROOT, version_base="1.3")
def _run_hydra(cfg: DictConfig) -> None:
    """One job of Hydra's, in a process that may be a worker of Ray's."""
    start_logging()
    try:
        settings = settings_of(cfg)
        if "ray" in HydraConfig.get().launcher._target_:
            if cfg.fabric.devices * cfg.fabric.num_nodes > 1:
                raise UserError("hydra/launcher=ray runs jobs of one device each: leave fabric.devices, num_nodes at 1")
            if ends_with_summary(settings):
                raise UserError(
                    "hydra/launcher=ray averages no runs: leave summary out, and run it when all are finished"
                )
            os.environ.pop("SLURM_PROCID", None)  # of the one that started the worker
        if ends_with_summary(settings) and HydraConfig.get().mode == RunMode.MULTIRUN:
            _jobs.append(settings)
            settings = without_summary(settings)
        run_stages(settings)
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        message = str(error)
        if isinstance(error, OSError):
            message += "; free space or mend the permissions, or choose other folders with runs=... and cache=..."
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # maybe in a worker, whose exit would not be the command's
            raise UserError(message) from None
        _stop(message)
    finally:
        tracking.give_up()


def resolve(arguments: Sequence[str]) -> Settings:
    """The settings that a command such as `student student=baseline epochs=3` gives its stages.

    Args:
        arguments: as on the command line, without flags.

    Raises:
        UserError: the command line would refuse them, or they are several jobs.
    """
    command = read_arguments(arguments)
    if command.flags:
        raise UserError(f"{' '.join(command.flags)}: flags are for the command line")
    try:
        return composed(*command.for_hydra())
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explained(error, command)) from error


def run_stages(settings: Settings) -> None:
    """Check the settings of all stages of a command, then run the stages one after the other.

    Raises:
        UserError: something is wrong with the settings, or another process writes one of the runs (found before the
            first stage starts), or something is wrong with what the settings name.
    """
    if ends_with_summary(settings):
        run_stages(without_summary(settings))
        return run_stages(summary_of([settings]))
    layout = layout_of(settings)  # the name is one that a folder may have
    require_named(settings, layout)
    if any("data" in STAGES[step].reads for step in settings.steps):
        from experiments.datasets.reading import require_known  # it needs h5py: not for --help
        from experiments.stages.labels import require_labels

        require_known(settings.data, Path(settings.cache))
        require_labels(settings)
    stages = {step: STAGES[step] for step in settings.steps if STAGES[step].shared or is_first()}
    modules = {step: importlib.import_module(stage.module) for step, stage in stages.items()}
    for module in modules.values():
        if hasattr(module, "check"):
            module.check(settings)
    require_made(settings, layout)
    if not gc.get_freeze_count():  # once a process: what the modules hold would be searched for garbage again and again
        gc.freeze()
        keep_freed_memory()
    with claiming():
        own = [step for step, stage in stages.items() if "force" in stage.reads and not stage.into]
        for folder in map(layout.folder, own):
            if settings.force or not (folder / RECORD).is_file():  # a finished run may only be reused, which needs none
                claim(folder)
        for step, module in modules.items():
            log.info("stage %s", step)
            module.run(settings)


def _stop(message: str, code: int = 1) -> None:
    if is_first():  # the others found the same
        print(f"error: {printable(message.rstrip())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
