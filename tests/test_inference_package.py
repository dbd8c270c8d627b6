"""The inference package of 2025: it runs without anything of ours, and what is wrong with one is said."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from command import ROOT, run
from packaging.requirements import Requirement

from data.scenes import SCENES
from experiments.inference.classifier import load_classifier
from experiments.submission import try_inference
from experiments.submission.check_inference import require_valid_inference, validate_inference
from experiments.submission.inference_package import ROOMS, package_files, relative, requirements_of, runtime_modules
from students.complexity import tflite_complexity
from students.quantize.read import read_tflite
from students.quantize.tflite import write_tflite

TEAM, PACKAGE, MODULE = "Doe_U-X", "Doe_U-X_task1", "Doe_U-X_task1_1"

# Prints the logits of some sounds, the classes' names, and which modules of ours were imported.
CALLS = f"""
import importlib, json, sys
sys.path.insert(0, ".")
api = importlib.import_module("{PACKAGE}.{MODULE}")
sounds, devices = json.loads(sys.argv[1])
logits, classes = api.predict(file_paths=sounds, device_ids=devices, model_file_path=None, use_cuda=False)
model = api.load_model()
inputs = api.load_inputs(sounds, devices, model)
apart = [api.get_model_for_device(model, device)(one)[0] for device, one in zip(devices, inputs)]
again, _ = api.predict(sounds, devices, "{PACKAGE}/models/{MODULE}.tflite")
wrong = []
for arguments in ((sounds, devices[1:]), (["none.wav"], ["a"])):
    try:
        api.predict(*arguments)
    except Exception as error:
        wrong.append(str(error))
ours = [name for name in sys.modules if name.split(".")[0] in {ROOMS}]
print(json.dumps([[one.tolist() for one in some] for some in (logits, apart, again)] + [classes, ours, wrong]))
"""


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files of a package below a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def model(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An integer network with other biases of its last layer for the devices a and s1."""
    network, metadata = read_tflite(small_model)
    name, generator = [*network.weights][-1], np.random.default_rng(0)
    weights = network.weights[name]
    size = 4 * int(np.abs(weights.bias).max())
    sets = {
        device: {name: replace(weights, bias=weights.bias + generator.integers(-size, size, 10, dtype=np.int32))}
        for device in ("a", "s1")
    }
    path = tmp_path_factory.mktemp("devices") / "model.tflite"
    return write_tflite(replace(network, sets=sets), path, metadata)


