"""The import stage: a public checkpoint becomes a student's run, published logits a teacher's."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import fuzzing
import numpy as np
import pytest
import safetensors.torch
import torch
from command import QUICK, run
from public_networks import STRIDES, WIDTHS, lightning, public_logits, public_tensors, save
from torchaudio.transforms import MelSpectrogram, Resample

from data.errors import UserError
from data.front_ends.log_mel import LogMel
from data.logits import load_logits
from data.scenes import SCENES, ClipSet
from data.tables import read_table
from data.waves import WaveStore
from experiments.run import resolve, run_stages
from experiments.stages import importing
from experiments.submission.lineage import read_lineage
from experiments.training.checkpoint import load_student

SMALL = public_tensors(*WIDTHS["6k"])


def stored(**changes: float) -> tuple[MelSpectrogram, dict[str, torch.Tensor]]:
    """The log-mel of the baselines, and what Lightning stores of it and of the resampler before it."""
    settings = {"sample_rate": 32_000, "n_fft": 4096, "win_length": 3072, "hop_length": 500, "n_mels": 256, **changes}
    mel = MelSpectrogram(**settings)
    tables = {"0.kernel": Resample(44_100, 32_000).kernel, "1.spectrogram.window": mel.spectrogram.window}
    return mel, {**tables, "1.mel_scale.fb": mel.mel_scale.fb}


def of(miniature: ClipSet) -> list[str]:
    return [f"data.root={miniature.root}", "tracking=none"]


def table_of(path: Path, scenes: tuple[str, ...] = SCENES) -> dict[str, np.ndarray]:
    """Probabilities by clip."""
    table = read_table(path, ["filename"])
    values = np.array([[float(text) for text in table[scene]] for scene in scenes]).T
    return dict(zip(table["filename"], values, strict=True))


@pytest.mark.slow  # packs clips and writes pages: ten seconds
def test_a_checkpoint_with_its_front_end_answers_as_the_original(
    tmp_path: Path, miniature: ClipSet, miniature_waves: WaveStore
) -> None:
    """Oracle: torchaudio's MelSpectrogram, log(x + 1e-5) and the public network by hand, on the same waves; tolerance
    1e-4 of a logarithm of a probability."""
    mel, tables = stored()
    save(tmp_path / "last.ckpt", lightning(SMALL, mel=tables))
    result = run(tmp_path, "import", "last.ckpt", "name=x", *of(miniature))
    assert result.returncode == 0, result.stderr
    assert "strides b2 2x2, b4 2x1 (as published with 6k parameters)" in result.stdout
    folder = tmp_path / "runs/student/x"
    network, blueprint = load_student(folder / "checkpoint.safetensors")
    assert (blueprint.mel["kind"], blueprint.mel["hop"], blueprint.scenes) == ("torchaudio_log_mel", 500, SCENES)
    rows = miniature.indices("test")
    spectrograms = (mel(miniature_waves.read(rows)) + 1e-5).log()[:, None]
    wanted = public_logits(SMALL, spectrograms, STRIDES[2023])
    with torch.no_grad():
        torch.testing.assert_close(network(spectrograms), wanted, atol=1e-4, rtol=0)
    found = table_of(folder / "predictions.csv")
    for row, logits in zip(rows, wanted.log_softmax(1).numpy(), strict=True):
        likely = logits > -12  # of which the table has enough digits
        np.testing.assert_allclose(
            np.log(found[miniature.clips[row].filename][likely]), logits[likely], atol=1e-4, rtol=0
        )
    assert json.loads((folder / "score.json").read_text())["macs"] > 0
    assert not (tmp_path / "runs/import").exists()
    again = run(tmp_path, "import", "last.ckpt", "name=x", *of(miniature))
    assert "the result is reused" in again.stdout


def network_of(path: Path, *words: str, scenes: tuple[str, ...] = SCENES) -> tuple:
    return importing._network(resolve(["import", f"source.checkpoint={path}", *words]), path, scenes)


@pytest.mark.parametrize("prefix", ["", "model.", "multi_device_model.base_model."])
def test_a_prefix_and_what_lies_beside_the_network_are_left_out(prefix: str, tmp_path: Path) -> None:
    """Oracle: the public network by hand; beside it lie another device's and optimiser's tensors."""
    other = public_tensors(*WIDTHS["6k"], seed=1) if prefix.startswith("multi") else {}
    state = {f"multi_device_model.device_models.a.{name}": tensor for name, tensor in other.items()}
    state |= {f"{prefix}{name}": tensor for name, tensor in SMALL.items()}
    path = save(
        tmp_path / "a.pt", {"state_dict": state, "optimizer_states": [{"state": {0: SMALL}}]} if prefix else state
    )
    found, mel = network_of(path, "student.mel.kind=log_mel", "student.mel.mels=64")
    assert (mel["kind"], mel["mels"], mel["high"]) == ("log_mel", 64, 15_500)
    x = LogMel(mels=64)(torch.randn(2, 32_000) / 10)
    torch.testing.assert_close(found.network(x), public_logits(SMALL, x, STRIDES[2023]), atol=1e-4, rtol=0)
    safetensors.torch.save_file(SMALL, tmp_path / "a.safetensors")
    found, _ = network_of(tmp_path / "a.safetensors", "student.mel.kind=log_mel")
    torch.testing.assert_close(found.network(x), public_logits(SMALL, x, STRIDES[2023]), atol=1e-4, rtol=0)


def test_outputs_are_brought_to_the_order_of_the_data_set(tmp_path: Path) -> None:
    """Oracle: the public network's logits, turned by hand."""
    path = save(tmp_path / "a.pt", SMALL)
    order = "[tram,street_traffic,street_pedestrian,shopping_mall,public_square,park,metro_station,metro,bus,airport]"
    found, _ = network_of(path, "student.mel.kind=log_mel", f"source.scenes={order}")
    x = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(found.network(x), public_logits(SMALL, x, STRIDES[2023]).flip(1), atol=1e-4, rtol=0)


