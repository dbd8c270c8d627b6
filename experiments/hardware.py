"""Where to compute: one device, several of them, or several machines, all by Lightning Fabric.

Conventions: one process a device, started by Fabric itself, by torchrun or by SLURM; all run the same command. The
first (rank 0) alone writes files and speaks; `exchange` is how the others' results reach it.
"""

import importlib.util
import logging
import os
import shutil
from collections.abc import Mapping
from typing import TypeVar

import torch
from lightning_fabric import Fabric

from data.errors import UserError, unknown

COMPILE = ("auto", "true", "false")
COMPILE_CLIPS = 50_000  # in all epochs; fewer do not win back the minute or two that compiling takes

Thing = TypeVar("Thing")

_made: dict[str, Fabric] = {}


def make_fabric(cfg: Mapping[str, object]) -> Fabric:
    """Fabric for the settings of `fabric`; precision auto is bf16-mixed on CUDA and 32-true elsewhere.

    On a CPU without native bf16, autocast is several times slower than float32. The stages of one command share a
    Fabric, because processes are started and connected once.

    Raises:
        UserError: there is no such hardware.
    """
    settings = dict(cfg)
    if settings["precision"] == "auto":
        on_cuda = settings["accelerator"] in ("auto", "cuda", "gpu") and torch.cuda.is_available()
        settings["precision"] = "bf16-mixed" if on_cuda else "32-true"
    for own in ("sync_batchnorm", "compile"):
        settings.pop(own, None)
    if (key := repr(settings)) not in _made:
        try:
            _made[key] = Fabric(**settings)
        except Exception as error:  # what is raised depends on the accelerator that is missing
            raise UserError(f"fabric={settings} is not possible here: {error}") from error
    return _made[key]


def pays_to_compile(wanted: str, device: torch.device, clips: int) -> bool:
    """Whether to compile a network that is trained on so many clips, each counted as often as it comes.

    `auto`: if there is a compiler for this device and the training is long enough.

    Raises:
        UserError: it is none of auto, true and false.
    """
    if wanted not in COMPILE:
        unknown("fabric.compile", wanted, COMPILE)
    if wanted != "auto":
        return wanted == "true"
    if device.type == "cuda":
        return clips >= COMPILE_CLIPS and importlib.util.find_spec("triton") is not None
    return clips >= COMPILE_CLIPS and shutil.which(os.environ.get("CXX", "g++")) is not None


def launch(fabric: Fabric) -> None:
    """Start and connect the other processes, if there are to be any; at the latest here they begin their work."""
    if fabric.world_size > 1:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric.launch()


def exchange(fabric: Fabric, mine: Thing) -> list[Thing]:
    """What every process has, in the order of their ranks; to be called by all of them at the same point."""
    if fabric.world_size == 1:
        return [mine]
    everyone: list[Thing] = [mine] * fabric.world_size
    torch.distributed.all_gather_object(everyone, mine)
    return everyone


def in_step(fabric: Fabric, network: torch.nn.Module) -> None:
    """Give all processes the first one's BatchNorm statistics, which each has gathered from its own clips."""
    if fabric.world_size > 1:
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)
