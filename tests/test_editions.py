"""Packages of 2024 and 2025: what they hold, what is wrong with one, and what is made of trained runs."""

import copy
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import packages
import pandas as pd
import pytest
import test_submission
import yaml
from test_submission import edit, submit

from data.errors import UserError
from data.scenes import SCENES
from experiments.inference.classifier import load_classifier
from experiments.submission import entries
from experiments.submission.about import EXAMPLE, read_about
from experiments.submission.evaluation_set import devices_of, evaluation_files
from experiments.submission.layout import EDITIONS, output_path, report_path
from experiments.submission.meta import BLOCKS, FIELDS
from experiments.submission.report_tables import tables_of
from experiments.submission.validate import validate, write_valid
from students.quantize.read import read_tflite
from students.quantize.tflite import write_tflite

folder = test_submission.folder  # a fixture: trained runs, about.yaml, and test clips without labels
SUBSETS = (5, 10, 25, 50, 100)
LABEL = packages.LABEL
META = f"task1/{LABEL}/{LABEL}.meta.yaml"
DESCRIPTION = {  # the required fields of the organisers' checker of 2024 (main.py)
    *("input_sampling_rate", "acoustic_features", "data_augmentation", "machine_learning_method"),
    *("external_data_usage", "complexity_management", "pipeline", "framework", "split_adaptations"),
    "system_adaptations",
}


def description(year: int) -> dict:
    """That of 2023, with the fields of another year."""
    meta = packages.description()
    system, block = meta["system"], meta["results"]["development_dataset"]
    del system["energy_consumption"]
    system["complexity"] = {key: system["complexity"][key] for key in ("total_model_size", "total_parameters", "macs")}
    for key in ("embeddings", "ensemble_method_subsystem_count", "decision_making"):
        del system["description"][key]
    if year == 2024:
        system["description"] |= {"split_adaptations": None, "system_adaptations": "none"}
        blocks = [f"split_{subset}" for subset in SUBSETS]
    else:
        more = {"device_information": None, "num_models_at_inference": 7, "model_weight_sharing": "partially shared"}
        system["description"] |= more
        system["inference_code"] = "https://x.org/code"
        blocks = ["device_specific", "general"]
    meta["results"]["development_dataset"] = {name: copy.deepcopy(block) for name in blocks}
    return meta


def files(year: int) -> dict[str, bytes]:
    """Of a package of a year with one system."""
    out = {report_path("Doe_TUX"): packages.PDF, META: yaml.safe_dump(description(year)).encode()}
    endings = [f".output.split_{subset}.csv" for subset in SUBSETS] if year == 2024 else [".output.csv"]
    return out | {
        f"task1/{LABEL}/{LABEL}{ending}": packages.table(seed).encode() for seed, ending in enumerate(endings)
    }


def defects(tmp_path: Path, content: dict[str, bytes], year: int, names: list[str] | None = packages.CLIPS) -> str:
    return "\n".join(validate(packages.zipped(tmp_path / "p.zip", content), names, year).defects)


@pytest.mark.parametrize("year", [2024, 2025])
def test_a_sound_package_of_each_year_passes_and_is_none_of_the_others(tmp_path: Path, year: int) -> None:
    """Oracle: packages made by hand, with the organisers' fields; the accuracy is 50 in each block, so in the mean."""
    path = packages.zipped(tmp_path / "good.zip", files(year))
    found, _, (system,) = validate(path, packages.CLIPS, year)
    assert found == []
    assert (system.label, system.accuracy, system.bytes, system.macs) == (LABEL, 50.0, 46512, 29234920)
    for other in {2023, 2024, 2025} - {year}:
        wrong = "\n".join(validate(path, packages.CLIPS, other).defects)
        assert wrong
        assert (f"tables of {year} are called so (submit.year={year})" in wrong) == (year == 2024)
    required = {name.rsplit(".", 1)[1] for name in FIELDS[2024] if name.startswith("system.description")}
    assert required == DESCRIPTION
    assert len(BLOCKS[2024]) == 5


def test_the_evaluation_set_of_2024_has_the_official_names(tmp_path: Path) -> None:
    """Oracle: the organisers' checker of 2024: 135,730 files, 0.wav to 135729.wav."""
    names = [f"{number}.wav" for number in range(135_730)]
    assert EDITIONS[2024].other_than_official(names) is None
    assert "has 135,730, 0.wav to 135729.wav" in EDITIONS[2024].other_than_official(names[1:])
    content = files(2024)
    last = output_path(LABEL, ".output.split_100.csv")
    content[last] = content[last].replace(b"2.wav", b"135730.wav")
    assert "135730.wav: no clip of the official evaluation set of 2024" in defects(tmp_path, content, 2024, None)
    assert EDITIONS[2025].other_than_official(names[5:]) is None
    assert "1 of them with other names" in EDITIONS[2025].other_than_official(["0.wav", "x.wav"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.pop(output_path(LABEL, ".output.split_10.csv")), f"{LABEL}.output.split_10.csv is missing"),
        (
            lambda f: f.update({output_path(LABEL, ".output.split_7.csv"): b""}),
            "split_7.csv' does not belong into a package",
        ),
        (lambda f: f.update({output_path(LABEL): b""}), f"'{output_path(LABEL)}' does not belong into a package"),
        (
            lambda f: f.update(
                {output_path(LABEL, ".output.split_50.csv"): packages.table(3).replace("2.wav", "3.wav").encode()}
            ),
            "split_50.csv: 3.wav: no clip of the list of files",
        ),
    ],
)
def test_tables_of_2024_that_are_missing_or_too_many_are_named(
    tmp_path: Path, spoil: Callable[[dict], object], message: str
) -> None:
    """Oracle: the message; the other tables are sound."""
    content = files(2024)
    spoil(content)
    found = defects(tmp_path, content, 2024)
    assert message in found
    assert found.count("\n") <= 1


