"""Whom the systems of a search are ranked among."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.evaluation.entrants import Year, entrants, weights_of
from experiments.evaluation.ranking import System
from experiments.evaluation.systems import PUBLISHED, read_systems
from experiments.search.front import Searched, picked


class Published(NamedTuple):
    """Whom systems are ranked among: others, the weights of the ranks, and the year whose rule that is."""

    others: Sequence[System]
    weights: Mapping[str, float]
    year: Year

    def points(self, system: Searched) -> float:
        """That a system can expect among them."""
        return system.points(self.others, self.weights)

    def picks(self, systems: Sequence[Searched]) -> list[Searched]:
        """The systems with the fewest points, the best first."""
        return [systems[number] for number in picked([self.points(system) for system in systems])]


def published_by(year: Year, kind: str | None, path: str | None) -> Published:
    """The systems that can be ranked by the rule of a year.

    Args:
        year: of the challenge, or all.
        kind: the set that their accuracies must be of; None: any, see entrants.
        path: of a table of systems; None: the published ones.

    Raises:
        UserError: see read_systems.
    """
    others, _ = entrants(read_systems(PUBLISHED if path is None else path), year, kind)
    return Published(others, weights_of(year), year)
