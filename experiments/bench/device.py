"""What a clip costs on a Cortex-M4, beside other ways to compute the same model.tflite on one: bakenn, which generates
C, too, with kernels of its own and with those of CMSIS-NN, and the memory of tflite-micro's interpreter.

Conventions: all C is compiled by one compiler with the flags of experiments/device/toolchain.py and runs in one
emulator, on the same input; counts are exact, and a second round would say the same. Cycles are those of
experiments/device/cycles.py. RAM is all variables of a program that computes the network alone, its input among them;
flash is all of that program. Weights are random: cost does not depend on them.
"""

import argparse
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from data.front_ends.integer_steps import integer_front_end
from data.scenes import PART_SECONDS, SCENES
from experiments.bench.teacher import DATA, RATE
from experiments.bench.timing import Row, row
from experiments.command.schema import composed
from experiments.device.binary import sections
from experiments.device.emulator import MARKER, Counts, Program
from experiments.device.measure import measured
from experiments.device.toolchain import device_program
from students import build_student
from students.complexity import layer_macs, tflite_operators
from students.device.library import Model, library_files
from students.device.network import network_files
from students.device.plan import planned
from students.quantize.answer import confidence_of
from students.quantize.calibrate import calibrate
from students.quantize.exact import calibrate_exactly
from students.quantize.fold import fold
from students.quantize.layers import INPUT
from students.quantize.runtime import has_micro
from students.quantize.tflite import write_tflite

CALIBRATED = 8  # clips
SMALLEST_STEP = 16  # bytes, by which arenas are aligned
LARGEST_ARENA = 1 << 24
# Each program has the variables `input` and `logits`, and a function `compute` between them.
OURS = """
#include <string.h>
#include "scenelet_network.h"
volatile int32_t scenelet_measured;
int8_t input[SCENELET_INPUT], logits[%d];
static scenelet_network network;
void begin(void)
{
    scenelet_network_clear(input);
}
void compute(void)
{
    int32_t step;
    scenelet_measured = 1;
    scenelet_network_begin(&network);
    for (step = 0; step < SCENELET_STEPS; step++) {
        scenelet_network_step(&network, input);
    }
    memcpy(logits, scenelet_network_row(&network, SCENELET_LAYERS - 1), sizeof logits);
    scenelet_measured = 0;
}
"""
BAKENN = """
#include "bknn_scene.h"
volatile int32_t scenelet_measured;
int8_t input[BKNN_SCENE_INPUT_BYTES], logits[BKNN_SCENE_OUTPUT_BYTES];
static uint8_t arena[BKNN_SCENE_ARENA_SIZE] __attribute__((aligned(BKNN_SCENE_ARENA_ALIGNMENT)));
void begin(void)
{
}
void compute(void)
{
    scenelet_measured = 1;
    bknn_scene_infer(arena, input, logits);
    scenelet_measured = 0;
}
"""
KERNELS = {"portable C": (False, False), "its Cortex-M4 kernels": (True, False), "CMSIS-NN": (True, True)}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alone:
    """What a network alone costs, and its logits."""

    counts: Counts
    ram: int
    stack: int
    flash: int
    logits: np.ndarray

    def rows(self, name: str, macs: int) -> list[Row]:
        """Of the bench's table."""
        return [
            row(f"{name}: instructions", [self.counts.instructions], ""),
            row(f"{name}: cycles", [self.counts.cycles], ""),
            row(f"{name}: cycles a MAC", [self.counts.cycles / macs], ""),
            row(f"{name}: RAM", [self.ram], "bytes"),
            row(f"{name}: stack", [self.stack], "bytes"),
            row(f"{name}: flash", [self.flash], "bytes"),
        ]


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> list[Row]:
    """All rows: what, median, unit, rounds."""
    model = random_model(arguments.size, exact=arguments.exact)
    read = model.network.quantities[INPUT]
    clip = torch.randint(read.low, read.high + 1, (1, *read.shape), dtype=torch.int8)
    expected = model.network.run(clip)[0].numpy()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = write_tflite(model.network, folder / "model.tflite", {"scenes": SCENES})
        macs = layer_macs(tflite_operators(path))
        cost = measured(library_files(model, version("scenelet")), model, macs)
        front_end = cost.front_end
        assert front_end is not None
        both = (front_end, cost.network)
        rows = [
            row("MACs", [sum(macs)], ""),
            row(
                "scenelet, from samples to scene: instructions",
                [sum(part.instructions for part in both)],
                "",
            ),
            row("scenelet, from samples to scene: cycles", [cost.cycles], ""),
            row("scenelet, from samples to scene: RAM", [sum(cost.ram.values()) - cost.ram["stack"]], "bytes"),
            row("scenelet, from samples to scene: stack", [cost.ram["stack"]], "bytes"),
            row("scenelet, from samples to scene: flash", [sum(cost.flash.values())], "bytes"),
        ]
        ours = _of_scenelet(model, clip[0, 0].numpy(), folder / "ours")
        assert np.array_equal(ours.logits, expected)
        rows += ours.rows("scenelet, network", sum(macs))
        for kernels, found in _of_bakenn(path, clip[0].permute(1, 2, 0).numpy(), folder):
            name = f"bakenn {version('bakenn')}, {kernels}"
            rows += found.rows(name, sum(macs))
            equal = int((found.logits == expected).sum())
            rows.append(row(f"{name}: logits that equal scenelet's", [equal], f"of {len(expected)}"))
        if has_micro():
            rows.append(row("tflite-micro: arena", [micro_arena(path)], "bytes"))
        else:
            log.warning("tflite-micro is not installed: its arena is not measured")
    return rows


