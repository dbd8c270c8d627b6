"""What each teacher costs to apply: parameters, clips a second of computing logits, and memory, by teacher.

Conventions: clips of 1 s, front end included, in batches; weights are random, which changes neither. Each teacher has a
process of its own, whose highest memory (Linux: VmHWM) is that of Python and torch, too. They do not take turns.
"""

import argparse
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from data.errors import UserError, unknown
from data.front_ends import build_front_end
from experiments.bench.timing import Row, in_turns, rates, row
from experiments.command.composition import group_choices
from experiments.command.schema import composed
from experiments.distributed.fabric import make_fabric
from experiments.distributed.memory import keep_freed_memory
from experiments.settings.parts import Hardware
from teachers import build_teacher

RATE, CLASSES, BATCH = 32_000, 10, 16
DATA = "data=tau22"  # the recipes as published, and not those of the synthetic miniature
ALL = (
    "passt,ast,beats,cp_resnet,timm,yamnet,vggish,openl3,edgel3,soundnet,pase,pase:size=pase,"
    "efficientat,efficientat:size=mn05,efficientat:size=mn10,efficientat:size=mn20,efficientat:size=mn30,"
    "efficientat:size=mn40,panns,panns:size=mobilenetv2,panns:size=cnn6,panns:size=cnn10,panns:size=cnn14"
)


def run(arguments: argparse.Namespace) -> list[Row]:
    """All rows: what, median, unit, rounds."""
    known = group_choices()["teacher"]
    chosen = (arguments.teachers or ALL).split(",")
    for spec in chosen:
        if (name := spec.split(":")[0]) not in known:
            unknown("teacher", name, known)
    size = arguments.batch or BATCH
    if arguments.rounds < 1 or size < 1:
        raise UserError(f"--rounds={arguments.rounds} and --batch={size} must be at least 1")
    found: list[Row] = []
    for spec in chosen:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            found += process.submit(measure, spec, size, arguments.rounds).result()
    return found


def measure(spec: str, size: int, rounds: int) -> list[Row]:
    """The rows of a teacher, in the process that is there for it.

    Args:
        spec: NAME, or NAME:ARGUMENT=VALUE of the builder's arguments.
        size: clips a batch.
        rounds: batches, after one that is not timed.
    """
    keep_freed_memory()
    name, *given = spec.split(":")
    teacher = composed(f"teacher={name}", DATA, *(f"teacher.arguments.{each}" for each in given)).teacher
    fabric = make_fabric(Hardware())
    network = build_teacher(teacher.builder, classes=CLASSES, pretrained=False, **teacher.arguments).eval()
    parameters = sum(each.numel() for each in network.parameters())
    network = network.to(fabric.device, memory_format=torch.channels_last)
    front_end = build_front_end(RATE, teacher.mel).to(fabric.device)
    waves = torch.randn(size, RATE, device=fabric.device) / 10

    def compute() -> None:
        with torch.no_grad(), fabric.autocast():
            network(front_end(waves).contiguous(memory_format=torch.channels_last)).float().cpu()

    compute()  # the first call plans and allocates
    seconds = in_turns({spec: compute}, rounds)[spec]
    return [
        row(f"{spec}: parameters, {CLASSES} classes", [parameters], ""),
        row(f"{spec}: logits", rates(seconds, size), "clips/s"),
        row(f"{spec}: memory of the process", [peak_bytes() / 1e9], "GB"),
    ]


def peak_bytes() -> int:
    """The most memory that this process had at once."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # elsewhere, where it may be that of the process that started this one
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
