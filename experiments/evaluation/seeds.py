"""Statistics over seeds: runs of equal settings as one group, its mean and spread, and paired differences.

Conventions: metrics are as in score.json (accuracies in [0, 1], log losses in nats). A sample is seed -> metric.
Intervals are two-sided, of a mean, by Student's t with n - 1 degrees of freedom; they take the seeds' metrics (or
their differences) as independent and normal. Each is at its level by itself: nothing is corrected for how many there
are. They are about other seeds on the same clips, not about other clips.
Source of the paired interval: Student, "The Probable Error of a Mean", Biometrika 1908.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from data.errors import UserError, listed
from experiments.evaluation.metrics import metrics_under
from experiments.evaluation.multi_label import CROSS_ENTROPY, TITLES

LEVEL = 0.95
FEWEST = 3  # seeds of an interval that is shown: of two, Student's t makes it 18 times as wide as their deviation
MOST_KEYS = 4  # that differ: with more, the runs' own name is the shorter label
DATA = ("waves", "clips")  # inputs that must be equal for metrics to be comparable
OF_HELD_OUT = ("validation", "held_out")  # the latter of a run with refit=true: by its first phase
METRIC = re.compile(
    rf"(test|float)/(accuracy|log_loss|accuracy/group/[^/]+|{'|'.join(TITLES)})|"
    rf"({'|'.join(OF_HELD_OUT)})/(log_loss|divergence|{CROSS_ENTROPY})"
)

Sample = Mapping[int, float]


class Result(NamedTuple):
    """A finished run: its folder, flat settings (dotted key -> value, without the seed), inputs and scores; `part` is
    of how many clips of the official test split these are, in words, if not of all."""

    folder: str
    seed: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    scores: Mapping[str, float]
    part: str | None = None

    @property
    def name(self) -> str:
        """The folder's name without what a sweep over seeds added."""
        return re.sub(rf"-seed_{self.seed}(?=[-.]|$)", "", self.folder.rstrip("/").split("/")[-1])


class Setting(NamedTuple):
    """Runs that differ in the seed only, by seed; `label` says what distinguishes them from the others."""

    label: str
    runs: Mapping[int, Result]

    @property
    def name(self) -> str:
        """Of its first run."""
        return next(iter(self.runs.values())).name

    def sample(self, metric: str) -> dict[int, float]:
        """seed -> metric, of the runs that have it."""
        return {seed: run.scores[metric] for seed, run in self.runs.items() if metric in run.scores}


class Estimate(NamedTuple):
    """Of n numbers: mean (n > 0), standard deviation (divided by n - 1) and interval of the mean (n > 1), or None."""

    n: int
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None


def group(results: Sequence[Result]) -> list[Setting]:
    """Settings in the order of their first run.

    Runs of equal settings and equal seed that have different names (which used other logits, say, or other clips) are
    told apart by name.

    Raises:
        UserError: one seed twice, of one setting and one name.
    """
    groups = [
        part
        for same in _split(results, lambda run: json.dumps(run.settings, sort_keys=True))
        for part in ([same] if _seeds_are_unique(same) else _split(same, lambda run: run.name))
    ]
    if twice := [run.folder for part in groups if not _seeds_are_unique(part) for run in part]:
        raise UserError(
            f"these runs have the same settings, and a seed occurs twice:\n{listed(twice)}\n"
            "name one run a seed, or give different settings different names"
        )
    by_seed = [{run.seed: run for run in sorted(part, key=lambda run: run.seed)} for part in groups]
    return list(map(Setting, _labels(groups), by_seed))


def reference_of(settings: Sequence[Setting], wanted: str | None) -> Setting:
    """The setting whose label or name is, or else contains, `wanted`; without it the first.

    Raises:
        UserError: none or several.
    """
    if wanted is None:
        return settings[0]
    exact = [s for s in settings if wanted in (s.label, s.name)]
    found = exact or [s for s in settings if wanted in s.label or wanted in s.name]
    if len(found) != 1:
        raise UserError(
            f"summary.reference={wanted} is found in {len(found)} of these settings, and must be in one:\n"
            + listed([s.label if s.name in s.label else f"{s.label} ({s.name})" for s in settings])
        )
    return found[0]


def all_metrics(settings: Sequence[Setting]) -> list[str]:
    """The names of all metrics that one of the runs has; edges of a run's intervals are none: their means are no edges
    of an interval of the mean."""
    return list(
        dict.fromkeys(name for s in settings for run in s.runs.values() for name in metrics_under("", run.scores))
    )


