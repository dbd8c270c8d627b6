"""Batches: every clip once, and the same ones wherever the waves lie."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from data.augment import Mixing
from data.batches import Batch, Batches
from data.errors import UserError
from data.recordings import Recordings
from data.scenes import ClipSet
from data.waves import WaveStore


def batches(store: WaveStore, clips: ClipSet, split: str, **settings: object) -> Batches:
    rows = np.random.default_rng(0).permutation(clips.indices(split))[:50]
    return Batches(store, rows, clips.labels, clips.from_reference_device, **{"batch_size": 8, **settings})


def test_shuffled_batches_hold_every_clip_at_most_once(
    miniature: ClipSet, miniature_waves: WaveStore, generator: torch.Generator
) -> None:
    """Oracle: counting: 50 clips in batches of 8 give 48 different ones; in order all 50, waves and labels matching
    their names."""
    part = batches(miniature_waves, miniature, "train")
    rows = [int(row) for batch in part.shuffled(generator) for row in batch.rows]
    assert len(rows) == len(set(rows)) == 48
    ordered = list(part.in_order())
    assert part.classes == len(miniature.scenes)  # all of which have a clip
    assert [int(r) for b in ordered for r in b.rows] == part.rows.tolist()
    for batch in ordered:
        names = [miniature.clips[row].scene for row in batch.rows]
        assert [miniature.scenes[label] for label in batch.labels] == names
        assert torch.equal(batch.waves, miniature_waves.read(batch.rows.numpy()))


def test_a_process_without_a_batch_reads_none(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: the third of three processes that share two batches has none."""
    rows = miniature.indices("train")[:12]
    part = Batches(miniature_waves, rows, miniature.labels, miniature.from_reference_device, batch_size=8)
    shares = [list(part.in_order(range(rank, part.count, 3))) for rank in range(3)]
    assert [[len(batch.rows) for batch in share] for share in shares] == [[8], [4], []]


@pytest.mark.parametrize("crops", [False, True])
def test_processes_share_every_batch(miniature: ClipSet, miniature_waves: WaveStore, crops: bool) -> None:
    """Oracle: one process with an equal generator: its batches of 9 are what three of them have together, in order."""
    settings = {"batch_size": 9}
    if crops:
        rows = batches(miniature_waves, miniature, "train").rows
        settings["recordings"] = Recordings([miniature.clips[row] for row in rows], miniature_waves.samples)
    part = batches(miniature_waves, miniature, "train", **settings)
    alone = list(part.shuffled(torch.Generator().manual_seed(5)))
    shares = [list(part.shuffled(torch.Generator().manual_seed(5), rank=r, world_size=3)) for r in range(3)]
    assert [[len(batch.rows) for batch in share] for share in shares] == [[3] * 5] * 3
    for batch, *three in zip(alone, *shares, strict=True):
        for name in ("rows", "waves", "labels"):
            assert torch.equal(getattr(batch, name), torch.cat([getattr(each, name) for each in three]))


def test_a_batch_is_divided_without_loss(generator: torch.Generator) -> None:
    """Oracle: the parts put together again, and their sizes: 7 clips in 3 parts are 3, 2 and 2; with targets or not."""
    for targets in (torch.randn(7, 3, generator=generator), None):
        whole = Batch(
            torch.arange(7), torch.randn(7, 4, generator=generator), torch.arange(7) % 3, torch.arange(7) > 4, targets
        )
        parts = list(whole.split(3))
        assert [len(part.rows) for part in parts] == [3, 2, 2]
        for name, value in vars(whole).items():
            pieces = [getattr(part, name) for part in parts]
            assert pieces == [None] * 3 if value is None else torch.equal(torch.cat(pieces), value)


def test_a_mixed_batch_has_labels_and_targets_of_both_clips() -> None:
    """Oracle: the definition by hand at 1/4; the cross-entropy of soft labels is linear in them, so a weight of 1 gives
    the plain loss, and a weight of 0 the partner's."""
    batch = Batch(*[torch.arange(4)] * 3, torch.ones(4, dtype=torch.bool), torch.randn(4, 10))
    partners = torch.tensor([1, 2, 3, 0])
    alone, swapped = (batch.mixed(Mixing(partners, torch.full((4,), weight)), 10) for weight in (1.0, 0.0))
    logits = torch.randn(4, 10)
    torch.testing.assert_close(F.cross_entropy(logits, alone.labels), F.cross_entropy(logits, batch.labels))
    torch.testing.assert_close(F.cross_entropy(logits, swapped.labels), F.cross_entropy(logits, partners))
    assert torch.equal(alone.targets, batch.targets)
    assert torch.equal(swapped.targets, batch.targets[partners])
    mixed = batch.mixed(Mixing(partners, torch.full((4,), 0.25)), 10)
    assert mixed.labels[1].tolist() == [0, 0.25, 0.75, 0, 0, 0, 0, 0, 0, 0]
    torch.testing.assert_close(mixed.targets, 0.25 * batch.targets + 0.75 * batch.targets[partners])


