"""Whether a student's checkpoint and a data set belong together."""

from pathlib import Path

from data.errors import UserError
from experiments.datasets.datamodule import DataModule
from experiments.training.checkpoint import Blueprint


def require_same_data(path: Path, blueprint: Blueprint, data: DataModule) -> None:
    """Check that a student's checkpoint is of the scenes and of the sample rate of a data set.

    Raises:
        UserError: it is of others.
    """
    if blueprint.scenes != data.clips.scenes or blueprint.sample_rate != data.store.sample_rate:
        raise UserError(
            f"{path} was trained for the scenes {list(blueprint.scenes)} at {blueprint.sample_rate} Hz, "
            f"the data set has {list(data.clips.scenes)} at {data.store.sample_rate} Hz: "
            "give the data set it was trained on"
        )
