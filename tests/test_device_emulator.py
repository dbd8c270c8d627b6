"""Programs on an emulated Cortex-M4: their answers, and what they cost, against calculations by hand and QEMU."""

import struct
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from c_code import emulated, need

import experiments.device
from data.errors import UserError
from data.front_ends.integer_log_mel import IntegerLogMel
from experiments.device.binary import sections, symbols
from experiments.device.emulator import Counts, Program
from experiments.device.toolchain import DEVICE, device_program, host_program
from students.device.front_end import front_end_files
from students.quantize.integer import Quantity


def assembly(functions: Mapping[str, str]) -> dict[str, str]:
    """Files with functions of assembly, their instructions separated by semicolons, and an array."""
    lines = [".syntax unified", ".thumb"]
    for name, text in functions.items():
        lines += [
            f'.section .text.{name}, "ax"',
            ".align 2",
            f".global {name}",
            f".thumb_func\n.type {name}, %function",
        ]
        lines += [f"{name}:", *text.split(";"), f".size {name}, . - {name}"]
    words = "#include <stdint.h>\nint32_t words[16] = {1, 2, 3, 4, 5, 6, 7, 8};\n"
    return {"functions.s": "\n".join([*lines, ""]), "words.c": words}


# Name -> instructions, argument, result, how many run, cycles: each one by hand, and 3 for the return.
BY_HAND = {
    # 1 + 5 * (1 + 1 + 1) + 1 + 1; four of the five branches are taken
    "loop": ("movs r1, #0; 1: adds r1, r1, r0; subs r0, #1; bne 1b; mov r0, r1; bx lr", 5, 15, 18, 18 + 4 * 2 + 2),
    # of the manual, 3.3.3: two loads 3 cycles, a load and a store 3, three loads 4
    "two_loads": ("ldr r1, [r0]; ldr r0, [r0, #4]; bx lr", "words", 2, 3, 3 + 3),
    "load_store": ("ldr r1, [r0]; str r1, [r0, #60]; ldr r0, [r0, #60]; bx lr", "words", 1, 4, 3 + 2 + 3),
    "three_loads": ("ldrsb r1, [r0]; ldrh.w r2, [r0, #4]; ldr r0, [r0, #8]; bx lr", "words", 3, 4, 4 + 3),
    # the second address is the result of the first load; then a load that is alone
    "chain": ("str r0, [r0, #60]; ldr r1, [r0, #60]; ldr r1, [r1, #4]; nop; ldr r0, [r0]; bx lr", "words", 1, 6, 11),
    # 1 + 4 and 1 + 3
    "many": ("ldmia r0!, {r1, r2, r3, ip}; stmia.w r0, {r1, r2, r3}; mov r0, ip; bx lr", "words", 4, 4, 5 + 4 + 1 + 3),
    "pair": ("ldrd r2, r3, [r0, #8]; strd r2, r3, [r0, #40]; add r0, r2, r3; bx lr", "words", 7, 4, 3 + 3 + 1 + 3),
    "divide": ("movs r1, #7; udiv r0, r0, r1; bx lr", 100, 14, 3, 1 + 12 + 3),
    "taken": ("cbz r0, 1f; movs r0, #9; 1: bx lr", 0, 0, 2, 1 + 2 + 3),
    "not_taken": ("cbz r0, 1f; movs r0, #9; 1: bx lr", 1, 9, 3, 1 + 1 + 3),
    # both instructions behind IT count, and one of them has an effect
    "conditions": ("cmp r0, #3; ite lt; addlt r0, #10; ldrge.w r0, [sp]; bx lr", 2, 12, 5, 1 + 1 + 1 + 2 + 3),
    # PUSH of two registers 3, BL 1 + 2, "twice" 1 + 1 + 2, POP with the program counter 3 + 2
    "call": ("push {r4, lr}; bl twice; pop {r4, pc}", 21, 42, 5, 3 + 3 + 4 + 5),
    "twice": ("adds r0, r0, r0; bx lr", 4, 8, 2, 1 + 3),
    "table": ("tbb [pc, r0]; .byte 1, 2; 1: movs r0, #5; 2: bx lr", 1, 1, 2, 1 + 2 + 3),
}


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Program:
    files = assembly({name: case[0] for name, case in BY_HAND.items()})
    return emulated(files, tmp_path_factory.mktemp("hand"), [*BY_HAND, "words"])


@pytest.mark.parametrize("name", BY_HAND)
def test_instructions_and_cycles_are_those_counted_by_hand(by_hand: Program, name: str) -> None:
    """Oracle: BY_HAND, from the manual that cycles.py names."""
    _, argument, result, count, cycles = BY_HAND[name]
    by_hand.write("words", struct.pack("<16i", *range(1, 9), *[0] * 8))
    by_hand.clear()
    found = by_hand.call(name, by_hand.address(argument) if isinstance(argument, str) else argument)
    assert (found, by_hand.counts) == (result, {0: Counts(count, cycles)})


