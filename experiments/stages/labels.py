"""What needs labels is refused on a data set that has none, and what learns on the evaluation set, before the first
stage of a command starts."""

from data.errors import UserError
from data.readers import reader_of
from data.records import EVALUATION, RULE
from experiments.settings.shared import Settings
from experiments.settings.stages import STAGES

LABELLED = "give a data set with labels"


def require_labels(settings: Settings) -> None:
    """Check that no stage of a command needs labels that its data set does not have.

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
    if reader_of(kind).is_labelled:
        return
    needs = [need for step in settings.steps if "data" in STAGES[step].reads and (need := _need(step, settings))]
    if needs:
        raise UserError(
            "\n".join(f"data={kind} is a folder without labels, and labels are needed {each}" for each in needs)
        )


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
