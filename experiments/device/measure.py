"""What a library in C costs on a Cortex-M4, and whether it computes there what Python computes.

Conventions: one clip is pushed, MOST samples at a time, and classified; what its layers cost is counted row by row.
Sizes are those of a program that has the library and three functions that call it; flash holds the start-up code as
well.
"""

import importlib.util
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from experiments.device.binary import sections
from experiments.device.emulator import RAM_SIZE, Program
from experiments.device.toolchain import DEVICE, NoDeviceError, device_program, host_program, run_program
from students.device.cost import STACK, Cost, Part
from students.device.front_end import front_end_tables
from students.device.library import Model, state_bytes, state_parts
from students.device.vectors import signals

STACK_ROOM = 4096  # bytes
MOST = 32_000  # samples: a clip of several seconds alone would fill the memory
FRONT_END, LAYERS = 1, 2  # values of the marker; from LAYERS on those of the layers
MAIN = """
#include "scenelet.h"

volatile int32_t scenelet_measured;
scenelet state;
scenelet_answer answer;
int16_t samples[SCENELET_SAMPLES < MOST ? SCENELET_SAMPLES : MOST];

void begin(void)
{
    scenelet_init(&state, 0);
}

int32_t push(void)
{
    scenelet_measured = 1;
    scenelet_push(&state, samples, sizeof samples / sizeof samples[0]);
    scenelet_measured = 0;
    return scenelet_is_complete(&state);
}

void compute(void)
{
    int32_t step;
    scenelet_network_begin(&state.shared.network);
    for (step = 0; step < SCENELET_STEPS; step++) {
        scenelet_measured = 2 + scenelet_steps[step];
        scenelet_network_step(&state.shared.network, state.input);
    }
    scenelet_measured = 0;
}

int32_t classify(void)
{
    return scenelet_classify(&state, &answer);
}

int main(void)
{
    begin();
    push();
    compute();
    return classify();
}
"""
CALLED = ("begin", "push", "compute", "classify")


class Device:
    """A library on an emulated Cortex-M4."""

    def __init__(self, files: Mapping[str, str], folder: Path) -> None:
        """Compile it into a folder.

        Raises:
            UserError: the compiler or the emulator is missing, or the program is larger than the device's memory.
        """
        sources = {Path(name).name: text for name, text in files.items() if name.startswith("src/")}
        elf = device_program({**sources, "main.c": f"#define MOST {MOST}\n{MAIN}"}, folder, CALLED)
        self.program, self.sections = Program(elf), sections(elf)
        self.program.call("begin")

    def push(self, samples: np.ndarray) -> None:
        """Push a clip, int16 (samples,)."""
        complete = 0
        for start in range(0, len(samples), MOST):
            self.program.write("samples", samples[start : start + MOST].astype("<i2").tobytes())
            complete = self.program.call("push")  # which takes no more than the clip has
        assert complete

    def answer(self, classes: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Classify it: answer, logits (classes,), and probabilities (classes,) in 1/32768."""
        scene = self.program.call("classify")
        logits = np.frombuffer(self.program.read("answer", classes, 4), np.int8)
        at = 4 + classes + classes % 2
        return scene, logits, np.frombuffer(self.program.read("answer", 2 * classes, at), "<u2")


def measured(files: Mapping[str, str], model: Model, macs: Sequence[int]) -> Cost:
    """Instructions and cycles of one clip of noise, and memory; the answer is compared with that of Python.

    Args:
        files: of the library.
        model: what it computes.
        macs: multiply-accumulates of one clip, of each layer.

    Raises:
        UserError: see Device.
        AssertionError: the answers differ, which would be a defect of ours.
    """
    needed = state_bytes(model) + 2 * min(model.samples, MOST)
    if needed > RAM_SIZE - STACK_ROOM:
        raise NoDeviceError(f"it needs {needed:,} bytes with samples of a clip, and the device has {RAM_SIZE:,}")
    network, noise = model.network, signals()[-1].samples(model.samples)
    with TemporaryDirectory() as folder:
        device = Device(files, Path(folder))
        program = device.program
        program.clear()
        device.push(noise)
        program.call("compute")
        counts = program.counts
        answer, logits, chances = device.answer(len(model.scenes))
    expected = network.run(model.inputs(torch.from_numpy(noise)[None]))
    answers, probabilities = model.answers(expected)
    equal = np.array_equal(logits, expected[0]) and np.array_equal(chances, probabilities[0])
    if not equal or answer != answers[0]:
        raise AssertionError("the emulated Cortex-M4 and Python differ; please report it")
    layers = [
        Part(layer.name, counts[LAYERS + at].instructions, counts[LAYERS + at].cycles, its)
        for at, (layer, its) in enumerate(zip(network.layers, macs, strict=True))
    ]
    front_end, parts = counts[FRONT_END], state_parts(model)
    if program.symbols["state"].size != sum(parts.values()):
        raise AssertionError("sizeof(scenelet) is not what Python says; please report it")
    ram, flash = {**parts, STACK: program.stack}, _flash(device, front_end_tables(model.front_end))
    return Cost(layers, Part("front end", front_end.instructions, front_end.cycles), ram, flash)


def _flash(device: Device, of_front_end: Iterable[str]) -> dict[str, int]:
    """Bytes by what they are for; `of_front_end` are names of tables."""
    sizes = {name: symbol.size for name, symbol in device.program.symbols.items() if symbol.section == "constants"}
    found = {
        "code": device.sections.code,
        "weights, biases, factors": sum(size for name, size in sizes.items() if name.startswith("layer_")),
        "tables of the front end": sum(sizes[name] for name in of_front_end),
    }
    whole = device.sections.flash
    return {**found, "other constants": whole - sum(found.values())}


def has_tools() -> bool:
    """Whether what `measured` needs is installed."""
    return shutil.which(DEVICE) is not None and importlib.util.find_spec("unicorn") is not None


def check_on_host(files: Mapping[str, str]) -> None:
    """Compile the selftest for this machine and run it.

    Raises:
        UserError: there is no compiler.
        AssertionError: the C and Python differ, which would be a defect of ours.
    """
    parts = ("src/", "selftest/")
    sources = {Path(name).name: text for name, text in files.items() if name.startswith(parts)}
    with TemporaryDirectory() as folder:
        status, said = run_program(host_program(sources, Path(folder), ["-O2"]))
    if status:
        raise AssertionError(f"the C and Python differ; please report it:\n{said}")
