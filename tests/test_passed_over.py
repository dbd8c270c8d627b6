"""Files of weights with arrays of NumPy's in them, which weights-only loading alone would refuse."""

from pathlib import Path

import fuzzing
import numpy as np
import pytest
import torch

from data.errors import UserError
from data.passed_over import PassedOver
from data.state_dicts import read_content
from teachers.weights import read_weights

STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
BESIDE = {"indexes": np.arange(1000), "queue": [np.ones(3), np.array(["a", None], object)]}  # a sampler's state


@pytest.mark.parametrize("is_zip", [True, False])
def test_arrays_beside_the_weights_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fuzz: int, is_zip: bool
) -> None:
    """Oracle: the weights that were saved, bit for bit; nothing of NumPy's is made; what is passed over is logged; and
    each damaged copy is read or is a message (tests/fuzzing.py)."""
    path = tmp_path / "w.pt"
    content = {"iteration": 7, "model": STATE, "sampler": BESIDE, "score": np.float64(1)}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with caplog.at_level("INFO"):
        found = read_weights(path, STATE)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], value) for name, value in STATE.items())
    assert "not used: iteration, sampler, score" in caplog.text
    read = read_content(path)
    assert {type(read["score"]), type(read["sampler"]["indexes"]), *map(type, read["sampler"]["queue"])} == {PassedOver}
    damaged = fuzzing.mutants(path.read_bytes(), fuzz // 10)
    fuzzing.survive(lambda file: read_weights(file, STATE), path.read_bytes(), damaged, tmp_path, "d.pt")


def test_arrays_of_numpy_before_version_2_are_passed_over(tmp_path: Path) -> None:
    """Oracle: the weights that were saved; NumPy's functions lay in another module then, whose name is put in."""
    torch.save({"model": STATE, "sampler": BESIDE}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "w.pt").read_bytes()
    assert b"cnumpy._core.multiarray\n_reconstruct\n" in content
    (tmp_path / "w.pt").write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    found = read_weights(tmp_path / "w.pt", STATE)
    assert all(torch.equal(found[name], value) for name, value in STATE.items())


def test_an_array_is_no_weight(tmp_path: Path) -> None:
    """Oracle: by hand: of arrays alone no state dict is left, and code beside them is refused as before."""
    torch.save({name: value.numpy() for name, value in STATE.items()}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        read_weights(tmp_path / "w.pt")
    torch.save({"model": STATE, "sampler": np.random.default_rng(0)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"needs the class or function numpy\.random\._pickle.*, which is code"):
        read_weights(tmp_path / "w.pt")
