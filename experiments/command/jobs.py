"""Parts of a command as jobs of Hydra's launcher, such as that of Ray: side by side, on one machine or many."""

import logging
import subprocess
import sys
from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig

from data.errors import UserError

BASIC = "BasicLauncher"  # which computes one job after the other, in this process

log = logging.getLogger(__name__)


def has_launcher() -> bool:
    """Whether the command names a launcher, as hydra/launcher=ray."""
    return HydraConfig.initialized() and not HydraConfig.get().launcher._target_.endswith(BASIC)


def launch(stage: str, name: str, key: str, values: Sequence[str]) -> None:
    """Compute parts of a stage by the launcher that the command names, with the command's own settings.

    Args:
        stage: of which.
        name: of its run.
        key: of the setting that names a part.
        values: of the setting, a job each.

    Raises:
        UserError: a job did not go well; what it says is on the console.
    """
    overrides = HydraConfig.get().overrides
    replaced = ("given", "swept", "force", "name", "stage", "stage.steps", "hydra.mode", key)
    words = [word for word in (*overrides.hydra, *overrides.task) if word.partition("=")[0] not in replaced]
    jobs = [f"stage={stage}", f"name={name}", f"{key}={','.join(values)}"]
    command = [sys.executable, "-m", "experiments.run", "-m", *words, *jobs]
    if subprocess.run(command).returncode:
        raise UserError(f"not all of {len(values)} jobs went well, see above: what was finished is kept")
