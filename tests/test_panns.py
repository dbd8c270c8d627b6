"""PANNs: their front end, their networks, and their weights as published."""

import argparse
from pathlib import Path

import fuzzing
import numpy as np
import panns as files
import pytest
import torch
import torchinfo
from command import run
from transformers.audio_utils import spectrogram, window_function

from data.errors import UserError
from data.front_ends.panns_mel import HIGHEST, PannsMel, band_weights
from data.logits import read_logits
from data.scenes import ClipSet
from teachers import build_teacher, find_teacher
from teachers.layers import layers_of
from teachers.panns import SIZES
from teachers.panns_network import Panns, build_network

# Tables XII and XI of the paper: parameters, and billions of operations for 10 s.
PUBLISHED = {
    "cnn6": (4_837_455, 21.986),
    "cnn10": (5_219_279, 28.166),
    "cnn14": (80_753_615, 42.220),
    "mobilenetv1": (4_796_303, 3.614),
    "mobilenetv2": (4_075_343, 2.810),
}
# Logits 0, 1, 2 and 526 of the two clips of tests/panns.py by the authors' code with the weights of tests/panns.py, in
# torch 2.11: CNN14 of 32 kHz by the package panns-inference 0.1.1, the others by torchlibrosa 0.1.0 and the classes of
# qiuqiangkong/audioset_tagging_cnn, pytorch/models.py at commit 542c8c8.
REFERENCE = {
    ("cnn6", 32_000): [1.80732, -1.09929, 0.32336, 0.98482, 1.84547, -1.04519, 0.34779, 1.05968],
    ("cnn10", 32_000): [2.01295, -0.44154, 0.81349, 0.11743, 2.08093, -0.47789, 0.8832, 0.10835],
    ("cnn14", 32_000): [4.02268, 0.16897, -0.79157, 0.60412, 3.999, 0.22278, -0.76848, 0.59738],
    ("cnn14", 16_000): [4.00645, 0.15734, -0.76014, 0.61748, 3.97573, 0.21127, -0.7238, 0.59052],
    ("cnn14", 8_000): [3.97137, 0.19129, -0.75105, 0.61135, 4.00727, 0.20496, -0.74094, 0.62327],
    ("mobilenetv1", 32_000): [2.7241, 0.49039, 0.0904, 0.39727, 2.74613, 0.50733, 0.07507, 0.37143],
    ("mobilenetv2", 32_000): [-3.69646, 0.49347, 2.95154, 3.56083, -7.89756, -2.17461, 3.25456, 2.35822],
}
LARGE = [pytest.mark.slow]  # 80 million weights are made, written and read


def cases() -> list:
    return [pytest.param(*each, marks=LARGE if each[0] == "cnn14" else []) for each in REFERENCE]


def on_meta(size: str) -> Panns:
    with torch.device("meta"):
        return build_network(size, 527, 0.5).eval()


@pytest.mark.parametrize("rate", HIGHEST)
def test_the_front_end_is_librosa_s(rate: int) -> None:
    """Oracle: transformers' spectrogram in decibels and its mel matrix on Slaney's scale, which follow librosa; within
    1e-3 dB and 1e-6 of a weight."""
    wave, fft = files.sounds(rate)[:1], files.FFT[rate]
    expected = spectrogram(
        wave[0].numpy(),
        window_function(fft, "hann", periodic=True),
        frame_length=fft,
        hop_length=rate // 100,
        fft_length=fft,
        power=2.0,
        mel_filters=files.mel_bank(rate),
        mel_floor=1e-10,
        log_mel="dB",
    )
    np.testing.assert_allclose(PannsMel(sample_rate=rate, rate=rate)(wave)[0, 0], expected, atol=1e-3)
    np.testing.assert_allclose(band_weights(rate), files.mel_bank(rate), atol=1e-6)


