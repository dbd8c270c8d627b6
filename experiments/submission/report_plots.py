"""The plots of a submission's technical report: accuracy by device, calibration, training, confusion matrices."""

from collections.abc import Sequence

from experiments.report import plots
from experiments.report.confusions import confusions
from experiments.report.render import png
from experiments.submission.describe import System


def plots_of(systems: Sequence[System]) -> list[tuple[str, bytes]]:
    """Caption and PNG of each plot that the runs' files allow."""
    runs = {system.label: system.lineage.quantized for system in systems}
    scores = {label: run.scores for label, run in runs.items()}
    found = [("Accuracy by device, with 95 % intervals over recordings.", plots.shares(scores, "device"))]
    if bins := {label: run.reliability for label, run in runs.items() if run.reliability}:
        found.append(("Accuracy over confidence.", plots.reliability(bins)))
    if histories := {s.label: s.lineage.student.history for s in systems if s.lineage.student.history}:
        found.append(("Training of the students.", plots.curves(histories)))
    for label, run in runs.items():
        if run.counts:
            caption = f"{label}: true scenes (rows) and predicted scenes (columns)."
            found.append((caption, confusions(run.counts, run.scenes)))
    return [(caption, png(figure)) for caption, figure in found]
