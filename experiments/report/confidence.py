"""How sure a network of integers is, and what that is worth: a plot and tables of its run's score.json."""

from collections.abc import Mapping

from experiments.evaluation.confidence import PREFIX, Row, chosen_row, curve_rows
from experiments.evaluation.forms import STORED, metric_prefix
from experiments.report import plots
from experiments.report.numbers import nats, percent, word
from experiments.report.page import Grid, Plot
from experiments.report.terminal import Table

TITLE = "Coverage and accuracy"
CAPTION = (
    "Accuracy of the answers to those test clips of which the network is surest, over their share of all; a ring: the "
    "threshold that the model has."
)


def coverage_plots(scores: Mapping[str, Mapping[str, float]], page: str) -> list[Plot]:
    """The curves of runs by name in one plot, if one of them has any."""
    if not any(map(curve_rows, scores.values())):
        return []
    figure = plots.coverage({name: (curve_rows(run), chosen_row(run)) for name, run in scores.items()})
    return [Plot(TITLE, CAPTION, figure, page)]


def confidence_grids(scores: Mapping[str, float]) -> list[Grid]:
    """What the temperature makes of the test split's probabilities, and its curve with the model's own threshold; of
    runs without a confidence nothing."""
    if not (rows := curve_rows(scores)):
        return []
    clips, temperature = scores.get(f"{PREFIX}/clips"), word(scores.get(f"{PREFIX}/temperature"))
    fitted = f"fitted to {word(clips)} validation clips" if clips else "not fitted"
    calibration = [
        [what, divisor, *(nats(scores.get(f"{prefix}/{name}")) for name in ("log_loss", "calibration_error"))]
        for what, divisor, prefix in (
            ("as scored", "1", metric_prefix(STORED)),
            (f"calibrated ({fitted})", temperature, PREFIX),
        )
    ]
    curve = [_cells(row) for row in rows]
    if (own := chosen_row(scores)) is not None:
        curve.append(_cells(own, "threshold "))
    return [
        Grid("Probabilities", ["", "temperature", "log loss", "calibration error"], calibration),
        Grid(TITLE, ["clips answered", "least probability", "accuracy of the answers"], curve),
    ]


def confidence_tables(scores: Mapping[str, float]) -> list[Table]:
    """The same for a terminal."""
    found = []
    for grid in confidence_grids(scores):
        found.append(table := Table(f"test split: {grid.title.lower()}"))
        for number, column in enumerate(grid.columns):
            table.add_column(column, justify="right" if number else "left")
        for cells in grid.rows:
            table.add_row(*cells)
    return found


def _cells(row: Row, about: str = "") -> list[str]:
    return [percent(row.coverage), f"{about}{row.threshold:.3f}", percent(row.accuracy)]
