"""What tests share: a miniature set on disk, and the real clips where SCENELET_DATA points to them."""

import os

# Networks of tests are so small that a second thread costs more than it gives; read when PyTorch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from command import QUICK, run
from torch import nn

from data.front_ends import build_front_end
from data.packing import pack
from data.readers.synthetic import write_synthetic
from data.readers.tau22 import read_tau22
from data.scenes import SCENES, ClipSet
from data.waves import WaveStore
from students.cp_mobile import cp_mobile
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.tflite import write_tflite
from students.response_norm import GlobalResponseNorm

# A background job of a script ignores Ctrl-C, and so would the commands that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz", type=int, default=200, metavar="N", help="how many damaged files each fuzz test tries")
    parser.addoption("--kills", type=int, default=3, metavar="N", help="how often the test of kills kills each stage")


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How often to kill each stage."""
    return pytestconfig.getoption("kills")


@pytest.fixture
def fuzz(pytestconfig: pytest.Config) -> int:
    """How many damaged files to try."""
    return pytestconfig.getoption("fuzz")


def randomise_norms(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give norms random statistics and factors, as training leaves them; the initial ones would hide a wrong
    folding."""
    g = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=g)
            module.running_var.uniform_(0.5, 2, generator=g)
            nn.init.uniform_(module.weight, 0.5, 2, generator=g)
            nn.init.normal_(module.bias, generator=g)
        elif isinstance(module, GlobalResponseNorm):
            nn.init.uniform_(module.gamma, 0.5, 2, generator=g)
            nn.init.normal_(module.beta, generator=g)
    return network.eval()


def fit_norms(network: nn.Module, spectrograms: torch.Tensor, spread: float) -> nn.Module:
    """Give BatchNorms the statistics of some log-mels, and the last one a factor: the answers of an untrained network
    are then of all kinds, and some are sure."""
    norms = [module for module in network.train().modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # of all that it is given
    with torch.no_grad():
        network(spectrograms)
        norms[-1].weight.mul_(spread)
    return network.eval()


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    """Networks draw their weights from the global generator: a test must not depend on those before it."""
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    root = tmp_path_factory.mktemp("miniature") / "synthetic"
    return read_tau22(write_synthetic(root))


@pytest.fixture(scope="session")
def miniature_waves(miniature: ClipSet, tmp_path_factory: pytest.TempPathFactory) -> WaveStore:
    return WaveStore(pack(miniature, tmp_path_factory.mktemp("waves")))


@pytest.fixture
def trained(trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which stage=all has run on the miniature; each test has its own, to do with as it likes. Only packed
    waves are shared: what a command packs otherwise goes to a folder or a file of its own."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(trained_once / "runs", folder / "runs")
    (folder / "cache").symlink_to(trained_once / "cache")
    return folder


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, miniature: ClipSet) -> Path:
    """What `trained` is a copy of; what the command said is in stdout.txt."""
    folder = tmp_path_factory.mktemp("trained_once")
    result = run(folder, "stage=all", f"data.root={miniature.root}", "name=first", *QUICK)
    assert result.returncode == 0, result.stderr
    (folder / "stdout.txt").write_text(result.stdout)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with tau22-mini, tau22-official and micirp; tests that need it are skipped where there is none."""
    folder = os.environ.get("SCENELET_DATA")
    if not folder or not (Path(folder) / "tau22-mini").is_dir():
        pytest.skip(
            "needs real clips: set SCENELET_DATA to the folder that holds tau22-mini, tau22-official and micirp"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of small inputs that once failed, beside SCENELET_DATA; tests that need it are skipped where there is
    none."""
    folder = Path(os.environ.get("SCENELET_DATA", ".")).parent / "cases"
    if not folder.is_dir():
        pytest.skip("needs the folder cases beside the one that SCENELET_DATA names")
    return folder


@pytest.fixture(scope="session")
def long_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As small_model, of clips of five seconds and 50 classes, with the log-mels of experiments/study/esc50.py."""
    mel, rate, seconds = {"mels": 128, "hop": 1250}, 32_000, 5.0
    spectrograms = build_front_end(rate, mel)(torch.randn(4, round(seconds * rate)) / 10)
    network = randomise_norms(cp_mobile(size="6k", classes=50))
    with torch.no_grad():
        integers = calibrate(fold(network, (1, *spectrograms.shape[1:])), [spectrograms])
    scenes = [f"sound {number}" for number in range(50)]
    metadata = {"scenes": scenes, "sample_rate": rate, "mel": mel, "clip_seconds": seconds}
    return write_tflite(integers, tmp_path_factory.mktemp("model") / "long.tflite", metadata)


@pytest.fixture(scope="session")
def small_model(miniature_waves: WaveStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model.tflite of an untrained network whose answers differ, with the metadata that stage=quantize writes."""
    mel = {"mels": 64, "hop": 1000}
    spectrograms = build_front_end(miniature_waves.sample_rate, mel)(miniature_waves.read(np.arange(32)))
    network = fit_norms(cp_mobile(size="6k"), spectrograms, spread=4)
    with torch.no_grad():
        integers = calibrate(fold(network), [spectrograms])
    metadata = {"scenes": SCENES, "sample_rate": miniature_waves.sample_rate, "mel": mel}
    return write_tflite(integers, tmp_path_factory.mktemp("model") / "model.tflite", metadata)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; closed before other modules start their own."""
    if (path := shutil.which("chromium")) is None:
        pytest.skip("needs a browser: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()
