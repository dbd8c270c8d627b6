"""The network whose answers to validation clips say something: one that was not trained on them."""

from pathlib import Path

from torch import nn

from data.errors import UserError
from experiments.datasets.datamodule import DataModule
from experiments.runs.lineage import first_phase
from experiments.training import checkpoint


def not_validated_on(path: Path, data: DataModule) -> nn.Module | None:
    """The student of a checkpoint if it was trained without the validation clips, else that of its first phase; None:
    neither was trained on these splits, so that it may have been trained on the validation clips.

    Args:
        path: of the checkpoint.
        data: as the settings divide it.
    """
    first = first_phase(path.parent)
    for each in [path, *([] if first is None else [first / path.name])]:
        network, blueprint = checkpoint.load_student(each)
        if blueprint.clips == data.fingerprint["clips"]:
            return network
    return None


def require_not_validated_on(path: Path, data: DataModule, what: str, remedy: str) -> nn.Module:
    """That student.

    Args:
        path, data: as above.
        what, remedy: for the message: what needs it, and the setting that needs none.

    Raises:
        UserError: no clips are held out, or there is no such student.
    """
    data.require_validation(what)
    if (network := not_validated_on(path, data)) is None:
        raise UserError(
            f"{what} needs answers to validation clips by a network that was not trained on them, and {path} was "
            "trained on other splits, maybe on these clips: give the data settings that it was trained with, or "
            f"{remedy}, which needs none"
        )
    return network