def test_silence_is_the_lowest_value_and_ten_times_the_power_is_ten_more() -> None:
    """Oracle: by hand: 10 log10(1e-10) = -100; an amplitude of sqrt(10) is 10 dB louder."""
    front_end = PannsMel(sample_rate=44_100)
    assert (front_end(torch.zeros(1, 44_100)) == -100).all()
    wave = files.sounds(44_100)
    louder = front_end(10**0.5 * wave) - front_end(wave)
    torch.testing.assert_close(louder, torch.full_like(louder, 10.0), atol=1e-2, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_each_network_is_as_large_and_costs_as_much_as_published(size: str) -> None:
    """Oracle: the paper's tables, of which the operations are two for each product: of the network, and of the Fourier
    transform by convolutions with 2 x 513 windows of 1024 samples, 1001 times; within 2 %."""
    network, (parameters, operations) = on_meta(size), PUBLISHED[size]
    assert sum(p.numel() for p in network.parameters()) == parameters
    found = torchinfo.summary(network, (1, 1, 64, 1001), device="meta", verbose=0).total_mult_adds
    assert 2 * (found + 1001 * 2 * 513 * 1024) / 1e9 == pytest.approx(operations, rel=0.02)
    layers = layers_of(network)
    assert len(layers) == {"cnn6": 7, "cnn10": 7, "cnn14": 9, "mobilenetv1": 17, "mobilenetv2": 22}[size]
    assert sorted(id(p) for layer in layers for p in layer) == sorted(id(p) for p in network.parameters())


@pytest.mark.parametrize(("size", "rate"), cases())
def test_a_published_file_answers_as_the_authors_code_does(tmp_path: Path, size: str, rate: int) -> None:
    """Oracle: REFERENCE, front end included, within 1e-4. The file of 16 kHz has a sampler's arrays beside the weights,
    as a sampler of that code writes them."""
    beside = {"sampler": {"indexes": np.arange(9)}} if rate == 16_000 else {}
    files.write(tmp_path / "w.pth", size, rate, **beside)
    network = build_teacher("panns", classes=None, size=size, rate=rate, weights=tmp_path / "w.pth").eval()
    with torch.no_grad():
        found = network(PannsMel(sample_rate=rate, rate=rate)(files.sounds(rate)))[:, [0, 1, 2, -1]]
    np.testing.assert_allclose(found.flatten(), REFERENCE[size, rate], atol=1e-4, rtol=0)


def test_a_published_file_gets_a_new_head(tmp_path: Path) -> None:
    """Oracle: the weights that were written, all but those of the last layer, which has ten classes."""
    state = files.write(tmp_path / "w.pth", "mobilenetv1")
    own = build_teacher("panns", weights=tmp_path / "w.pth").state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], state[name]) for name in own if not name.startswith("fc_audioset."))
    assert len(own["fc_audioset.bias"]) == 10


def test_short_spectrograms_are_completed_with_silence() -> None:
    """Oracle: the network on 32 (16) frames, the last of which are -100 dB; what it takes least is what five (four)
    halvings leave one frame of."""
    for size, least in (("cnn6", 16), ("mobilenetv2", 32)):
        network = build_teacher("panns", pretrained=False, size=size).eval()
        whole = torch.randn(2, 1, 64, least, generator=torch.Generator().manual_seed(0)) - 30
        whole[..., 5:] = -100
        with torch.no_grad():
            assert torch.equal(network(whole[..., :5]), network(whole))
            assert not torch.equal(network(whole), network(torch.nn.functional.pad(whole, (0, 32), value=-100.0)))


