"""Classifying sound files: the same probabilities as scoring gives, and every file that cannot be read named."""

import itertools
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from command import run
from conftest import fit_norms

from data import pieces, progress
from data.errors import UserError
from data.front_ends import build_front_end
from data.scenes import SCENES, ClipSet
from data.waves import WaveStore
from experiments.datasets.datamodule import DataModule
from experiments.evaluation.metrics import softmax
from experiments.evaluation.predictions import read_predictions
from experiments.inference import sounds
from experiments.inference.classifier import load_classifier
from experiments.inference.origin import origin_of
from experiments.inference.sounds import classified_text, classify_files, sound_files, word_for_unknown
from experiments.quantization.forms import STORED, integer_logits
from experiments.run import resolve
from experiments.runs.layout import Layout, as_name
from experiments.stages import predict as predict_audio
from experiments.stages.whereabouts import model_of
from students.cp_mobile import cp_mobile
from students.quantize.answer import ONE, Confidence
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.read import read_tflite
from students.quantize.tflite import write_tflite


def noise(path: Path, seconds: float, rate: int = 44_100, channels: int = 1) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    soundfile.write(path, samples, rate)


def test_clips_get_the_probabilities_of_scoring(
    small_model: Path, miniature: ClipSet, miniature_waves: WaveStore, tmp_path: Path
) -> None:
    """Oracle: what stage=quantize scores on the test split, to the last bit, and that LiteRT's reference kernels give
    the same (integer_logits proves it); read back from the text by stage=score's reader, which knows the last
    digit."""
    classifier = load_classifier(small_model)
    prepared = DataModule(miniature, miniature_waves, None)
    front_end = classifier.front_end
    expected = softmax(integer_logits(prepared, front_end, small_model, None, front_end)[STORED])
    names = [miniature.filenames[row] for row in miniature.indices("test")]
    found, failures = classify_files(classifier, [(name, miniature.root / name) for name in names])
    assert not failures
    np.testing.assert_array_equal(np.concatenate([each.probabilities for each in found]), expected)
    path = miniature.root / names[0]
    for sound in (str(path), path, path.read_bytes()):
        np.testing.assert_array_equal(load_classifier(str(small_model)).classify_file(sound), expected[:1])
    (tmp_path / "p.csv").write_text(classified_text(found, classifier))
    np.testing.assert_allclose(read_predictions(tmp_path / "p.csv", names, SCENES), expected, rtol=1e-15)


def test_a_folder_is_classified_and_what_cannot_be_read_is_named(tmp_path: Path, small_model: Path) -> None:
    """Oracle: the seconds of each file, counted by hand; pandas reads the table; exit code 1 and both spoilt files for
    a folder with those, 0 for a file alone, whose rows are those that the folder gave."""
    (tmp_path / "in/deep").mkdir(parents=True)
    noise(tmp_path / "in/a.WAV", 2.5)
    noise(tmp_path / "in/deep/b.flac", 3.2, 48_000, 2)
    (tmp_path / "in/text.wav").write_text("no sound")
    soundfile.write(tmp_path / "in/deep/nan.wav", np.array([np.nan]), 8_000, "FLOAT")
    (tmp_path / "in/notes.txt").write_text("no sound")
    (tmp_path / "in/._a.wav").write_text("no sound, and hidden")
    result = run(tmp_path, "stage=predict", "audio=in", f"model={small_model}")
    assert result.returncode == 1
    for word in ("2 of 4 files cannot be read", "text.wav cannot be read as audio", "nan.wav holds values"):
        assert word in result.stderr
    assert "notes.txt" in result.stdout
    assert "Traceback" not in result.stderr + result.stdout
    assert "._a" not in result.stderr + result.stdout
    table = pd.read_csv(tmp_path / "runs/predict/in/predictions.csv", sep="\t")
    assert list(table.columns) == ["filename", "start", "scene_label", *SCENES, "answer", "confidence", "sure"]
    assert table["answer"].tolist() == table["scene_label"].tolist()  # of a model without a threshold
    assert table["sure"].tolist() == ["yes" if share >= 6554 / ONE else "no" for share in table["confidence"]]
    assert table["filename"].tolist() == ["a.WAV"] * 3 + ["deep/b.flac"] * 3
    assert table["start"].tolist() == [0, 1, 2, 0, 1, 2]
    assert table["scene_label"].tolist() == [SCENES[n] for n in table[list(SCENES)].to_numpy().argmax(1)]
    np.testing.assert_allclose(table[list(SCENES)].sum(axis=1), 1)
    result = run(tmp_path, "stage=predict", "audio=in/deep/b.flac", f"model={small_model}", "predict.out=out/b.csv")
    assert result.returncode == 0, result.stderr
    alone = pd.read_csv(tmp_path / "out/b.csv", sep="\t")
    pd.testing.assert_frame_equal(alone[list(SCENES)], table[3:].reset_index(drop=True)[list(SCENES)])
    mean = alone[list(SCENES)].mean()
    assert f"{mean.idxmax()}" in result.stdout
    assert f"{100 * mean.max():.0f} %" in result.stdout


