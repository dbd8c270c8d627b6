"""YAMNet: its front end, its padding, and its weights in every file in which they are published."""

from pathlib import Path

import fuzzing
import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
import yamnet as files
from ai_edge_litert.interpreter import Interpreter
from foreign import ForeignNetwork
from sounds import scores_of_sounds
from torch import nn
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from data.errors import UserError
from data.front_ends.patch_mel import PatchMel
from data.front_ends.vggish_mel import VggishMel
from data.front_ends.yamnet_mel import YamnetMel
from data.hdf5_arrays import read_arrays
from teachers import build_teacher
from teachers.layers import layers_of
from teachers.weights import needed_names
from teachers.yamnet import HEAD, YamNet
from teachers.yamnet_files import read_yamnet


@pytest.fixture(scope="module")
def network() -> YamNet:
    """Of the published size, with random weights and biases."""
    torch.manual_seed(0)
    network = YamNet(521).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    return network


def patches(count: int, frames: int = 96) -> torch.Tensor:
    return torch.randn(count, 1, 64, frames, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("front_end", "offset"), [(YamnetMel, 0.001), (VggishMel, 0.01)])
def test_the_front_end_is_that_of_the_publication(front_end: type[PatchMel], offset: float) -> None:
    """Oracle: transformers' spectrogram with the published settings: periodic Hann windows of 400 samples every 160 in
    a transform of 512, magnitudes, 64 triangles from 125 to 7500 Hz on the mel scale, log(x + offset); within 1e-4.
    VGGish's was compared with torchvggish 0.2 too: 2e-5."""
    wave = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)) / 10
    banks = mel_filter_bank(257, 64, 125.0, 7500.0, 16_000, mel_scale="kaldi", triangularize_in_mel_space=True)
    window = window_function(400, "hann", periodic=True)
    expected = spectrogram(
        wave[0].numpy(),
        window,
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=1.0,
        center=False,
        mel_filters=banks,
        mel_floor=0.0,
    )
    found = front_end(sample_rate=16_000)(wave)[0, 0]
    np.testing.assert_allclose(found, np.log(expected[:, :96] + offset), atol=1e-4)


@pytest.mark.parametrize("kind", [YamnetMel, VggishMel])
def test_a_second_is_one_patch_at_any_rate(kind: type[PatchMel]) -> None:
    """Oracle: by hand: 16,000 samples have 98 frames, of which 96 are a patch, that of samples 0 to 15,599; 10 s have
    998, and 1 + (998 - 96) // 48 = 19 patches end at frame 96 + 18 * 48 = 960, 998 // 96 = 10 patches at 960; 1.5 s
    have 148, and two or one; half a second has 48 and no patch."""
    longer = {YamnetMel: 144, VggishMel: 96}[kind]
    for rate in (16_000, 32_000, 44_100):
        front_end = kind(sample_rate=rate)
        for seconds, frames in ((1, 96), (10, 960), (1.5, longer), (0.5, 48)):
            samples = round(seconds * rate)
            assert front_end.frames(samples) == front_end(torch.zeros(1, samples)).shape[-1] == frames
    assert kind(sample_rate=16_000).extent(95)[1] == 15_600


def test_frames_behind_a_patch_are_not_heard(network: YamNet) -> None:
    """Oracle: the same logits, bit for bit, whatever stands in frames 96 and 97; those two in the patch itself would
    change what every strided layer hears."""
    longer = patches(2, 98)
    with torch.no_grad():
        found = network(longer)
        assert torch.equal(found, network(longer[..., :96]))
        shifted = network.head(network.body(longer.transpose(2, 3)).mean(dim=(2, 3)))
    assert (found - shifted).abs().max() > 0.1 * found.std()


