"""Which clips to hold out from training: whole locations, so that no place of training is validated on.

Conventions: a split is a label of each clip (data/scenes.py, SPLITS). All choices depend on the set of clips and the
seed only, not on the clips' order. A recording lies in one location, so it is never divided either.
"""

import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence

from data.errors import UserError
from data.scenes import Clip

Place = tuple[tuple[str, int], ...]  # (scene, clips) pairs of a location, sorted


def hold_out(
    clips: Sequence[Clip],
    *,
    into: str = "validation",
    fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
) -> list[Clip]:
    """Turn the train clips of some locations into validation (or other) clips.

    Args:
        clips: of any split; only train clips are touched.
        into: the split that they go to.
        fraction: about this share of every city and scene; see validation_locations. 0: nothing is held out.
        folds, fold: instead of that, the locations of one of so many folds; see location_folds.
        seed: chooses the locations.

    Raises:
        UserError: the settings are out of range or contradict each other.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"data.{into}_fraction={fraction} must be from 0 to below 1")
    train = [clip for clip in clips if clip.split == "train"]
    if folds is None and fold is None:
        if not fraction:
            return list(clips)
        held_out = validation_locations(train, fraction=fraction, seed=seed)
    elif folds is None or fold is None or not 0 <= fold < folds:
        raise UserError(
            f"data.folds={folds} and data.fold={fold}: give both, with fold from 0 to folds - 1, or neither"
        )
    else:
        held_out = location_folds(train, folds=folds, seed=seed)[fold]
    return [
        clip._replace(split=into) if clip.split == "train" and clip.location in held_out else clip for clip in clips
    ]


def validation_locations(clips: Iterable[Clip], *, fraction: float, seed: int) -> set[str]:
    """Choose the locations to hold out: about `fraction` of the clips of every city and of every scene.

    In every city that has two locations or more, at least one is held out and at least one stays, so that both sides
    contain every city, as in the DCASE baseline; and no scene loses its last location, unless the rule of the cities
    demands it.
    """
    cities = _places(clips)
    clips_of: Counter[str] = Counter()
    places_of: Counter[str] = Counter()
    for place in (place for places in cities.values() for place in places.values()):
        clips_of.update(dict(place))
        places_of.update(scene for scene, _ in place)
    wanted = {scene: fraction * n for scene, n in clips_of.items()}

    rng, held_out = random.Random(seed), set()
    for city in sorted(cities):
        candidates = sorted(cities[city])
        rng.shuffle(candidates)
        # Locations of equal content are interchangeable: one queue for them, in the order of the shuffle.
        queues: dict[Place, deque[tuple[int, str]]] = defaultdict(deque)
        for order, location in enumerate(candidates):
            queues[cities[city][location]].append((order, location))
        quota = fraction * sum(_size(place) for place in cities[city].values())
        for taken in range(len(candidates) - 1):
            # The scenes that still lack most come first; the shuffle decides among equals.
            best = max(queues, key=lambda p: (_spares(p, places_of), _need(p, wanted), -queues[p][0][0]))
            if taken and (quota < _size(best) / 2 or not _spares(best, places_of)):
                break
            held_out.add(queues[best].popleft()[1])
            if not queues[best]:
                del queues[best]
            quota -= _size(best)
            for scene, n in best:
                wanted[scene] -= n
                places_of[scene] -= 1
    return held_out


def location_folds(clips: Iterable[Clip], *, folds: int, seed: int) -> list[set[str]]:
    """Divide the locations among folds so that each has about the same share of every city, then of every scene.

    A city with as many locations as folds is in every fold; one with two or more is in the train side of every fold.

    Raises:
        UserError: fewer than two folds, or more folds than locations.
    """
    cities = _places(clips)
    if not 2 <= folds <= (most := sum(map(len, cities.values()))):
        raise UserError(f"data.folds={folds} must be from 2 to the number of train locations, {most}")
    rng = random.Random(seed)
    parts: list[set[str]] = [set() for _ in range(folds)]
    load: Counter = Counter()  # (fold, city or scene or None) -> clips
    for city in sorted(cities):
        locations = sorted(cities[city])
        rng.shuffle(locations)
        for location in sorted(locations, key=lambda name: -_size(cities[city][name])):
            place = cities[city][location]

            def burden(fold: int, city: str = city, place: Place = place) -> tuple[float, ...]:
                return load[fold, "city", city], sum(load[fold, "scene", s] for s, _ in place), load[fold], fold

            fold = min(range(folds), key=burden)
            parts[fold].add(location)
            load[fold, "city", city] += _size(place)
            load[fold] += _size(place)
            load.update({(fold, "scene", scene): n for scene, n in place})
    return parts


def _places(clips: Iterable[Clip]) -> dict[str, dict[str, Place]]:
    """city -> location -> its scenes and their numbers of clips."""
    counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for (city, location, scene), n in Counter((c.city, c.location, c.scene) for c in clips).items():
        counts[city, location][scene] += n
    cities: dict[str, dict[str, Place]] = defaultdict(dict)
    for (city, location), scenes in counts.items():
        cities[city][location] = tuple(sorted(scenes.items()))
    return cities


def _size(place: Place) -> int:
    return sum(n for _, n in place)


def _need(place: Place, wanted: dict[str, float]) -> float:
    """How much the scenes of a location are still wanted, relative to its size."""
    return sum(wanted[scene] * n for scene, n in place) / _size(place) ** 2


def _spares(place: Place, places_of: Counter) -> bool:
    """Whether every scene of the location has another location left."""
    return all(places_of[scene] > 1 for scene, _ in place)