def _results(meta: dict) -> dict:
    return meta["results"]["development_dataset"]


@pytest.mark.parametrize(
    ("year", "spoil", "message"),
    [
        (2024, lambda m: _results(m).pop("split_25"), "results.development_dataset.split_25 is missing"),
        (
            2024,
            lambda m: m["system"]["description"].pop("split_adaptations"),
            "system.description.split_adaptations is missing",
        ),
        (
            2024,
            lambda m: _results(m)["split_5"]["overall"].update(accuracy=51.0),
            "results.development_dataset.split_5: overall accuracy is 51.0, the mean of the class-wise ones is 50.00",
        ),
        (2024, lambda m: _results(m)["split_5"]["overall"].update(accuracy=None), "must be a number from 0 to 100"),
        (2025, lambda m: m["system"].pop("inference_code"), "system.inference_code is missing"),
        (2025, lambda m: m["system"].update(inference_code=None), "system.inference_code must be a text"),
        (
            2025,
            lambda m: m["system"]["description"].update(model_weight_sharing="some"),
            "must be one of fully shared, partially shared, fully device-specific, or null, not 'some'",
        ),
        (
            2025,
            lambda m: m["system"]["description"].update(num_models_at_inference=0),
            "num_models_at_inference must be a whole number of at least 1",
        ),
        (
            2025,
            lambda m: _results(m)["general"]["overall"].update(logloss=9.0),
            "general: overall logloss, 9.0, is not between",
        ),
        (2025, lambda m: m["system"]["complexity"].update(total_model_size=128_001), "from 1 to 128000"),
    ],
)
def test_what_a_description_of_a_year_cannot_say_is_refused(
    tmp_path: Path, year: int, spoil: Callable[[dict], object], message: str
) -> None:
    """Oracle: the fields that the organisers require, and the arithmetic of means."""
    meta = description(year)
    spoil(meta)
    assert message in defects(tmp_path, {**files(year), META: yaml.safe_dump(meta).encode()}, year)


def test_figures_of_2025_may_be_missing(tmp_path: Path) -> None:
    """Oracle: the organisers' template: partial results are acceptable, and null stands for what is missing."""
    meta = description(2025)
    block = _results(meta)["device_specific"]
    for part in (block["overall"], *block["class_wise"].values(), *block["device_wise"].values()):
        part.update(logloss=None, accuracy=None)
    path = packages.zipped(tmp_path / "p.zip", {**files(2025), META: yaml.safe_dump(meta).encode()})
    found, _, (system,) = validate(path, packages.CLIPS, 2025)
    assert (found, system.accuracy) == ([], None)


def with_sets(model: Path, devices: tuple[str, ...]) -> None:
    """Give a model.tflite other biases of its last layer for some devices."""
    network, metadata = read_tflite(model)
    name, generator = [*network.weights][-1], np.random.default_rng(0)
    weights = network.weights[name]
    size = 4 * int(np.abs(weights.bias).max())
    sets = {
        device: {name: replace(weights, bias=weights.bias + generator.integers(-size, size, 10, dtype=np.int32))}
        for device in devices
    }
    write_tflite(replace(network, sets=sets), model, metadata)