def test_the_tables_beside_a_network_are_its_front_end(tmp_path: Path) -> None:
    """Oracle: the settings that torchaudio's transform was made with; the message where others are given."""
    _, tables = stored(n_fft=2048, win_length=1024, n_mels=64)
    path = save(tmp_path / "a.ckpt", lightning(SMALL, mel=tables))
    _, mel = network_of(path, "student.mel.hop=400")
    assert mel == {
        **{"kind": "torchaudio_log_mel", "window": 1024, "hop": 400, "fft": 2048, "mels": 64, "low": 0.0, "high": None}
    }
    for wrong, said in {
        "student.mel.kind=log_mel": "give student.mel.kind=torchaudio_log_mel and not log_mel",
        "student.mel.mels=128": r"the bands that it was trained with, \(1025, 64\), are not those of .*'mels': 128",
        "data.sample_rate=44100": "the bands that it was trained with",
    }.items():
        with pytest.raises(UserError, match=said):
            network_of(path, wrong)
    _, tables = stored(f_min=50.0, f_max=15_000.0)
    path = save(tmp_path / "b.ckpt", lightning(SMALL, mel=tables))
    with pytest.raises(UserError, match=r"give its own settings \(student.mel.low, student.mel.high"):
        network_of(path)
    assert network_of(path, "student.mel.low=50", "student.mel.high=15000")[1]["low"] == 50


class Code:
    """What a pickle would have to call."""


