"""The command line: python -m experiments.run stage=STAGE key=value ..., or scenelet STAGE key=value ...

The stages and their settings are declared in settings/stages.py. Heavy packages are imported when a stage runs, so
that --help and every mistake are answered at once.
"""

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from data.errors import UserError
from experiments.command.advice import advice, deepest_message
from experiments.command.arguments import with_keys
from experiments.command.help import answered
from experiments.command.schema import CONF, register, settings_of
from experiments.distributed.processes import is_first
from experiments.runs import tracking
from experiments.settings.shared import Settings
from experiments.settings.stages import STAGES

INTERRUPTED = 130  # exit code of a command that Ctrl-C ended, as shells have it

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages that the arguments ask for; a mistake of the user's ends in one message and exit code 1, a defect
    of ours in a traceback.

    Args:
        arguments: without the program's name; None: those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _start_logging()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let exceptions come here instead of being printed by Hydra
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # two jobs' epochs are no repetition
    try:
        register()
        if answered(given):
            return
        given = with_keys(given)
        if "hydra/launcher=ray" in given and importlib.util.find_spec("ray") is None:
            raise UserError("hydra/launcher=ray needs Ray: pip install --editable '.[cluster]'")
        sys.argv[1:] = given
        _run_hydra()
    except (UserError, ConnectionError) as error:  # the latter: no Ray at hydra.launcher.ray.init.address
        _stop(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _stop(f"{deepest_message(error)}\n{advice(given)}")
    except KeyboardInterrupt:
        _stop("interrupted; finished stages and epochs are kept: give the same command again to go on", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _run_hydra(cfg: DictConfig) -> None:
    """One job of Hydra's, in a process that may be a worker of Ray's."""
    _start_logging()
    try:
        if "ray" in HydraConfig.get().launcher._target_:
            if cfg.fabric.devices * cfg.fabric.num_nodes > 1:
                raise UserError("hydra/launcher=ray runs jobs of one device each: leave fabric.devices, num_nodes at 1")
            os.environ.pop("SLURM_PROCID", None)  # of the one that started the worker
        run_stages(settings_of(cfg))
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        message = str(error)
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            message += "; free space or mend the permissions, or choose other folders with runs=... and cache=..."
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # maybe in a worker, whose exit would not be the command's
            raise UserError(message) from None
        _stop(message)
    finally:
        tracking.give_up()


def run_stages(settings: Settings) -> None:
    """Check the settings of all stages of a command, then run the stages one after the other.

    Raises:
        UserError: something is wrong with the settings (found before the first stage starts), or with what they name.
    """
    stages = {step: STAGES[step] for step in settings.steps if STAGES[step].shared or is_first()}
    modules = {step: importlib.import_module(stage.module) for step, stage in stages.items()}
    for module in modules.values():
        if hasattr(module, "check"):
            module.check(settings)
    for step, module in modules.items():
        log.info("stage %s", step)
        module.run(settings)


def _start_logging() -> None:
    """Progress to standard output; a job asks for it again, because it may begin its life in a worker process."""
    logging.basicConfig(level=logging.INFO if is_first() else logging.ERROR, format="%(message)s", stream=sys.stdout)
    for verbose in ("filelock", "numexpr", "matplotlib"):
        logging.getLogger(verbose).setLevel(logging.WARNING)


def _stop(message: str, code: int = 1) -> None:
    if is_first():  # the others found the same
        print(f"error: {message.rstrip()}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
