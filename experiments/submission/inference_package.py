"""The inference package of DCASE 2025 Task 1: a Python package that needs nothing of ours, with a module a system.

Conventions: <team>_task1/ holds <label>.py, in which the organisers' scripts find their four functions; models/ the
systems' files; resources/ a sound to try them with; and runtime/ copies of those of our modules that compute the
logits, whose imports of each other are made relative. Beside it lie pyproject.toml, requirements.txt and README.md.
Source: https://github.com/CPJKU/dcase2025_task1_inference, README.
"""

import ast
import io
import re
import sys
import wave
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from data import front_ends
from data.scenes import PART_SECONDS
from experiments.inference import device_models
from experiments.submission.layout import TASK

ROOMS = ("data", "students", "experiments")
ENTRY = device_models.__name__
BY_NAME = front_ends.__name__  # whose modules are found by name, not imported
ROOT = Path(__file__).parents[2]
DUMMY, RATE = "dummy.wav", 44_100
MODELS, RESOURCES, RUNTIME = "models", "resources", "runtime"
_IMPORT = re.compile(rf"^( *)from ({'|'.join(ROOMS)})((?:\.\w+)*) import", re.MULTILINE)

MODULE = '''\
"""{label}: the four functions of DCASE 2025 Task 1, see runtime/experiments/inference/device_models.py."""

from pathlib import Path

from .{runtime}.{entry} import Inference

_inference = Inference(Path(__file__).parent / "{models}" / "{label}.tflite")
predict = _inference.predict
load_model = _inference.load_model
load_inputs = _inference.load_inputs
get_model_for_device = _inference.get_model_for_device
'''
PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{package}"
version = "1.0"
description = "Inference package for DCASE 2025 Task 1"
requires-python = ">=3.11"
dependencies = [
{requirements}
]

[tool.setuptools.packages.find]
include = ["{package}*"]

[tool.setuptools.package-data]
"*" = ["*.tflite", "*.wav"]
"""
README = """\
# {package}

For DCASE 2025 Task 1, in the form of https://github.com/CPJKU/dcase2025_task1_inference: `pip install .`,
then the organisers' `test_complexity.py` and `evaluate_submission.py` with `--submission_name {package}` and
`--submission_index` {numbers}.

Files of integers (int8 weights, int32 biases) are computed as a microcontroller computes them, on the CPU. A device
without tensors of its own is answered by the general network. `{package}/runtime` is copied from scenelet (Apache-2.0).
"""


def package_files(team: str, models: Mapping[str, bytes]) -> dict[str, bytes]:
    """Content by path, relative to the folder that is published.

    Args:
        team: <surname>_<institute>.
        models: of each system, by its label, the file.
    """
    package, modules = f"{team}_{TASK}", runtime_modules()
    requirements = sorted(requirements_of(modules))
    texts = {
        "README.md": README.format(
            package=package, numbers=", ".join(sorted(label.rsplit("_", 1)[1] for label in models))
        ),
        "requirements.txt": "".join(f"{each}\n" for each in requirements),
        "pyproject.toml": PROJECT.format(
            package=package, requirements="\n".join(f'    "{each}",' for each in requirements)
        ),
        **{f"{package}/{folder}__init__.py": "" for folder in ("", f"{MODELS}/", f"{RESOURCES}/", f"{RUNTIME}/")},
        **{
            f"{package}/{label}.py": MODULE.format(label=label, runtime=RUNTIME, entry=ENTRY, models=MODELS)
            for label in models
        },
        **{f"{package}/{RUNTIME}/{path_of(name)}": relative(name) for name in modules},
        f"{package}/{RUNTIME}/LICENSE": licence(),
    }
    sounds = {f"{package}/{RESOURCES}/{DUMMY}": dummy()}
    return (
        {path: text.encode() for path, text in texts.items()}
        | {f"{package}/{MODELS}/{label}.tflite": content for label, content in models.items()}
        | sounds
    )


def licence() -> str:
    """The text of our licence, which goes along with our code: of the repository, or of what was installed."""
    here = ROOT / "LICENSE"
    found = here.read_text() if here.is_file() else metadata.distribution("scenelet").read_text("licenses/LICENSE")
    assert found is not None
    return found


def runtime_modules() -> list[str]:
    """The modules that the functions need, by dotted name."""
    named = (ROOT / BY_NAME.replace(".", "/")).glob("[a-z]*.py")
    todo, found = [ENTRY, *(f"{BY_NAME}.{path.stem}" for path in named)], set[str]()
    while todo:
        name = todo.pop()
        if name in found or name.split(".")[0] not in ROOMS or not _file_of(name).is_file():
            continue
        found.add(name)
        parts = name.split(".")
        todo += [".".join(parts[:end]) for end in range(1, len(parts))] + list(_imports(name))
    return sorted(found)


def requirements_of(modules: Iterable[str]) -> set[str]:
    """What has to be installed for some modules, as pip reads it; versions are those that we ask for."""
    names = {name.split(".")[0] for module in modules for name in _imports(module)}
    names -= {*ROOMS, *sys.stdlib_module_names}
    packages = metadata.packages_distributions()
    return {_required(packages[name][0]) for name in names if name in packages}


def relative(name: str) -> str:
    """The text of a module of ours, whose imports of ours are relative to their common folder."""
    path, depth = _file_of(name), name.count(".") + 1
    dots = "." * (depth + (path.name == "__init__.py"))
    return _IMPORT.sub(rf"\1from {dots}\2\3 import", path.read_text(encoding="utf-8"))


def path_of(name: str) -> str:
    """Of a module's file, relative to the folder of all."""
    return _file_of(name).relative_to(ROOT).as_posix()


def dummy() -> bytes:
    """A sound file of a clip of faint noise."""
    noise = np.random.default_rng(0).integers(-300, 300, round(RATE * PART_SECONDS)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(noise.itemsize)
        file.setframerate(RATE)
        file.writeframes(noise.tobytes())
    return buffer.getvalue()


def _file_of(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(name: str) -> Iterator[str]:
    """What a module imports, wherever in it: modules, and names that may be modules."""
    for node in ast.walk(ast.parse(_file_of(name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def _required(distribution: str, of: str = "scenelet") -> str:
    """A distribution with the versions that another one asks for."""
    try:
        asked: Collection[str] = metadata.requires(of) or ()
    except metadata.PackageNotFoundError:
        asked = ()
    wanted = (each for each in asked if re.split(r"[^\w.-]", each)[0].lower() == distribution.lower())
    return next(wanted, distribution).split(";")[0].strip()
