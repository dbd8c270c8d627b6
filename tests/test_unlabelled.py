"""Folders of sounds without labels: how they are cut and divided, and how a student learns from a teacher alone."""

import json
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import soundfile
import torch
from command import QUICK, run
from sounds import SOUNDS

from data.batches import Batch
from data.errors import UserError
from data.files import file_sha256
from data.logits import load_logits
from data.logits_file import open_logits
from data.packing import pack
from data.pieces import count_pieces
from data.readers.unlabelled import read_unlabelled
from data.scenes import ClipSet
from data.waves import WaveStore, read_pieces
from experiments.runs.lineage import teachers_behind
from experiments.settings.parts import Distillation
from experiments.training import checkpoint
from experiments.training.distillation import student_loss
from teachers.efficientat import efficientat

RATE = 8_000


def write_sound(path: Path, seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A file of noise; returns its samples (T, channels)."""
    samples = np.random.default_rng(seed).uniform(-0.9, 0.9, (round(seconds * rate), channels)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT" if path.suffix.lower() == ".wav" else None)
    return samples


def waves_of(clips: ClipSet, cache: Path, **settings: float) -> dict[str, np.ndarray]:
    """The packed waves, by the clips' names."""
    store = WaveStore(pack(clips, cache, sample_rate=RATE, **settings))
    return dict(zip(store.filenames, store.read(np.arange(len(store))).numpy(), strict=True))


def test_the_pieces_of_a_file_tile_it(tmp_path: Path) -> None:
    """Oracle: the samples as soundfile wrote them, end to end without gap or overlap; an end of half a clip or longer
    is completed with silence, a shorter one is left out, unless it is all. Tolerance: 16 bits below the peak."""
    lengths = {"a.wav": (3.3, 3), "b.wav": (2.6, 3), "deep/er/c.WAV": (0.2, 1), "d.wav": (1.0, 1), "e.wav": (70.5, 71)}
    written = {name: write_sound(tmp_path / "set" / name, seconds) for name, (seconds, _) in lengths.items()}
    (tmp_path / "set/notes.txt").write_text("no sound")
    clips = read_unlabelled(tmp_path / "set", validation_fraction=0.0)
    waves = waves_of(clips, tmp_path / "cache")
    assert len(waves) == sum(count for _, count in lengths.values())
    for name, (_, count) in lengths.items():
        found = np.concatenate([waves[f"{name}#{part}"] for part in range(count)])
        expected = np.zeros(count * RATE, np.float32)
        samples = written[name][: count * RATE, 0]
        expected[: len(samples)] = samples
        np.testing.assert_allclose(found, expected, atol=1 / 32_767)
    assert not clips.is_labelled
    with pytest.raises(UserError, match="has no labels: give a data set that has some"):
        _ = clips.labels


@pytest.mark.parametrize(
    ("suffix", "rate", "channels"), [(".wav", 44_100, 2), (".ogg", 22_050, 1), (".mp3", 48_000, 2)]
)
def test_pieces_are_those_of_prediction(suffix: str, rate: int, channels: int, tmp_path: Path) -> None:
    """Oracle: read_pieces, which prediction hears a file by, also where its end is half a clip but for some samples;
    what the header says of their number holds."""
    root = tmp_path / "set"
    for number, extra in enumerate((-2, 0, 2, 20, 4_000)):
        write_sound(root / f"{number}{suffix}", 0.375 * 2.5 + extra / rate, rate, channels, seed=number)
    clips = read_unlabelled(root, clip_seconds=0.375, validation_fraction=0.0)
    waves = waves_of(clips, tmp_path / "cache", clip_seconds=0.375)
    for path in sorted(root.iterdir()):
        expected = torch.cat(list(read_pieces(path, RATE, 0.375))).numpy()
        count = count_pieces(path, 0.375)
        assert abs(count - len(expected)) <= 1  # half a clip may be a sample more or less once it is resampled
        found = np.stack([waves[f"{path.name}#{part}"] for part in range(count)])
        np.testing.assert_array_equal(found[: len(expected)], expected[:count])


def test_no_file_is_in_both_splits(tmp_path: Path) -> None:
    """Oracle: counting: each file's clips are in one split, about the share that is asked for is held out, there is no
    test split; every file is held out in one fold of four."""
    for number in range(20):
        write_sound(tmp_path / f"{number % 3}/{number}.wav", 1 + number % 4, seed=number)
    held_out = []
    for settings in ({"validation_fraction": 0.3}, *({"folds": 4, "fold": fold} for fold in range(4))):
        splits = defaultdict(set)
        for clip in (clips := read_unlabelled(tmp_path, **settings)).clips:
            assert clip.filename == f"{clip.recording}#{clip.part}"
            splits[clip.recording].add(clip.split)
        assert all(len(found) == 1 for found in splits.values())
        assert set.union(*splits.values()) == {"train", "validation"}
        share = len(clips.indices("validation")) / len(clips.clips)
        assert share == pytest.approx(settings.get("validation_fraction", 0.25), abs=0.1)
        held_out += [name for name, found in splits.items() if found == {"validation"}] if "fold" in settings else []
    assert sorted(held_out) == sorted(splits)


def test_a_folder_that_cannot_be_used_is_a_message(tmp_path: Path) -> None:
    """Oracle: the message for each: nothing there, files that are none (all of them), one that cannot be divided, a
    name that is no text."""
    with pytest.raises(UserError, match=r"nowhere holds no sound files, also not in folders below it; such names end"):
        read_unlabelled(tmp_path / "nowhere")
    write_sound(tmp_path / "a.wav", 2)
    with pytest.raises(UserError, match=r"has one sound file, .*: set data.validation_fraction=0, or add files"):
        read_unlabelled(tmp_path)
    for share in (0, 0.3):
        with pytest.raises(UserError, match=r"has one sound file, .*: leave data.folds and data.fold out and set"):
            read_unlabelled(tmp_path, validation_fraction=share, folds=2, fold=0)
    (tmp_path / "b.flac").write_bytes(b"x")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/d.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:2_000])
    soundfile.write(tmp_path / "e.wav", np.zeros(0), RATE)
    with pytest.raises(UserError) as caught:
        read_unlabelled(tmp_path)
    for words in (
        "3 of 4 sound files",
        "b.flac cannot be read",
        "d.wav is cut short",
        "e.wav holds no samples",
        "mend",
    ):
        assert words in str(caught.value)
    odd = tmp_path / "odd"
    write_sound(odd / "a.wav", 1)
    os.rename(odd / "a.wav", os.fsencode(odd) + b"/\xff.wav")
    with pytest.raises(UserError, match=r"its name is no UTF-8: rename it"):
        read_unlabelled(odd)