def test_strange_names_stay_as_they_are(tmp_path: Path, small_model: Path) -> None:
    """Oracle: pandas reads the very names back; the name that is no UTF-8, which no table can hold, is refused, and
    none of them moves the terminal's cursor."""
    names = ["a\tb.wav", "c\nd.wav", '"e.wav', "g\rh.wav", " i.wav", "\x1b[2J.wav", "\u202ek.wav", "[red]l.wav"]
    (tmp_path / "in").mkdir()
    for name in (*map(str.encode, names), b"f\xff.wav"):
        noise(tmp_path / "x.wav", 0.1)
        os.rename(tmp_path / "x.wav", bytes(tmp_path) + b"/in/" + name)
    result = run(tmp_path, "stage=predict", "audio=in", f"model={small_model}", "predict.out=p.csv")
    assert "1 of 9 files cannot be read; the table of the other 8 is written" in result.stderr
    assert "f\\xff.wav: its name is no UTF-8, which no table can hold: rename it" in result.stderr
    assert sorted(pd.read_csv(tmp_path / "p.csv", sep="\t")["filename"]) == sorted(names)
    for shown in ("g\\rh.wav", "\\x1b[2J.wav", "\\u202ek.wav", "[red]l.wav"):
        assert shown in result.stdout
    assert (result.stdout + result.stderr).replace("\n", "").isprintable()


def test_a_path_without_sounds_is_a_message(tmp_path: Path) -> None:
    """Oracle: the messages, for no path, nothing there, a folder with other files, and one as the table."""
    for given, message in (
        ([], "audio=FILE_OR_FOLDER"),
        (["predict.audio=x.wav", f"predict.out={tmp_path}"], "is a folder: name a file in it"),
    ):
        with pytest.raises(UserError, match=message):
            predict_audio.check(resolve(["stage=predict", *given]))
    with pytest.raises(UserError, match="no such file or folder"):
        sound_files(tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"none of its 1 files ends in one of \.aif, "):
        sound_files(tmp_path)


def test_the_model_is_the_one_named_or_of_the_same_name(tmp_path: Path, small_model: Path) -> None:
    """Oracle: the file's own logits on noise, under either way of naming it."""
    folder = tmp_path / "quantize/mine"
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(small_model.read_bytes())
    (folder / "run.json").write_text(json.dumps({}))
    spectrograms = torch.randn(2, 1, 64, 32)
    expected = read_tflite(small_model)[0].logits(spectrograms)
    for model in ("null", str(small_model)):
        settings = resolve(["stage=predict", f"model={model}", f"runs={tmp_path}", "name=mine"])
        assert torch.equal(load_classifier(model_of(settings)).network.logits(spectrograms), expected)


