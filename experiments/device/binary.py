"""What is in an ELF file for a device: sizes, symbols, the image of its flash, its instructions; read by the tools that
come with the compiler.
"""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.device.toolchain import OF_ARM, run_tool

_LINE = re.compile(r"^ *([0-9a-f]+):\t([0-9a-f ]+)\t([^\t]+)\t?(.*)$")
_COMMENT = re.compile(r"\s*[@;].*$")


@dataclass(frozen=True)
class Sections:
    """Bytes of a program.

    Attributes:
        code: instructions, with the constants that the compiler puts between them.
        constants: tables and weights.
        data: variables with first values, which lie in flash and are copied to RAM.
        bss: variables that begin with 0.
    """

    code: int
    constants: int
    data: int
    bss: int

    @property
    def flash(self) -> int:
        """Bytes that do not change."""
        return self.code + self.constants + self.data

    @property
    def ram(self) -> int:
        """Bytes of all variables; the stack comes on top."""
        return self.data + self.bss


@dataclass(frozen=True)
class Symbol:
    """A function or variable.

    Attributes:
        address: its first byte.
        size: in bytes; 0 for names of places.
        section: "code", "constants", "data" or "bss", or "" for others.
    """

    address: int
    size: int
    section: str


@dataclass(frozen=True)
class Instruction:
    """An instruction as the disassembler writes it.

    Attributes:
        address: of its first byte.
        size: 2 or 4 bytes.
        name: without the ending for the width: ldr, not ldr.w.
        operands: separated by commas.
    """

    address: int
    size: int
    name: str
    operands: str


_SECTIONS = {"t": "code", "r": "constants", "d": "data", "b": "bss"}


def sections(elf: Path) -> Sections:
    """The sizes of a program's sections.

    Raises:
        UserError: the tools are missing, or cannot read the file.
    """
    found = {}
    for line in run_tool(f"{OF_ARM}size", ["-A", elf]).splitlines():
        words = line.split()
        if len(words) == 3 and words[0].startswith("."):
            found[words[0]] = int(words[1])
    names = (".text", ".rodata", ".data", ".bss")
    return Sections(*(found.get(name, 0) for name in names))


def symbols(elf: Path) -> dict[str, Symbol]:
    """Functions and variables by name, the largest first. Of static ones with one name, the largest.

    Raises:
        UserError: the tools are missing, or cannot read the file.
    """
    rows = [line.split() for line in run_tool(f"{OF_ARM}nm", ["-S", "--defined-only", elf]).splitlines()]
    found: dict[str, Symbol] = {}
    for address, *size, kind, name in rows:
        symbol = Symbol(int(address, 16), int(size[0], 16) if size else 0, _SECTIONS.get(kind.lower(), ""))
        if name not in found or found[name].size < symbol.size:
            found[name] = symbol
    return dict(sorted(found.items(), key=lambda item: (-item[1].size, item[0])))


def flash_image(elf: Path) -> bytes:
    """The bytes of a program's flash, from address 0 on.

    Raises:
        UserError: the tools are missing, or cannot read the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        run_tool(f"{OF_ARM}objcopy", ["-O", "binary", elf, image])
        return image.read_bytes()


def instructions(elf: Path) -> Mapping[int, Instruction]:
    """All instructions, by address.

    Raises:
        UserError: the tools are missing, or cannot read the file.
    """
    found = {}
    for line in run_tool(f"{OF_ARM}objdump", ["-d", elf]).splitlines():
        if (match := _LINE.match(line)) and not match[3].startswith("."):
            address, size = int(match[1], 16), len(match[2].replace(" ", "")) // 2
            name = match[3].strip().removesuffix(".w").removesuffix(".n")
            found[address] = Instruction(address, size, name, _COMMENT.sub("", match[4]))
    return found
