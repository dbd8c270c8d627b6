"""The pictures of a submission's technical report: where its systems err, on which devices, how sure they are."""

from collections.abc import Sequence

from experiments.report import plots
from experiments.report.render import png
from experiments.submission.describe import System


def pictures(systems: Sequence[System]) -> list[tuple[str, bytes]]:
    """Caption and PNG of each picture that the runs' files allow."""
    runs = {system.label: system.lineage.quantized for system in systems}
    scores = {label: run.scores for label, run in runs.items()}
    found = [("Accuracy by device, with 95 % intervals over recordings.", plots.shares(scores, "device"))]
    if bins := {label: run.reliability for label, run in runs.items() if run.reliability}:
        found.append(("Accuracy over confidence.", plots.reliability(bins)))
    if histories := {s.label: s.lineage.student.history for s in systems if s.lineage.student.history}:
        found.append(("Training of the students.", plots.curves(histories)))
    for label, run in runs.items():
        if run.counts:
            caption = f"{label}: what each scene (rows) was taken for (columns)."
            found.append((caption, plots.confusions(run.counts, run.scenes)))
    return [(caption, png(figure)) for caption, figure in found]
