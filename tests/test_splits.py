"""Holding locations out: the rules, over random metadata."""

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


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_must_leave_something_on_both_sides(fraction: float) -> None:
    """Oracle: the message."""
    for into in ("validation", "test"):
        with pytest.raises(UserError, match=f"data.{into}_fraction=.* between 0 and 1"):
            hold_out([], into=into, fraction=fraction)


@pytest.mark.parametrize(("folds", "fold"), [(3, None), (None, 0), (3, 3), (3, -1)])
def test_folds_need_a_number_and_a_choice(folds: int | None, fold: int | None) -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match="give both, with fold from 0"):
        hold_out([], folds=folds, fold=fold)
