"""Where to compute: one device, several of them, or several machines, all by Lightning Fabric.

Conventions: one process a device, started by Fabric itself, by torchrun or by SLURM; all run the same command. The
first (rank 0) alone writes results and speaks; `exchange` is how the others' results reach it.
"""

import atexit
import importlib.util
import logging
import os
import shutil
from typing import TypeVar

import torch
from lightning_fabric import Fabric

from data.errors import UserError, unknown
from experiments.distributed.processes import started_processes
from experiments.settings.parts import Hardware

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
MEETING = ("WORLD_SIZE", "MASTER_ADDR", "SLURM_NTASKS")  # how processes of several machines find each other
COMPILE = ("auto", "true", "false", "cuda-graphs")
COMPILE_CLIPS = 50_000  # in all epochs; fewer do not win back the minute or two that compiling takes

Thing = TypeVar("Thing")

_made: dict[tuple[Hardware, str], Fabric] = {}


def precision_of(hardware: Hardware) -> str:
    """The precision that `fabric.precision` means here: auto is bf16-mixed on CUDA and 32-true elsewhere.

    On a CPU without native bf16, autocast is several times slower than float32.

    Raises:
        UserError: it is not one of those whose weights stay float32.
    """
    if hardware.precision != "auto":
        if hardware.precision not in PRECISIONS:
            unknown("fabric.precision", hardware.precision, ("auto", *PRECISIONS))
        if hardware.precision == "16-mixed" and not _on_cuda(hardware):  # Fabric would take bf16 and only warn
            raise UserError(
                "fabric.precision=16-mixed needs CUDA: give bf16-mixed, or 32-true, which is faster on CPUs"
            )
        return hardware.precision
    return "bf16-mixed" if _on_cuda(hardware) else "32-true"


def _on_cuda(hardware: Hardware) -> bool:
    return hardware.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()


def computing(hardware: Hardware) -> dict[str, object]:
    """What of the hardware a training's result depends on: the precision, and how a batch is shared out."""
    return {
        "precision": precision_of(hardware),
        "processes": hardware.processes,
        "sync_batchnorm": hardware.sync_batchnorm,
    }


def make_fabric(hardware: Hardware) -> Fabric:
    """Fabric for the settings of `fabric`.

    The stages of one command share a Fabric, because processes are started and connected once.

    Raises:
        UserError: there is no such hardware, or other processes were started than the settings say.
    """
    if hardware.num_nodes > 1 and not any(name in os.environ for name in MEETING):
        raise UserError(
            f"fabric.num_nodes={hardware.num_nodes}: start the command on every machine by torchrun or SLURM, or "
            "with MASTER_ADDR, MASTER_PORT and NODE_RANK set"
        )
    key = hardware, precision_of(hardware)
    if key not in _made:
        try:
            _made[key] = Fabric(
                accelerator=hardware.accelerator,
                strategy=hardware.strategy,
                devices=hardware.devices,
                num_nodes=hardware.num_nodes,
                precision=precision_of(hardware),
            )
        except Exception as error:  # what is raised depends on the accelerator that is missing
            raise UserError(
                f"fabric.accelerator={hardware.accelerator}, devices={hardware.devices}, strategy={hardware.strategy} "
                f"is not possible here: {error}"
            ) from error
    if (started := started_processes()) not in (1, _made[key].world_size):
        raise UserError(
            f"{started} processes were started, and fabric.devices={hardware.devices} times fabric.num_nodes="
            f"{hardware.num_nodes} is another number: make them equal"
        )
    return _made[key]


def compile_mode(wanted: str | bool, device: torch.device, clips: int) -> str | None:
    """The mode of torch.compile, or None, for a network that is trained on so many clips, each counted as often as it
    comes.

    `auto`: if there is a compiler for this device and the training is long enough. `cuda-graphs`: whole forward and
    backward passes are sent to the GPU at once, which helps where its work is shorter than Python's, as that of small
    networks may be.

    Raises:
        UserError: it is none of auto, true, false and cuda-graphs, or there are no CUDA graphs on this device.
    """
    wanted = str(wanted).lower()  # Hydra reads true and false as such
    if wanted not in COMPILE:
        unknown("fabric.compile", wanted, COMPILE)
    if wanted == "cuda-graphs":
        if device.type != "cuda":
            raise UserError(f"fabric.compile=cuda-graphs needs CUDA, and this is a {device.type}: give true, or auto")
        return "reduce-overhead"
    if wanted == "auto":
        if device.type == "cuda":
            possible = importlib.util.find_spec("triton") is not None
        else:
            possible = shutil.which(os.environ.get("CXX", "g++")) is not None
        return "default" if possible and clips >= COMPILE_CLIPS else None
    return "default" if wanted == "true" else None


def launch(fabric: Fabric) -> None:
    """Start and connect the other processes, if there are to be any; at the latest here they begin their work."""
    if fabric.world_size > 1:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        if not torch.distributed.is_initialized():
            fabric.launch()
            atexit.register(torch.distributed.destroy_process_group)


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
