"""The systems of a package, from the runs that they are made of: checked, described and applied to the clips."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from data.errors import UserError, counted, in_short, listed
from data.files import file_sha256
from data.readers import is_of_challenge
from data.scenes import PART_SECONDS, SCENES
from experiments.evaluation.official_test import extent, is_whole
from experiments.evaluation.predictions import predictions_text
from experiments.inference.clip_classifier import Classifier
from experiments.models.classifiers import load_model
from experiments.runs.reader import is_run
from experiments.submission.about import About
from experiments.submission.declared import declared, unnamed
from experiments.submission.describe import System, description, notes
from experiments.submission.describe_later import as_2024, as_2025
from experiments.submission.energy import PARTS, with_given
from experiments.submission.evaluation_set import UNKNOWN
from experiments.submission.layout import EDITIONS, YEAR, Edition, label_of
from experiments.submission.lineage import HALF_BITS, WHOLE_BITS, Lineage, read_lineage
from experiments.submission.meta import Defect, meta_defects, meta_text
from experiments.submission.resources import unlisted_among

_FEWER = {WHOLE_BITS: "quantize.bits=16f or 8", HALF_BITS: "quantize.bits=8"}  # what makes floats smaller
TASK_RULES = f"by the rules of DCASE {YEAR} Task 1"


class Entry(NamedTuple):
    """A system and the classifier of each of its tables, by the ending of the table's name."""

    system: System
    classifiers: Mapping[str, Classifier]


class _Training(NamedTuple):
    """A run that is to be submitted."""

    folder: Path
    lineage: Lineage
    classifier: Classifier


def read_entries(folders: Sequence[Path], about: About, team: str, edition: Edition = EDITIONS[YEAR]) -> list[Entry]:
    """The systems of some runs, numbered in their order.

    Args:
        folders: of runs of the quantize or student stage; of a system of several trainings, see _systems.
        about: what no run knows.
        team: <surname>_<institute>.
        edition: whose task they are for.

    Raises:
        UserError: runs cannot be submitted; every reason is listed.
    """
    trainings, wrong, models = [], [], {}
    foreign = {str(entry.get("of")) for entry in about.external_datasets}
    for folder in folders:
        try:
            lineage = read_lineage(folder, device_is_known=edition.device_is_known, foreign=foreign)
            lineage = replace(lineage, energy=with_given(lineage.energy, about.baseline_energy))
            classifier = load_model(lineage.model)
        except UserError as error:
            wrong.append(str(error))
            continue
        if (same := models.setdefault(file_sha256(lineage.model), folder)) is not folder:
            wrong.append(f"{folder}: its model is that of {same}, byte for byte; systems must differ")
        if reasons := off_task(classifier):
            wrong += [f"{folder}: {reason}" for reason in reasons]
            continue
        trainings.append(_Training(folder, lineage, classifier))
    wrong += unnamed([each.lineage for each in trainings], about.external_datasets)
    found, (surname, institute) = [], team.split("_")
    for number, members in enumerate(_systems(trainings, edition, wrong), 1):
        label = label_of(surname, institute, number)
        try:
            entry = _entry(members, about, label, edition)
        except UserError as error:
            wrong.append(str(error))
            continue
        defects = meta_defects(entry.system.meta, label, edition.year)
        wrong += [f"{members[-1].folder}: {reason}" for reason in _reasons(defects, entry.system.lineage)]
        found.append(entry)
    if wrong:
        raise UserError(f"these runs cannot be submitted:\n{listed(wrong, shown=len(wrong))}")
    return found


def _systems(trainings: Sequence[_Training], edition: Edition, wrong: list[str]) -> list[list[_Training]]:
    """The trainings of each system, by the size of their train subset: the first on each subset are the first system.
    What is missing is added to the list."""
    if len(edition.subsets) == 1:
        return [[each] for each in trainings]
    if wrong:
        return []
    by_subset = {s: [each for each in trainings if each.lineage.data["subset"] == s] for s in edition.subsets}
    counts = [len(some) for some in by_subset.values()]
    if sum(counts) == len(trainings) and len(set(counts)) == 1:
        return [list(some) for some in zip(*by_subset.values(), strict=True)]
    words = ", ".join(f"{len(some)} on {s} %" for s, some in by_subset.items())
    others = len(trainings) - sum(counts)
    words += f", {others} on other shares" if others else ""
    wrong.append(
        f"a system of {edition.year} is five trainings (data.subset), one on each subset of the train split, and these "
        f"are {words}: train the others, quantise them, and name all runs in submit.runs"
    )
    return []