def random_model(size: str, *, exact: bool) -> Model:
    """A CP-Mobile with the default settings, random weights and norms, quantised on noise."""
    torch.manual_seed(0)
    student = composed("student=cp_mobile", DATA).student
    network = build_student(student.builder, size=size).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.normal_(module.bias)
    front_end = integer_front_end(RATE, student.mel)
    samples = round(PART_SECONDS * RATE)
    spectrograms = front_end(torch.randn(CALIBRATED, samples) / 10)
    folded = fold(network)
    integers = calibrate_exactly(folded, [spectrograms])[1] if exact else calibrate(folded, [spectrograms])
    return Model(integers, front_end, samples, SCENES, confidence_of({}))


def _of_scenelet(model: Model, clip: np.ndarray, folder: Path) -> Alone:
    """Of a clip (mels, frames), int8."""
    lies, classes = planned(model.network).maps[INPUT], len(model.scenes)
    sources = {**network_files(model.network), "main.c": OURS % classes}
    return _measured_alone(sources, folder, {band * lies.row + lies.before: row for band, row in enumerate(clip)})


def _of_bakenn(path: Path, clip: np.ndarray, folder: Path) -> Iterator[tuple[str, Alone]]:
    """Of a file and a clip (mels, frames, 1), int8, by kernels; nothing where it is missing or refuses the file."""
    try:
        import bakenn
    except ImportError:
        log.warning("bakenn is not installed, and is not compared with: pip install 'bakenn[tflite]'")
        return
    for name, (own, cmsis) in KERNELS.items():
        policy = bakenn.KernelPolicy.STATIC_PRIORITY if own else bakenn.KernelPolicy.PORTABLE
        options = bakenn.CBackendOptions(kernel_policy=policy, enable_cmsis_nn=cmsis, target=bakenn.CORTEX_M4)
        generated = folder / name.replace(" ", "_")
        try:
            bakenn.compile_tflite(path, generated, name="scene", backend_options=options)
        except bakenn.BakeNNError as error:
            log.warning("bakenn, %s, refuses the file: %s", name, error)
            continue
        files = [found for found in generated.rglob("*") if found.suffix in (".c", ".h")]
        sources = {str(found.relative_to(generated)): found.read_text() for found in files}
        places = {found.parent.relative_to(generated) for found in files if found.suffix == ".h"}
        built = folder / f"{generated.name}_built"
        flags = ["-std=c11", "-DBAKENN_CMSIS_NN_BUILTIN_MEMORY", *(f"-I{built / place}" for place in places)]
        yield name, _measured_alone({**sources, "main.c": BAKENN}, built, {0: clip}, flags)


def _measured_alone(
    sources: Mapping[str, str], folder: Path, clip: Mapping[int, np.ndarray], flags: Sequence[str] = ()
) -> Alone:
    """What `compute` costs; the clip is written to `input` piece by piece, by where each one begins."""
    folder.mkdir()
    elf = device_program(sources, folder, ["begin", "compute"], flags)
    program, sizes = Program(elf), sections(elf)
    program.call("begin")
    for place, values in clip.items():
        program.write("input", values.tobytes(), place)
    program.call("compute")
    ram = sizes.ram - program.symbols[MARKER].size
    logits = np.frombuffer(program.read("logits"), np.int8)
    return Alone(program.counts[1], ram, program.stack, sizes.flash, logits)


def micro_arena(path: Path) -> int:
    """Bytes of the smallest arena in which tflite-micro's interpreter holds a file, found by halving: on this machine,
    where the pointers of its bookkeeping are longer than on a microcontroller."""
    from tflite_micro import runtime

    content, low, high = path.read_bytes(), 0, LARGEST_ARENA
    while high - low > SMALLEST_STEP:
        middle = (low + high) // 2
        try:
            with _quiet():
                runtime.Interpreter.from_bytes(content, arena_size=middle)
            high = middle
        except RuntimeError:
            low = middle
    return high


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what a library in C++ writes to the standard error about an arena that is too small."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
