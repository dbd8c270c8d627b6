"""Recordings put together from clips: the samples at the joins, and where clips are missing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.recordings import Recordings, crop
from data.scenes import Clip, parse_filename

SAMPLES = 7


def clips_of(parts: dict[int, list[int]]) -> list[Clip]:
    """Segment -> its parts, shuffled."""
    names = [f"audio/tram-rome-1-{segment}-{part}-a.wav" for segment, found in parts.items() for part in found]
    return [parse_filename(name) for name in np.random.default_rng(0).permutation(names)]


def timeline(clips: list[Clip]) -> torch.Tensor:
    """Each sample's own number: 1000 * segment + its place in the recording."""
    rows = [1000 * int(clip.recording.split("-")[3]) + clip.part * SAMPLES + np.arange(SAMPLES) for clip in clips]
    return torch.tensor(np.array(rows))


segments = st.dictionaries(
    st.integers(0, 5), st.lists(st.integers(0, 9), min_size=1, max_size=10, unique=True), min_size=1, max_size=4
)


@given(segments, st.integers(0, 100))
def test_a_crop_is_an_unbroken_stretch_of_its_own_recording(parts: dict[int, list[int]], seed: int) -> None:
    """Oracle: samples that hold their own place in the recording: within a crop they count up by one, never leave the
    run of neighbouring parts that the clip belongs to, and so no sample is lost, doubled or taken from a gap."""
    clips = clips_of(parts)
    waves, generator = timeline(clips), torch.Generator().manual_seed(seed)
    positions = torch.arange(len(clips)).repeat(5)
    crops = Recordings(clips, SAMPLES).draw(positions, generator)
    found = crop(waves[crops.parts], crops.offset, SAMPLES)
    assert (found.diff(dim=1) == 1).all()
    for position, samples in zip(positions.tolist(), found, strict=True):
        clip = clips[position]
        segment, first = divmod(int(samples[0]), 1000)
        assert segment == int(clip.recording.split("-")[3])
        touched = {first // SAMPLES, int(samples[-1]) % 1000 // SAMPLES}
        reach = set(range(min(touched | {clip.part}), max(touched | {clip.part}) + 1))
        assert reach <= set(parts[segment])


def test_every_beginning_is_equally_likely() -> None:
    """Oracle: the chi-squared statistic of 20,000 crops of a whole recording over its 64 beginnings; 63 degrees of
    freedom, 99.9 % quantile 103.4."""
    clips = clips_of({1: list(range(10))})
    waves, generator = timeline(clips), torch.Generator().manual_seed(0)
    crops = Recordings(clips, SAMPLES).draw(torch.arange(10).repeat(2000), generator)
    begins = (crop(waves[crops.parts], crops.offset, SAMPLES)[:, 0] - 1000).numpy()
    counts = np.bincount(begins, minlength=9 * SAMPLES + 1)
    assert len(counts) == 64
    expected = 20_000 / 64
    assert ((counts - expected) ** 2 / expected).sum() < 103.4


def test_a_clip_without_neighbours_is_its_own_only_crop(generator: torch.Generator) -> None:
    """Oracle: parts 0, 2 and 4, none of which touch; and the number of runs, counted by hand."""
    clips = clips_of({1: [0, 2, 4], 2: [5, 6]})
    waves, recordings = timeline(clips), Recordings(clips, SAMPLES)
    assert recordings.runs == 4
    alone = torch.tensor([i for i, clip in enumerate(clips) if clip.part in (0, 2, 4)])
    crops = recordings.draw(alone, generator)
    assert torch.equal(crop(waves[crops.parts], crops.offset, SAMPLES), waves[alone])


def test_other_files_have_no_neighbours(generator: torch.Generator) -> None:
    """Oracle: clips of a data set whose files are recordings of their own."""
    clips = [Clip(f"{n}.wav", "x", "", "here", f"{n}.wav", 0, "a") for n in range(3)]
    crops = Recordings(clips, SAMPLES).draw(torch.arange(3), generator)
    assert crops.parts[0].tolist() == [0, 1, 2]
    assert crops.offset.tolist() == [0, 0, 0]


@pytest.mark.parametrize("offset", [0, 1, 6])
def test_a_crop_continues_in_the_second_wave(offset: int) -> None:
    """Oracle: slices of the two waves joined by hand."""
    waves = torch.arange(2 * SAMPLES).view(2, SAMPLES)
    joined = torch.arange(2 * SAMPLES)[offset : offset + SAMPLES]
    assert torch.equal(crop([waves[:1], waves[1:]], torch.tensor([offset]), SAMPLES)[0], joined)


@pytest.mark.parametrize(("length", "parts"), [(None, 2), (0, 2), (1, 2), (7, 2), (8, 3), (14, 3), (15, 4)])
def test_a_crop_reads_no_more_clips_than_it_may_touch(
    length: int | None, parts: int, generator: torch.Generator
) -> None:
    """Oracle: clips of seven samples, by hand: n samples from anywhere touch at most ceil(n / 7) + 1 of them; a crop
    has one sample at least."""
    recordings = Recordings(clips_of({1: list(range(10))}), SAMPLES, length)
    assert recordings.length == (SAMPLES if length is None else max(length, 1))
    assert recordings.draw(torch.arange(3), generator).parts.shape == (parts, 3)


@given(segments, st.integers(0, 100), st.integers(SAMPLES + 1, 4 * SAMPLES))
def test_a_long_crop_repeats_a_run_that_is_too_short(parts: dict[int, list[int]], seed: int, length: int) -> None:
    """Oracle: samples that hold their own place: one by one through the run, and from its end back to its beginning,
    the latter only where the run is shorter than the crop."""
    clips = clips_of(parts)
    waves, generator = timeline(clips), torch.Generator().manual_seed(seed)
    crops = Recordings(clips, SAMPLES, length).draw(torch.arange(len(clips)), generator)
    for clip, samples in zip(clips, crop(waves[crops.parts], crops.offset, length), strict=True):
        segment, places = int(samples[0]) // 1000, samples % 1000
        assert segment == int(clip.recording.split("-")[3])
        steps = places.diff()
        back = steps != 1
        first = last = clip.part
        while first - 1 in parts[segment]:
            first -= 1
        while last + 1 in parts[segment]:
            last += 1
        run = (last + 1 - first) * SAMPLES
        assert (steps[back] == 1 - run).all()
        assert bool(back.any()) == (run < length)
