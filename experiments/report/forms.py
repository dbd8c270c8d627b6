"""The numeric forms of a student side by side, see evaluation/forms.py: tables for terminals and pages."""

from collections.abc import Mapping, Sequence

from experiments.evaluation.forms import (
    FLOAT,
    FLOAT_FRONT_END,
    HOST,
    PTQ,
    STORED,
    agreement_name,
    cost_prefix,
    difference_name,
    metric_prefix,
)
from experiments.report.numbers import nats, percent
from experiments.report.page import Grid
from experiments.report.tables import (
    WHOLE,
    both,
    device_rows,
    devices_table,
    empty_table,
    layers_table,
    metric_rows,
    subset_words,
)
from experiments.report.terminal import Table
from experiments.runs.reader import RunFiles
from students.device.cost import ESTIMATES
from students.limits import LIMITS, Complexity, counted

FORMS = {  # titles of columns
    FLOAT: "float",
    PTQ: "integer, before",
    FLOAT_FRONT_END: "integer, float front end",
    STORED: "integer",
    HOST: "host",
}
HALVES = "16-bit floats"  # the stored form where nothing is integer
ON_PAGES = {
    STORED: "as stored",
    FLOAT: "float",
    PTQ: "integer, before",
    FLOAT_FRONT_END: "as stored, float front end",
    HOST: "host's kernels",
}


def quantization_tables(run: RunFiles) -> list[Table]:
    """Of a finished run of the quantize stage: the layers, where their bits differ, the forms side by side, and what
    tensors of devices gain, if there are some."""
    mixed = len({layer["bits"] for layer in run.layers}) > 1
    devices = [devices_table(run.scores)] if device_rows(run.scores) else []
    return [*([layers_table(run.layers)] if mixed else []), forms_table(run.scores), *devices]


def forms_table(scores: Mapping[str, float]) -> Table:
    """The forms of a student side by side: accuracy and log loss by subset, differences to the float form with their
    95 % intervals over recordings, then costs and the task's limits."""
    rows = {form: metric_rows(scores, metric_prefix(form)) for form in FORMS}
    forms = [form for form in FORMS if rows[form]]
    titles = FORMS if HOST in forms else {**FORMS, STORED: HALVES}
    out = empty_table("test split: accuracy and log loss", ["", *(titles[form] for form in forms)])
    subsets = list(rows[FLOAT])
    for subset in subsets:
        cells = [both(rows[form].get(subset)) for form in forms]
        out.add_row(subset_words(subset), *cells, end_section=subset == subsets[-1])
    for other in (FLOAT, FLOAT_FRONT_END):
        if other in forms:
            _add_differences(out, scores, forms, other)
    for cost in (*Complexity._fields, *ESTIMATES):
        limit = f", at most {LIMITS[cost]:,}" if cost in LIMITS else ""
        words = ESTIMATES.get(cost, cost.replace("_", " ")) + limit
        if any(cells := [_cost(scores, cost_prefix(form), cost) for form in forms]):
            out.add_row(words, *cells)
    return out


def _add_differences(out: Table, scores: Mapping[str, float], forms: Sequence[str], other: str) -> None:
    """Rows of the agreement of each form with another one, and of the differences, with their intervals."""
    words = other.replace("_", " ")
    agreements = [scores.get(agreement_name(form, other)) for form in forms]
    out.add_row(f"same class as {words}", *("" if share is None else f"{100 * share:5.1f} %" for share in agreements))
    for metric, factor, digits in (("accuracy", 100, 1), ("log_loss", 1, 3)):
        cells = [_difference(scores, difference_name(form, other, metric), factor, digits) for form in forms]
        out.add_row(f"minus {words}: {metric.replace('_', ' ')}", *cells, end_section=metric == "log_loss")


def forms_grids(scores: Mapping[str, float]) -> list[Grid]:
    """The forms for a page: accuracy and log loss of all clips, and the share of clips with the same class and the
    difference of the log losses, from the float form and, where it is another one, from the student's own front end."""
    wholes = {form: metric_rows(scores, metric_prefix(form)).get(WHOLE) for form in ON_PAGES}
    if sum(whole is not None for whole in wholes.values()) < 2:
        return []
    others = [other for other in (FLOAT, FLOAT_FRONT_END) if wholes[other]]
    columns, rows = ["", "accuracy", "log loss"], []
    for other in others:
        words = other.replace("_", " ")
        columns += [f"same class as {words}", f"log loss minus {words} (95 %, over recordings)"]
    for form, whole in wholes.items():
        if whole is not None:
            cells = [ON_PAGES[form], percent(whole.accuracy), nats(whole.log_loss)]
            for other in others:
                cells.append(percent(scores.get(agreement_name(form, other))))
                cells.append(_difference(scores, difference_name(form, other, "log_loss"), 1, 3))
            rows.append(cells)
    return [Grid("Forms of the student", columns, rows)]


def _difference(scores: Mapping[str, float], name: str, factor: int, digits: int) -> str:
    found = [scores.get(name + end) for end in ("", "/low", "/high")]
    if None in found:
        return ""
    value, low, high = (f"{factor * number:+.{digits}f}" for number in found if number is not None)
    return f"{value} ({low} to {high})"


def _cost(scores: Mapping[str, float], prefix: str, cost: str) -> str:
    """A cost, and whether it is within the limit."""
    if (value := scores.get(prefix + cost)) is None:
        return ""
    costs = {name: scores[prefix + name] for name in Complexity._fields if prefix + name in scores}
    number = counted(costs, stored=prefix != cost_prefix(FLOAT)).get(cost)
    return f"{int(value):,}{'' if number is None else '  ok' if number <= LIMITS[cost] else '  over'}"
