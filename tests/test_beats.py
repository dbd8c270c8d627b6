"""BEATs: its front end, its network, and its weights as published."""

import argparse
from pathlib import Path

import beats as files
import fuzzing
import numpy as np
import pytest
import safetensors.torch
import torch
from command import run
from torchaudio.compliance import kaldi

from data.errors import UserError
from data.front_ends import build_front_end
from data.logits import read_logits
from data.scenes import ClipSet
from teachers import build_teacher, find_teacher
from teachers.beats_network import SILENCE, Beats, _buckets
from teachers.layers import layers_of

MEL = {"kind": "kaldi_fbank", "mels": 128, "mean": 15.41663, "std": 6.55582, "scale": 32768, "taper": "povey"}
# Logits 0, 1, 2 and 526 of the two clips of tests/beats.py, with its weights and its small geometry, by the package
# speechbrain 1.0.3 (lobes/models/beats.py, which is the authors' code), front end included.
REFERENCE = [0.36216, -0.50328, -0.00485, -1.0649, 0.21688, 0.42959, -0.24458, -0.33481]
HEAD = 6000  # bytes of a file before its numbers


def test_the_front_end_is_that_of_its_authors() -> None:
    """Oracle: torchaudio's Kaldi with the arguments of BEATs.preprocess (beats/BEATs.py), of noise of very different
    levels; within 1e-3."""
    waves = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.3], [3e-3], [3e-5]])
    found = build_front_end(16_000, MEL)(waves)
    for spectrogram, wave in zip(found, waves, strict=True):
        fbank = kaldi.fbank(
            wave[None] * 2**15, num_mel_bins=128, sample_frequency=16_000, frame_length=25, frame_shift=10
        )
        expected = (fbank - 15.41663) / (2 * 6.55582)
        torch.testing.assert_close(spectrogram[0].T, expected, atol=1e-3, rtol=0)
    silence = build_front_end(16_000, MEL)(torch.zeros(1, 16_000))
    torch.testing.assert_close(silence, torch.full_like(silence, SILENCE))


def test_a_published_file_answers_as_the_authors_code_does(tmp_path: Path) -> None:
    """Oracle: REFERENCE, within 1e-4."""
    files.write(tmp_path / "w.pt", **files.SMALL)
    network = build_teacher("beats", classes=None, weights=tmp_path / "w.pt", **files.SMALL).eval()
    with torch.no_grad():
        found = network(build_front_end(16_000, MEL)(files.sounds()))[:, [0, 1, 2, -1]]
    np.testing.assert_allclose(found.flatten(), REFERENCE, atol=1e-4, rtol=0)


def test_the_network_is_as_large_as_published() -> None:
    """Oracle: section 4.2 of the paper, 90 million; by hand 90,311,792 without a last layer: 131,072 of the patches,
    395,008 up to the transformer, 4,719,488 of the convolution, 1,536, 3,840 of the table, and 12 times 7,088,404."""
    with torch.device("meta"):
        network = Beats(527, width=768, depth=12, heads=12, dropout=0.0)
    assert sum(p.numel() for p in network.parameters()) == 90_311_792 + 527 * 769
    layers = layers_of(network)
    assert len(layers) == 14
    assert sorted(id(p) for layer in layers for p in layer) == sorted(id(p) for p in network.parameters())


def test_distances_have_rows_of_their_own_up_to_eighty() -> None:
    """Oracle: by hand from T5's rule with 320 rows and 800: a query's own place has row 0, keys before it 1 to 79,
    those behind it 160 more; further ones share rows by their logarithm (200: 80 + 80 ln(2.5) / ln(10) = 111.8), and
    from 800 on all have the last one."""
    found = _buckets(1000, torch.device("cpu"))
    assert found[500, 499:502].tolist() == [1, 0, 161]
    assert found[79, :3].tolist() == [79, 78, 77]
    assert found[0, 79:82].tolist() == [239, 240, 240]
    assert (int(found[0, 200]), int(found[200, 0])) == (160 + 111, 111)
    assert found[0, 800:].unique().tolist() == [319]


def test_short_spectrograms_are_completed_with_silence() -> None:
    """Oracle: the network on the 16 frames of a patch, the last of which are silent; frames behind the last whole
    patch change nothing."""
    network = build_teacher("beats", pretrained=False, **files.SMALL).eval()
    whole = torch.randn(2, 1, 128, 20, generator=torch.Generator().manual_seed(0))
    whole[..., 5:] = SILENCE
    with torch.no_grad():
        torch.testing.assert_close(network(whole[..., :5]), network(whole[..., :16]))
        torch.testing.assert_close(network(whole), network(whole[..., :16]))
    with pytest.raises(UserError, match="have 64 bands, BEATs has 128"):
        network(torch.zeros(1, 1, 64, 98))


