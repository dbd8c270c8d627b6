"""A model of the cycles that a Cortex-M4 takes for an instruction.

From ARM's Cortex-M4 Processor Technical Reference Manual (ARM 100166, before DDI 0439), section 3.3, "Instruction set
summary" (3.3.1) and "Load/store timings" (3.3.3):

| instruction | cycles here | the manual |
|---|---|---|
| arithmetic, logic, shifts, moves, SIMD, multiplications, also long ones, IT, what a condition skips | 1 | 1 |
| one load | 2 | 2 |
| one load right after another one, whose result is not part of its address | 1 | pipelined: one cycle less |
| one store | 1 | 1 through the write buffer; 2 with an offset in a register that follows no load |
| loads and stores of N registers: LDM, STM, PUSH, POP; LDRD, STRD with N = 2 | 1 + N | 1 + N |
| division | 12 | 2 to 12, fewer for small quotients |
| a branch that is not taken | 1 | 1 |
| a branch, call or return that is taken, or a load of the program counter | 2 more | 1 to 3 more |

Left out: wait states of flash and RAM, which depend on the board (at 80 MHz and more flash has some, behind a cache),
instructions of 32 bits at odd half-words, an address that the instruction before has computed (1 more), barriers. The
cycles are therefore a lower estimate of what a board takes, apart from divisions.
"""

import re

from experiments.device.binary import Instruction

ONE = 1
LOAD = 2
PIPELINED_LOAD = 1
FIRST_OF_MANY = 1  # and one for each register
DIVISION = 12
TAKEN = 2  # more, for a branch that is taken

_CONDITION = "(eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)?"
_LOAD = re.compile(rf"ldr(ex)?(b|h|sb|sh)?t?{_CONDITION}")
_PAIR = re.compile(rf"(ldr|str)d{_CONDITION}")
_MANY = re.compile(rf"((ldm|stm)(ia|db|fd|ea)?|push|pop){_CONDITION}")
_DIVISION = re.compile(rf"[su]div{_CONDITION}")
_REGISTER = re.compile(r"\b(r\d+|sb|sl|fp|ip|sp|lr|pc)\b")


def cycles_of(instruction: Instruction, before: Instruction | None) -> int:
    """The cycles of an instruction, without those of a branch that is taken.

    Args:
        instruction: which.
        before: the one that ran just before it, if it lies just before it.
    """
    name, operands = instruction.name, instruction.operands
    if _LOAD.fullmatch(name):
        return PIPELINED_LOAD if before is not None and _lets_load(before, operands) else LOAD
    if _PAIR.fullmatch(name):
        return FIRST_OF_MANY + 2
    if _MANY.fullmatch(name):
        return FIRST_OF_MANY + len(_REGISTER.findall(operands.partition("{")[2]))
    return DIVISION if _DIVISION.fullmatch(name) else ONE


def _lets_load(before: Instruction, operands: str) -> bool:
    """Whether a load with these operands overlaps with the instruction before it."""
    target, address = before.operands.partition(",")[0], operands.partition("[")[2]
    return bool(_LOAD.fullmatch(before.name)) and target not in _REGISTER.findall(address)
