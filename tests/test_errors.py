"""Messages of data/errors.py."""

import sys
import tomllib
from pathlib import Path

import pytest

from data.errors import UserError, require
from students.quantize.export import write_onnx
from teachers import build_teacher

EXTRAS = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


@pytest.mark.parametrize(
    ("teacher", "package", "extra"),
    [
        ("passt", "hear21passt", "passt"),
        ("ast", "transformers", "ast"),
        ("timm_cnn", "timm", "timm"),
        ("efficientat", "torchvision", "efficientat"),
    ],
)
def test_a_teacher_without_its_package_names_the_extra(
    teacher: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: pyproject.toml, where that extra holds the package; None in sys.modules hides a package that is there."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package} is not installed: pip install '\.\[{extra}\]'"):
        build_teacher(teacher, pretrained=False)
    assert any(requirement.startswith(package) for requirement in EXTRAS[extra])


def test_onnx_files_without_onnx_name_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Oracle: as above."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    network = type("Network", (), {"output": type("Output", (), {"bits": 8}), "layers": ()})()
    with pytest.raises(UserError, match=r"onnx is not installed: pip install '\.\[onnx\]'"):
        write_onnx(network, tmp_path / "model.onnx")
    assert "onnx" in EXTRAS["onnx"]


def test_a_package_that_is_there_is_no_error() -> None:
    """Oracle: the standard library is always there."""
    require("json", "nothing")
