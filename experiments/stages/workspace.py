"""The workspace stage: upload a layout for the project's page at Weights & Biases."""

import importlib.util

from data.errors import UserError
from experiments.report.dashboard import log, workspace
from experiments.runs.tracking import has_key
from experiments.settings.shared import Settings


def run(settings: Settings) -> None:
    """Upload the workspace to the project of `tracking`.

    Raises:
        UserError: the package is not there, there is no key, or W&B refuses.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise UserError("stage=workspace needs wandb-workspaces: pip install --editable '.[workspace]'")
    if not has_key():
        raise UserError("stage=workspace needs a key of Weights & Biases: wandb login, or set WANDB_API_KEY")
    import wandb

    try:
        entity = settings.tracking.entity or wandb.Api().default_entity
        address = workspace(str(entity), settings.tracking.project).save().url
    except Exception as error:  # of many kinds, from two packages and the network
        raise UserError(
            f"Weights & Biases does not take the workspace ({error}): check key, entity and network"
        ) from error
    log.info("workspace: %s", address)
