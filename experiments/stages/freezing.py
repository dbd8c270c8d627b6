"""What learns of a teacher, by `teacher.freeze`, and where the features of the rest are kept."""

from torch import nn

from data.errors import UserError
from experiments.datasets.datamodule import DataModule
from experiments.settings.shared import Settings
from experiments.training.features import Frozen, Kept, frozen_backbone

OF_HEADS = ("classes", "hidden", "dropout")  # arguments of builders that features do not depend on


def frozen_part(
    settings: Settings, network: nn.Module, shape: tuple[int, ...], data: DataModule | None = None
) -> Frozen | None:
    """What learns of a network, by teacher.freeze; None: all of it.

    Args:
        settings: of the stage.
        network: the teacher.
        shape: of a log-mel, (1, 1, mels, frames).
        data: beside whose waves features are kept; None: nothing is trained yet.

    Raises:
        UserError: the settings contradict each other, or the network's last layer cannot be trained alone.
    """
    teacher = settings.teacher
    if teacher.freeze is None:
        if teacher.views > 1:
            raise UserError(f"teacher.views={teacher.views} is for teacher.freeze=backbone: give both, or neither")
        return None
    if not (teacher.pretrained or teacher.weights or teacher.start):
        raise UserError(
            "teacher.freeze=backbone keeps the weights that a teacher begins with, and these are random: set "
            "teacher.pretrained=true, teacher.weights=FILE or teacher.start=RUN"
        )
    kept = None
    if data is not None:
        identity = {
            "builder": teacher.builder,
            "arguments": {name: each for name, each in teacher.arguments.items() if name not in OF_HEADS},
            "mel": dict(teacher.mel),
            "waves": data.fingerprint["waves"],
        }
        kept = Kept(data.store.folder, tuple(data.store.filenames), identity)
    return frozen_backbone(
        network, shape, views=teacher.views, recipe=teacher.fit, augmentation=teacher.augment, kept=kept
    )
