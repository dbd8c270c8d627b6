"""A program for a Cortex-M4, run on this machine: its answers, its memory, and what it costs.

Unicorn executes the instructions. It reports each block of them, as far as the next branch, before it runs; what is
counted is how often each block ran, and whether it was reached by a jump. Cycles are those of cycles.py.

Counts are gathered by the value of a variable of the program, the marker, from the instruction behind the one that
stores it on: exact to the instruction.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data.errors import UserError, require
from experiments.device.binary import Instruction, Symbol, flash_image, instructions, symbols
from experiments.device.cycles import TAKEN, cycles_of
from experiments.device.toolchain import NoDeviceError

MARKER = "scenelet_measured"
FLASH, FLASH_SIZE = 0, 1 << 20  # as in cortex_m4.ld
RAM, RAM_SIZE = 0x2000_0000, 256 << 10
END = FLASH + FLASH_SIZE  # where calls return to: behind the flash
PAGE = 4096
PAINT = 0xA5


class Run(NamedTuple):
    """Instructions that ran one after the other, from the first byte of one to the last of another.

    Attributes:
        jumped: whether a branch led to them.
        start: address of the first one.
        end: the address behind the last one; equal to `start` for the return of a call.
    """

    jumped: bool
    start: int
    end: int


@dataclass(frozen=True)
class Counts:
    """What a part of a program cost."""

    instructions: int = 0
    cycles: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.instructions + other.instructions, self.cycles + other.cycles)

    def seconds(self, hertz: float) -> float:
        """The time that the cycles take at a clock rate."""
        return self.cycles / hertz


class Program:
    """An ELF file of toolchain.device_program in the memory of an emulated Cortex-M4, its variables at their first
    values. It keeps its memory from call to call. `engine` is Unicorn's, for what is not offered here.

    Args:
        elf: the file.
        marker: name of a variable int32_t; without it, all counts are at 0.

    Raises:
        UserError: unicorn or the tools of the compiler are missing or damaged, or the file cannot be read.
    """

    def __init__(self, elf: Path, marker: str = MARKER) -> None:
        try:
            require("unicorn", "device")
            import unicorn
        except UserError as error:
            raise NoDeviceError(str(error)) from error
        except (ImportError, OSError) as error:  # its library is damaged, or of another system
            raise NoDeviceError(f"the package unicorn cannot be loaded ({error}): install it again") from error

        self.symbols: Mapping[str, Symbol] = symbols(elf)
        self._listing = instructions(elf)
        self._before = {found.address + found.size: found for found in self._listing.values()}
        self._runs: dict[int, Counter[Run]] = {0: Counter()}
        self._label, self._latest = 0, Run(False, 0, 0)
        self.engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.engine.ctl_set_cpu_model(unicorn.arm_const.UC_CPU_ARM_CORTEX_M4)
        self.engine.mem_map(FLASH, FLASH_SIZE + PAGE, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.engine.mem_map(RAM, RAM_SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.engine.mem_write(FLASH, flash_image(elf))
        self.engine.hook_add(unicorn.UC_HOOK_BLOCK, self._begin_block)
        self.call("scenelet_start_up")
        self._bottom = self._symbol("scenelet_bss_end").address
        self.engine.mem_write(self._bottom, bytes([PAINT]) * (RAM + RAM_SIZE - self._bottom))
        self.clear()
        if marker in self.symbols:
            place = self.symbols[marker].address
            self.engine.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._begin_label, begin=place, end=place + 3)

    def write(self, symbol: str, values: bytes, offset: int = 0) -> None:
        """Write bytes to a variable, from its byte `offset` on.

        Raises:
            UserError: there is no such variable, or it is smaller.
        """
        self.engine.mem_write(self._place(symbol, offset, len(values)), bytes(values))

    def read(self, symbol: str, count: int | None = None, offset: int = 0) -> bytes:
        """Some bytes of a variable or constant, from its byte `offset` on; or all of them.

        Raises:
            UserError: there is no such variable, or it is smaller.
        """
        count = self._symbol(symbol).size - offset if count is None else count
        return bytes(self.engine.mem_read(self._place(symbol, offset, count), count))

    def address(self, symbol: str, offset: int = 0) -> int:
        """Where a variable lies, as an argument for a call.

        Raises:
            UserError: there is no such variable, or it is smaller.
        """
        return self._place(symbol, offset, 0)

    def call(self, symbol: str, *arguments: int) -> int:
        """Call a function with up to four arguments of 32 bits; returns its result as an int32_t.

        Raises:
            UserError: there is no such function, or it stops without returning: it leaves its memory, for example.
        """
        from unicorn import UcError, arm_const

        if len(arguments) > 4:
            raise ValueError(f"{symbol}: {len(arguments)} arguments, and registers hold 4")
        function = self._symbol(symbol).address & ~1
        registers = [arm_const.UC_ARM_REG_R0, arm_const.UC_ARM_REG_R1, arm_const.UC_ARM_REG_R2, arm_const.UC_ARM_REG_R3]
        for register, value in zip(registers, arguments, strict=False):
            self.engine.reg_write(register, value & 0xFFFF_FFFF)
        self.engine.reg_write(arm_const.UC_ARM_REG_SP, RAM + RAM_SIZE)
        self.engine.reg_write(arm_const.UC_ARM_REG_LR, END | 1)
        self._latest = Run(False, END, END)  # the first block is reached by a jump
        try:
            self.engine.emu_start(function | 1, END)
        except UcError as error:
            place = self.engine.reg_read(arm_const.UC_ARM_REG_PC)
            raise UserError(f"{symbol} stopped in {self._function_at(place)}, at 0x{place:x}: {error}") from error
        self._runs[self._label][Run(True, self._latest.start, self._latest.start)] += 1  # the return
        result = self.engine.reg_read(arm_const.UC_ARM_REG_R0)
        return result - (1 << 32) if result >> 31 else result

    @property
    def counts(self) -> dict[int, Counts]:
        """What ran since the beginning or the last `clear`, by the marker's value."""
        return {label: self._sum(runs.items()) for label, runs in sorted(self._runs.items()) if runs}

    def functions(self, label: int | None = None) -> dict[str, Counts]:
        """What ran in each function, of one value of the marker or of all; what is inlined counts for its caller."""
        found: dict[str, Counts] = {}
        for run, times in self._all_runs(label):
            name = self._function_at(run.start)
            found[name] = found.get(name, Counts()) + self._sum([(run, times)])
        return dict(sorted(found.items(), key=lambda item: -item[1].cycles))

    def clear(self) -> None:
        """Begin to count anew."""
        self._runs = {self._label: Counter()}

    @property
    def stack(self) -> int:
        """Bytes of the stack that calls have used at most.

        Raises:
            UserError: it has reached the variables.
        """
        whole = bytes(self.engine.mem_read(self._bottom, RAM + RAM_SIZE - self._bottom))
        unused = len(whole) - len(whole.lstrip(bytes([PAINT])))
        if not unused:
            raise UserError(f"the stack is larger than the {len(whole):,} bytes that variables leave")
        return len(whole) - unused

    def _begin_block(self, _engine: Any, address: int, size: int, _data: Any) -> None:
        self._latest = Run(self._latest.end != address, address, address + size)
        self._runs[self._label][self._latest] += 1

    def _begin_label(self, engine: Any, _access: int, _address: int, _size: int, value: int, _data: Any) -> None:
        """What the latest block has left to run counts for the new value."""
        from unicorn.arm_const import UC_ARM_REG_PC

        store = self._listing[engine.reg_read(UC_ARM_REG_PC)]
        middle, runs = store.address + store.size, self._runs[self._label]
        runs[self._latest] -= 1
        runs[Run(self._latest.jumped, self._latest.start, middle)] += 1
        self._label = value
        self._latest = Run(False, middle, self._latest.end)
        self._runs.setdefault(value, Counter())[self._latest] += 1

    def _all_runs(self, label: int | None) -> Iterator[tuple[Run, int]]:
        for key, runs in self._runs.items():
            if label is None or key == label:
                yield from runs.items()

    def _sum(self, runs: Iterable[tuple[Run, int]]) -> Counts:
        """The counts of runs that occurred so many times each."""
        found = Counts()
        for run, times in runs:
            each = self._cost(run)
            found += Counts(times * each.instructions, times * each.cycles)
        return found

    def _cost(self, run: Run) -> Counts:
        found, address = Counts(0, TAKEN if run.jumped else 0), run.start
        before: Instruction | None = None if run.jumped else self._before.get(address)
        while address < run.end:
            instruction = self._listing[address]
            found += Counts(1, cycles_of(instruction, before))
            before, address = instruction, address + instruction.size
        return found

    def _symbol(self, name: str) -> Symbol:
        if name not in self.symbols:
            raise UserError(f"the program has no {name}: it is not defined, or nothing needs it (see `keep`)")
        return self.symbols[name]

    def _place(self, name: str, offset: int, count: int) -> int:
        symbol = self._symbol(name)
        if not 0 <= offset <= offset + count <= symbol.size:
            raise UserError(f"{name} has {symbol.size:,} bytes, not the bytes {offset:,} to {offset + count:,}")
        return symbol.address + offset

    def _function_at(self, address: int) -> str:
        for name, symbol in self.symbols.items():
            if symbol.section == "code" and symbol.address & ~1 <= address < (symbol.address & ~1) + symbol.size:
                return name
        return "(none)"