@pytest.mark.slow  # some seconds
def test_a_device_is_answered_by_its_tensors_and_an_unknown_one_by_the_general_network(
    tmp_path: Path, small_model: Path
) -> None:
    """Oracle: the classifiers of the networks in memory; the lines, for a device that the file does not know, and for a
    file without tensors of devices."""
    noise(tmp_path / "in.wav", 2)
    network, metadata = read_tflite(small_model)
    name, weights = list(network.weights.items())[-1]
    own = replace(weights, bias=weights.bias + 100 * np.arange(len(weights.bias), dtype=np.int32))
    path = write_tflite(replace(network, sets={"1": {name: own}, "b": {}}), tmp_path / "m.tflite", metadata)
    general = load_classifier(small_model).classify_file(tmp_path / "in.wav")
    classifier = replace(load_classifier(small_model), network=replace(network, weights={**network.weights, name: own}))
    special = classifier.classify_file(tmp_path / "in.wav")
    assert not np.allclose(general, special)
    unknown = f"predict.device=c: {path} has no tensors of this device (those that it has are of 1, b), the general"
    none = f"predict.device=1: {small_model} has no tensors of this device (it has none of any device), the general"
    for model, given, expected, line in (
        (path, ["predict.device=1"], special, None),
        (path, [], general, None),
        (path, ["predict.device=c"], general, unknown),
        (small_model, ["predict.device=1"], general, none),
    ):
        done = run(tmp_path, "stage=predict", "audio=in.wav", f"model={model}", "predict.out=p.csv", *given)
        assert done.returncode == 0, done.stderr
        table = pd.read_csv(tmp_path / "p.csv", sep="\t")
        np.testing.assert_allclose(table[list(SCENES)].to_numpy(), expected, rtol=1e-12)
        said = " ".join((done.stdout + done.stderr).split())
        assert line in said if line else "has no tensors" not in said


@pytest.mark.slow  # some seconds
def test_an_answer_is_unknown_below_the_threshold_of_the_model(
    tmp_path: Path, miniature: ClipSet, miniature_waves: WaveStore
) -> None:
    """Oracle: softmax of the logits over the temperature, in floats, within two steps; moving averages in floats within
    two more; a threshold that lies between the answers; the columns that were there before are as without it; the table
    is still one that can be scored."""
    mel, rate, rows = {"mels": 64, "hop": 1000}, miniature_waves.sample_rate, miniature.indices("test")[::6]
    waves = miniature_waves.read(rows)
    front_end = build_front_end(rate, mel)
    spectrograms = front_end(waves)
    network = calibrate(fold(fit_norms(cp_mobile(size="6k"), spectrograms, 8.0)), [spectrograms])
    (tmp_path / "in").mkdir()
    half = len(rows) // 2
    for name, some in (("a", waves[:half]), ("b", waves[half:])):
        soundfile.write(tmp_path / f"in/{name}.wav", some.flatten().numpy(), rate, "FLOAT")
    metadata = {"scenes": SCENES, "sample_rate": rate, "mel": mel}
    path, plain = tmp_path / "m.tflite", load_classifier(write_tflite(network, tmp_path / "plain.tflite", metadata))
    heard = [torch.cat([*plain.waves(tmp_path / f"in/{name}.wav")]) for name in "ab"]
    expected = [torch.softmax(network.logits(front_end(each)).double() / 1.5, 1).numpy() for each in heard]
    run(tmp_path, "stage=predict", "audio=in", "model=plain.tflite", "predict.out=before.csv")
    assert "unknown" not in (tmp_path / "before.csv").read_text()
    sure = np.sort(np.concatenate(expected).max(axis=1))
    threshold = float(sure[half - 1 : half + 1].mean())
    write_tflite(network, path, {**metadata, "confidence": Confidence(1.5, threshold).described()})
    tables = {}
    for name, given in (("one", []), ("four", ["predict.smoothing=4"])):
        done = run(tmp_path, "stage=predict", "audio=in", f"model={path}", f"predict.out={name}.csv", *given)
        assert done.returncode == 0, done.stderr
        tables[name] = pd.read_csv(tmp_path / f"{name}.csv", sep="\t")
        assert (tables[name]["sure"] == "no").tolist() == (tables[name]["answer"] == "unknown").tolist()
        columns = ["filename", "start", "scene_label", *SCENES]
        same = pd.read_csv(tmp_path / "before.csv", sep="\t")[columns]
        pd.testing.assert_frame_equal(tables[name][columns], same)
    means = [each.copy() for each in expected]
    for mean in means:
        for number in range(1, len(mean)):
            mean[number] = mean[number - 1] + (mean[number] - mean[number - 1]) / 4
    for name, wanted, steps in (("one", expected, 2), ("four", means, 4)):
        values, table = np.concatenate(wanted), tables[name]
        np.testing.assert_allclose(table["confidence"], values.max(axis=1), atol=steps / ONE)
        clear = np.flatnonzero(np.abs(values.max(axis=1) - threshold) > steps / ONE)
        answers = np.array([SCENES[row.argmax()] if row.max() >= threshold else "unknown" for row in values])
        assert len(clear) > 0.8 * len(values)
        assert table["answer"][clear].tolist() == answers[clear].tolist()
    assert tables["one"]["answer"].eq("unknown").sum() == half
    tables["one"].drop_duplicates("filename").to_csv(tmp_path / "first.csv", index=False, sep="\t")
    assert read_predictions(tmp_path / "first.csv", ["a.wav", "b.wav"], SCENES).shape == (2, 10)
    wrong = run(tmp_path, "stage=predict", "audio=in", f"model={path}", "predict.smoothing=3")
    assert "unknown predict.smoothing 3; choose one of: 1, 2, 4, 8, 16, 32" in " ".join(wrong.stderr.split())