def test_only_what_changed_is_cut_again(tmp_path: Path) -> None:
    """Oracle: a store that was made at once of the folder as it is in the end; the file that stayed is not read."""
    root, cache = tmp_path / "set", tmp_path / "cache"
    write_sound(root / "a.wav", 3)
    write_sound(root / "b.wav", 3, seed=1)
    first = waves_of(read_unlabelled(root), cache)
    write_sound(root / "b.wav", 3, seed=2)
    clips = read_unlabelled(root)
    (root / "a.wav").rename(tmp_path / "a.wav")
    stamp = (tmp_path / "a.wav").stat()
    (root / "a.wav").write_bytes(bytes(stamp.st_size))  # of the same size and time, and no sound
    os.utime(root / "a.wav", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    again = waves_of(clips, cache)
    (tmp_path / "a.wav").rename(root / "a.wav")
    expected = waves_of(read_unlabelled(root), tmp_path / "other")
    for name, wave in again.items():
        np.testing.assert_array_equal(wave, expected[name])
        assert np.array_equal(wave, first[name]) == name.startswith("a")


def batch_of(targets: torch.Tensor, labels: torch.Tensor) -> Batch:
    rows = torch.arange(len(targets))
    return Batch(rows, torch.zeros(len(rows), 8), labels, torch.ones(len(rows), dtype=torch.bool), targets)


def test_the_loss_of_the_first_phase_has_no_gradient_from_labels(generator: torch.Generator) -> None:
    """Oracle: the gradient of T^2 KL alone, by hand (T (q - p) / B), whatever the labels are, also ones of no class and
    mixed ones of another number of classes."""
    logits, targets = torch.randn(2, 6, 20, generator=generator, dtype=torch.float64)
    loss = student_loss(Distillation(temperature=3.0, hard_weight=0.0))
    expected = 3 * ((logits / 3).softmax(1) - (targets / 3).softmax(1)) / 6
    for labels in (torch.zeros(6, dtype=torch.long), torch.full((6,), -1), torch.rand(6, 3)):
        own = logits.clone().requires_grad_()
        loss(own, batch_of(targets, labels)).loss.backward()
        torch.testing.assert_close(own.grad, expected)
    with pytest.raises((IndexError, RuntimeError)):  # with labels these would be mistakes
        student_loss(Distillation(hard_weight=0.1))(logits, batch_of(targets, torch.full((6,), 20)))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six files of three seconds."""
    root = tmp_path_factory.mktemp("unlabelled") / "sounds"
    for number in range(6):
        write_sound(root / f"{number}.wav", 3, seed=number)
    return root


@pytest.mark.slow  # four trainings
def test_a_student_learns_from_a_teacher_alone_and_then_from_labels(
    trained: Path, sounds: Path, miniature: ClipSet
) -> None:
    """Oracle: the teacher's own answers to the pieces as prediction hears them; the divergence of the held-out clips
    from the student's and the teacher's logits by hand, in score.json and as what the best epoch was chosen by; the
    second phase's teacher is the first one's."""
    teacher = "runs/teacher/first/checkpoint.safetensors"
    folder, on = [f"data.root={sounds}", "data=unlabelled", *QUICK], trained / "runs"
    done = run(trained, "teacher", "name=heard", "only=logits", f"checkpoint={teacher}", *folder)
    assert done.returncode == 0, done.stderr
    network, blueprint = checkpoint.load_teacher(trained / teacher)
    heard = load_logits(on / "teacher/heard/logits.h5")
    assert heard.scenes == miniature.scenes
    front_end = checkpoint.build_front_end(blueprint.sample_rate, blueprint.mel)
    with torch.no_grad():
        expected = network(front_end(torch.cat(list(read_pieces(sounds / "4.wav", 32_000, 1.0)))))
    rows = [heard.filenames.index(f"4.wav#{part}") for part in range(3)]
    np.testing.assert_allclose(heard.logits[rows], expected.numpy(), atol=1e-4)

    done = run(trained, "student", "name=before", "logits=runs/teacher/heard/logits.h5", *folder)
    assert done.returncode == 0, done.stderr
    before = on / "student/before"
    scores, history = json.loads((before / "score.json").read_text()), (before / "history.jsonl").read_text()
    network, blueprint = checkpoint.load_student(before / "checkpoint.safetensors")
    held_out = [row for row, clip in enumerate(read_unlabelled(sounds).clips) if clip.split == "validation"]
    pieces = torch.cat([torch.cat(list(read_pieces(sounds / f"{n}.wav", 32_000, 1.0))) for n in range(6)])[held_out]
    front_end = checkpoint.build_front_end(blueprint.sample_rate, blueprint.mel)
    with torch.no_grad():
        log_q, log_p = (
            (x / 2).log_softmax(1) for x in (network(front_end(pieces)), torch.tensor(heard.logits[held_out]))
        )
    divergence = float(4 * (log_p.exp() * (log_p - log_q)).sum(1).mean())
    assert scores["validation/divergence"] == pytest.approx(divergence, abs=1e-4)
    assert min(json.loads(line)["validation/divergence"] for line in history.splitlines()) == pytest.approx(divergence)
    assert not [name for name in scores if name.startswith("test") or "accuracy" in name]
    assert not (before / "predictions.csv").exists()

    source = "runs/student/before/checkpoint.safetensors"
    command = ["student", "name=after", "distill=none", f"student.weights={source}", f"data.root={miniature.root}"]
    done = run(trained, *command, *QUICK, "epochs=1")
    assert done.returncode == 0, done.stderr
    record = json.loads((on / "student/after/run.json").read_text())
    assert record["inputs"]["weights"] == file_sha256(trained / source)
    assert record["sources"] == [source]
    assert teachers_behind(on, [before]) == ([on / "teacher/first"], [])


@pytest.mark.slow  # applies a network of AudioSet's size to sounds, and reads it seven times
def test_published_logits_are_those_of_the_published_classes(tmp_path: Path, sounds: Path) -> None:
    """Oracle: a network with these very weights, the last layer among them, on the pieces as prediction hears them, of
    classes of which a clip may have several, by the loss of EfficientAT's ex_audioset.py
    (binary_cross_entropy_with_logits); its run is not done twice, and takes no training's place."""
    published = efficientat(classes=527, pretrained=False).eval()
    safetensors.torch.save_file(published.state_dict(), tmp_path / "w.safetensors")
    command = ["teacher", "teacher=efficientat", "only=logits", "teacher.weights=w.safetensors", "tracking=none"]
    command += ["data=unlabelled", f"data.root={sounds}"]
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    heard = load_logits(tmp_path / "runs/teacher/default/logits.h5")
    assert heard.scenes == tuple(f"audioset_{number}" for number in range(527))
    assert open_logits(tmp_path / "runs/teacher/default/logits.h5").is_multi_label
    _, blueprint = checkpoint.load_teacher(tmp_path / "runs/teacher/default/checkpoint.safetensors")
    front_end = checkpoint.build_front_end(32_000, blueprint.mel)
    with torch.no_grad():
        expected = published(front_end(torch.cat(list(read_pieces(sounds / "0.wav", 32_000, 1.0)))))
    np.testing.assert_allclose(heard.logits[:3], expected.numpy(), atol=1e-4)
    again = run(tmp_path, *command)
    assert "the logits are reused" in again.stdout
    unfinished = tmp_path / "runs/teacher/busy/resume.pt"  # of a training that was stopped
    unfinished.parent.mkdir()
    unfinished.touch()
    busy = run(tmp_path, *command, "name=busy")
    assert "holds a training of its own: choose another name" in busy.stderr
    assert unfinished.exists()
    safetensors.torch.save_file(
        {name: value for name, value in published.state_dict().items() if "classifier.5" not in name},
        tmp_path / "w.safetensors",
    )
    headless = run(tmp_path, *command, "name=other")
    assert headless.returncode == 1
    assert "only in the network: classifier.5.weight" in headless.stderr
    assert not (tmp_path / "runs/teacher/other").exists()


@pytest.mark.slow  # applies a network of AudioSet's size
def test_the_numbers_of_published_classes_are_those_of_the_publication(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: AudioSet's list of names: on sounds of ESC-50 the class of that name has the highest mean of three."""
    table = pd.read_csv(shared_data / "esc50-16k/fold1.csv")
    names = (shared_data / "weights/audioset_527_classes.txt").read_text().splitlines()
    columns = [names.index(name) for name in SOUNDS.values()]
    for label in SOUNDS:
        for name in table[table.label == label].filename[:3]:
            (tmp_path / "sounds" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "sounds" / label / Path(name).name).symlink_to((shared_data / "esc50-16k" / name).resolve())
    weights = f"teacher.weights={shared_data / 'weights/mn04_as.safetensors'}"
    command = ["teacher", "teacher=efficientat", "only=logits", weights, "data=unlabelled", "data.root=sounds"]
    done = run(tmp_path, *command, "tracking=none")
    assert done.returncode == 0, done.stderr
    heard = load_logits(tmp_path / "runs/teacher/default/logits.h5")
    assert [heard.scenes[column] for column in columns] == [f"audioset_{column}" for column in columns]
    for place, label in enumerate(SOUNDS):
        rows = [row for row, name in enumerate(heard.filenames) if name.startswith(f"{label}/")]
        assert heard.logits[rows][:, columns].mean(0).argmax() == place
