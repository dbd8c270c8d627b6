"""Whether a checkpoint and a data set belong together."""

from pathlib import Path

from data.errors import UserError, in_short
from experiments.datasets.datamodule import DataModule
from experiments.training.checkpoint import Blueprint


def require_same_data(
    path: Path, blueprint: Blueprint, data: DataModule, remedy: str = "give the data set it was trained on"
) -> None:
    """Check that a checkpoint is of the scenes and of the sample rate of a data set; `remedy` ends the message.

    Raises:
        UserError: it is of others.
    """
    if blueprint.scenes != data.clips.scenes or blueprint.sample_rate != data.store.sample_rate:
        raise UserError(
            f"{path} was trained for the scenes {in_short(list(blueprint.scenes))} at {blueprint.sample_rate} Hz, "
            f"the data set has {in_short(list(data.clips.scenes))} at {data.store.sample_rate} Hz: {remedy}"
        )
