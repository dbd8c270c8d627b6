"""What a search found, beside what was drawn at random.

Conventions: systems are in the order of their ranges of cost, the cheapest first; a network with 8 and with 4 bits is
two systems.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from experiments.datasets.datamodule import DataModule
from experiments.search.answers import SPLIT, read_answers
from experiments.search.costs import Cost
from experiments.search.front import FOUND, RANDOM, Clips, Difference, Searched, difference_of, metrics_of
from experiments.search.halving import Outcome, Trial
from experiments.search.space import Network


@dataclass(frozen=True)
class Results:
    """Of a search.

    Attributes:
        systems: found and drawn at random.
        differences: of each range of cost, found minus random, with most bits; "all ranges" is the last one. Empty
            without a control.
    """

    systems: Sequence[Searched]
    differences: Mapping[str, Difference]

    @property
    def found(self) -> list[Searched]:
        """Those that were not drawn at random."""
        return [system for system in self.systems if system.kind == FOUND]

    @property
    def random(self) -> list[Searched]:
        """Those that were."""
        return [system for system in self.systems if system.kind == RANDOM]


def results_of(
    outcome: Outcome,
    costs: Mapping[str, Mapping[int, Cost]],
    networks: Mapping[str, Network],
    data: DataModule,
    folder: Path,
    diverged: Collection[tuple[Trial, int]],
) -> Results:
    """Read the answers of the last trainings.

    Args:
        outcome: which these are.
        costs: of networks within the budget, by key and number of bits.
        networks: by key.
        data: whose clips held out were answered.
        folder: of the search.
        diverged: trials with numbers of bits, which have no answers.

    Raises:
        UserError: all of them did; or answers are gone, or damaged.
    """
    rows = data.clips.indices(SPLIT)
    recordings = [data.clips.clips[row].recording for row in rows]
    clips = Clips(data.clips.labels[rows], len(data.clips.scenes), recordings)

    def is_trained(trials: Sequence[Trial], bits: int) -> bool:
        return not any((trial, bits) in diverged for trial in trials)

    systems = []
    for kind, ranges in ((FOUND, outcome.found), (RANDOM, outcome.control)):
        for place, trials in enumerate(ranges):
            for bits, cost in costs[trials[0].network].items():
                if not is_trained(trials, bits):
                    continue
                found = metrics_of(clips, [read_answers(folder, trial.key, bits, data) for trial in trials])
                systems.append(
                    Searched(
                        network=networks[trials[0].network],
                        bits=bits,
                        cost=cost,
                        place=place,
                        kind=kind,
                        trials=[trial.key for trial in trials],
                        metrics=found,
                    )
                )
    if not any(system.kind == FOUND for system in systems):
        raise UserError("all of the longest trainings diverged: lower student.fit.learning_rate, and give another name")
    pairs = {}
    for place, both in enumerate(zip(outcome.found, outcome.control, strict=False)):
        widths = [next(iter(costs[trials[0].network])) for trials in both]
        if all(is_trained(trials, bits) for trials, bits in zip(both, widths, strict=True)):
            answers = [
                [read_answers(folder, trial.key, bits, data) for trial in trials]
                for trials, bits in zip(both, widths, strict=True)
            ]
            pairs[f"{place + 1}"] = list(zip(*answers, strict=True))
    differences = {name: difference_of(clips, some) for name, some in pairs.items()}
    if pairs:
        differences["all ranges"] = difference_of(clips, [pair for some in pairs.values() for pair in some])
    return Results(systems, differences)
