"""Holding locations out: the rules, over random metadata."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.scenes import SCENES, Clip, parse_filename
from data.splits import hold_out, location_folds, validation_locations

clip_sets = st.lists(
    st.tuples(
        st.sampled_from(SCENES), st.sampled_from(["rome", "oslo", "bern"]), st.integers(0, 12), st.integers(0, 9)
    ),
    min_size=1,
    max_size=120,
    unique=True,
).map(lambda rows: [parse_filename(f"audio/{s}-{c}-{p}-{p}-{part}-a.wav", "train") for s, c, p, part in rows])


def places_of(clips: list[Clip], split: str) -> set[str]:
    return {clip.location for clip in clips if clip.split == split}


@given(clip_sets, st.floats(0.05, 0.95), st.integers(0, 3))
def test_no_location_is_on_both_sides_and_every_city_is(clips: list[Clip], fraction: float, seed: int) -> None:
    """Oracle: the rule itself, over random metadata, in any order of the clips."""
    held_out = validation_locations(clips, fraction=fraction, seed=seed)
    stays = {c.location for c in clips} - held_out
    for city in {c.city for c in clips}:
        places = {c.location for c in clips if c.city == city}
        assert places & stays
        assert bool(places & held_out) == (len(places) > 1)
    assert validation_locations(clips[::-1], fraction=fraction, seed=seed) == held_out


@given(clip_sets, st.one_of(st.none(), st.tuples(st.integers(2, 5), st.integers(0, 4))), st.integers(0, 3))
def test_neither_a_location_nor_a_recording_is_ever_divided(
    clips: list[Clip], folds: tuple[int, int] | None, seed: int
) -> None:
    """Oracle: counting sides, over random metadata, for shares and for folds; the test clips stay what they are."""
    test = [parse_filename("audio/tram-rome-99-99-0-s6.wav", "test")]
    places = {clip.location for clip in clips}
    chosen = {} if folds is None else {"folds": folds[0], "fold": folds[1] % folds[0]}
    if folds and len(places) < folds[0]:
        with pytest.raises(UserError, match="number of train locations"):
            hold_out(clips + test, seed=seed, **chosen)
        return
    divided = hold_out(clips + test, seed=seed, **chosen)
    assert [c._replace(split="") for c in divided] == [c._replace(split="") for c in clips + test]
    assert divided[-1:] == test
    for name in ("location", "recording"):
        sides = {split: {getattr(c, name) for c in divided if c.split == split} for split in ("train", "validation")}
        assert not sides["train"] & sides["validation"]


@given(clip_sets, st.integers(2, 4), st.integers(0, 3))
def test_folds_hold_every_location_once_and_every_city_as_often_as_it_can(
    clips: list[Clip], folds: int, seed: int
) -> None:
    """Oracle: the rules of location_folds, over random metadata, in any order of the clips."""
    places = {clip.location for clip in clips}
    if len(places) < folds:
        return
    parts = location_folds(clips, folds=folds, seed=seed)
    assert Counter(place for part in parts for place in part) == Counter(places)
    for city in {clip.city for clip in clips}:
        own = {clip.location for clip in clips if clip.city == city}
        having = sum(bool(part & own) for part in parts)
        assert having == min(folds, len(own))
    assert location_folds(clips[::-1], folds=folds, seed=seed) == parts


def places(city: str, scene: str, sizes: list[int]) -> list[Clip]:
    """Train clips of a city and scene: as many locations as sizes, each with so many clips."""
    return [
        Clip(
            f"{city}-{scene}-{n}-{i}.wav",
            scene,
            city,
            f"{city}-{scene}-{n}",
            f"{city}-{scene}-{n}-{i}",
            0,
            "a",
            "train",
        )
        for n, size in enumerate(sizes)
        for i in range(size)
    ]


@pytest.mark.parametrize("fraction", [0.125, 0.25, 0.5, 0.75, 0.875])
def test_the_share_of_a_city_is_rounded_to_whole_locations(fraction: float) -> None:
    """Oracle: n equal locations, by hand: fraction * n rounded half up, at least one and at most n - 1."""
    for n in range(2, 13):
        chosen = validation_locations(places("rome", "park", [3] * n), fraction=fraction, seed=0)
        assert len(chosen) == min(n - 1, max(1, math.floor(fraction * n + 0.5)))


def test_scenes_that_lack_most_are_held_out_first() -> None:
    """Oracle: by hand, half of each: of two parks and two trams in either city one each; a scene that has lost its
    share in the first city is spared in the second, where only half of the locations may go."""
    clips = [clip for city in ("bern", "oslo") for scene in ("park", "tram") for clip in places(city, scene, [2, 2])]
    for seed in range(10):
        chosen = Counter(name.rsplit("-", 1)[0] for name in validation_locations(clips, fraction=0.5, seed=seed))
        assert chosen == {"bern-park": 1, "bern-tram": 1, "oslo-park": 1, "oslo-tram": 1}
    uneven = places("bern", "park", [4, 4]) + places("oslo", "park", [4, 4]) + places("oslo", "tram", [4, 4])
    for seed in range(10):
        chosen = validation_locations(uneven, fraction=0.25, seed=seed)
        assert {name.rsplit("-", 1)[0] for name in chosen} == {"bern-park", "oslo-tram"}


def test_a_need_is_relative_to_the_size_of_the_location() -> None:
    """Oracle: by hand: of eight clips at one location and two each at four more of a scene, two are wanted; the small
    location fits them, and the large one never goes."""
    clips = places("bern", "park", [8, 2, 2, 2, 2])
    for seed in range(10):
        assert "bern-park-0" not in validation_locations(clips, fraction=0.125, seed=seed)


def test_folds_share_the_clips_of_cities_and_scenes_evenly() -> None:
    """Oracle: by hand: nine equal locations of one city and six of another are three and two in each of three folds,
    one of each scene; large locations are dealt out first, so that 4 and 2 + 2 are on two sides."""
    clips = [c for scene in ("bus", "park", "tram") for c in places("rome", scene, [2] * 3)]
    clips += [c for scene in ("bus", "park") for c in places("oslo", scene, [2] * 3)]
    for part in location_folds(clips, folds=3, seed=1):
        assert Counter(name.rsplit("-", 1)[0] for name in part) == dict.fromkeys(
            ("rome-bus", "rome-park", "rome-tram", "oslo-bus", "oslo-park"), 1
        )
    for seed in range(10):
        parts = location_folds(places("rome", "bus", [2, 4, 2]), folds=2, seed=seed)
        assert sorted(sorted(part) for part in parts) == [["rome-bus-0", "rome-bus-2"], ["rome-bus-1"]]


def test_the_locations_of_a_seed_are_those_of_earlier_versions() -> None:
    """Oracle: what commit 3a5d0b9 chose of these clips: whether each location is held out, and its fold."""
    clips = [
        clip
        for c, city in enumerate(("bern", "oslo", "rome"))
        for s, scene in enumerate(SCENES[:4])
        for clip in places(city, scene, [1 + (c + 2 * s + n) % 4 for n in range(3)])
    ]
    names = sorted({clip.location for clip in clips})
    held_out, folds = validation_locations(clips, fraction=0.3, seed=7), location_folds(clips, folds=4, seed=7)
    assert "".join(str(int(name in held_out)) for name in names) == "110001110001100011100011001110001110"
    fold = {name: str(number) for number, part in enumerate(folds) for name in part}
    assert "".join(fold[name] for name in names) == "013213203201102023321301230301201231"
    assert hold_out(clips) == hold_out(clips, into="validation", fraction=0.3, seed=0)
    divided = hold_out(clips, folds=4, fold=2, seed=7)
    assert {clip.location for clip in divided if clip.split == "validation"} == folds[2]


def test_no_scene_loses_its_last_location_if_the_city_has_another() -> None:
    """Oracle: one city with a park, which is the only one, and nine trams: the park always stays."""
    names = ["audio/park-rome-0-0-0-a.wav", *(f"audio/tram-rome-{n}-{n}-0-a.wav" for n in range(1, 10))]
    clips = [parse_filename(name, "train") for name in names]
    for seed in range(20):
        assert "rome-0" not in validation_locations(clips, fraction=0.5, seed=seed)


def test_a_location_of_several_scenes_is_held_out_whole() -> None:
    """Oracle: ten homes where both of two activities were recorded; 30 % is three of them."""
    clips = [Clip(f"{n}{s}.wav", s, "", f"home {n}", f"{n}{s}", 0, "a", "train") for n in range(10) for s in "xy"]
    divided = hold_out(clips, fraction=0.3)
    assert len(places_of(divided, "validation")) == 3
    assert len(places_of(divided, "train")) == 7


@pytest.mark.parametrize("fraction", [1.0, -1.0, float("nan")])
def test_a_share_must_leave_something_to_train_on(fraction: float) -> None:
    """Oracle: the message."""
    for into in ("validation", "test"):
        with pytest.raises(UserError, match=f"data.{into}_fraction=.* must be from 0 to below 1"):
            hold_out([], into=into, fraction=fraction)


@pytest.mark.parametrize(("folds", "fold"), [(3, None), (None, 0), (3, 3), (3, -1)])
def test_folds_need_a_number_and_a_choice(folds: int | None, fold: int | None) -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match="give both, with fold from 0"):
        hold_out([], folds=folds, fold=fold)