def test_files_of_other_networks_are_named(tmp_path: Path) -> None:
    """Oracle: the messages: another size, another rate, other bands, a layer that is missing, code beside the
    weights, a file without its last quarter, no file of this size and rate, a name that is none, spectrograms of 128
    bands."""
    path = tmp_path / "w.pth"
    state = files.write(path, "mobilenetv2")
    with pytest.raises(UserError, match=r"w.pth is mobilenetv2, not mobilenetv1: .*arguments.size=mobilenetv2"):
        build_teacher("panns", weights=path)
    with pytest.raises(UserError, match=r"w.pth was trained at 32000 Hz, not at 8000: .*arguments.rate=32000"):
        build_teacher("panns", weights=path, size="mobilenetv2", rate=8_000)
    tables = files.tables(32_000)
    tables["logmel_extractor.melW"][100] *= 1.01
    torch.save({"model": {**tables, **state}}, path)
    with pytest.raises(UserError, match=r"another front end: its tables, \(513, 1, 1024\), \(513, 64\), are none of"):
        build_teacher("panns", weights=path, size="mobilenetv2")
    torch.save({name: value for name, value in state.items() if "features.18" not in name}, path)
    with pytest.raises(UserError, match=r"does not fit the network:\n  6 only in the network: features.18.0.weight"):
        build_teacher("panns", weights=path, size="mobilenetv2")
    torch.save({"model": state, "args": argparse.Namespace(cuda=True)}, path)
    with pytest.raises(UserError, match=r"w.pth needs the class or function argparse.Namespace, which is code"):
        build_teacher("panns", weights=path, size="mobilenetv2")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with pytest.raises(UserError, match=r"w.pth is damaged"):
        build_teacher("panns", weights=path, size="mobilenetv2")
    with pytest.raises(UserError, match=r"no weights of cnn6 for 8000 Hz are published, only of 32000 Hz"):
        build_teacher("panns", size="cnn6", rate=8_000)
    with pytest.raises(UserError, match=r"unknown size of PANNs 'cnn12'; choose one of: cnn6, cnn10, cnn14"):
        build_teacher("panns", size="cnn12")
    with pytest.raises(UserError, match="have 128 bands, PANNs have 64"):
        build_teacher("panns", pretrained=False)(torch.zeros(1, 1, 128, 101))


def test_damaged_files_are_messages(tmp_path: Path, fuzz: int) -> None:
    """Oracle: tests/fuzzing.py: each damaged copy of the tables and a layer is read, or is a message that says so."""
    tables, path = files.tables(8_000), tmp_path / "w.pth"
    layer = {"fc1.weight": torch.ones(2, 2)}

    def read(file: Path) -> None:
        with pytest.raises(UserError):
            build_teacher("panns", weights=file, size="cnn6", rate=8_000)

    torch.save({"iteration": 1, "model": {**tables, **layer}}, path, _use_new_zipfile_serialization=False)
    fuzzing.survive(read, path.read_bytes(), fuzzing.mutants(path.read_bytes(), fuzz // 20), tmp_path, "d.pth")


def test_what_it_was_trained_on_is_declared() -> None:
    """Oracle: the paper: AudioSet alone; the name and the record of each file; what a file that is given was trained
    on, only the user can say."""
    find = find_teacher("panns").pretraining
    found = find({"size": "cnn14", "rate": 16_000}, pretrained=True, weights=None)
    assert [each.name for each in found.resources] == ["PANNs Cnn14_16k_mAP=0.438", "AudioSet"]
    assert found.model.url.endswith("3987831")
    assert (found.is_complete, find({}, pretrained=True, weights="w.pth").is_complete) == (True, False)


@pytest.mark.slow  # three commands, two of them with a training: half a minute
def test_a_student_learns_from_a_frozen_one(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: logits of every clip, finite and different, and a student's score; the front end hears at the rate that
    the network has."""
    files.write(tmp_path / "w.pth", "mobilenetv1")
    common = [f"data.root={miniature.root}", "tracking=none", "epochs=1"]
    teacher = ["teacher", "name=a", "teacher=panns", "teacher.weights=w.pth", "teacher.freeze=backbone", *common]
    assert (result := run(tmp_path, *teacher)).returncode == 0, result.stderr
    logits = read_logits(tmp_path / "runs/teacher/a/logits.h5", miniature.filenames, miniature.scenes)
    assert np.isfinite(logits).all()
    assert (logits.std(axis=0) > 0).all()
    student = ["student", "name=b", "student.size=6k", "logits=runs/teacher/a/logits.h5", *common]
    assert (result := run(tmp_path, *student)).returncode == 0, result.stderr
    assert (tmp_path / "runs/student/b/score.json").exists()
    wrong = ["teacher", "name=c", "teacher=panns", "teacher.weights=w.pth", "teacher.arguments.rate=16000", *common]
    assert "was trained at 32000 Hz, not at 16000" in run(tmp_path, *wrong).stderr
