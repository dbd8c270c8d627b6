"""The workspace stage: upload a layout for the project's page at Weights & Biases."""

import logging

from data.errors import UserError, require
from experiments.report.dashboard import workspace
from experiments.runs.tracking import has_key
from experiments.settings.shared import Settings

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    require("wandb_workspaces", "workspace")
    if not has_key():
        raise UserError("the workspace stage needs a key of Weights & Biases: wandb login, or set WANDB_API_KEY")


def run(settings: Settings) -> None:
    """Upload the workspace to the project of `tracking`.

    Raises:
        UserError: W&B refuses.
    """
    import wandb

    try:
        if (entity := settings.tracking.entity or wandb.Api().default_entity) is None:
            raise UserError("it is not known whose project it is: give tracking.entity=PERSON_OR_TEAM")
        address = workspace(entity, settings.tracking.project).save().url
    except UserError:
        raise
    except Exception as error:  # of many kinds, from two packages and the network
        raise UserError(
            f"Weights & Biases does not take the workspace ({error}): check key, entity and network"
        ) from error
    log.info("workspace: %s", address)
