"""The submit stage: apply trained students to an evaluation folder, and pack what the challenge asks for."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError, counted, listed, require
from data.files import file_sha256
from data.records import EVALUATION, RECORDS
from experiments.inference.sounds import fingerprint
from experiments.report.publish import finish, is_done
from experiments.runs.layout import PACKAGE, matches
from experiments.settings.shared import Settings
from experiments.settings.stages import Submit
from experiments.stages.context import new_run
from experiments.stages.whereabouts import layout_of
from experiments.submission.about import EXAMPLE, SECTIONS, read_about
from experiments.submission.check_inference import write_inference
from experiments.submission.entries import (
    Entry,
    description_file,
    entry_warnings,
    fingerprints,
    predictions_file,
    read_entries,
)
from experiments.submission.evaluation_set import devices_of, evaluation_files, require_published
from experiments.submission.layout import EDITIONS, INFERENCE, SYSTEMS, YEAR, meta_path, output_path, report_path
from experiments.submission.report_plots import plots_of
from experiments.submission.report_tables import references, tables_of
from experiments.submission.validate import write_valid

REHEARSAL = "give submit.partial=true, which makes a package of these for a rehearsal"

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    for package in ("pypdf", "reportlab"):
        require(package, "submit")
    about, evaluation = _required(settings)
    if not Path(about).is_file():
        read_about(about, 1)
    if not Path(evaluation).is_dir():
        evaluation_files(evaluation)


def run(settings: Settings) -> None:
    """Pack the systems of `submit.runs`; write submission.zip, in which our own validator finds no defect, and in 2025
    the inference package, which it has called."""
    from experiments.submission.technical_report import report_pdf, unprinted  # needs packages of an extra

    own, folders = settings.of(Submit), _folders(settings)
    about_file, evaluation = _required(settings)
    edition = EDITIONS[own.year]
    about = read_about(about_file, -(-len(folders) // len(edition.outputs)))
    files = evaluation_files(evaluation)
    names = [file.name for file in files]
    if not own.partial:
        require_published(evaluation, files, edition, remedy=f"restore the set, or {REHEARSAL}")
    elif doubt := edition.other_than_official(names):
        log.warning("%s has %s: the organisers' checker will refuse this package", evaluation, doubt)
    devices = devices_of(evaluation, files) if edition.device_is_known else None
    team = about.team(own.surname, own.institute)
    entries = read_entries(folders, about, team, edition)
    systems = [entry.system for entry in entries]
    inputs = {"about": file_sha256(about_file), "evaluation": fingerprint({file.name: file for file in files})}
    inputs |= fingerprints(entries, own.year)
    if devices is not None:
        inputs["devices"] = hashlib.sha256("\n".join(devices).encode()).hexdigest()
    lineages = [each for system in systems for each in system.trainings.values() or [system.lineage]]
    models, year = [each.model for each in lineages], {} if own.year == YEAR else {"year": own.year}
    this = new_run(settings, "submit", depends_on={"team": team, **year}, inputs=inputs, sources=models)
    wanted = [PACKAGE, *([f"{INFERENCE}/pyproject.toml"] if edition.device_is_known else [])]
    if not is_done(this, *wanted):
        this.start()
        content = {report_path(team): report_pdf(about, tables_of(systems), references(systems), plots_of(systems))}
        content |= {meta_path(system.label): description_file(system, own.year) for system in systems}
        for system, classifiers in entries:
            for ending, classifier in classifiers.items():
                table = predictions_file(classifier, files, system.label, devices)
                content[output_path(system.label, ending)] = table
        if edition.device_is_known:
            write_inference(this.folder / INFERENCE, team, {s.label: s.lineage.model for s in systems})
        passed = write_valid(this.folder / PACKAGE, content, names, own.year)
        finish(this, {"systems": len(passed), "clips": len(files)})
    for warning in [*entry_warnings(entries, edition), *_device_warnings(entries, devices)]:
        log.warning("%s", warning)
    if unwritten := [section for section in SECTIONS if section not in about.texts]:
        log.warning("the report still lacks what you have to say; %s has no %s", about_file, ", ".join(unwritten))
    if boxes := unprinted(str(about)):
        log.warning("the report's font lacks %s, which print as empty boxes: write them in Latin letters", boxes)
    counts = counted(len(entries), "system"), counted(len(files), "clip")
    log.info("%s, %s, no defect found: %s", *counts, this.folder / PACKAGE)
    if edition.device_is_known:
        log.info("publish what is in %s, where inference_code says", this.folder / INFERENCE)


def _device_warnings(entries: Sequence[Entry], devices: Sequence[str] | None) -> list[str]:
    """What the authors must know where the devices that recorded the clips could be used, and are not."""
    if devices is None:
        return []
    known = {device for entry in entries for each in entry.classifiers.values() for device in each.devices}
    if not known:
        return ["no system has tensors of devices: see scenelet specialize"]
    if not known & {*devices}:
        return [f"no clip is said to be of the devices {', '.join(sorted(known))}: the general networks answer for all"]
    return []


def _required(settings: Settings) -> tuple[str, str]:
    """The files `about` and `evaluation`; the latter is by default where the data stage puts the evaluation set."""
    own, missing = settings.of(Submit), []
    fetched = settings.cache_folder / RECORDS[EVALUATION].top if own.year == YEAR else None
    evaluation = own.evaluation or (None if fetched is None or not fetched.is_dir() else str(fetched))
    if evaluation is None:
        how = f"; or fetch them to {fetched}: stage=data data=tau22 data.part={EVALUATION}" if fetched else ""
        missing.append(f"submit.evaluation=FOLDER, of the sound files without labels{how}")
    if own.about is None:
        missing.append("submit.about=FILE, a YAML file with what no run can know")
    if missing:
        raise UserError(f"the submit stage needs\n{listed(missing)}\nThat file looks like this:\n{EXAMPLE}")
    assert own.about is not None
    assert evaluation is not None
    return own.about, evaluation


def _folders(settings: Settings) -> list[Path]:
    """The runs that are submitted."""
    runs = settings.of(Submit).runs
    if runs is None:
        return [layout_of(settings).model().parent]
    folders, year = matches("submit.runs", runs), settings.of(Submit).year
    if len(folders) > (most := SYSTEMS * len(EDITIONS[year].outputs)):
        them = listed([str(folder) for folder in folders])
        raise UserError(f"submit.runs names {len(folders)} runs, a package holds at most {most}:\n{them}")
    return folders
