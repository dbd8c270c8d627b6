"""Programs on an emulated Cortex-M4: their answers, and what they cost, against calculations by hand."""

import struct
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from c_code import emulated, need

import experiments.device
from data.errors import UserError
from experiments.device.binary import sections, symbols
from experiments.device.emulator import Counts, Program
from experiments.device.toolchain import DEVICE, NoDeviceError, device_program, host_program


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


# Name -> instructions, argument, result, how many run, cycles: by hand. CALL is 2 for the call and 3 for the return.
CALL = 2 + 3
BY_HAND = {
    # 1 + 5 * (1 + 1 + 1) + 1, and the return; four of the five branches are taken
    "loop": ("movs r1, #0; 1: adds r1, r1, r0; subs r0, #1; bne 1b; mov r0, r1; bx lr", 5, 15, 18, 17 + 4 * 2 + CALL),
    # of the manual, 3.3.3: two loads 3 cycles, a load and a store 3, three loads 4
    "two_loads": ("ldr r1, [r0]; ldr r0, [r0, #4]; bx lr", "words", 2, 3, 3 + CALL),
    "load_store": ("ldr r1, [r0]; str r1, [r0, #60]; ldr r0, [r0, #60]; bx lr", "words", 1, 4, 3 + 2 + CALL),
    "three_loads": ("ldrsb r1, [r0]; ldrh.w r2, [r0, #4]; ldr r0, [r0, #8]; bx lr", "words", 3, 4, 4 + CALL),
    # the second address is the result of the first load; then a load that is alone
    "chain": (
        *("str r0, [r0, #60]; ldr r1, [r0, #60]; ldr r1, [r1, #4]; nop; ldrsh.w r0, [r0]; bx lr", "words", 1),
        *(6, 1 + 2 + 2 + 1 + 2 + CALL),
    ),
    # the load behind the label follows another one in the first of three turns, and a jump in the others
    "label": (
        *("movs r2, #3; ldr r1, [r0]; 1: ldr r3, [r0, #4]; subs r2, #1; bne 1b; add r0, r1, r3; bx lr", "words", 3),
        *(2 + 3 * 3 + 2, 1 + 2 + (1 + 1 + 1) + 2 * (2 + 2 + 1 + 1) + 1 + CALL),
    ),
    # more than a page of the processor's memory: one load of 2 cycles, all others of 1
    "long": (";".join(["ldr.w r1, [r0, #8]"] * 3000) + "; mov r0, r1; bx lr", "words", 3, 3002, 3001 + 1 + CALL),
    # 1 + 4 and 1 + 3
    "many": (
        "ldmia r0!, {r1, r2, r3, ip}; stmia.w r0, {r1, r2, r3}; mov r0, ip; bx lr",
        "words",
        4,
        4,
        5 + 4 + 1 + CALL,
    ),
    "pair": ("ldrd r2, r3, [r0, #8]; strd r2, r3, [r0, #40]; add r0, r2, r3; bx lr", "words", 7, 4, 3 + 3 + 1 + CALL),
    "divide": ("movs r1, #7; udiv r0, r0, r1; bx lr", 100, 14, 3, 1 + 12 + CALL),
    "taken": ("cbz r0, 1f; movs r0, #9; 1: bx lr", 0, 0, 2, 1 + 2 + CALL),
    "not_taken": ("cbz r0, 1f; movs r0, #9; 1: bx lr", 1, 9, 3, 1 + 1 + CALL),
    # both instructions behind IT count, and one of them has an effect
    "conditions": ("cmp r0, #3; ite lt; addlt r0, #10; ldrge.w r0, [sp]; bx lr", 2, 12, 5, 1 + 1 + 1 + 2 + CALL),
    # PUSH of two registers 3, BL 1 + 2, "twice" 1 + 1 + 2, POP with the program counter 3 + 2; the call 2
    "call": ("push {r4, lr}; bl twice; pop {r4, pc}", 21, 42, 5, 3 + 3 + 4 + 5 + 2),
    "twice": ("adds r0, r0, r0; bx lr", 4, 8, 2, 1 + CALL),
    "table": ("tbb [pc, r0]; .byte 1, 2; 1: movs r0, #5; 2: bx lr", 1, 1, 2, 1 + 2 + CALL),
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
    files["leave.c"] = """#include <stdint.h>
        extern volatile int32_t scenelet_measured; void leave(void); void leave(void) { scenelet_measured = 4; }"""
    program = emulated(files, tmp_path, ["work", "leave"])
    program.call("work", 10)
    found = program.counts
    assert found[0] == Counts(3 + 1, 4 + CALL)
    assert found[1] == Counts(5, 5)
    assert found[2] == Counts(2 + 4 * 10, 2 + 4 * 10 + 2 * 9)
    assert found[3] == Counts(7 * 10, 7 * 10)
    assert program.functions() == {"work": sum(found.values(), Counts())}
    assert program.functions(3) == {"work": found[3]}
    program.call("leave")
    program.clear()
    program.call("leave")
    assert program.counts == {4: program.functions()["leave"]}


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
    other = "#include <stdint.h>\nstatic uint8_t zeros[9]; uint8_t *get(void); uint8_t *get(void) { return zeros; }"
    for files in ({"a.c": other, "work.c": SOURCE}, {"work.c": SOURCE, "a.c": other}):
        both = symbols(device_program(files, tmp_path, ["get", *KEPT]))
        assert both["zeros"].size == 40  # the larger one of two with this name
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
    with pytest.raises(UserError, match=r"first has 6 bytes, not the bytes -2 to 0"):
        program.read("first", 2, offset=-2)
    with pytest.raises(UserError, match=r"the program has no other: it is not defined, or nothing needs it"):
        program.call("other")


def test_a_stack_that_reaches_the_variables_is_told(tmp_path: Path) -> None:
    """Oracle: by hand: 4,500 bytes are left, and an array of 4,600 is filled."""
    text = """char variables[256 * 1024 - 4500]; int fill(int n);
        int fill(int n) { volatile char a[4600]; int k; for (k = 0; k < n; k++) a[k] = 1; return a[0]; }"""
    program = emulated({"a.c": text}, tmp_path, ["fill", "variables"])
    program.call("fill", 4600)
    with pytest.raises(UserError, match=r"the stack is larger than the 4,500 bytes that variables leave"):
        _ = program.stack


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


def test_a_damaged_unicorn_is_a_missing_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Oracle: the message, of a package whose library another system's linker would refuse."""
    (tmp_path / "unicorn.py").write_text("raise OSError('libunicorn.so.2: invalid ELF header')")
    monkeypatch.delitem(sys.modules, "unicorn", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NoDeviceError, match=r"unicorn cannot be loaded \(libunicorn.*ELF header\): install it again"):
        Program(Path("program.elf"))
