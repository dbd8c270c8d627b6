"""What a system's trainings used that others made, and what a submission must declare of it: inherited from every run
that the system was made from, as the runs' records say it, and from what the authors say.

Conventions: what no module here knows must be named by the authors in `external_datasets`, by entries whose `of` is its
fingerprint; nothing is guessed from the name of a file or of a builder. Runs of version 0.1.0 do not say what they
used: then their settings tell that there was something, and the authors what it was.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import file_sha256
from data.resources import DATA, RESPONSES, WEIGHTS, Resource, Use
from experiments.runs.layout import CHECKPOINT
from experiments.runs.lineage import PRETRAINED
from experiments.runs.reader import RunFiles
from experiments.submission.builders import dataset_of, has_responses
from experiments.submission.lineage import AGAIN, Lineage
from experiments.submission.resources import Declared, resource_of

ASKED = {  # what is said of a use that is not known, by what it is
    WEIGHTS: "began with weights that are not known here",
    RESPONSES: "used impulse responses that are not known here",
    DATA: "used data that are not the challenge's",
}
BEGUN = {"student": "student.weights", "teacher": "teacher.start"}  # stage: setting that names a checkpoint
Datasets = Sequence[Mapping[str, Any]]  # `external_datasets` of About
ENTRY = '  - {name: NAME, url: LINK, total_audio_length: null, type: TYPE, licence: LICENCE, of: "%s"}'


def uses_of(lineage: Lineage) -> Iterator[tuple[RunFiles, Use]]:
    """What each run used that others made; but not what another of these runs made."""
    made = [run.folder / CHECKPOINT for run in (*lineage.pretrained, *lineage.teachers)]
    ours = {file_sha256(path) for path in made if path.is_file()}
    for run in lineage.runs:
        for use in [*_began(run), *(_settled(run) if run.external is None else run.external), *_data(run)]:
            if use.is_known or use.fingerprint not in ours:
                yield run, use


def declared(lineages: Sequence[Lineage], named: Datasets) -> list[Declared]:
    """What a submission must name: of each resource of some systems' runs, and of each that the authors name, one."""
    found: dict[str, Declared] = {}
    of: dict[str, Declared] = {}  # fingerprint -> what used it

    def add(into: dict[str, Declared], key: str, resource: Resource, runs: Iterable[str], whats: Iterable[str]) -> None:
        before = into.get(key, Declared(resource))
        together = dict.fromkeys([*before.runs, *runs]), dict.fromkeys([*before.whats, *whats])
        into[key] = Declared(resource, *map(tuple, together))

    for run, use in (each for lineage in lineages for each in uses_of(lineage)):
        by = [f"{run.stage}/{run.name}"], [use.what]
        for resource in use.resources:
            add(found, resource.name, resource, *by)
        add(of, use.fingerprint, Resource("", ""), *by)
    for entry in named:
        users = of.get(str(entry.get("of")), Declared(Resource("", "")))
        add(found, entry["name"], _as_named(entry), users.runs, users.whats)
    return list(found.values())


def unnamed(lineages: Sequence[Lineage], named: Datasets) -> list[str]:
    """Why a package cannot be made yet, in words: what nobody has named, and what was named that no run used."""
    of = {str(entry["of"]) for entry in named if entry.get("of") is not None}
    runs, unknown = dict[str, dict[Path, RunFiles]](), dict[str, Use]()
    for run, use in (each for lineage in lineages for each in uses_of(lineage)):
        runs.setdefault(use.fingerprint, {})[run.folder] = run
        if not use.is_known and use.fingerprint not in of:
            unknown[use.fingerprint] = use
    odd = [f"external_datasets: nothing that these runs used has of: {each}" for each in sorted(of - runs.keys())]
    return [*(_question(list(runs[each].values()), use) for each, use in unknown.items()), *odd]


def _question(runs: Sequence[RunFiles], use: Use) -> str:
    """What the authors are asked, and how they answer."""
    is_old = any(run.external is None for run in runs)
    again = f" A record of an earlier version says no more: {AGAIN}, or say" if is_old else " Say"
    if use.what == WEIGHTS and any(_began(run) for run in runs):
        again = f" If a run of yours wrote them, restore it in {runs[0].folder.parent}; or else say"
    return (
        f"{', '.join(str(run.folder) for run in runs)} {ASKED[use.what]}: {use.name}.{again} under external_datasets "
        "in submit.about what they are and, of weights, what these were trained on, an entry each:\n"
        f"{ENTRY % use.fingerprint}"
    )


def _as_named(entry: Mapping[str, Any]) -> Resource:
    """What the authors name; its type is that of the task's list if they do not say it."""
    listed = resource_of(entry["name"], entry["url"])
    kind = entry.get("type") or (listed.type if listed else "not stated")
    return Resource(entry["name"], entry["url"], entry["total_audio_length"], kind, entry.get("licence"))


def _began(run: RunFiles) -> list[Use]:
    """The checkpoint of another training that a student or a teacher began with."""
    digest, named = run.inputs.get(PRETRAINED), run.settings.get(BEGUN.get(run.stage, ""))
    if digest is None or run.stage not in BEGUN or (run.stage == "teacher" and named is None):
        return []  # a teacher that began with published weights names them itself
    return [Use(WEIGHTS, Path(str(named)).name, digest, is_known=False)]


def _settled(run: RunFiles) -> list[Use]:
    """What a run used whose record does not say it."""
    found, weights = [], run.settings.get("teacher.weights")
    if run.stage == "teacher" and (weights or run.settings.get("teacher.pretrained")):
        name = Path(str(weights)).name if weights else f"published weights of {run.settings['teacher.builder']}"
        digest = run.inputs.get("weights", "").split()[-1:] if weights else []
        found.append(Use(WEIGHTS, name, (digest or [f"{run.stage}/{run.name}"])[0], is_known=False))
    own = run.data.get("impulses") is None and run.data.get("kind") is not None and dataset_of(run.data).is_computed
    if has_responses(run) and not own:
        found.append(Use(RESPONSES, str(run.data.get("impulses")), run.inputs["impulses"], is_known=False))
    return found


def _data(run: RunFiles) -> list[Use]:
    """The data set of a run, if it is somebody else's."""
    if "kind" not in run.data:
        return []
    reader = dataset_of(run.data)
    if reader.is_challenge or reader.is_computed:
        return []
    name = str(run.data.get("csv") or run.data.get("root") or run.data["kind"])
    known = bool(reader.resources)
    return [Use(DATA, Path(name).name, run.inputs.get("waves", ""), reader.resources, is_known=known)]