def test_a_batch_size_below_one_is_refused(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: the message; batches of one clip are taken."""
    with pytest.raises(UserError, match="batch_size=0 must be at least 1"):
        batches(miniature_waves, miniature, "train", batch_size=0)
    assert batches(miniature_waves, miniature, "train", batch_size=1).count == 50


@pytest.mark.parametrize("cropped", [False, True])
def test_the_same_seed_gives_the_same_batches_wherever_the_waves_lie(
    miniature: ClipSet, miniature_waves: WaveStore, cropped: bool
) -> None:
    """Oracle: two epochs from the disk, clip by clip and bit by bit; and that they differ from one another."""
    epochs = {}
    for residency in ("disk", "memory", "device", "auto"):
        part = batches(miniature_waves, miniature, "train", residency=residency)
        if cropped:
            recordings = Recordings([miniature.clips[row] for row in part.rows], miniature_waves.samples)
            part = batches(miniature_waves, miniature, "train", residency=residency, recordings=recordings)
        generator = torch.Generator().manual_seed(3)
        found = [batch for _ in range(2) for batch in part.shuffled(generator)]
        epochs[residency] = [torch.stack([getattr(b, name) for b in found]) for name in ("rows", "waves", "labels")]
    for column, expected in zip(zip(*epochs.values(), strict=True), epochs["disk"], strict=True):
        assert all(torch.equal(values, expected) for values in column)
    assert not torch.equal(*epochs["disk"][0].view(2, -1))


def test_crops_are_of_the_clips_own_recording(
    miniature: ClipSet, miniature_waves: WaveStore, generator: torch.Generator
) -> None:
    """Oracle: the joined waves of each recording, in which every crop must be found at one place, in batches of
    their own clip's scene."""
    rows = miniature.indices("train")
    clips = [miniature.clips[row] for row in rows]
    settings = {"batch_size": 16, "recordings": Recordings(clips, miniature_waves.samples)}
    part = Batches(miniature_waves, rows, miniature.labels, miniature.from_reference_device, **settings)
    whole = next(part.in_order())  # which is of the clips as they are
    assert torch.equal(whole.waves, miniature_waves.read(whole.rows.numpy()))
    crossing = 0
    for batch in part.shuffled(generator):
        for row, wave in zip(batch.rows, batch.waves, strict=True):
            of = [r for r in rows if miniature.clips[r].recording == miniature.clips[row].recording]
            of.sort(key=lambda r: miniature.clips[r].part)
            joined = miniature_waves.read(np.array(of)).flatten()
            begins = (joined == wave[0]).nonzero().flatten()
            places = [p for p in begins if torch.equal(joined[p : p + len(wave)], wave)]
            assert places
            crossing += not any(p % len(wave) == 0 for p in places)
    assert crossing > 20


def test_so_many_batches_are_read_ahead_and_no_more(
    miniature: ClipSet, miniature_waves: WaveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: counting, with a reader that is as quick as can be: three batches beside the one that is asked for, until
    all 13 are read."""

    class Quick:
        def submit(self, function: Callable, *arguments: object) -> Future:
            done: Future = Future()
            done.set_result(function(*arguments))
            return done

        def shutdown(self, **_: object) -> None:
            pass

    read: list[int] = []
    take = miniature_waves.take
    monkeypatch.setattr("data.batches.ThreadPoolExecutor", lambda _: Quick())
    monkeypatch.setattr(miniature_waves, "take", lambda rows: read.append(len(rows)) or take(rows))
    part = batches(miniature_waves, miniature, "train", batch_size=4)
    assert [len(read) for _ in part.in_order()] == [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 13, 13, 13]
    assert read == [4] * 12 + [2]


def test_an_epoch_that_is_left_early_leaves_no_thread(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: the threads before and after; the reading thread is there in between."""
    part = batches(miniature_waves, miniature, "train", residency="disk")
    before = set(threading.enumerate())
    epoch = part.in_order()
    next(epoch)
    assert len(set(threading.enumerate()) - before) == 1
    epoch.close()
    assert set(threading.enumerate()) <= before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("cropped", [False, True])
def test_a_gpu_gets_the_same_batches_wherever_the_waves_lie(
    miniature: ClipSet, miniature_waves: WaveStore, cropped: bool
) -> None:
    """Oracle: the stored waves themselves, or, with crops, those that came from the disk."""
    rows = miniature.indices("train")
    clips = [miniature.clips[row] for row in rows]
    found = {}
    for residency in ("disk", "memory", "device"):
        recordings = Recordings(clips, miniature_waves.samples, device="cuda") if cropped else None
        settings = {"batch_size": 16, "device": "cuda", "residency": residency, "recordings": recordings}
        part = Batches(miniature_waves, rows, miniature.labels, miniature.from_reference_device, **settings)
        generator = torch.Generator("cuda").manual_seed(3)
        found[residency] = list(part.shuffled(generator))
    for batches_of_one in zip(*found.values(), strict=True):
        for batch in batches_of_one:
            assert batch.waves.device.type == "cuda"
            assert torch.equal(batch.waves, batches_of_one[0].waves)
            if not cropped:
                assert torch.equal(batch.waves.cpu(), miniature_waves.read(batch.rows.cpu().numpy()))


def test_waves_that_do_not_fit_are_refused_with_the_remedy(
    miniature: ClipSet, miniature_waves: WaveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a machine with 1 MB free; 50 clips of 64 kB."""
    monkeypatch.setattr("data.residency._free", lambda _: 1_000_000)
    for residency in ("memory", "device"):
        with pytest.raises(UserError, match=r"needs 0.0 GB of 0.0 GB free on cpu .*use data.residency=disk"):
            batches(miniature_waves, miniature, "train", residency=residency)
    assert len(batches(miniature_waves, miniature, "train", residency="auto")) == 50
    with pytest.raises(UserError, match="choose one of: device, memory, disk, auto"):
        batches(miniature_waves, miniature, "train", residency="ram")