@pytest.mark.slow  # the command, and the process in which it calls the inference package
def test_a_package_of_2025_asks_each_devices_network(folder: Path, tmp_path: Path) -> None:
    """Oracle: our own classifier of each device, of the clips that the list gives to it; the zip is read by the
    standard library, pandas and PyYAML; without the address of the code the message asks for it."""
    runs = shutil.copytree(folder / "runs", tmp_path / "runs")
    model = runs / "quantize/first/model.tflite"
    with_sets(model, ("a", "s1"))
    edit(model.parent, lambda record: record.pop("models"))  # as earlier versions wrote it
    audio = shutil.copytree(folder / "evaluation", tmp_path / "evaluation/audio")
    names = sorted(path.name for path in audio.iterdir())[:12]
    given = [("a", "s1", "unknown", "c")[number % 4] for number in range(len(names))]
    (tmp_path / "evaluation/evaluation_setup").mkdir()
    rows = [f"audio/{name}\t{device}" for name, device in zip(names, given, strict=True)]
    (tmp_path / "evaluation/evaluation_setup/fold1_test.csv").write_text(
        "\r\n".join(["filename\tdevice_id", *rows, ""])
    )
    (tmp_path / "about.yaml").write_text(EXAMPLE)
    refused = submit(tmp_path, "name=first", "submit.year=2025")
    assert refused.returncode == 1
    assert "system.inference_code must be a text" in refused.stderr
    assert "give in submit.about the URL where you will publish the inference package" in refused.stderr
    (tmp_path / "about.yaml").write_text(EXAMPLE.replace("inference_code: null", "inference_code: https://x.org/y"))
    done = submit(tmp_path, "name=first", "submit.year=2025")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "runs/submit/first/submission.zip") as archive:
        table = pd.read_csv(BytesIO(archive.read("task1/Doe_UNIX_task1_1/Doe_UNIX_task1_1.output.csv")), sep="\t")
        meta = yaml.safe_load(archive.read("task1/Doe_UNIX_task1_1/Doe_UNIX_task1_1.meta.yaml"))
    assert list(table["filename"]) == names
    classifier = load_classifier(model)
    for row, (name, device) in enumerate(zip(names, given, strict=True)):
        wanted = classifier.of_device(device).classify_clips([audio / name])[0]
        np.testing.assert_allclose(table.loc[row, list(SCENES)].to_numpy(float), wanted, rtol=1e-6)
    told = meta["system"]["description"]
    assert (told["num_models_at_inference"], told["model_weight_sharing"]) == (3, "partially shared")
    assert told["pipeline"].endswith("device-specific fine-tuning, weight quantization")
    scores = json.loads((runs / "quantize/first/score.json").read_text())
    assert meta["system"]["complexity"]["total_model_size"] == scores["parameter_bytes"]
    inference = tmp_path / "runs/submit/first/inference"
    assert (inference / "Doe_UNIX_task1/models/Doe_UNIX_task1_1.tflite").read_bytes() == model.read_bytes()
    assert "publish what is in runs/submit/first/inference" in " ".join(done.stdout.split())
    assert devices_of(tmp_path / "evaluation", evaluation_files(tmp_path / "evaluation")) == given
    assert set(devices_of(folder / "evaluation", evaluation_files(folder / "evaluation"))) == {"unknown"}


@pytest.mark.slow  # some seconds
def test_a_system_of_2024_is_made_of_five_trainings(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: each table has the probabilities of the file of its own subset, our validator finds nothing, and the
    report has a column for each; the runs may be named in any order, and a subset that is missing is said."""
    quantized, about = folder / "runs/quantize/first", read_about(folder / "about.yaml", 1)
    of = {}
    for subset in SUBSETS:
        network, metadata = read_tflite(quantized / "model.tflite")
        of[path := tmp_path / f"runs/quantize/s{subset}"] = subset
        shutil.copytree(quantized, path)
        name = [*network.weights][-1]
        weights = network.weights[name]
        moved = replace(weights, bias=np.roll(weights.bias, subset) + np.int32(subset))
        write_tflite(replace(network, weights={**network.weights, name: moved}), path / "model.tflite", metadata)
    read = entries.read_lineage

    def lineage(run: Path, **arguments: object) -> object:
        found = read(quantized, **arguments)
        data = {**found.data, "subset": of[run]}
        return replace(found, quantized=replace(found.quantized, folder=run), data=data)

    monkeypatch.setattr(entries, "read_lineage", lineage)
    backwards = list(of)[::-1]
    (entry,) = entries.read_entries(backwards, about, "Doe_UNIX", EDITIONS[2024])
    clips = evaluation_files(folder / "evaluation")[:5]
    content = {report_path("Doe_UNIX"): packages.PDF}
    content[f"task1/{entry.system.label}/{entry.system.label}.meta.yaml"] = entries.description_file(entry.system, 2024)
    for (ending, classifier), run in zip(entry.classifiers.items(), of, strict=True):
        path = output_path(entry.system.label, ending)
        content[path] = entries.predictions_file(classifier, clips, "x")
        table = pd.read_csv(BytesIO(content[path]), sep="\t")[list(SCENES)].to_numpy()
        wanted = load_classifier(run / "model.tflite").classify_clips(clips)
        np.testing.assert_allclose(table, wanted, rtol=1e-6)
    assert len({*content.values()}) == 7
    (passed,) = write_valid(tmp_path / "p.zip", content, [clip.name for clip in clips], 2024)
    assert passed.label == "Doe_UNIX_task1_1"
    (caption, rows), *_ = tables_of([entry.system])["results"]
    assert "by train subset" in caption
    assert rows[0][1::2] == [f"on {subset} %: %" for subset in SUBSETS]
    with pytest.raises(UserError, match=r"1 on 5 %, 1 on 10 %, 0 on 25 %, 1 on 50 %, 1 on 100 %: train the others"):
        entries.read_entries([run for run in of if of[run] != 25], about, "Doe_UNIX", EDITIONS[2024])
