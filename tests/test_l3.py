"""OpenL3 and EdgeL3: their front end, their network, and its weights in the files in which they are published."""

import gzip
from pathlib import Path

import embeddings
import fuzzing
import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import randomise_norms
from torch import nn
from transformers.audio_utils import mel_filter_bank

from data import hdf5_arrays
from data.errors import UserError
from data.front_ends import build_front_end
from data.front_ends.l3_mel import L3Mel
from teachers import build_teacher, edgel3, l3, openl3
from teachers.l3 import L3
from teachers.layers import layers_of

# Keras' names by the places of the layers: numbers begin anywhere, as in files of models that were built after others.
CONVOLUTIONS = {f"layers.{place}": f"conv2d_{number}" for number, place in enumerate((1, 4, 8, 11, 15, 18, 22), 7)}
NORMS = {f"layers.{place}": f"batch_normalization_{n}" for n, place in enumerate((0, 2, 5, 9, 12, 16, 19, 23), 8)}
KERAS = {**CONVOLUTIONS, "layers.25": "audio_embedding_layer", **NORMS}


def network(width: int = 2) -> L3:
    """With few channels, and BatchNorms as training leaves them."""
    return randomise_norms(L3(512, (width, width, width, 4)))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> L3:
    """A network with few channels, which is then the published one."""
    embeddings.make_narrow(monkeypatch)
    return network()


def by_hand(second: np.ndarray) -> np.ndarray:
    """The spectrogram of a second at 48 kHz, (256, 199), in doubles, by the published steps."""
    padded = np.pad(second.astype(np.float64), 982)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    frames = np.stack([padded[242 * i : 242 * i + 2048] for i in range(199)])
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    bands = mel_filter_bank(1025, 256, 0.0, 24_000.0, 48_000, norm="slaney", mel_scale="htk").T
    decibels = 10 * np.log10(np.maximum(np.sqrt(bands @ power.T), 1e-10))
    return np.maximum(decibels - decibels.max(), -80)


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")  # as the published one has
def test_the_front_end_is_kapre_s() -> None:
    """Oracle: numpy in doubles with transformers' bands, by the steps of kapre 0.1.4, within 1e-4 dB. Kapre's layer in
    single precision, run by tf_keras 2.21 and librosa 0.11, was within 0.0004 dB down to -30 dB, 0.009 dB below."""
    draw, t = np.random.default_rng(0), np.arange(48_000) / 48_000
    waves = draw.normal(size=(2, 48_000)) / 10
    waves[1, 20_000:] /= 1000
    waves[1] += 0.3 * np.sin(2 * np.pi * 440 * t)
    found = L3Mel(sample_rate=48_000)(torch.from_numpy(waves))
    for spectrogram, wave in zip(found, waves, strict=True):
        expected = by_hand(wave)
        np.testing.assert_allclose(spectrogram[0].numpy(), expected, atol=1e-4, rtol=0)


def test_seconds_are_computed_by_themselves_and_the_last_is_completed() -> None:
    """Oracle: by hand: 2.5 s are three seconds of 199 frames, the last with half a second of zeros; each has its
    own maximum, 0 dB, which frames of it depend on, and on no other second; silence is 0 dB everywhere."""
    waves = torch.randn(2, 80_000, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 0.001, 80_000)
    front_end = L3Mel(sample_rate=32_000)
    found = front_end(waves)
    assert found.shape == (2, 1, 256, front_end.frames(80_000)) == (2, 1, 256, 597)
    assert (found.unflatten(3, (3, 199)).amax(dim=(2, 4)) == 0).all()
    assert (front_end.frames(100), front_end.frames(32_000), front_end.frames(32_001)) == (199, 199, 398)
    last = torch.cat([front_end.resample(waves.double())[:, 96_000:], torch.zeros(2, 24_000)], dim=1)
    torch.testing.assert_close(found[..., 398:], L3Mel(sample_rate=48_000)(last))
    assert (front_end(torch.zeros(1, 32_000)) == 0).all()
    first, behind = front_end.extent(250)
    others = torch.randn(2, 80_000, generator=torch.Generator().manual_seed(1))
    others[:, first:behind] = waves[:, first:behind]
    torch.testing.assert_close(front_end(others)[..., 199:398], found[..., 199:398])


def test_the_network_has_the_published_layers() -> None:
    """Oracle: README of ksangeeta2429/edgel3: "close to 4.7 million parameters"; by hand 4,684,224 of the
    convolutions and 4 x 1,409 of the BatchNorms, which tf_keras counted too (4,689,860); embeddings of 512 and 6144."""
    for size in (512, 6144):
        with torch.device("meta"):
            body = L3(size)
            assert body(torch.zeros(2, 1, 256, 199)).shape == (2, size)
        assert body.size == size
        numbers = {name: tensor.numel() for name, tensor in body.state_dict().items() if "num_batches" not in name}
        assert sum(numbers.values()) == 4_684_224 + 4 * 1_409
        assert {place for place, each in body.layers.named_children() if isinstance(each, nn.Conv2d)} == {
            *(name.removeprefix("layers.") for name in CONVOLUTIONS),
            "25",
        }


