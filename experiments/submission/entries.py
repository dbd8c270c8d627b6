"""The systems of a package, from the runs that they are made of: checked, described and applied to the clips."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data.errors import UserError, counted, in_short, listed
from data.files import file_sha256
from data.readers import is_of_challenge
from data.scenes import PART_SECONDS, SCENES
from experiments.evaluation.official_test import extent, is_whole
from experiments.evaluation.predictions import predictions_text
from experiments.inference.classifier import Classifier, load_classifier
from experiments.runs.reader import is_run
from experiments.submission.about import About
from experiments.submission.builders import pretraining_of, unlisted_weights
from experiments.submission.describe import System, description, notes
from experiments.submission.layout import YEAR, label_of
from experiments.submission.lineage import Lineage, read_lineage
from experiments.submission.meta import Defect, meta_defects, meta_text
from experiments.submission.resources import unlisted_among

TASK_RULES = f"by the rules of DCASE {YEAR} Task 1"


class Entry(NamedTuple):
    """A system and its classifier."""

    system: System
    classifier: Classifier


def read_entries(folders: Sequence[Path], about: About, team: str) -> list[Entry]:
    """The systems of some runs, numbered in their order.

    Args:
        folders: of runs of the quantize stage.
        about: what no run knows.
        team: <surname>_<institute>.

    Raises:
        UserError: runs cannot be submitted; every reason is listed.
    """
    found, wrong, models = [], [], {}
    surname, institute = team.split("_")
    for number, folder in enumerate(folders, 1):
        try:
            lineage = read_lineage(folder)
            classifier = load_classifier(lineage.model)
        except UserError as error:
            wrong.append(str(error))
            continue
        if (same := models.setdefault(file_sha256(lineage.model), folder)) is not folder:
            wrong.append(f"{folder}: its model is that of {same}, byte for byte; systems must differ")
        if off_task := _off_task(classifier):
            wrong += [f"{folder}: {reason}" for reason in off_task]
            continue
        label = label_of(surname, institute, number)
        try:
            meta = description(lineage, classifier, about, label)
        except UserError as error:
            wrong.append(str(error))
            continue
        wrong += [f"{folder}: {reason}" for reason in _reasons(meta_defects(meta, label), lineage)]
        found.append(Entry(System(label, lineage, meta), classifier))
    if wrong:
        raise UserError(f"these runs cannot be submitted:\n{listed(wrong, shown=len(wrong))}")
    return found


def description_file(system: System) -> bytes:
    """The content of a system's meta.yaml."""
    return meta_text(system.meta, notes(system.lineage)).encode()


def predictions_file(entry: Entry, files: Sequence[Path]) -> bytes:
    """The content of a system's table of predictions.

    Args:
        entry: the system.
        files: the clips.
    """
    probabilities = entry.classifier.classify_clips(files, entry.system.label)
    return predictions_text([file.name for file in files], probabilities, SCENES).encode()


def fingerprints(entries: Sequence[Entry]) -> dict[str, str]:
    """Of each system's model and description."""
    found = {}
    for system, _ in entries:
        found[system.label] = file_sha256(system.lineage.model)
        found[f"{system.label} description"] = hashlib.sha256(description_file(system)).hexdigest()
    return found


def entry_warnings(entries: Sequence[Entry]) -> list[str]:
    """What the authors must know of their systems: metrics of other data, weights whose data nobody declares."""
    found = []
    for system, _ in entries:
        for name in unlisted_among(system.meta["system"]["external_datasets"] or []):
            found.append(
                f"{system.label}: the list of external resources of {YEAR} does not name {name}: the rules want you to "
                "inform the organisers, and it had to be public before 1 April 2023"
            )
        if not is_of_challenge(kind := system.lineage.kind):
            found.append(f"{system.label}: its metrics are of data={kind}, not of the challenge's")
        elif not is_whole(scores := system.lineage.quantized.scores):
            found.append(
                f"{system.label}: its metrics are of {extent(scores) or 'an unknown part'} of the official test split: "
                "the rules want those of all of it"
            )
        for run in system.lineage.pretrained:
            if not is_of_challenge(kind := str(run.data.get("kind"))):
                found.append(
                    f"{run.name}, with which the student began, learnt from data={kind}: name it in external_datasets"
                )
        for teacher in system.lineage.teachers:
            if not (known := pretraining_of(teacher)).is_complete:
                weights = teacher.settings.get("teacher.weights") or known.source or "published weights"
                found.append(f"{teacher.name} began with {weights}: name in external_datasets what that learnt from")
            if (unlisted := unlisted_weights(teacher)) is not None:
                found.append(
                    f"{system.label}: the list of external resources of {YEAR} does not name the weights of "
                    f"{unlisted}, with which the teacher {teacher.name} began: ask the organisers, or take another "
                    "teacher"
                )
    return found


def _off_task(classifier: Classifier) -> list[str]:
    """Why a model solves another task than the challenge's."""
    found = []
    if classifier.scenes != SCENES:
        classes = in_short(list(classifier.scenes))
        found.append(f"its classes are {classes}; {TASK_RULES}, the classes are {', '.join(SCENES)}")
    if (seconds := classifier.clip_seconds) != PART_SECONDS:
        found.append(f"it takes clips of {seconds:g} s; {TASK_RULES}, a clip is {PART_SECONDS:g} s")
    return found


def _reasons(defects: Sequence[Defect], lineage: Lineage) -> list[str]:
    """What the runs lack, and what to do about it."""
    results = [defect for defect in defects if defect.path.startswith("results")]
    found = [f"{d.text}{_help(d.path, lineage)}" for d in defects if d not in results]
    if results:
        found.append(
            f"{counted(len(results), 'metric')} of the test split cannot be told, as {results[0].path}: it must have "
            "clips of every scene and device; of an older run, run stage=quantize again with force=true"
        )
    return found


def _help(path: str, lineage: Lineage) -> str:
    folder = lineage.quantized.folder
    if path == "system.energy_consumption.training":
        missing = [why for phase in lineage.energy.values() for why in phase.get("missing", [])]
        return "".join(f"; {why}" for why in missing) + "; what was not metered must be trained again (force=true)"
    if path.startswith("system.energy_consumption"):
        stale = is_run(folder.resolve().parent.parent / "energy" / folder.name)
        again = " force=true, as another file was measured under this name" if stale else ""
        return f"; measure it with stage=energy name={folder.name}{again}"
    return ""