def test_the_word_for_what_is_not_known_is_no_class() -> None:
    """Oracle: by hand."""
    assert word_for_unknown(["bus", "tram"]) == "unknown"
    assert word_for_unknown(["bus", "unknown"]) == "not sure"


def test_a_model_of_other_clips_is_a_message(tmp_path: Path, small_model: Path) -> None:
    """Oracle: the messages for metadata that lack the front end, or describe one of other spectrograms."""
    network, metadata = read_tflite(small_model)
    with pytest.raises(UserError, match="does not name its front end"):
        load_classifier(write_tflite(network, tmp_path / "m.tflite", {"scenes": SCENES, "sample_rate": 32_000}))
    odd = {**metadata, "confidence": {"temperature": 0, "threshold": None}}
    with pytest.raises(UserError, match=r"m\.tflite: the temperature of its confidence is 0, not a number above 0"):
        load_classifier(write_tflite(network, tmp_path / "m.tflite", odd))
    other = {**metadata, "mel": {"mels": 64, "hop": 500}}
    with pytest.raises(UserError, match=r"\(1, 64, 32\), a clip of 1 s has \(1, 64, 64\)"):
        load_classifier(write_tflite(network, tmp_path / "m.tflite", other))
    assert build_front_end(32_000, other["mel"]).frames(32_000) == 64


