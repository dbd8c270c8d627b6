"""Metrics by subset as typed rows, of which every table of accuracy and log loss is made, and the tables that stages
print.

Conventions: accuracies are shares in [0, 1] and shown in percent, log losses are in nats. The tables on terminals, on
pages, on dashboards and in PDFs show the rows of `metric_rows`; none reads score.json by itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.evaluation.metrics import metrics_under
from experiments.evaluation.official_test import baseline_scores, is_whole
from experiments.report.numbers import interval, nats, percent
from experiments.report.terminal import Table

WHOLE = ""  # the subset of all clips
ENSEMBLE = "ensemble"  # its row among the members'
BY_DEVICE = "test split, by the general student and by the tensors of each device"
DEVICE_COLUMNS = ("", "accuracy, general", "by device", "gain, points", "log loss, general", "by device", "gain")

BASELINE = ("baseline, published: accuracy", "log loss")

Edges = tuple[float, float]  # of a 95 % interval over recordings


class MetricRow(NamedTuple):
    """The metrics of a subset of a split; None is what score.json does not have.

    Attributes:
        subset: WHOLE, scene/<scene>, device/<device> or group/<group>.
        accuracy: share of right clips; of WHOLE the mean over scenes.
        log_loss: nats.
        interval: of the accuracy.
        loss_interval, calibration_error: of WHOLE only.
    """

    subset: str
    accuracy: float
    log_loss: float | None = None
    interval: Edges | None = None
    loss_interval: Edges | None = None
    calibration_error: float | None = None


def metric_rows(scores: Mapping[str, float], prefix: str = "test") -> dict[str, MetricRow]:
    """The metrics of a split, or of a form of a network (see evaluation/forms.py), by subset, WHOLE first.

    Args:
        scores: of a score.json.
        prefix: what the metrics' names begin with, before a slash.
    """

    def edges(metric: str) -> Edges | None:
        return edges_of(scores, f"{prefix}/{metric}")

    found: dict[str, MetricRow] = {}
    if (accuracy := scores.get(f"{prefix}/accuracy")) is not None:
        found[WHOLE] = MetricRow(
            WHOLE,
            accuracy,
            scores.get(f"{prefix}/log_loss"),
            edges("accuracy"),
            edges("log_loss"),
            scores.get(f"{prefix}/calibration_error"),
        )
    for name in metrics_under(f"{prefix}/accuracy/", scores):
        subset = name.removeprefix(f"{prefix}/accuracy/")
        loss = scores.get(f"{prefix}/log_loss/{subset}")
        found[subset] = MetricRow(subset, scores[name], loss, edges(f"accuracy/{subset}"))
    return found


def edges_of(scores: Mapping[str, float], metric: str) -> Edges | None:
    """The interval of a metric, by its whole name; None: it has none."""
    low, high = (scores.get(f"{metric}/{edge}") for edge in ("low", "high"))
    return None if low is None or high is None else (low, high)


def subset_words(subset: str) -> str:
    """What a subset is called in tables: scene/bus is scene bus. A slash in the name of a class is left."""
    return subset.replace("/", " ", 1) or "all (macro)"


def split_table(scores: Mapping[str, float]) -> Table:
    """Accuracy and log loss of the test split: of all clips, with intervals, and by scene, device and group; beside
    them the published baseline."""
    out = empty_table("test split", ["", "accuracy", "log loss", *(BASELINE if beside(scores, WHOLE) else [])])
    for subset, row in metric_rows(scores).items():
        if subset != WHOLE:
            known = beside(scores, subset)
            out.add_row(subset_words(subset), percent(row.accuracy), nats(row.log_loss), *known)
            continue
        out.add_row("all (macro)", percent(row.accuracy), nats(row.log_loss), *beside(scores, WHOLE))
        if row.interval and row.loss_interval:
            edges = f"{interval(row.interval)} %", interval(row.loss_interval, 1, 3)
            out.add_row("95 % interval over recordings", *edges)
        out.add_row("calibration error", nats(row.calibration_error), "", end_section=True)
    return out


def beside(scores: Mapping[str, float], subset: str) -> list[str]:
    """The published accuracy and log loss of the challenge's baseline on a subset, beside metrics of the whole official
    test split; beside others nothing: two cells, or none.

    Args:
        scores: of a score.json.
        subset: see MetricRow.
    """
    if not is_whole(scores):
        return []
    name = subset and f"/{subset}"
    known = baseline_scores()
    return [percent(known.get(f"test/accuracy{name}")), nats(known.get(f"test/log_loss{name}"))]


def device_rows(scores: Mapping[str, float]) -> list[list[str]]:
    """Of a finished run whose student has tensors of devices, a row for all clips and for each device: the test split
    with and without tensors of the device, and the differences; of other runs nothing."""
    own, general = metric_rows(scores), metric_rows(scores, "test/general")
    found = []
    for subset in general:
        if subset != WHOLE and not subset.startswith("device/"):
            continue
        of, row, name = general[subset], own[subset], subset and f"/{subset}"
        points, loss = (scores[f"test/minus_general/{metric}{name}"] for metric in ("accuracy", "log_loss"))
        accuracies = percent(of.accuracy), percent(row.accuracy), f"{100 * points:+.1f}"
        losses = nats(of.log_loss), nats(row.log_loss), f"{loss:+.3f}"
        found.append([subset.removeprefix("device/") or "all (macro)", *accuracies, *losses])
    return found


def devices_table(scores: Mapping[str, float]) -> Table:
    """Those rows for a terminal."""
    out = empty_table(BY_DEVICE, DEVICE_COLUMNS)
    for row in device_rows(scores):
        out.add_row(*row)
    return out


def confusion_table(counts: Sequence[Sequence[int]], scenes: Sequence[str]) -> Table:
    """How many clips of each scene (rows) were classified as each scene (columns), and the recall of each."""
    columns = ["", *map(str, range(len(scenes))), "recall"]
    out = empty_table("true scenes (rows) and predicted scenes (columns)", columns)
    for number, (scene, row) in enumerate(zip(scenes, counts, strict=True)):
        recall = f"{100 * row[number] / sum(row):.0f} %" if any(row) else "-"
        out.add_row(f"{number} {scene}", *(str(count) if count else "." for count in row), recall)
    return out


def layers_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    """Bits, bytes and sensitivities, layer by layer."""
    out = Table("layers: bits, bytes, divergence (nats) if rounded alone")
    for column in layers[0]:
        out.add_column(column.replace("_", " "), justify="left" if column == "layer" else "right")
    for layer in layers:
        values = [layer.get(column, "") for column in layers[0]]
        out.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in values))
    return out


def ensemble_tables(scores: Mapping[str, float], names: Sequence[str]) -> list[Table]:
    """Members and ensemble side by side: overall metrics of both splits, then accuracy by device.

    Args:
        scores: of the ensemble's score.json; those of a member are named <member>/<name>.
        names: of the members.
    """
    splits = ("validation", "test")
    prefixes = {**{name: f"{name}/" for name in names}, ENSEMBLE: ""}
    rows = {name: {split: metric_rows(scores, prefix + split) for split in splits} for name, prefix in prefixes.items()}
    overall = empty_table("accuracy (macro), log loss, calibration error", ["", "weight", "temperature", *splits])
    for name, prefix in prefixes.items():
        chosen = [nats(scores.get(f"{prefix}{key}")) for key in ("weight", "temperature")] if prefix else ["", ""]
        wholes = [rows[name][split].get(WHOLE) for split in splits]
        cells = [f"{both(whole)}  {nats(whole.calibration_error)}" if whole else "" for whole in wholes]
        overall.add_row(name, *chosen, *cells)
    devices = empty_table("accuracy by device: validation | test", ["", *prefixes])
    for subset in rows[ENSEMBLE]["test"]:
        if subset.startswith("device/"):
            pairs = [[rows[name][split].get(subset) for split in splits] for name in prefixes]
            words = [" | ".join(f"{100 * row.accuracy:5.1f} %" if row else "-" for row in pair) for pair in pairs]
            devices.add_row(subset.removeprefix("device/"), *words)
    return [table for table in (overall, devices) if table.row_count]


def empty_table(title: str, columns: Sequence[str]) -> Table:
    """An empty table: the first column names the rows, the others hold numbers."""
    out = Table(title)
    for number, column in enumerate(columns):
        out.add_column(column, justify="right" if number else "left")
    return out


def both(row: MetricRow | None) -> str:
    """Accuracy and log loss in one cell."""
    return "" if row is None else f"{100 * row.accuracy:5.1f} %  {nats(row.log_loss)}"