DSP = {
    "smlad": ("smlad r0, r0, r1, r2", 3 * -2 + -4 * 100 + 7),
    "smulwb": ("smulwb r0, r2, r0", 0),
    "smmulr": ("mov r3, #0x40000000; smmulr r0, r3, r0", ((-4 << 16 | 3) * 0x40000000 + 0x80000000) >> 32),
    "sxtb16": ("movw r3, #0x1280; movt r3, #0xff01; sxtb16 r0, r3, ror #8", 0xFFFF0012 - (1 << 32)),
    "ssat": ("movw r3, #300; ssat r0, #8, r3", 127),
    "smlabb": ("smlabb r0, r0, r1, r2", 3 * -2 + 7),
    "smlatt": ("smlatt r0, r0, r1, r2", -4 * 100 + 7),
    "pkhbt": ("pkhbt r0, r0, r1, lsl #16", (-2 << 16) + 3),
    "bfi": ("mov r0, r2; bfi r0, r2, #4, #3", 7 + (7 << 4)),
    "clz": ("clz r0, r2", 29),
    "smull": ("smull r3, r0, r1, r1", ((100 << 16 | 0xFFFE) ** 2) >> 32),
    "umull": ("mvn r3, #0; umull r3, r0, r3, r2", 6),
    "sdiv": ("mvn r3, #99; sdiv r0, r3, r2", -14),
}


def test_instructions_for_signals_calculate_what_the_manual_says(tmp_path: Path) -> None:
    """Oracle: by hand, for r0 = (-4, 3) and r1 = (100, -2) in halves, r2 = 7."""
    files = assembly({name: f"{case[0]}; bx lr" for name, case in DSP.items()})
    program = emulated(files, tmp_path, DSP)
    found = {name: program.call(name, -4 << 16 | 3, 100 << 16 | 0xFFFE, 7) for name in DSP}
    assert found == {name: case[1] for name, case in DSP.items()}


def test_counts_are_exact_behind_the_store_of_the_marker(tmp_path: Path) -> None:
    """Oracle: by hand, with stores in the middle of blocks that run once and several times; a store belongs to what it
    ends."""
    text = """ldr r1, =scenelet_measured; movs r2, #1; str r2, [r1]; nop; nop; nop; movs r2, #2; str r2, [r1]
        1: movs r2, #3; str r2, [r1]; nop; nop; nop; nop; nop; movs r2, #2; str r2, [r1]; subs r0, #1; bne 1b
        movs r2, #0; str r2, [r1]; bx lr; .ltorg"""
    files = assembly({"work": text}) | {"marker.c": "#include <stdint.h>\nvolatile int32_t scenelet_measured;\n"}
    program = emulated(files, tmp_path, ["work"])
    program.call("work", 10)
    found = program.counts
    assert found[0] == Counts(3 + 1, 4 + 3)
    assert found[1] == Counts(5, 5)
    assert found[2] == Counts(2 + 4 * 10, 2 + 4 * 10 + 2 * 9)
    assert found[3] == Counts(7 * 10, 7 * 10)
    assert program.functions() == {"work": sum(found.values(), Counts())}
    assert program.functions(3) == {"work": found[3]}


SOURCE = """
#include <stdint.h>
#include <string.h>
int16_t first[3] = {1, -2, 3};
const int32_t constants[100] = {5, 4};
static uint8_t zeros[40];
int32_t work(void);
int32_t wide(const int32_t *values, int32_t n);
int32_t work(void)
{
    memset(zeros, 7, sizeof zeros);
    return first[1] + zeros[39];
}
int32_t wide(const int32_t *values, int32_t n)
{
    volatile int32_t copy[250];
    if (n < 0) {
        return *(volatile int32_t *)(0x60000000 + n);
    }
    copy[n] = values[n];
    return copy[n] + constants[1];
}
"""
KEPT = ("work", "wide", "constants")


def test_sections_and_symbols_are_those_of_the_source(tmp_path: Path) -> None:
    """Oracle: the sizes in the source: 100 integers of 4 bytes, 6 bytes of data and 40 of zeros, rounded to words."""
    need(DEVICE)
    elf = device_program({"work.c": SOURCE}, tmp_path, KEPT)
    sizes, found = sections(elf), symbols(elf)
    assert (sizes.constants, sizes.data, sizes.bss) == (400, 8, 40)
    assert (sizes.flash, sizes.ram) == (sizes.code + 408, 48)
    assert [(found[name].size, found[name].section) for name in ("constants", "first", "zeros")] == [
        (400, "constants"),
        (6, "data"),
        (40, "bss"),
    ]
    in_code = sum(symbol.size for symbol in found.values() if symbol.section == "code")
    assert in_code <= sizes.code <= in_code + 32