WRONG: Mapping[str, tuple[object, str]] = {
    "import": (None, "is given no file: give source.checkpoint=FILE or source.logits=FILE"),
    "import f": (SMALL, "does not say which log-mels it was trained on: give student.mel.kind=log_mel"),
    "import f source.logits=f": (SMALL, "is given two files, and takes one"),
    "import f source.filenames=f": (SMALL, "source.filenames is for source.logits, and source.checkpoint is given"),
    "import source.logits=f source.strides={b2:[2,2]}": (SMALL, "source.strides is for source.checkpoint"),
    "import source.logits=none.pt": (SMALL, "source.logits=none.pt does not exist"),
    "import source.checkpoint=.": (SMALL, "source.checkpoint=. is a folder: name a file in it"),
    "import f source.strides={b2:[0,2]}": (SMALL, "source.strides={b2:[0,2]} must be a mapping"),
    "import f source.strides={b9:[2,2]} student.mel.kind=log_mel": (
        SMALL,
        "source.checkpoint=f: cp_mobile: strides for",
    ),
    "import f student.mel.kind=log_mel": ({"layer.weight": torch.ones(2, 2)}, "f: it is no CP-Mobile of the public"),
    "import f data=unlabelled data.root=.": (SMALL, "labels are needed by the import stage: give a data set with"),
    "import f limits=warn student.mel.kind=log_mel": ({"state_dict": {}, "hyper_parameters": Code()}, "which is code"),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_said_before_anything_is_written(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the message; no file or folder beside the one that is given."""
    monkeypatch.chdir(tmp_path)
    content, said = WRONG[words]
    torch.save(content, "f")
    with pytest.raises(UserError) as error:
        run_stages(resolve([*words.split(), "tracking=none"]))
    assert said in str(error.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


@pytest.mark.parametrize(
    ("content", "said"), [(b"some text", "f is damaged or no file of tensors"), (b"<html>", "f is a web page")]
)
def test_other_files_are_refused(content: bytes, said: str, tmp_path: Path) -> None:
    """Oracle: the message."""
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(UserError, match=said):
        network_of(tmp_path / "f", "student.mel.kind=log_mel")


def test_a_network_of_other_classes_is_refused(tmp_path: Path) -> None:
    """Oracle: the message."""
    path = save(tmp_path / "a.pt", SMALL)
    with pytest.raises(UserError, match="is of 10 classes, and the data set has 2"):
        network_of(path, "student.mel.kind=log_mel", scenes=("a", "b"))


def test_a_tensor_that_claims_more_than_the_file_holds_builds_nothing(tmp_path: Path) -> None:
    """Oracle: the message; stages of 8, 800 and 80,000 channels would be built with gigabytes, of a file of 100 kB."""
    claimed = dict(SMALL)
    for block, (wide, channels, out) in {
        **{f"stages.s1.b{number}": (800, 8, 8) for number in (1, 2, 3)},
        **{"stages.s2.b4": (800, 8, 800), "stages.s2.b5": (80_000, 800, 800), "stages.s3.b6": (80_000, 800, 80_000)},
    }.items():
        claimed[f"{block}.block.0.0.weight"] = torch.ones(1).expand(wide, channels, 1, 1)
        claimed[f"{block}.block.2.0.weight"] = torch.ones(1).expand(out, wide, 1, 1)
    path = save(tmp_path / "a.pt", claimed)
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"source.checkpoint=.*larger than the file allows"):
        network_of(path, "student.mel.kind=log_mel")


@pytest.mark.slow  # trains a student: ten seconds
def test_logits_are_a_teacher_that_a_student_learns_from(
    tmp_path: Path, miniature: ClipSet, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the numbers in the file, by name; the student's record has the fingerprint of the teacher's file."""
    caplog.set_level(logging.INFO)
    logits = torch.randn(len(miniature.clips), 10)
    save(tmp_path / "ensemble.pt", logits)
    result = run(tmp_path, "import", "source.logits=ensemble.pt", "name=x", *of(miniature))
    assert result.returncode == 0, result.stderr
    assert f"its rows are taken for the {len(miniature.clips)} clips of meta.csv" in result.stdout
    path = tmp_path / "runs/teacher/x/logits.h5"
    found = load_logits(path)
    assert dict(zip(found.filenames, map(tuple, found.logits.tolist()), strict=True)) == dict(
        zip(miniature.filenames, map(tuple, logits.tolist()), strict=True)
    )
    assert (path.parent / "report.html").is_file()
    result = run(tmp_path, "student", "name=x", *of(miniature), *QUICK, "epochs=1")
    assert result.returncode == 0, result.stderr
    assert "its teacher was trained on other clips or splits" in result.stdout
    few = run(tmp_path, "import", "source.logits=few.pt", "name=y", *of(miniature))
    assert "source.logits=few.pt does not exist" in few.stderr
    save(tmp_path / "few.pt", logits[:9])
    few = run(tmp_path, "import", "source.logits=few.pt", "name=y", *of(miniature))
    assert f"few.pt has 9 rows, and meta.csv of the data set has {len(miniature.clips)} clips" in few.stderr
    assert not (tmp_path / "runs/teacher/y").exists()


@pytest.mark.slow  # from a checkpoint to C that is compiled and run: a minute
def test_all_stages_work_with_an_imported_student(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the metrics that the import wrote, once more by the score stage; exit codes; the page; the submission's
    and the damaged file's messages."""
    save(tmp_path / "a.ckpt", lightning(SMALL))
    words = ["name=x", *of(miniature)]
    mel = ["student.mel.kind=log_mel", "student.mel.mels=64", "student.mel.hop=1000"]
    for command in (
        ["stage.steps=[import,quantize]", "source.checkpoint=a.ckpt", *mel, "quantize.clips=32", *words],
        ["score", "runs/student/x/predictions.csv", *words],
        ["deploy", "name=x", "tracking=none"],
        ["energy", *words, "energy.seconds=0.2"],
        ["report", "name=x", "tracking=none"],
        [
            "student",
            "name=next",
            *of(miniature),
            *QUICK,
            "distill=none",
            "student.weights=runs/student/x/checkpoint.safetensors",
            "student.mel.hop=1000",
        ],
    ):
        result = run(tmp_path, *command)
        assert result.returncode == 0, result.stderr
    written, scored = (json.loads((tmp_path / f"runs/{s}/x/score.json").read_text()) for s in ("student", "score"))
    assert {name: written[name] for name in scored} == pytest.approx(scored, rel=1e-6)  # of the digits of a table
    assert "student/x" in (tmp_path / "runs/report/x/report.html").read_text()
    refused = run(tmp_path, "quantize", "quantize.bits=auto", "quantize.budget=5000", "force=true", *words)
    assert "needs answers to validation clips by a network that was not trained on them" in refused.stderr
    with pytest.raises(UserError, match=r"student/x was taken over from others: .* a submission must declare that"):
        read_lineage(tmp_path / "runs/quantize/x")
    path = tmp_path / "runs/student/x/checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    damaged = run(tmp_path, "quantize", "force=true", *words)
    assert "make it anew with scenelet import name=x force=true" in damaged.stderr


@pytest.mark.slow  # hundreds of damaged copies, in processes of their own: twenty seconds
def test_a_damaged_checkpoint_is_a_message(tmp_path: Path, fuzz: int) -> None:
    """Oracle: bounds of time and memory, and a message for each damaged copy."""
    path = save(tmp_path / "made.ckpt", lightning(SMALL, mel=stored()[1]))
    settings = resolve(["import", f"source.checkpoint={path}"])
    content = path.read_bytes()
    fuzzing.survive(
        lambda path: importing._network(settings, path, SCENES),
        content,
        fuzzing.mutants(content, fuzz // 4),
        tmp_path,
        "a.ckpt",
    )
