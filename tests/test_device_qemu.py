"""What the emulated Cortex-M4 counts for a front end, against QEMU's board, and against one instruction at a time."""

import re
import subprocess
from pathlib import Path

import pytest
import unicorn
from c_code import emulated, need

from data.front_ends.integer_log_mel import IntegerLogMel
from experiments.device.binary import instructions
from experiments.device.cycles import TAKEN, cycles_of
from experiments.device.emulator import Counts, Program
from students.device.front_end import front_end_files
from students.quantize.integer import Quantity

# One pass of a front end over noise; on a board, with the ticks of its timer in between, which the host writes.
BOARD = """
#include "scenelet_front_end.h"
static scenelet_front_end state;
static int16_t samples[SCENELET_SAMPLES];
static scenelet_front_end_scratch scratch;
int8_t values[SCENELET_MELS * SCENELET_FRAMES];
int32_t nothing(void);
int32_t work(void);
int main(void);
int32_t nothing(void)
{
    return 0;
}
int32_t work(void)
{
    uint32_t k, seed = 1, sum = 0;
    for (k = 0; k < SCENELET_SAMPLES; k++) {
        samples[k] = (int16_t)((seed = seed * 1664525u + 1013904223u) >> 18);
    }
    scenelet_front_end_begin(&state);
    scenelet_front_end_push(&state, &scratch, samples, SCENELET_SAMPLES, values);
    for (k = 0; k < SCENELET_MELS * SCENELET_FRAMES; k++) {
        sum = sum * 31 + (uint32_t)(values[k] + 128) / (k + 1);
    }
    return (int32_t)sum;
}
static void ask_host(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}
static void write_hex(uint32_t value)
{
    char text[10] = "00000000 ";
    uint32_t k;
    for (k = 0; k < 8; k++) {
        text[k] = "0123456789abcdef"[value >> (28 - 4 * k) & 15u];
    }
    ask_host(4, text);
}
int main(void)
{
    int32_t (*volatile functions[2])(void) = {nothing, work};
    volatile uint32_t *timer = (volatile uint32_t *)0x40000000;
    uint32_t k;
    timer[2] = timer[1] = 0xffffffffu;
    timer[0] = 1;
    for (k = 0; k < 2; k++) {
        int32_t (*function)(void) = functions[k];
        uint32_t before = timer[1], result = (uint32_t)function();
        write_hex(before - timer[1]);
        write_hex(result);
    }
    ask_host(0x18, (const void *)0x20026);
    return 0;
}
"""
BRANCH = re.compile(r"(b|bl|bx|blx|b(eq|ne|[chl]s|cc|lo|mi|pl|v[sc]|hi|[gl][et])|cbn?z|tb[bh]) |(pop|ldm|ldr|mov).*pc")
QEMU = "qemu-system-arm"
SHIFT = 10  # of QEMU: an instruction takes 2 to the power of it, in nanoseconds; a tick of the board's timer takes 40


@pytest.fixture(scope="module")
def front_end(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Path]:
    """One of 10 frames, and the file that it is in."""
    integers, quantity = IntegerLogMel(fft=512, window=400, hop=100, mels=40), Quantity(0.0131, -17, (1, 40, 10))
    files = {**front_end_files(integers, 1000, quantity), "main.c": BOARD}
    folder = tmp_path_factory.mktemp("board")
    return emulated(files, folder, ["nothing", "work"]), folder / "program.elf"


def test_instructions_are_as_many_as_qemu_counts(front_end: tuple[Program, Path]) -> None:
    """Oracle: QEMU's board mps2-an386, whose clock is its count of instructions: equal to the last one, and the result;
    less those of a function without any."""
    need(QEMU)
    program, elf = front_end
    expected = []
    for function in ("nothing", "work"):
        program.clear()
        expected.append((program.call(function), program.counts[0].instructions))
    command = [QEMU, "-M", "mps2-an386", "-icount", f"shift={SHIFT}", "-display", "none", "-serial", "none"]
    command += ["-monitor", "none", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run([*command, "-kernel", elf], capture_output=True, text=True, check=True)
    words = [int(word, 16) for word in (done.stdout + done.stderr).split()]
    ticks, results = words[::2], words[1::2]
    assert results == [result & 0xFFFF_FFFF for result, _ in expected]
    assert round((ticks[1] - ticks[0]) * 40 / (1 << SHIFT)) == expected[1][1] - expected[0][1] > 100_000


def test_blocks_cost_what_their_instructions_cost(front_end: tuple[Program, Path]) -> None:
    """Oracle: the same call, reported by the emulator one instruction at a time, without what IT skips: each costs what
    the model says, and 2 more if a branch led to it, as to the first one and to the caller."""
    _, elf = front_end
    program, listing, trace = Program(elf), instructions(elf), []
    program.engine.hook_add(unicorn.UC_HOOK_CODE, lambda _engine, address, _size, _data: trace.append(address))
    program.call("work")
    count, cycles, before = 0, TAKEN, None
    for address in trace:
        behind = before.address + before.size if before else None
        if before is None or (BRANCH.match(f"{before.name} {before.operands}") and behind != address):
            before, behind, cycles = None, address, cycles + TAKEN
        while behind <= address:
            count, cycles, before = count + 1, cycles + cycles_of(listing[behind], before), listing[behind]
            behind += before.size
    assert program.counts == {0: Counts(count, cycles)}