def test_longer_spectrograms_are_the_mean_of_their_patches(network: YamNet) -> None:
    """Oracle: the logits of frames 0 to 95, 48 to 143 and 96 to 191, by themselves; short ones are completed with
    silence, log(0.001)."""
    longer = patches(2, 200)
    with torch.no_grad():
        each = torch.stack([network(longer[..., start : start + 96]) for start in (0, 48, 96)])
        torch.testing.assert_close(network(longer), each.mean(0), atol=1e-5, rtol=1e-5)
        silence = torch.full((2, 1, 64, 96), float(np.log(0.001)))
        silence[..., :40] = longer[..., :40]
        assert torch.equal(network(longer[..., :40]), network(silence))


def test_the_network_is_the_one_that_litert_computes(network: YamNet, tmp_path: Path) -> None:
    """Oracle: LiteRT, whose SAME padding is TensorFlow's, applied to a file of the same weights: within 1e-4 of the
    logits' spread; and the weights that are read from that file are those that were written."""
    path = files.write_tflite(tmp_path / "yamnet.tflite", network.state_dict())
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    for patch in patches(2):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], patch[0].T[None, :, :, None].numpy())
        interpreter.invoke()
        expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        with torch.no_grad():
            found = network(patch[None]).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std(), rtol=0)
    state = read_yamnet(path)
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_integers_of_a_file_are_multiplied_by_their_channel_s_scale(network: YamNet, tmp_path: Path) -> None:
    """Oracle: by hand: no weight is further from the one that was rounded than half a step, 1/127 of its channel's
    largest."""
    state = read_yamnet(files.write_tflite(tmp_path / "y.tflite", network.state_dict(), integers=True))
    for name, value in network.state_dict().items():
        steps = value.flatten(1).abs().amax(1) / 127 if name.endswith("weight") else torch.zeros(len(value))
        error = (state[name] - value).abs().reshape(len(value), -1).amax(1)
        assert (error <= steps / 2 + 1e-6).all(), name


def test_keras_file_gives_the_same_scores(network: YamNet, tmp_path: Path) -> None:
    """Oracle: torch's batch_norm of the file's own arrays is what the folded convolution computes; and the scores of
    the network whose weights were written, within 1e-4."""
    path = files.write_keras(tmp_path / "yamnet.h5", network.state_dict())
    state = read_yamnet(path)
    with h5py.File(path) as file:
        kernel = torch.from_numpy(file["layer1/conv/layer1/conv/kernel:0"][:]).permute(3, 2, 0, 1)
        names = ("moving_mean", "moving_variance", "beta")
        mean, variance, beta = (torch.from_numpy(file[f"layer1/conv/bn/layer1/conv/bn/{n}:0"][:]) for n in names)
    x = patches(1)
    expected = F.batch_norm(F.conv2d(x, kernel), mean, variance, bias=beta, eps=1e-4)
    torch.testing.assert_close(F.conv2d(x, state["body.0.weight"], state["body.0.bias"]), expected)
    read = YamNet(521).eval()
    read.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(read(x).sigmoid(), network(x).sigmoid(), atol=1e-4, rtol=0)


def test_a_file_of_any_kind_starts_a_teacher_with_a_new_head(network: YamNet, tmp_path: Path) -> None:
    """Oracle: the weights that were written, in ten classes, whatever the file is called."""
    state = network.state_dict()
    files.write_tflite(tmp_path / "a", state)
    files.write_keras(tmp_path / "b", state)
    safetensors.torch.save_file(state, tmp_path / "c")
    for name in "abc":
        teacher = build_teacher("yamnet", weights=tmp_path / name)
        assert teacher.head.weight.shape == (10, 1024)
        for key in needed_names(teacher, HEAD):
            torch.testing.assert_close(teacher.state_dict()[key], state[key], atol=1e-5, rtol=1e-5)
    assert len(layers_of(teacher)) == 15
    assert sum(p.numel() for layer in layers_of(teacher) for p in layer) == sum(p.numel() for p in teacher.parameters())