def test_clips_of_five_seconds_and_fifty_classes_are_classified(tmp_path: Path, long_model: Path) -> None:
    """Oracle: front end and network called by hand on the pieces of five seconds that soundfile reads, of 13 s: the
    third is completed with silence; 50 columns in the order of the file."""
    noise(tmp_path / "in.wav", 13, 32_000)
    samples, _ = soundfile.read(tmp_path / "in.wav", dtype="int16")
    waves = np.pad(samples, (0, 2 * 32_000)).reshape(3, 160_000).astype(np.float32)
    scales = np.abs(waves).max(axis=1, keepdims=True) / 32_767  # each clip is rounded by its own peak
    spectrograms = build_front_end(32_000, {"mels": 128, "hop": 1250})(
        torch.from_numpy(np.rint(waves / scales) * (scales / 32_768).astype(np.float32))
    )
    network, metadata = read_tflite(long_model)
    done = run(tmp_path, "stage=predict", "audio=in.wav", f"model={long_model}", "predict.out=p.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "p.csv", sep="\t")
    assert table["start"].tolist() == [0, 5, 10]
    assert list(table.columns[3:53]) == metadata["scenes"]
    np.testing.assert_allclose(table[metadata["scenes"]], softmax(network.logits(spectrograms).numpy()), rtol=1e-5)
    assert "15 s of sound" in done.stdout


def test_the_length_of_a_clip_is_what_the_file_says_or_that_of_its_frames(tmp_path: Path, long_model: Path) -> None:
    """Oracle: by hand: 128 frames every 1250 samples at 32 kHz are of 158,751 to 160,000 samples, of which whole
    seconds are five; the messages for what cannot be."""
    network, metadata = read_tflite(long_model)

    def load(**more: object) -> float:
        about = {name: value for name, value in metadata.items() if name != "clip_seconds"} | more
        return load_classifier(write_tflite(network, tmp_path / "m.tflite", about)).clip_seconds

    assert load() == load(clip_seconds=5) == 5
    assert load(clip_seconds=4.99) == 4.99
    for seconds, message in (
        (1.0, r"\(1, 128, 128\), and clip_seconds is 1.0, of which spectrograms have \(1, 128, 26\)"),
        (0, r"and clip_seconds is 0: "),
        ("5", r"and clip_seconds is 5: "),
        (1e9, r"and clip_seconds is 1000000000.0: "),
        ([5], r"and clip_seconds is \[5\]: "),
    ):
        with pytest.raises(UserError, match=rf"m\.tflite: .*{message}.*quantise the student again"):
            load(clip_seconds=seconds)


def test_files_are_computed_together_and_a_broken_one_takes_nothing_along(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: each file alone, to the last bit, of batches of three clips that lie across files of one to five seconds;
    among them one that cannot be read from its second block on, after clips of it were computed."""
    monkeypatch.setattr(sounds, "BATCH", 3)
    monkeypatch.setattr(pieces, "BLOCK_SECONDS", 2)
    files = {f"{number}.wav": tmp_path / f"{number}.wav" for number in range(6)}
    for number, path in enumerate(files.values()):
        noise(path, 1 + number * 2 % 5, 32_000)
    broken = np.random.default_rng(0).uniform(-0.5, 0.5, 7 * 32_000)
    broken[5 * 32_000] = np.nan
    soundfile.write(files["3.wav"], broken, 32_000, "FLOAT")
    classifier = load_classifier(small_model)
    found, (failure,) = classify_files(classifier, files.items())
    assert "3.wav holds values that are not numbers" in failure
    assert [each.name for each in found] == ["0.wav", "1.wav", "2.wav", "4.wav", "5.wav"]
    for each in found:
        np.testing.assert_array_equal(each.probabilities, classifier.classify_file(files[each.name]))


def test_a_log_says_how_far_it_is_and_that_it_begins_anew(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the line of three files, of which the last may go on, when a minute passes with each look at the clock;
    and of Ctrl-C, which gives 130 and leaves no table."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        noise(tmp_path / f"in/{number}.wav", 1)
    ticks = itertools.count(0, 60)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    arguments = ("stage=predict", "audio=in", f"model={small_model}")
    lines = run(tmp_path, *arguments).stdout.splitlines()
    assert [line for line in lines if " of 3 files" in line] == ["classifying: 2 of 3 files, 0:00:30 left, 0.1 clips/s"]
    assert "classifying 3 files; the table is written at the end" in "\n".join(lines)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "runs/predict/in/predictions.csv").unlink()
    monkeypatch.setattr(predict_audio, "classify_files", stop)
    result = run(tmp_path, *arguments)
    assert result.returncode == 130
    assert "no table is written, and the same command begins anew" in result.stderr
    assert not (tmp_path / "runs/predict/in/predictions.csv").exists()


@pytest.mark.slow  # some seconds
def test_a_table_is_named_after_its_sounds_and_other_sounds_do_not_replace_it(
    tmp_path: Path, small_model: Path, long_model: Path
) -> None:
    """Oracle: where the tables are; the messages for other sounds, another smoothing and another model under a name
    that is taken, and the table that stays as it was; the same command again is no other one, and with force=true
    other sounds take its place."""
    (tmp_path / "other").mkdir()
    for place, seconds in (("Rain, at night.wav", 1), ("other/x.wav", 2)):
        noise(tmp_path / place, seconds)

    def predict(audio: str, *more: str) -> str:
        done = run(tmp_path, "predict", audio, f"model={small_model}", *more)
        assert done.returncode == ("holds a result of other settings or inputs" in done.stderr), done.stderr
        return " ".join(done.stderr.split())

    folder = tmp_path / "runs/predict"
    assert not predict("Rain, at night.wav") + predict("other")
    assert sorted(path.name for path in folder.iterdir()) == ["Rain-at-night", "other"]
    before = (folder / "Rain-at-night/predictions.csv").read_bytes()
    for audio, more, said in (
        (f"{tmp_path}/other/", [], "settings.audio: Rain, at night.wav there, other asked for"),
        ("Rain, at night.wav", ["predict.smoothing=4"], "settings.smoothing: 1 there, 4 asked for"),
        ("Rain, at night.wav", [f"model={long_model}"], "inputs.model: "),
    ):
        refused = predict(audio, "name=Rain-at-night", *more)
        assert said in refused
        assert refused.endswith("write another table with predict.out=FILE, or replace it with force=true")
    assert not predict(f"{tmp_path}/Rain, at night.wav")
    assert (folder / "Rain-at-night/predictions.csv").read_bytes() == before
    assert not predict("other", "name=Rain-at-night", "force=true")
    assert (folder / "Rain-at-night/predictions.csv").read_bytes() == (folder / "other/predictions.csv").read_bytes()


def test_any_text_makes_a_name_of_a_run() -> None:
    """Oracle: by hand; what is left is a name that Layout takes; texts of which nothing is left differ in theirs."""
    for text, name in (("a b.wav", "a-b.wav"), ("_x", "x"), ("n" * 300, "n" * 200)):
        assert Layout(Path(), as_name(text)).name == name
    others = [
        Layout(Path(), as_name(text)).name
        for text in ("..", "\u00e4\u00f6", "\u043a\u0443\u0445\u043d\u044f", "\udcff")
    ]
    assert len(set(others)) == 4


def test_a_table_without_a_record_is_not_replaced(tmp_path: Path, small_model: Path) -> None:
    """Oracle: the bytes of a table that an earlier version wrote under the name, and the message; with force=true it is
    another one."""
    noise(tmp_path / "x.wav", 1)
    table = tmp_path / "predict/mine/predictions.csv"
    table.parent.mkdir(parents=True)
    table.write_text("of before")
    words = [
        "stage=predict",
        f"predict.audio={tmp_path / 'x.wav'}",
        f"model={small_model}",
        f"runs={tmp_path}",
        "name=mine",
    ]
    with pytest.raises(UserError, match=r"earlier version.*predict\.out=FILE, or replace it with force=true"):
        predict_audio.run(resolve(words))
    assert table.read_text() == "of before"
    predict_audio.run(resolve([*words, "force=true"]))
    assert len(read_predictions(table, ["x.wav"], SCENES)) == 1


def test_the_model_that_answers_is_named_with_its_accuracy(
    tmp_path: Path, small_model: Path, trained_once: Path
) -> None:
    """Oracle: the run's score.json, by hand, and the miniature's title; of a file elsewhere, of a
    run that is damaged and of one that is not finished, which of them it is."""
    folder = tmp_path / "quantize/first"
    shutil.copytree(trained_once / "runs/quantize/first", folder)
    scores = {"test/accuracy": 0.541, "test/accuracy/low": 0.48, "test/accuracy/high": 0.602}
    (folder / "score.json").write_text(json.dumps(scores))
    said = "first: accuracy 54.1 % (48.0 to 60.2) on the test clips of Synthetic miniature"
    assert str(origin_of(folder / "model.tflite")) == said
    noise(tmp_path / "x.wav", 1)
    done = run(tmp_path, "predict", "x.wav", f"runs={tmp_path}", f"model={folder}/model.tflite", "predict.out=p.csv")
    assert f"model {said}" in " ".join(done.stdout.split())
    assert str(origin_of(small_model)).startswith("model.tflite: its accuracy is not known")
    (folder / "score.json").write_text("{}")
    assert origin_of(folder / "model.tflite").name == "first"
    assert "not known" in str(origin_of(folder / "model.tflite"))
    (folder / "score.json").write_text("{")
    assert (
        str(origin_of(folder / "model.tflite"))
        == "first: its accuracy is not known, for the files of its run are damaged"
    )
    (folder / "run.json").unlink()
    assert str(origin_of(folder / "model.tflite")).startswith(
        "model.tflite: its accuracy is not known, for it lies in no"
    )


def test_a_run_of_floats_is_used_as_it_is_stored(tmp_path: Path) -> None:
    """Oracle: the file that `quantize.bits=16f` leaves in a finished run, where there is no model.tflite; of an
    unfinished one, and of several files, the messages."""
    folder = tmp_path / "quantize" / "half"
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors").touch()
    command = ["stage=predict", "name=half", f"runs={tmp_path}"]
    with pytest.raises(UserError, match="half is an unfinished run"):
        model_of(resolve(command))
    (folder / "run.json").write_text("{}")
    assert model_of(resolve(command)) == folder / "checkpoint.safetensors"
    (folder / "model.tflite").touch()
    assert model_of(resolve(command)) == folder / "model.tflite"
    with pytest.raises(UserError, match="model names 2 files, and this stage takes one:\n  a\n  b"):
        model_of(resolve([*command, "model=[a,b]"]))
