"""What a training uses that others made, as its record says it: the weights it began with, and impulse responses."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from data.augmentation import Augmentation
from data.resources import WEIGHTS, Use
from experiments.datasets.datamodule import DataModule
from experiments.settings.shared import TeacherSettings
from teachers import find_teacher
from teachers.weights import loaded_digest, weights_digest, weights_files


def files_of_weights(teacher: TeacherSettings) -> list[Path]:
    """The files of `teacher.weights`.

    Raises:
        UserError: they are not there.
    """
    return weights_files(str(teacher.weights), in_folder=find_teacher(teacher.builder).weights_in_folder)


def input_of_weights(teacher: TeacherSettings) -> dict[str, str]:
    """The input that a run has whose teacher begins with files: their fingerprints."""
    return {"weights": weights_digest(files_of_weights(teacher))} if teacher.weights else {}


def uses_of_weights(
    teacher: TeacherSettings, arguments: Mapping[str, object], network: nn.Module, inputs: Mapping[str, str]
) -> list[Use]:
    """The weights that a teacher begins with: a file by its own fingerprint, and what was fetched by that of its
    tensors and the name that the builder resolves its arguments to.

    Args:
        teacher: the settings.
        arguments: the builder was called with.
        network: as built.
        inputs: of the run, among them input_of_weights.
    """
    if not (teacher.pretrained or teacher.weights):
        return []
    digest = loaded_digest(network)
    found = find_teacher(teacher.builder).pretraining(
        arguments, pretrained=teacher.pretrained, weights=teacher.weights, digest=digest
    )
    name = found.model.name if found.model else teacher.builder
    if teacher.weights:
        name, digest = Path(teacher.weights).name, inputs["weights"].split()[-1]  # of a folder, of its last file
    return [Use(WEIGHTS, name, digest, found.resources, found.is_complete)]


def uses_of_responses(data: DataModule, augmentation: Augmentation) -> list[Use]:
    """The impulse responses of others that clips are filtered with."""
    return list(data.external) if augmentation.impulse_p else []