@pytest.fixture(scope="module")
def package(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package of that network."""
    return written(tmp_path_factory.mktemp("package"), package_files(TEAM, {MODULE: model.read_bytes()}))


def alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Python, in a folder, without our code on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow  # a process of its own, which imports torch
def test_each_file_has_the_logits_of_its_devices_network(package: Path, model: Path, tmp_path: Path) -> None:
    """Oracle: our own classifier of each device, bit for bit, called in the organisers' way in a process that imports
    nothing of ours: files of mixed devices in their order, devices that nobody knows with the general network. Files
    without a device each, and files that are not there, are messages."""
    sounds, devices = [], ["s1", "unknown", "a", "s10", "a", "b", ""]
    for number in range(len(devices)):
        noise = np.random.default_rng(number).normal(size=44_100) / 20
        soundfile.write(path := tmp_path / f"{number}.wav", noise, 44_100, "PCM_24")
        sounds.append(str(path))
    done = alone(package, "-c", CALLS, json.dumps([sounds, devices]))
    assert done.returncode == 0, done.stderr
    *found, classes, ours, wrong = json.loads(done.stdout.splitlines()[-1])
    classifier, wanted = load_classifier(model), []
    for sound, device in zip(sounds, devices, strict=True):
        (waves,) = classifier.waves(sound)
        wanted.append(classifier.of_device(device).network.logits(classifier.spectrograms(waves))[0].tolist())
    assert found == [wanted] * 3
    assert classes == list(SCENES)
    assert ours == []
    assert wrong[0] == "7 file_paths and 6 device_ids: give a device for each file"
    assert "1 of 1 sound files are unreadable" in wrong[1]
    general = classifier.of_device("").network.logits(classifier.spectrograms(waves))[0].tolist()
    assert general == wanted[6]
    assert classifier.of_device("a").network.logits(classifier.spectrograms(waves))[0].tolist() != general


@pytest.mark.slow  # the package is called in two processes, each of which imports torch
def test_the_validator_counts_a_devices_network_as_the_file_has_it(package: Path, model: Path) -> None:
    """Oracle: our count of the file without its sets: equal bytes, and at least its multiply-accumulates (torchinfo
    counts biases at every cell, and no pools); the stage says the same."""
    (passed,) = require_valid_inference(package)
    network, metadata = read_tflite(model)
    plain = write_tflite(replace(network, sets={}), package.parent / "plain.tflite", metadata)
    cost = tflite_complexity(plain)
    assert (passed.label, passed.bytes) == (MODULE, cost.parameter_bytes)
    assert 0.95 * cost.macs < passed.macs < 1.1 * cost.macs
    result = run(package.parent, "stage=validate", f"package={package}")
    assert result.returncode == 0, result.stderr
    assert f"{passed.macs:,}" in result.stdout
    assert "no defect found" in result.stdout


def test_what_is_copied_names_no_module_of_ours_and_all_that_it_needs() -> None:
    """Oracle: the standard library's parser: of what the copies import, nothing begins with one of our folders, every
    relative import is a copy too, and of what is no part of Python each has a requirement that pip's own parser reads,
    in pyproject.toml too; our licence goes along."""
    modules, others = runtime_modules(), set()
    for name in modules:
        for node in ast.walk(ast.parse(relative(name))):
            if isinstance(node, ast.Import):
                others |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                others.add(node.module.split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                names = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                assert names & {*modules}, (name, names)
    assert not others & {*ROOMS}
    texts = requirements_of(modules)
    needed = {Requirement(text).name.replace("-", "_").lower() for text in texts}
    assert others - sys.stdlib_module_names == needed
    files = package_files(TEAM, {})
    assert files[f"{PACKAGE}/runtime/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    project = tomllib.loads(files["pyproject.toml"].decode())
    assert {*project["project"]["dependencies"]} == texts
    assert "torch" in needed


def spoilt(folder: Path, body: str) -> Path:
    """A package of a module that has the four functions, and of which something is spoilt."""
    text = f"""
import torch
CLASSES = {list(SCENES)}
class Net(torch.nn.Module):
    def __init__(self, kind=torch.float16, size=8):
        super().__init__()
        self.model = torch.nn.Linear(size, 10).to(kind)
    def forward(self, x):
        return torch.zeros(len(x), 10)
def load_model(model_file_path=None):
    return Net()
def load_inputs(file_paths, device_ids, model):
    return [torch.zeros(1, 1, 8, 8) for _ in file_paths]
def get_model_for_device(model, device_id):
    return model
def predict(file_paths, device_ids, model_file_path=None, use_cuda=False):
    return [torch.zeros(10) for _ in file_paths], CLASSES
{body}
"""
    paths = {f"{PACKAGE}/__init__.py": b"", f"{PACKAGE}/resources/dummy.wav": b"", "setup.py": b""}
    return written(folder, {**paths, f"{PACKAGE}/{MODULE}.py": text.encode()})


@pytest.mark.slow  # each package is called in a process of its own, which imports torch
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", None),
        ("print('loading', end='')", None),
        ('import atexit; atexit.register(print, \'{"defects": [], "devices": {}}\')', "its process named no device"),
        ('import atexit; atexit.register(print, \'{"defects": [], "devices": [1]}\')', "its process ended with 0"),
        ("del predict", "it has no function predict"),
        ("raise SystemExit(3)", "its process ended with 3"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("CLASSES = CLASSES[1:]", "not the task's ten, each once"),
        ("predict = lambda file_paths, device_ids, model_file_path=None: ([], CLASSES)", "TypeError"),
        (
            "predict = lambda file_paths, device_ids, model_file_path=None, use_cuda=0: ([], CLASSES)",
            "returns 0 tensors",
        ),
        (
            "predict = lambda **given: ([torch.zeros(10) * float('nan') for _ in given['file_paths']], CLASSES)",
            "no finite numbers",
        ),
        (
            "predict = lambda **given: ([torch.ones(10) * len(each) for each in given['device_ids']], CLASSES)",
            "devices that nobody was trained on, s4, s10, unknown, have different logits",
        ),
        ("load_inputs = lambda file_paths, device_ids, model: []", "load_inputs returns 0 inputs of 14 files"),
        ("load_model = lambda: Net(torch.float64)", "are of float64, which the organisers do not count"),
        ("load_model = lambda: Net(size=9000)", "the network of device a has 180,020 bytes of parameters, at most"),
        ("load_model = lambda: torch.nn.Linear(8, 10)", "has a torch module `model`"),
        ("get_model_for_device = lambda model, device_id: None", "returns no torch module for device a"),
    ],
)
def test_what_the_organisers_scripts_would_stumble_over_is_named(
    tmp_path: Path, body: str, message: str | None
) -> None:
    """Oracle: the message; a package in which nothing is spoilt has none."""
    defects, modules = validate_inference(spoilt(tmp_path, body))
    if message is None:
        assert (defects, [each.label for each in modules]) == ([], [MODULE])
    else:
        assert message in "\n".join(defects)
        assert modules == []


def test_a_package_of_other_names_is_no_package(tmp_path: Path) -> None:
    """Oracle: the messages; nothing is run."""
    assert "it holds none: one folder named SURNAME_INSTITUTE_task1 is wanted" in validate_inference(tmp_path)[0][0]
    (tmp_path / PACKAGE).mkdir()
    defects, _ = validate_inference(tmp_path)
    assert f"{PACKAGE}/__init__.py is missing" in defects
    assert f"{PACKAGE}/resources/dummy.wav is missing" in defects
    assert f"{PACKAGE} has no module {PACKAGE}_1.py" in defects
    assert "it has no setup.py and no pyproject.toml, so that it cannot be installed" in defects


def test_the_task_as_a_script_without_our_code_has_it() -> None:
    """Oracle: our own list of the task's scenes, and the types of torch."""
    assert {*SCENES} == try_inference.CLASSES
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in try_inference.COUNTED)
