"""What needs labels is refused on a data set that has none, what needs one class a clip on one whose clips may have
several, and what learns on the evaluation set, before the first stage of a command starts."""

from collections.abc import Sequence

from data.errors import UserError
from data.readers import reader_of
from data.records import EVALUATION, RULE
from experiments.datasets.reading import reader_settings
from experiments.settings.parts import PUBLISHED_TEMPERATURE as UNCHANGED
from experiments.settings.shared import Settings
from experiments.settings.stages import STAGES

LABELLED = "give a data set with labels"
ONE_CLASS = "give a data set with one class a clip"


def require_labels(settings: Settings) -> None:
    """Check that no stage of a command needs labels that its data set does not have, nor one class a clip where its
    clips may have several.

    Raises:
        UserError: some do; all are named.
    """
    kind = settings.data.kind
    readers = [step for step in settings.steps if step != "data" and "data" in STAGES[step].reads]
    if settings.data.part == EVALUATION and readers:
        raise UserError(
            f"data.part={EVALUATION} is for the data stage alone, and refused for {', '.join(readers)}: {RULE} Leave "
            "it out; scenelet submit reads the evaluation set by itself"
        )
    reader = reader_of(kind)
    if reader.is_multi_label(reader_settings(settings.data)):
        require_one_class(settings, settings.steps, f"data={kind}")
    if reader.is_labelled:
        return
    needs = [need for step in settings.steps if "data" in STAGES[step].reads and (need := _need(step, settings))]
    if needs:
        raise UserError(
            "\n".join(f"data={kind} is a folder without labels, and labels are needed {each}" for each in needs)
        )


def require_one_class(settings: Settings, steps: Sequence[str], of: str) -> None:
    """Check that none of some stages of a command needs one class a clip.

    Args:
        settings: of the command.
        steps: the stages.
        of: what has several, for the message.

    Raises:
        UserError: a stage does, or one of its settings; all are named.
    """
    reading = [step for step in steps if "data" in STAGES[step].reads]
    if needs := [need for step in reading for need in _needs_one_class(step, settings)]:
        raise UserError(
            "\n".join(f"{of} has several classes a clip, and one a clip is needed {each}" for each in needs)
        )


def _needs_one_class(step: str, settings: Settings) -> list[str]:
    """What a stage needs one class a clip for, and what to do."""
    given: dict[str, object]
    if step == "data":
        return []
    if step == "teacher":
        given = {"teacher.folds": settings.teacher.folds}
    elif step == "student":
        own, distill = settings.student.distill, settings.distill != "none"
        given = {
            "student.distill.temperature": own.temperature if distill and own.temperature != UNCHANGED else None,
            "student.distill.label_smoothing": own.label_smoothing,
        }
    elif step == "ensemble":
        return [f"by the ensemble stage: give the student logits=[A,B], whose mean it takes, or {ONE_CLASS}"]
    else:
        return [f"by the {step} stage: {ONE_CLASS}"]
    return [f"by {key}={value}: leave it out, or {ONE_CLASS}" for key, value in given.items() if value]


def _need(step: str, settings: Settings) -> str | None:
    """What a stage needs labels for, and what to do; None: it needs none."""
    if step == "teacher" and settings.only is None:
        return f"to train a teacher: give only=logits, with checkpoint=FILE or teacher.weights=FILE, or {LABELLED}"
    if step == "student" and settings.distill == "none":
        return f"by distill=none: give distill=kd, and logits=FILE, or {LABELLED}"
    if step == "student" and (share := settings.student.distill.hard_weight):
        return f"by student.distill.hard_weight={share:g}: set it to 0, or {LABELLED}"
    if step == "student" and settings.student.distill.is_calibrated:
        return f"by student.distill.temperature=auto: give a number, or {LABELLED}"
    if step == "ensemble":
        return (
            f"to compare the members of an ensemble: give the student logits=[A,B], whose mean it takes, or {LABELLED}"
        )
    return None if step in ("data", "teacher", "student") else f"by the {step} stage: {LABELLED}"
