"""Weights of others: what trainers put around and before a state dict, and what does not fit."""

import argparse
import logging
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import fuzzing
import pytest
import safetensors.torch
import torch
from torch import nn

from data.errors import UserError
from teachers import build_teacher
from teachers.weights import read_weights, weights_files

NARROW = {"base_channels": 8, "cut_channels": [0, 0, 0]}


def resnet(weights: Path | None = None) -> nn.Module:
    torch.manual_seed(0)
    return build_teacher("cp_resnet", weights=weights, **NARROW)


def own() -> dict[str, torch.Tensor]:
    """Weights that differ from those of a new network."""
    return {name: value + 1 for name, value in resnet().state_dict().items()}


def before(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


WRAPPINGS = {
    "plain": lambda s: s,
    "ordered": lambda s: OrderedDict(s),
    "lightning": lambda s: {"state_dict": before("net.", s), "epoch": 3, "optimizer_states": [{"state": {0: s}}]},
    "ddp": lambda s: before("module.", s),
    "compiled": lambda s: {"model": before("_orig_mod.", s)},
    "nested": lambda s: {"model": {"state_dict": before("model.net.", s)}, "lr": 0.1},
    "beside": lambda s: {"net": {**before("ema_model.", s), "mel.window": torch.ones(3)}},
    "parameters": lambda s: {n: nn.Parameter(v) if v.is_floating_point() else v for n, v in s.items()},
    "double": lambda s: {n: v.double() if v.is_floating_point() else v.int() for n, v in s.items()},
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("how", WRAPPINGS)
def test_what_trainers_put_around_weights_is_taken_off(tmp_path: Path, how: str, legacy: bool) -> None:
    """Oracle: the same weights without it, bit for bit."""
    state = own()
    torch.save(WRAPPINGS[how](state), tmp_path / "w.ckpt", _use_new_zipfile_serialization=not legacy)
    found = resnet(tmp_path / "w.ckpt").state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_shorter_floats_become_those_of_the_network(tmp_path: Path) -> None:
    """Oracle: bfloat16 and float16 are rounded float32; each is read as the number that it is."""
    for dtype in (torch.bfloat16, torch.float16):
        state = {n: v.to(dtype) if v.is_floating_point() else v for n, v in own().items()}
        safetensors.torch.save_file(before("module.", state), tmp_path / "w.safetensors")
        found = resnet(tmp_path / "w.safetensors").state_dict()
        assert all(torch.equal(found[name], value.to(found[name].dtype)) for name, value in state.items())


def test_what_is_left_out_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: the line: the entry, one of the same names, the prefix, what is not used; a control character escaped."""
    caplog.set_level(logging.INFO)
    state = own()
    content = {"ema": before("net.", state), "state_dict": before("net.", state) | {"mel.fb": torch.ones(2)}, "\x1b": 3}
    torch.save(content, tmp_path / "w.pt")
    resnet(tmp_path / "w.pt")
    (line,) = caplog.messages
    assert line == (
        f"{tmp_path / 'w.pt'}: its entry 'state_dict' is taken; and not 'ema', which has the same names; the prefix "
        "'net.' of all names that are needed is taken off; not used: mel.fb, ema, \\x1b"
    )


def test_a_prefix_of_some_names_is_said_to_be_of_some(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: two of three needed names behind the prefix, by hand; a name of 200,000 parts is none of them, and what
    the search for a prefix joins of it, at most two parts, takes no time (fuzzing's bound, 10 s)."""
    caplog.set_level(logging.INFO)
    state = {"net.0.weight": torch.ones(1), "net.0.bias": torch.ones(1), "a." * 200_000 + "b": torch.ones(1)}
    torch.save(state, tmp_path / "w.pt")
    needed = ["0.weight", "0.bias", "1.bias"]

    def read(path: Path) -> None:
        assert list(read_weights(path, needed)) == ["0.weight", "0.bias"]

    fuzzing.survive(read, (tmp_path / "w.pt").read_bytes(), [], tmp_path, "w.pt")
    read(tmp_path / "w.pt")
    assert "the prefix 'net.' of 2 of the 3 names that are needed is taken off; not used: a.a." in caplog.text


def as_torch(state: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(state, path)


def as_older_torch(state: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [as_torch, as_older_torch, safetensors.torch.save_file])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w"])
def test_weights_are_read_whatever_the_ending(
    tmp_path: Path, save: Callable[[dict[str, torch.Tensor], Path], None], name: str
) -> None:
    """Oracle: the same weights, bit for bit, of each kind below each name."""
    state = own()
    save(state, tmp_path / name)
    found = resnet(tmp_path / name).state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page, not the file itself: fetch it again"),
        (b"\n <html lang=en>{}", "is a web page, not the file itself: fetch it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
            "is a Git LFS pointer, not the file itself: fetch it again, with `git lfs pull`",
        ),
        (b"Entry not found", "is damaged or no"),
        (b"8 is no instruction", "is damaged or no"),
        (b"", "is damaged or no"),
    ],
)
def test_what_a_download_left_is_called_what_it_is(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """Oracle: the message for each content; none gives an empty reason."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_weights(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name} {said}")
    assert "()" not in str(caught.value)


def test_differences_are_shown_from_both_sides(tmp_path: Path) -> None:
    """Oracle: one name changed, one shape changed, behind a prefix: three lines, which name both."""
    state = own()
    state["0.wait"] = state.pop("0.weight")
    state["1.bias"] = torch.ones(3)
    torch.save(before("net.", state), tmp_path / "w.pt")
    with pytest.raises(UserError) as caught:
        resnet(tmp_path / "w.pt")
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'w.pt'} does not fit the network:",
        "  1 only in the network: 0.weight",
        "  1 only in the file: 0.wait",
        "  1.bias: (3,) in the file, (8,) in the network",
        "give the weights of this architecture, or arguments that match them",
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.full((8,), float("nan")), "1.bias: values that are not finite"),
        (torch.full((8,), 1e300, dtype=torch.float64), "1.bias: values that are not finite (as float32)"),
        (torch.ones(8, dtype=torch.bool), "1.bias: bool in the file, floats of 16, 32 or 64 bits are needed"),
        (torch.ones(8, dtype=torch.float8_e4m3fn), "1.bias: float8_e4m3fn in the file"),
        (torch.ones(8).to_sparse(), "1.bias: float32 sparse_coo in the file"),
        (torch.ones(8, device="meta"), "1.bias: float32 without values (meta) in the file"),
    ],
)
def test_numbers_that_no_network_computes_with_are_refused(tmp_path: Path, value: torch.Tensor, said: str) -> None:
    """Oracle: the message for each kind of tensor, of the right name and shape."""
    torch.save({**own(), "1.bias": value}, tmp_path / "w.pt")
    with pytest.raises(UserError) as caught:
        resnet(tmp_path / "w.pt")
    assert said in str(caught.value)


def test_a_negative_variance_is_refused(tmp_path: Path) -> None:
    """Oracle: BatchNorm takes the square root of its variance."""
    state = own()
    state["1.running_var"][0] = -1
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"1.running_var: -1.0 where nothing may be below 0"):
        resnet(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"state_dict": {}, "hyper_parameters": argparse.Namespace(lr=1e-5)}, "argparse.Namespace"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"score": Fraction(1)}, "fractions.Fraction"),
    ],
)
def test_what_would_need_code_is_named_and_not_called_damaged(tmp_path: Path, content: object, named: str) -> None:
    """Oracle: the class that stands in the file."""
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=f"needs the class or function {named}, which is code") as caught:
        read_weights(tmp_path / "w.pt")
    assert "damaged" not in str(caught.value)


def test_a_program_is_no_file_of_weights(tmp_path: Path) -> None:
    """Oracle: TorchScript's own archive."""
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "w.pt"))
    with pytest.raises(UserError, match="is a TorchScript program, which is code"):
        read_weights(tmp_path / "w.pt")


def test_what_is_no_file_is_refused_unread(tmp_path: Path) -> None:
    """Oracle: a folder, of which nothing is read; a device without end; a folder where transformers' is wanted; zeros
    without end that take no room on disk."""
    for path in (tmp_path, Path("/dev/zero"), tmp_path / "absent"):
        with pytest.raises(UserError, match="is no file"):
            weights_files(path)
    with pytest.raises(UserError, match=r"must be a folder with config.json and model.safetensors"):
        weights_files(tmp_path, in_folder=True)
    for name in ("zeros.pt", "zeros.safetensors"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(3 << 30)
        with pytest.raises(UserError, match="is damaged or no"):
            read_weights(tmp_path / name)
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        read_weights(tmp_path / "list.pt")


def test_real_weights_of_others_are_read(shared_data: Path) -> None:
    """Oracle: YAMNet's 3,729,481 numbers and mn04_as' 312 tensors, as their sources say."""
    yamnet = read_weights(shared_data / "weights/yamnet.safetensors")
    assert sum(tensor.numel() for tensor in yamnet.values()) == 3_729_481
    assert len(read_weights(shared_data / "weights/mn04_as.safetensors")) == 312