def headline(metrics: Sequence[str]) -> list[str]:
    """Those metrics that a summary shows first, of the validation split last."""
    return sorted(filter(METRIC.fullmatch, metrics), key=lambda name: name.startswith(OF_HELD_OUT))


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, standard deviation and interval of the mean: mean +- t(n - 1) deviation / sqrt(n)."""
    n = len(values)
    if n == 0:
        return Estimate(0)
    mean = float(np.mean(values))
    if n == 1:
        return Estimate(1, mean)
    deviation = float(np.std(values, ddof=1))
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * deviation / n**0.5
    return Estimate(n, mean, deviation, mean - half, mean + half)


def paired(sample: Sample, reference: Sample) -> Estimate:
    """Of sample - reference, over the seeds that both have."""
    return estimate([sample[seed] - reference[seed] for seed in sorted(sample.keys() & reference.keys())])


def caveats(settings: Sequence[Setting], reference: Setting) -> list[str]:
    """Warnings in words: other data, inputs that differ besides the seed, settings that only names tell apart, seeds
    without a partner."""
    found = []
    runs = [run for s in settings for run in s.runs.values()]
    if other := [name for name in DATA if _differs(runs, name)]:
        found.append(f"the runs are of different data (inputs {', '.join(other)}): their metrics are not comparable")
    for same in _split(settings, lambda s: json.dumps(next(iter(s.runs.values())).settings, sort_keys=True)):
        if len(same) > 1:
            found.append(
                f"the settings are equal, and told apart by the runs' names: {', '.join(s.name for s in same)}"
            )
    for s in settings:
        if other := _other_inputs([list(s.runs.values())]):
            found.append(f"{s.label}: the seeds' {', '.join(other)} differ, so that the spread is of these too")
        if s is not reference:
            found += _caveats_of_pairs(s, reference)
    return found


def doubts_about(settings: Sequence[Setting]) -> list[str]:
    """What is to be known of the means themselves, in words: a part of the official test split, seeds too few."""
    parts = dict.fromkeys(run.part for s in settings for run in s.runs.values() if run.part)
    found = [f"test metrics are of {part} of the official test split" for part in parts]
    lone = [s.label for s in settings if len(s.runs) == 1]
    return found + [f"{label}: of one seed a deviation is not defined" for label in lone]


def _caveats_of_pairs(setting: Setting, reference: Setting) -> list[str]:
    found, common = [], setting.runs.keys() & reference.runs.keys()
    if other := _other_inputs([[setting.runs[seed], reference.runs[seed]] for seed in common]):
        found.append(f"{setting.label}: not of the same {', '.join(other)} as {reference.label}")
    if lone := sorted(setting.runs.keys() ^ reference.runs.keys()):
        found.append(
            f"{setting.label}: {len(common) or 'no'} seeds in common with {reference.label} "
            f"(only one of them has {', '.join(map(str, lone))})"
        )
    return found


def _other_inputs(groups: Sequence[Sequence[Result]]) -> list[str]:
    """Inputs besides the data that are not the same within each group, of those that all its runs have."""
    names = dict.fromkeys(name for runs in groups for run in runs for name in run.inputs if name not in DATA)
    return [
        name
        for name in names
        if any(_differs(runs, name) for runs in groups if all(name in run.inputs for run in runs))
    ]


def _split(items: Sequence[Any], key: Callable[[Any], str]) -> list[list[Any]]:
    """Lists of those of equal key, in order of appearance."""
    parts: dict[str, list[Any]] = {}
    for item in items:
        parts.setdefault(key(item), []).append(item)
    return list(parts.values())


def _seeds_are_unique(runs: Sequence[Result]) -> bool:
    return len({run.seed for run in runs}) == len(runs)


def _differs(runs: Sequence[Result], name: str) -> bool:
    return len({run.inputs.get(name) for run in runs}) > 1


def _labels(groups: Sequence[Sequence[Result]]) -> list[str]:
    """The keys that differ and their values; the runs' name where settings do not tell or would be too many, with the
    stage before it where stages have runs of one name."""
    flats = [part[0].settings for part in groups]
    known = dict.fromkeys(key for flat in flats for key in flat)
    keys = [key for key in known if len({json.dumps(flat.get(key, "-")) for flat in flats}) > 1]
    short = [key.split(".", 1)[-1] for key in keys]  # student.distill.x -> distill.x
    short = short if len(set(short)) == len(short) else keys
    values = [[_word(flat[key]) if key in flat else "-" for key in keys] for flat in flats]
    labels = [" ".join(map("{}={}".format, short, row)) for row in values]
    names = [part[0].name for part in groups]
    places = [
        "/".join([*part[0].folder.rstrip("/").split("/")[-2:-1], name])
        for part, name in zip(groups, names, strict=True)
    ]
    both = [f"{name} {label}".rstrip() for name, label in zip(names, labels, strict=True)]
    choices = [names, places, both] if len(groups) == 1 or len(keys) > MOST_KEYS else [labels, names, both]
    folders = [part[0].folder for part in groups]
    return next((choice for choice in choices if len(set(choice)) == len(choice)), folders)


def _word(value: Any) -> str:
    """As on the command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