def _entry(members: Sequence[_Training], about: About, label: str, edition: Edition) -> Entry:
    """A system of one training, or of several."""
    classifiers = {ending: each.classifier for ending, each in zip(edition.outputs, members, strict=True)}
    external = declared([each.lineage for each in members], about.external_datasets)
    metas = [description(each.lineage, each.classifier, about, label, external) for each in members]
    meta, (_, lineage, classifier) = metas[-1], members[-1]
    if len(members) > 1:
        trainings = {s: each.lineage for s, each in zip(edition.subsets, members, strict=True)}
        meta = as_2024(dict(zip(edition.subsets, metas, strict=True)), trainings, about)
        return Entry(System(label, lineage, meta, trainings, external), classifiers)
    if edition.device_is_known:
        meta = as_2025(meta, lineage, classifier, about)
    return Entry(System(label, lineage, meta, external=external), classifiers)


def description_file(system: System, year: int = YEAR) -> bytes:
    """The content of a system's meta.yaml."""
    return meta_text(system.meta, notes(system.lineage, metered=EDITIONS[year].asks_energy), year).encode()


def predictions_file(
    classifier: Classifier, files: Sequence[Path], label: str, devices: Sequence[str] | None = None
) -> bytes:
    """The content of a table of predictions.

    Args:
        classifier: of the system.
        files: the clips.
        label: of the system, where progress is shown.
        devices: that recorded them; None: that is not known.
    """
    devices = devices or [UNKNOWN] * len(files)
    probabilities = np.empty((len(files), len(SCENES)))
    for device in sorted(set(devices)):
        rows = [row for row, other in enumerate(devices) if other == device]
        name = label if len(set(devices)) == 1 else f"{label}, device {device}"
        probabilities[rows] = classifier.of_device(device).classify_clips([files[row] for row in rows], name)
    return predictions_text([file.name for file in files], probabilities, SCENES).encode()


def fingerprints(entries: Sequence[Entry], year: int = YEAR) -> dict[str, str]:
    """Of each system's models and description."""
    found = {}
    for system, _ in entries:
        for number, lineage in enumerate(system.trainings.values() or [system.lineage]):
            found[f"{system.label}{f' {number}' if number else ''}"] = file_sha256(lineage.model)
        found[f"{system.label} description"] = hashlib.sha256(description_file(system, year)).hexdigest()
    return found


def entry_warnings(entries: Sequence[Entry], edition: Edition = EDITIONS[YEAR]) -> list[str]:
    """What the authors must know of their systems: metrics of other data, resources that the task's list does not
    name, other clips than a year's task trains on."""
    found = []
    for system, _ in entries:
        subset, wanted = system.lineage.data["subset"], max(edition.subsets)
        if subset > wanted and is_of_challenge(system.lineage.kind):
            found.append(
                f"{system.label}: its student was trained on {subset} % of the train split; who trains on more than "
                f"{wanted} % of it (data.subset={wanted}) is disqualified by the rules of {edition.year}"
            )
        datasets = system.meta["system"]["external_datasets"] or []
        if edition.year != YEAR and datasets:
            names = ", ".join(dataset["name"] for dataset in datasets)
            found.append(
                f"{system.label}: look up whether the list of {edition.year} allows {names}: ours is of {YEAR}"
            )
        for name in unlisted_among(datasets) if edition.year == YEAR else ():
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
    return found


def off_task(classifier: Classifier) -> list[str]:
    """Why a model solves another task than the challenge's."""
    found = []
    if classifier.scenes != SCENES:
        classes = in_short(list(classifier.scenes))
        found.append(f"its classes are {classes}; {TASK_RULES}, the classes are {', '.join(SCENES)}")
    if (seconds := classifier.clip_seconds) != PART_SECONDS:
        found.append(f"it takes clips of {seconds:g} s; {TASK_RULES}, a clip is {PART_SECONDS:g} s")
    front_end = classifier.front_end
    learned = sum(p.numel() for p in front_end.parameters()) if isinstance(front_end, nn.Module) else 0
    if learned:
        found.append(
            f"its front end has {learned:,} parameters, which the costs of its run do not count; {TASK_RULES}, "
            "the network that makes learned features counts: put it into the student's network"
        )
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
        missing = [why for phase in PARTS for why in lineage.energy.get(phase, {}).get("missing", [])]
        again = "what was not metered must be done again (force=true; with only=logits for a teacher's logits alone)"
        return "".join(f"; {why}" for why in [*dict.fromkeys(missing), again])
    if path.startswith("system.energy_consumption"):
        stale = is_run(folder.resolve().parent.parent / "energy" / folder.name)
        of = f" model={lineage.model}" if lineage.float_bits == WHOLE_BITS else ""
        again = " force=true, as another file was measured under this name" if stale else ""
        return f"; measure it with stage=energy name={folder.name}{of}{again}"
    if path == "system.complexity.total_model_size" and (bits := lineage.float_bits) is not None:
        return f" bytes, of floats of {bits} bits: quantise the student ({_FEWER[bits]}), or take a smaller one"
    if path == "system.inference_code":
        return ": give in submit.about the URL where you will publish the inference package that this stage writes"
    return ""
