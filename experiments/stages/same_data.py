"""Whether a checkpoint and a data set belong together, and which of its clips the network was trained on."""

import dataclasses
from pathlib import Path

from data.errors import UserError, in_short
from experiments.datasets.datamodule import DataModule
from experiments.settings.shared import Settings
from experiments.training.checkpoint import Blueprint


def at_rate_of(blueprint: Blueprint, settings: Settings) -> Settings:
    """The settings, with clips of the sample rate that a checkpoint's network was trained at, unless another one was
    asked for."""
    if "data.sample_rate" in settings.given:
        return settings
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, sample_rate=blueprint.sample_rate))


def as_trained_on(
    path: Path, blueprint: Blueprint, data: DataModule, remedy: str = "give the data set it was trained on"
) -> DataModule:
    """The data set; its validation clips are train clips if the network of a checkpoint was trained on them too
    (refit=true).

    Args:
        path, blueprint: the checkpoint.
        data: as the settings divide it.
        remedy: ends the message.

    Raises:
        UserError: the checkpoint is of other scenes, or of another sample rate, or one of the two is of clips that may
            have several classes, and the other is not.
    """
    if blueprint.is_multi_label != data.clips.is_multi_label:
        kinds = blueprint.is_multi_label, data.clips.is_multi_label
        theirs, ours = ("several classes" if each else "one class" for each in kinds)
        raise UserError(
            f"{path} was trained on clips with {theirs} each, and those of the data set have {ours} each: {remedy}"
        )
    if blueprint.scenes != data.clips.scenes or blueprint.sample_rate != data.store.sample_rate:
        raise UserError(
            f"{path} was trained for the scenes {in_short(list(blueprint.scenes))} at {blueprint.sample_rate} Hz, "
            f"the data set has {in_short(list(data.clips.scenes))} at {data.store.sample_rate} Hz: {remedy}"
        )
    together = data.with_all_trained
    return together if blueprint.clips == together.fingerprint["clips"] else data
