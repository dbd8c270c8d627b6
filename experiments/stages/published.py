"""A teacher that answers in the classes of its published weights, to clips without labels.

Conventions: the network is kept as a checkpoint of the run that applies it, so that its logits are those of a
checkpoint like any other's. Its classes are numbered as published: audioset_0, ... Each has a probability of its own,
as all of these networks were trained by the binary cross-entropy: a student learns them as classes of which a clip may
have several.
"""

from pathlib import Path

from data.errors import UserError
from data.readers import reader_of
from experiments.datasets.datamodule import DataModule
from experiments.distributed.fabric import exchange, launch, make_fabric
from experiments.distributed.processes import is_first
from experiments.report.publish import is_done
from experiments.runs.layout import CHECKPOINT, RESUME
from experiments.runs.record import Run
from experiments.settings.shared import Settings
from experiments.stages.context import new_run
from experiments.stages.external import input_of_weights, uses_of_weights
from experiments.training import checkpoint
from teachers import build_teacher, find_teacher, list_teachers

APPLIED = ("builder", "pretrained", "weights", "arguments", "mel")  # settings that a teacher without training has
NOT_OURS = "published"  # stands where a checkpoint tells the clips that its network was trained on


def answers_as_published(settings: Settings) -> bool:
    """Whether only=logits means the published classes: of clips without labels, if no checkpoint is named."""
    return settings.checkpoint is None and not reader_of(settings.data.kind).is_labelled


def require_published(settings: Settings) -> None:
    """Check that the teacher has published classes and that its weights, if they are in a file, hold them.

    Raises:
        UserError: it has none, or random weights, or the file does not.
    """
    teacher = settings.teacher
    entry = find_teacher(teacher.builder)
    if entry.published_classes is None or not (teacher.pretrained or teacher.weights):
        able = ", ".join(name for name, entry in list_teachers().items() if entry.published_classes is not None)
        raise UserError(
            f"only=logits of clips without labels needs a trained teacher: give checkpoint=FILE, or published weights, "
            f"by teacher.pretrained=true or teacher.weights=FILE, of {able}"
        )
    if teacher.weights or entry.weights_by_hand:
        build_teacher(teacher.builder, **{**teacher.arguments, "classes": None}, weights=teacher.weights)


def published_before(settings: Settings, data: DataModule) -> tuple[DataModule, Run, Path]:
    """The data set, the run to write to, and the checkpoint to apply, which is made here if it is not there.

    Raises:
        UserError: see require_published; or the weights cannot be fetched, or the run's folder holds another result.
    """
    teacher = settings.teacher
    entry, inputs = find_teacher(teacher.builder), {**data.fingerprint, **input_of_weights(teacher)}
    assert entry.published_classes is not None
    depends_on = {
        "only": settings.only,
        "shifts": teacher.shifts,
        "teacher": {name: getattr(teacher, name) for name in APPLIED},
    }
    this = new_run(settings, "teacher", depends_on=depends_on, inputs=inputs)
    path = this.folder / CHECKPOINT
    if is_done(this, CHECKPOINT):
        return data, this, path
    if (this.folder / RESUME).exists():
        raise UserError(f"{this.folder} holds a training of its own: choose another name=...")
    count, prefix = entry.published_classes
    network = build_teacher(
        teacher.builder,
        **{**teacher.arguments, "classes": None},
        pretrained=teacher.pretrained,
        weights=teacher.weights,
    )
    this.external = uses_of_weights(teacher, teacher.arguments, network, inputs)
    this.start(keeps_energy=True)
    blueprint = checkpoint.Blueprint(
        teacher.builder,
        {**teacher.arguments, "classes": count, "pretrained": False},
        teacher.mel,
        tuple(f"{prefix}_{number}" for number in range(count)),
        settings.data.sample_rate,
        NOT_OURS,
        is_multi_label=True,
    )
    if is_first():
        checkpoint.save(path, network, blueprint)
    fabric = make_fabric(settings.fabric)
    launch(fabric)
    exchange(fabric, None)  # the others wait for the file
    return data, this, path