def test_files_of_other_networks_are_named(network: YamNet, tmp_path: Path) -> None:
    """Oracle: the messages: one layer less, no layers, a wider stem, spectrograms of 128 bands."""
    state = files.ordered(network.state_dict())
    less = {name: value for name, value in state.items() if not name.startswith("body.13.1")}
    with pytest.raises(UserError, match=r"a.tflite: it holds 27 layers with weights, no YAMNet"):
        build_teacher("yamnet", weights=files.write_tflite(tmp_path / "a.tflite", less))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["dense/dense/kernel:0"] = np.ones((2, 2), np.float32)
    with pytest.raises(UserError, match=r"b.h5: it has no layers of YAMNet .*: fetch it again"):
        build_teacher("yamnet", weights=tmp_path / "b.h5")
    wide = state | {"body.0.weight": torch.ones(64, 1, 3, 3), "body.0.bias": torch.ones(64)}
    safetensors.torch.save_file(wide, tmp_path / "c.safetensors")
    with pytest.raises(UserError, match=r"body.0.weight: \(64, 1, 3, 3\) in the file, \(32, 1, 3, 3\) in the network"):
        build_teacher("yamnet", weights=tmp_path / "c.safetensors")
    with pytest.raises(UserError, match="have 128 bands, YAMNet has 64"):
        network(torch.zeros(1, 1, 128, 96))


def small_hdf5(path: Path) -> bytes:
    """Two of YAMNet's layers, and what is left out: integers, chunks, an empty array."""
    draw = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, shape in (("kernel", (3, 3, 1, 4)), ("bn/beta", (4,))):
            file[f"layer1/conv/layer1/conv/{name}:0"] = draw.normal(size=shape).astype(np.float32)
        file["dense/dense/kernel:0"] = draw.normal(size=(4, 3))
        file["step"] = np.int64(1)
        file.create_dataset("chunked", data=np.ones((8, 8), np.float32), chunks=(4, 4), compression="gzip")
    return path.read_bytes()


def test_damaged_keras_files_are_messages(tmp_path: Path, fuzz: int) -> None:
    """Oracle: tests/fuzzing.py: each damaged copy is read or is a message, in bounded time and memory."""
    original = small_hdf5(tmp_path / "w.h5")
    assert set(read_arrays(tmp_path / "w.h5", "")) == {
        "layer1/conv/layer1/conv/kernel:0",
        "layer1/conv/layer1/conv/bn/beta:0",
        "dense/dense/kernel:0",
    }
    damaged = fuzzing.mutants(original, fuzz // 20)
    fuzzing.survive(lambda path: read_arrays(path, "fetch it again"), original, damaged, tmp_path, "w.h5")


def test_damaged_tflite_files_are_messages(tmp_path: Path, fuzz: int) -> None:
    """Oracle: as above, of a file with a convolution and a dense layer."""
    foreign = ForeignNetwork((1, 8, 8, 1))
    foreign.write(tmp_path / "w.tflite", foreign.dense(foreign.conv(foreign.graph.inputs[0], 2, (3, 3)), 4))

    damaged = fuzzing.mutants((tmp_path / "w.tflite").read_bytes(), fuzz // 5)
    fuzzing.survive(read_yamnet, (tmp_path / "w.tflite").read_bytes(), damaged, tmp_path, "w.tflite")


def test_real_weights_know_dogs_rain_and_sirens(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: AudioSet's names of the outputs: on eight seconds of each sound its class has the highest score of the
    three, ten times those of the two others; and the same weights in the other two kinds of files give the same
    scores, within 1e-4."""
    state = safetensors.torch.load_file(shared_data / "weights/yamnet.safetensors")
    names = (shared_data / "weights/yamnet_521_classes.txt").read_text().splitlines()
    network = YamNet(521).eval()
    network.load_state_dict(state)
    table = scores_of_sounds(network, YamnetMel(sample_rate=32_000), shared_data / "esc50-16k", names)
    assert (table.diag() > 10 * (table - table.diag().diag()).amax(1)).all(), table
    for write, name in ((files.write_keras, "y.h5"), (files.write_tflite, "y.tflite")):
        other = YamNet(521).eval()
        other.load_state_dict(read_yamnet(write(tmp_path / name, state)))
        x = patches(4) - 3
        with torch.no_grad():
            torch.testing.assert_close(other(x).sigmoid(), network(x).sigmoid(), atol=1e-4, rtol=0)