def test_files_start_a_teacher(tmp_path: Path) -> None:
    """Oracle: the weights that were written, all but those of the last layer, which has ten classes: of a published
    file, of one that was not fine-tuned and has no last layer, and of a checkpoint of this project."""
    state = files.write(tmp_path / "a.pt", **files.SMALL)
    content = torch.load(tmp_path / "a.pt")
    content["model"] = {name: value for name, value in state.items() if not name.startswith("predictor.")}
    torch.save(content, tmp_path / "b.pt")
    network = build_teacher("beats", weights=tmp_path / "a.pt", **files.SMALL)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "c.pt")
    for name in "abc":
        own = build_teacher("beats", weights=tmp_path / f"{name}.pt", **files.SMALL).state_dict()
        assert all(torch.equal(own[each], state[each]) for each in own if not each.startswith("predictor."))
        assert len(own["predictor.bias"]) == 10
    with pytest.raises(UserError, match=r"2 only in the network: predictor.weight, predictor.bias"):
        build_teacher("beats", classes=None, weights=tmp_path / "b.pt", **files.SMALL)


def test_files_of_other_networks_are_named(tmp_path: Path) -> None:
    """Oracle: the messages: another geometry, another kind of transformer, tables that differ, code beside the weights,
    a file without its last quarter, no file."""
    path = tmp_path / "w.pt"
    files.write(path, **files.SMALL)

    def refused(match: str, **changed: int) -> None:
        with pytest.raises(UserError, match=match):
            build_teacher("beats", weights=path, **{**files.SMALL, **changed})

    refused(r"w.pt is another BEATs:\n  encoder_layers=3 in the file, 2 in the network\ngive a published one", depth=2)
    content = torch.load(path)
    torch.save({**content, "cfg": {**content["cfg"], "max_distance": 1280, "deep_norm": 0}}, path)
    refused(r"another BEATs:\n  deep_norm=0 in the file, True .*\n  max_distance=1280 in the file, 800 in the network")
    torch.save(content["model"], path)  # without a configuration
    refused(r"encoder.pos_conv.0.weight_v: \(32, 2, 128\) in the file, \(64, 4, 128\) in the network", width=64)
    torch.save({**content, "model": {**content["model"], files.TABLE.format(2): torch.zeros(320, 4)}}, path)
    refused(r"encoder.layers.2.self_attn.relative_attention_bias.weight is not that of encoder.layers.0")
    torch.save({**content, "args": argparse.Namespace(cuda=True)}, path)
    refused(r"w.pt needs the class or function argparse.Namespace, which is code")
    torch.save(content, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    refused(r"w.pt is damaged")
    refused(r"width=40 must be a multiple of 16, .* and of heads=4", width=40)
    with pytest.raises(UserError, match=r"fetch BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt by hand, from .*unilm"):
        build_teacher("beats", **files.SMALL)


@pytest.mark.slow  # some seconds
def test_damaged_files_are_messages(tmp_path: Path, fuzz: int) -> None:
    """Oracle: tests/fuzzing.py: each copy of a file whose beginning, the configuration and the names, is damaged is
    read, or is a message that says so."""
    small, path = {"width": 16, "depth": 1, "heads": 1}, tmp_path / "w.pt"
    files.write(path, **small)
    torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)  # without checksums
    original = path.read_bytes()
    damaged = [(change, head + original[HEAD:]) for change, head in fuzzing.mutants(original[:HEAD], fuzz // 4)]

    def read(file: Path) -> None:
        build_teacher("beats", weights=file, **small)

    assert fuzzing.survive(read, original, damaged, tmp_path, "d.pt") > len(damaged) // 4


def test_what_it_was_trained_on_is_declared() -> None:
    """Oracle: section 4.1 of the paper: AudioSet alone; its repository is under the MIT licence."""
    found = find_teacher("beats").pretraining({}, pretrained=True, weights=None)
    assert [each.name for each in found.resources] == ["BEATs BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2", "AudioSet"]
    assert found.resources[0].licence == "MIT"


@pytest.mark.slow  # two commands with a training each: half a minute
def test_a_student_learns_from_a_frozen_one(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: logits of every clip, finite and different, and a student's score; the weights of the file in all layers
    of the checkpoint but the last."""
    state = files.write(tmp_path / "w.pt", **files.SMALL)
    common = [f"data.root={miniature.root}", "tracking=none", "epochs=1", "refit=false"]
    geometry = [f"teacher.arguments.{name}={value}" for name, value in files.SMALL.items()]
    teacher = ["teacher", "teacher=beats_head", "teacher.weights=w.pt", "teacher.views=1", *geometry, *common]
    assert (result := run(tmp_path, *teacher)).returncode == 0, result.stderr
    folder = tmp_path / "runs/teacher/default"
    own = safetensors.torch.load_file(folder / "checkpoint.safetensors")
    assert all(torch.equal(own[name], state[name]) for name in own if not name.startswith("predictor."))
    logits = read_logits(folder / "logits.h5", miniature.filenames, miniature.scenes)
    assert np.isfinite(logits).all()
    assert (logits.std(axis=0) > 0).all()
    student = ["student", "student.size=6k", f"logits={folder / 'logits.h5'}", *common]
    assert (result := run(tmp_path, *student)).returncode == 0, result.stderr
    assert (tmp_path / "runs/student/default/score.json").exists()
