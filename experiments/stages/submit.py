"""stage=submit: apply quantised students to an evaluation folder, and pack what the challenge asks for."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress

from data.errors import UserError, counted, listed
from data.files import file_sha256
from data.packing import read_stamps
from data.scenes import SCENES
from experiments.evaluation.predictions import predictions_text
from experiments.inference.classifier import Recogniser, load_recogniser
from experiments.inference.files import probabilities_of_files
from experiments.report.publish import finish, is_done
from experiments.runs.layout import MODEL, PACKAGE, matches
from experiments.runs.reader import is_of_challenge, is_run
from experiments.settings.shared import Settings
from experiments.settings.stages import Submit
from experiments.stages.context import layout_of, new_run
from experiments.submission.about import EXAMPLE, SECTIONS, About, read_about
from experiments.submission.builders import pretraining_of
from experiments.submission.describe import System, description, energy_note
from experiments.submission.evaluation_set import evaluation_files
from experiments.submission.layout import (
    SYSTEMS,
    label_of,
    meta_path,
    other_than_official,
    output_path,
    report_path,
    write_package,
)
from experiments.submission.lineage import Lineage, read_lineage
from experiments.submission.meta import Defect, meta_defects, meta_text
from experiments.submission.report_plots import plots_of
from experiments.submission.report_tables import references, tables_of
from experiments.submission.technical_report import report_pdf, unprinted
from experiments.submission.validate import Passed, require_valid

log = logging.getLogger(__name__)


class _Entry(NamedTuple):
    """A system and what it hears with."""

    system: System
    recogniser: Recogniser


def run(settings: Settings) -> None:
    """Pack the systems of `submit.runs`; write submission.zip, which our own validator finds no defect in."""
    own = settings.of(Submit)
    about_file, evaluation = _required(own)
    if own.runs is None:
        folders = [layout_of(settings).existing("quantize", MODEL).parent]
    else:
        folders = matches("submit.runs", own.runs)
    if len(folders) > SYSTEMS:
        them = listed([str(folder) for folder in folders])
        raise UserError(f"submit.runs names {len(folders)} runs, a package holds at most {SYSTEMS}:\n{them}")
    about, files = read_about(about_file, len(folders)), evaluation_files(evaluation)
    names = [file.name for file in files]
    team = about.team(own.surname, own.institute)
    entries = _entries(folders, about, team)
    models = [entry.system.lineage.model for entry in entries]
    inputs = _fingerprints(about_file, entries, files)
    this = new_run(settings, "submit", depends_on={"team": team}, inputs=inputs, sources=models)
    path = this.folder / PACKAGE
    if not is_done(this, PACKAGE):
        this.start()
        systems = [entry.system for entry in entries]
        content = {report_path(team): report_pdf(about, tables_of(systems), references(systems), plots_of(systems))}
        for entry in entries:
            label = entry.system.label
            content[meta_path(label)] = _description(entry.system)
            content[output_path(label)] = _predictions(entry, files).encode()
        passed = write_checked(path, content, names)
        finish(this, {"systems": len(passed), "clips": len(files)})
    for entry in entries:
        lineage = entry.system.lineage
        if not is_of_challenge(kind := lineage.kind):
            log.warning("%s: its figures are of data=%s, not of the challenge's", entry.system.label, kind)
        for teacher in lineage.teachers:
            if not (known := pretraining_of(teacher)).is_complete:
                weights = teacher.settings.get("teacher.weights") or known.source or "published weights"
                log.warning("%s began with %s: name in external_datasets what that learnt from", teacher.name, weights)
    if doubt := other_than_official(names):
        log.warning("%s", doubt)
    if unwritten := [section for section in SECTIONS if section not in about.texts]:
        log.warning("the report still lacks what you have to say; %s has no %s", about_file, ", ".join(unwritten))
    if boxes := unprinted(str(about)):
        log.warning("the report's font lacks %s, which print as empty boxes: write them in Latin letters", boxes)
    log.info("%s, %s, no defect found: %s", counted(len(entries), "system"), counted(len(files), "clip"), path)


def write_checked(path: Path, files: Mapping[str, bytes], names: Sequence[str]) -> list[Passed]:
    """Write a package of some clips, under its name only if our own validator finds no defect; returns its systems.

    Raises:
        UserError: it has defects, as a description of a thousand authors has; they are listed.
    """
    draft = path.with_suffix(".tmp")
    write_package(draft, files)
    try:
        passed = require_valid(draft, names)
    except UserError as error:
        raise UserError(f"what was made of these runs is no sound package, and not kept as one: {error}") from None
    draft.replace(path)
    return passed


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    _required(settings.of(Submit))


def _required(own: Submit) -> tuple[str, str]:
    """The files `about` and `evaluation`."""
    missing = []
    if own.evaluation is None:
        missing.append("submit.evaluation=FOLDER, of the sound files without labels")
    if own.about is None:
        missing.append("submit.about=FILE, a YAML file with what no run can know")
    if missing:
        raise UserError(f"stage=submit needs\n{listed(missing)}\nThat file looks like this:\n{EXAMPLE}")
    assert own.about is not None
    assert own.evaluation is not None
    return own.about, own.evaluation


def _entries(folders: Sequence[Path], about: About, team: str) -> list[_Entry]:
    """The systems with their descriptions.

    Raises:
        UserError: runs cannot be submitted; everything that is in the way is listed.
    """
    out, wrong, models = [], [], {}
    for number, folder in enumerate(folders, 1):
        try:
            lineage = read_lineage(folder)
            recogniser = load_recogniser(lineage.model)
        except UserError as error:
            wrong.append(str(error))
            continue
        if (same := models.setdefault(file_sha256(lineage.model), folder)) is not folder:
            wrong.append(f"{folder}: its model is that of {same}, byte for byte; systems must differ")
        if recogniser.scenes != SCENES:
            wrong.append(f"{folder}: its classes are {list(recogniser.scenes)}, the challenge's are {list(SCENES)}")
            continue
        label = label_of(*team.split("_"), number)
        try:
            meta = description(lineage, recogniser, about, label)
        except UserError as error:
            wrong.append(str(error))
            continue
        wrong += [f"{folder}: {defect}" for defect in _in_the_way(meta_defects(meta, label), lineage)]
        out.append(_Entry(System(label, lineage, meta), recogniser))
    if wrong:
        raise UserError(f"these runs cannot be submitted:\n{listed(wrong, shown=len(wrong))}")
    return out


def _in_the_way(defects: Sequence[Defect], lineage: Lineage) -> list[str]:
    """What the runs lack, and what to do about it."""
    figures = [defect for defect in defects if defect.path.startswith("results")]
    found = [f"{d.text}{_help(d.path, lineage)}" for d in defects if d not in figures]
    if figures:
        found.append(
            f"{counted(len(figures), 'figure')} of the test split cannot be told, as {figures[0].path}: it must have "
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


def _description(system: System) -> bytes:
    """The YAML file."""
    return meta_text(system.meta, energy_note(system.lineage)).encode()


def _predictions(entry: _Entry, files: Sequence[Path]) -> str:
    """The table of a system."""
    with Progress(transient=True) as bars:
        bar = bars.add_task(entry.system.label, total=len(files))
        probabilities = probabilities_of_files(entry.recogniser, files, lambda done: bars.update(bar, completed=done))
    return predictions_text([file.name for file in files], probabilities, SCENES)


def _fingerprints(about: str, entries: Sequence[_Entry], files: Sequence[Path]) -> dict[str, str]:
    """Of everything that the package depends on."""
    stamps = read_stamps(Path(), [str(file.resolve()) for file in files])
    names = "\n".join(file.name for file in files)
    found = {"about": file_sha256(about)}
    found["evaluation"] = hashlib.sha256(names.encode() + stamps.tobytes()).hexdigest()
    for entry in entries:
        lineage = entry.system.lineage
        found[entry.system.label] = file_sha256(lineage.model)
        found[f"{entry.system.label} description"] = hashlib.sha256(_description(entry.system)).hexdigest()
    return found
