"""Which systems a year's ranking is of: one accuracy a system, of the clips and the train subsets of that year's task.

Conventions: a system of which both sets are known counts with its accuracy on the evaluation set, which the organisers
ranked by. In 2024 a system is five trainings, one on each subset of the train split, and its accuracy is their mean.
With ALL, systems of all years are ranked together, those of 2024 by their training on the whole split.
"""

from collections.abc import Mapping, Sequence

from data.errors import counted
from experiments.evaluation.ranking import RULES, TRAINED_ON, WEIGHTS, Standing, System, over_limits

DEVELOPMENT, EVALUATION = "development", "evaluation"
SETS = {DEVELOPMENT: "the development set's test split", EVALUATION: "the evaluation set", "": "a set not named"}
ALL = "all"
FORMULA_YEAR = 2023  # whose formula ranks the systems of all years
NOT_READ = (2022,)  # years whose rule was not found

Year = int | str


def weights_of(year: Year) -> Mapping[str, float]:
    """Of the ranks, by the rule of a year."""
    return RULES[FORMULA_YEAR if year == ALL else int(year)]


def rule_of(year: Year) -> str:
    """By what systems are ranked, in words."""
    if weights_of(year) == WEIGHTS:
        return "0.5 rank of accuracy + 0.25 of memory + 0.25 of multiply-accumulates"
    mean = "the mean accuracy of five trainings, a train subset each"
    return f"rank of {mean if len(TRAINED_ON[int(year)]) > 1 else 'accuracy'}"


def entrants(systems: Sequence[System], year: Year, kind: str | None = None) -> tuple[list[System], dict[str, str]]:
    """The systems that are ranked; and by name, what others have for which they are not.

    Args:
        systems: of any years.
        year: of the challenge, or ALL.
        kind: the set that published accuracies must be of; None: any, see above.
    """
    some = [s for s in systems if year in (ALL, s.year) or s.year is None]
    if kind is None:
        evaluated = {(s.name, s.year) for s in some if s.set == EVALUATION}
        some = [s for s in some if s.set != DEVELOPMENT or (s.name, s.year) not in evaluated]
    else:
        some = [s for s in some if s.own or s.set == kind]
    left_out: dict[str, str] = {}
    if year == ALL:
        some = [s for s in some if s.year is None or s.subset in (None, max(TRAINED_ON[s.year]))]
        some = [s if s.year is None else s._replace(name=f"{s.name}, {s.year}") for s in some]
    elif len(TRAINED_ON[int(year)]) > 1:
        some, left_out = _means(some, TRAINED_ON[int(year)])
    for system in some:
        unknown = [cost.replace("_", " ") for cost in weights_of(year) if getattr(system, cost) is None]
        if reasons := over_limits(system) or ([f"unknown {' and '.join(unknown)}"] if unknown else []):
            left_out[system.name] = "; ".join(reasons)
    return [system for system in some if system.name not in left_out], left_out


def reasons_of(left_out: Mapping[str, str]) -> list[str]:
    """Why systems are not ranked, in words, those of one reason together."""
    names = {why: [name for name, other in left_out.items() if other == why] for why in left_out.values()}
    return [f"not ranked: {in_words(some)} {'has' if len(some) == 1 else 'have'} {why}" for why, some in names.items()]


def in_words(names: Sequence[str]) -> str:
    """A list of names, in which there may be commas."""
    return "; ".join(names)


def caveats(standings: Sequence[Standing], year: Year = FORMULA_YEAR) -> list[str]:
    """Warnings in words: what stands in one column and does not compare."""
    systems, found = [standing.system for standing in standings], []
    names = {kind: [s.name for s in systems if s.set == kind] for kind in SETS}
    names = {kind: members for kind, members in names.items() if members}
    if len(names) > 1:
        of = " and ".join(f"{SETS[kind]} ({in_words(members)})" for kind, members in names.items())
        found.append(f"accuracies of different sets are compared here, which the organisers would not do: {of}")
    if selected := [s.name for s in systems if s.selected_on]:
        found.append(f"chosen by the test split that they are of, so upper bounds: {in_words(selected)}")
    if year == ALL:
        found.append(
            f"all years by the formula of {FORMULA_YEAR}: train sets, external data and evaluation sets differ"
        )
    elif year in NOT_READ:
        found.append(
            f"the rule of {year} was not found, so systems are ordered by accuracy; the organisers' first was another"
        )
    own = [s for s in systems if s.own]
    if year != ALL and (other := [s for s in own if s.subset not in (None, *TRAINED_ON[int(year)])]):
        words = in_words([f"{s.name} on {s.subset} %" for s in other])
        found.append(
            f"in {year} students were trained on {_percent(TRAINED_ON[int(year)])} of the train split: {words}"
        )
    if parts := of_parts(own):
        found.append(parts)
    return found


def of_parts(systems: Sequence[System]) -> str:
    """What is said of one's own systems whose accuracies are not of the whole official test split; "" of none."""
    parts = [f"{s.name} ({s.part})" for s in systems if s.part]
    return f"not of the whole official test split, and so not comparable: {in_words(parts)}" if parts else ""


def _means(systems: Sequence[System], subsets: Sequence[int]) -> tuple[list[System], dict[str, str]]:
    """A system for each that was trained on every subset, with the mean of its accuracies; one's own runs are one
    system together."""
    groups: dict[tuple[str, str], list[System]] = {}
    for system in systems:
        groups.setdefault(("", DEVELOPMENT) if system.own else (system.name, system.set), []).append(system)
    found, left_out = [], {}
    for members in groups.values():
        numbers, first = [s.subset for s in members], members[0]
        name = first.name if len(members) == 1 or not first.own else f"{first.name} and {len(members) - 1} more"
        missing = [subset for subset in subsets if subset not in numbers]
        if missing:
            known = "accuracies on subsets" if not first.own else "trainings on subsets (data.subset)"
            left_out[name] = f"no {known} of {_percent(missing)}"
        elif len(numbers) > len(subsets):
            left_out[name] = f"{counted(len(numbers), 'training')}, not one on each of {_percent(subsets)}"
        else:
            costs = [[getattr(s, cost) for s in members] for cost in ("parameter_bytes", "macs")]
            size, macs = (None if None in values else max(values) for values in costs)
            mean = sum(s.accuracy for s in members) / len(members)
            chosen = next((s.selected_on for s in members if s.selected_on), "")
            found.append(
                first._replace(
                    name=name, accuracy=mean, parameter_bytes=size, macs=macs, subset=None, selected_on=chosen
                )
            )
    return found, left_out


def _percent(subsets: Sequence[int]) -> str:
    return f"{', '.join(map(str, subsets))} %"