def test_embeddings_are_maxima_of_parts_as_keras_flattens_them() -> None:
    """Oracle: by hand (and tf_keras 2.21, with random weights of the published size: 2.5e-4 at a deviation of 22, for
    both sizes): value (b * 3 + t) * channels + c of the larger embedding is the maximum of channel c over bands
    8 b to 8 b + 7 and frames 8 t to 8 t + 7; value c of the smaller one that over all."""
    small, large = L3(512, (2, 2, 2, 4)).eval(), L3(6144, (2, 2, 2, 4)).eval()
    large.load_state_dict(small.state_dict())
    patch = torch.randn(1, 1, 256, 199, generator=torch.Generator().manual_seed(0)) * 20 - 40
    with torch.no_grad():
        maps = small.layers(patch)[0]
        assert maps.shape == (4, 32, 24)
        assert torch.equal(small(patch)[0], maps.amax(dim=(1, 2)))
        assert large(patch)[0, (2 * 3 + 1) * 4 + 3] == maps[3, 16:24, 8:16].max()


@pytest.mark.parametrize("name", ["openl3", "edgel3"])
def test_files_of_every_kind_start_a_teacher(name: str, narrow: L3, tmp_path: Path) -> None:
    """Oracle: the weights that were written, in the published file, the same compressed, and a checkpoint of this
    project; the front end's matrices of earlier files are left out. The layers have every parameter once."""
    state = narrow.state_dict()
    path = embeddings.write_keras(tmp_path / "a", KERAS, state)
    with h5py.File(path, "a") as file:
        file["melspectrogram_1/melspectrogram_1/real_kernels:0"] = np.ones((4, 1, 1, 3), np.float32)
    (tmp_path / "b").write_bytes(gzip.compress(path.read_bytes()))
    network = build_teacher(name, weights=path)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "c")
    for file in "abc":
        found = build_teacher(name, weights=tmp_path / file, classes=3)
        assert all(torch.equal(found.body.state_dict()[key], v) for key, v in state.items() if "num_" not in key), file
        assert found.head[-1].weight.shape == (3, 4)
    assert len(layers_of(network)) == 17
    assert sum(p.numel() for layer in layers_of(network) for p in layer) == sum(p.numel() for p in network.parameters())
    front_end = build_front_end(32_000, {"kind": "l3_mel"})
    with torch.no_grad():
        two = front_end(torch.randn(1, 64_000))
        expected = network.eval().head(torch.stack([network.body(part) for part in two.split(199, 3)]).mean(0))
        torch.testing.assert_close(network(two), expected)


def test_files_of_other_networks_are_named(narrow: L3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the messages: other channels, a layer less, no layers, a file that ends too early, one that is compressed
    and ends too early, one that is compressed and larger than is read."""
    path = tmp_path / "w.h5"

    def refused(match: str) -> None:
        with pytest.raises(UserError, match=match):
            build_teacher("openl3", weights=path)

    embeddings.write_keras(path, KERAS, network(3).state_dict())
    refused(r"layers.1.weight: \(3, 1, 3, 3\) in the file, \(2, 1, 3, 3\) in the network")
    embeddings.write_keras(path, CONVOLUTIONS | NORMS, narrow.state_dict())
    refused(r"w.h5: it has 7 convolutions or dense layers and 8 BatchNorms, the audio network of L3 8 and 8")
    embeddings.write_keras(path, NORMS, narrow.state_dict())
    refused("it has 0 convolutions or dense layers")
    whole = embeddings.write_keras(path, KERAS, narrow.state_dict()).read_bytes()
    path.write_bytes(whole[:-3000])
    refused("w.h5 is damaged or no HDF5 file")
    path.write_bytes(gzip.compress(whole)[:-3000])
    refused("w.h5 is damaged")
    path.write_bytes(gzip.compress(whole))
    monkeypatch.setattr(hdf5_arrays, "MOST_UNPACKED", len(whole) - 1)
    refused(r"w.h5 is damaged \(it holds more than")


def test_what_is_fetched_goes_by_what_was_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: setup.py of marl/openl3 and of ksangeeta2429/edgel3: base_url, names of the files, version 0.4.0."""
    asked: list[str] = []

    def fetch(url: str) -> Path:
        asked.append(url)
        raise UserError("no network")

    monkeypatch.setattr(openl3, "download_weights", fetch)
    monkeypatch.setattr(edgel3, "download_weights", fetch)
    for name, arguments in (
        ("openl3", {}),
        ("openl3", {"content": "music", "size": 6144}),
        ("edgel3", {}),
        ("edgel3", {"sparsity": 81, "retraining": "kd"}),
    ):
        with pytest.raises(UserError, match="no network"):
            build_teacher(name, **arguments)
    assert asked == [
        "https://github.com/marl/openl3/raw/models/openl3_audio_mel256_env-v0_4_0.h5.gz",
        "https://github.com/marl/openl3/raw/models/openl3_audio_mel256_music-v0_4_0.h5.gz",
        "https://github.com/ksangeeta2429/edgel3/raw/models/edgel3_ft_audio_sparsity_95.45.h5.gz",
        "https://github.com/ksangeeta2429/edgel3/raw/models/edgel3_kd_audio_sparsity_81.0.h5.gz",
    ]
    with pytest.raises(UserError, match=r"unknown EdgeL3 sparsity '80.0'; choose one of: .*72.3"):
        build_teacher("edgel3", sparsity=80.0)


@pytest.mark.slow  # some seconds
def test_damaged_files_are_messages(tmp_path: Path, fuzz: int) -> None:
    """Oracle: tests/fuzzing.py: each damaged copy of a file, and of the same compressed, is read or is a message."""
    small = network()
    original = embeddings.write_keras(tmp_path / "w.h5", KERAS, small.state_dict()).read_bytes()
    for content in (original, gzip.compress(original)):
        damaged = fuzzing.mutants(content, fuzz // 25)
        fuzzing.survive(lambda path: l3.read_l3(path, small), content, damaged, tmp_path, "w.h5")