def test_memory_is_written_and_read_and_the_stack_is_measured(tmp_path: Path) -> None:
    """Oracle: the first values of the source; a stack of an array of 1,000 bytes and some registers; messages."""
    program = emulated({"work.c": SOURCE}, tmp_path, KEPT)
    assert struct.unpack("<3h", program.read("first")) == (1, -2, 3)
    program.write("first", struct.pack("<h", -300), offset=2)
    assert program.call("work") == -300 + 7
    assert program.stack < 64
    assert program.call("wide", program.address("constants"), 0) == 5 + 4
    assert 1000 <= program.stack < 1064
    with pytest.raises(UserError, match=r"wide stopped in wide, at 0x\w+: Invalid memory read"):
        program.call("wide", 0, -8)
    with pytest.raises(UserError, match=r"first has 6 bytes, not the bytes 4 to 8"):
        program.write("first", bytes(4), offset=4)
    with pytest.raises(UserError, match=r"the program has no other: it is not defined, or nothing needs it"):
        program.call("other")


def test_mistakes_end_in_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the compiler's and the linker's own words, cut after some lines; the names of Debian's packages."""
    need(DEVICE)
    with pytest.raises(UserError, match=r"(?s)arm-none-eabi-gcc ended with status 1:.*error: 'x' undeclared") as found:
        device_program({"a.c": "int main(void) { return x; }\n" + "int a[0] = {1, y};\n" * 40}, tmp_path)
    assert len(str(found.value).splitlines()) == 14
    with pytest.raises(UserError, match="region `RAM' overflowed"):
        device_program({"a.c": "char a[300000];\nint main(void) { return a[9]; }"}, tmp_path)
    with pytest.raises(UserError, match="required symbol `nothing' not defined"):
        device_program({"a.c": "int main(void) { return 0; }"}, tmp_path, ["nothing"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"not installed: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"):
        device_program({"a.c": ""}, tmp_path)
    with pytest.raises(UserError, match=r"gcc is not installed: apt-get install gcc libc6-dev"):
        host_program({"a.c": ""}, tmp_path)


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
QEMU = "qemu-system-arm"
SHIFT = 10  # of QEMU: an instruction takes 2 to the power of it, in nanoseconds; a tick of the board's timer takes 40


def test_instructions_are_as_many_as_qemu_counts(tmp_path: Path) -> None:
    """Oracle: QEMU's board mps2-an386, whose clock is its count of instructions: equal to the last one, and the result,
    of a front end of 10 frames; less those of a function without any."""
    need(DEVICE, QEMU)
    front_end, quantity = IntegerLogMel(fft=512, window=400, hop=100, mels=40), Quantity(0.0131, -17, (1, 40, 10))
    files = {**front_end_files(front_end, 1000, quantity), "main.c": BOARD}
    program = emulated(files, tmp_path, ["nothing", "work"])
    expected = [(program.call("nothing"), program.counts[0].instructions)]
    program.clear()
    expected.append((program.call("work"), program.counts[0].instructions))
    command = [QEMU, "-M", "mps2-an386", "-icount", f"shift={SHIFT}", "-display", "none", "-serial", "none"]
    command += ["-monitor", "none", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run([*command, "-kernel", tmp_path / "program.elf"], capture_output=True, text=True, check=True)
    words = [int(word, 16) for word in (done.stdout + done.stderr).split()]
    ticks, results = words[::2], words[1::2]
    assert results == [result & 0xFFFF_FFFF for result, _ in expected]
    assert round((ticks[1] - ticks[0]) * 40 / (1 << SHIFT)) == expected[1][1] - expected[0][1] > 100_000


def test_the_example_of_the_package_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: what it asserts itself; the cycles at 80 MHz; the 4 bytes of the values and 4 of the marker."""
    need(DEVICE)
    monkeypatch.chdir(tmp_path)
    text = (experiments.device.__doc__ or "").partition("costs:\n")[2].rpartition("`keep`")[0]
    printed: list[tuple] = []
    exec(textwrap.dedent(text), {"print": lambda *values: printed.append(values)})
    (instructions, cycles, seconds), (stack,), (functions,), (sizes,) = printed
    assert 4 * 4 < instructions < cycles == round(seconds * 80e6) < functions["total"].cycles < 100
    assert stack < 32
    assert sizes.bss == 8


def test_without_unicorn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the extra of pyproject.toml; None in sys.modules hides a package that is there."""
    monkeypatch.setitem(sys.modules, "unicorn", None)
    with pytest.raises(UserError, match=r"unicorn is not installed: pip install '\.\[device\]'"):
        Program(Path("program.elf"))
