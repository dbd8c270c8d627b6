"""C compilers: a program for this machine, an ELF file for a Cortex-M4.

Both take C99 without dependencies and give all warnings; the second one has start-up code and a linker script of ours,
1 MB of flash at 0 and 256 kB of RAM at 0x20000000, and nothing of an operating system: of the C library, what memcpy,
memset and divisions of 64 bits need.
"""

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data.errors import UserError

HOST, DEVICE = "gcc", "arm-none-eabi-gcc"
# Tool -> what to install for it, in Debian's names.
PACKAGES = {HOST: "gcc libc6-dev", DEVICE: "gcc-arm-none-eabi libnewlib-arm-none-eabi"}
OF_ARM = "arm-none-eabi-"  # begins the names of the tools that come with DEVICE
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic")
CPU = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft")
OF_DEVICE = (*CPU, "-O2", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-nostartfiles")
HERE = Path(__file__).parent
START_UP, MEMORY = HERE / "start_up.c", HERE / "cortex_m4.ld"
SOURCES = (".c", ".s")  # of C, of assembly
SHOWN = 12  # lines of what a tool says


class NoDeviceError(UserError):
    """There is no compiler, no emulator, or no emulated memory that is large enough."""


Sources = Mapping[str, str] | Path


def host_program(files: Sources, folder: Path, flags: Sequence[str] = ()) -> Path:
    """Compile a program for this machine.

    Args:
        files: name -> text, which are written to `folder`; or a folder, whose files *.c and *.s are compiled.
        folder: where the program is written; it exists.
        flags: of the compiler, besides the warnings.

    Raises:
        UserError: there is no compiler, or it finds mistakes.
    """
    program = folder / "program"
    run_tool(HOST, [*WARNINGS, *flags, *sources_of(files, folder), "-o", program])
    return program


def device_program(files: Sources, folder: Path, keep: Iterable[str] = (), flags: Sequence[str] = ()) -> Path:
    """Compile and link an ELF file for a Cortex-M4, without floating-point unit.

    Args:
        files: name -> text, which are written to `folder`; or a folder, whose files *.c and *.s are compiled.
        folder: where program.elf is written; it exists.
        keep: functions and variables that are used from outside, beside `main`.
        flags: of the compiler, after ours; a later -O3 replaces -O2.

    Raises:
        UserError: there is no compiler, it finds mistakes, a name in `keep` is nowhere defined, or the memory is full.
    """
    elf, kept = folder / "program.elf", [f"-Wl,--require-defined={name}" for name in keep]
    parts = [*sources_of(files, folder), START_UP]
    run_tool(DEVICE, [*WARNINGS, *OF_DEVICE, *flags, *kept, "-T", MEMORY, *parts, "-o", elf])
    return elf


def sources_of(files: Sources, folder: Path) -> list[Path]:
    """The files to be compiled, of C or assembly, after files that were given as text are written."""
    if isinstance(files, Path):
        return sorted(path for path in files.iterdir() if path.suffix in SOURCES)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [folder / name for name in files if name.endswith(SOURCES)]


def require_tool(name: str) -> str:
    """Where a tool is.

    Raises:
        NoDeviceError: it is not installed, with the packages to install.
    """
    if (found := shutil.which(name)) is None:
        packages = PACKAGES.get(name, PACKAGES[DEVICE])
        raise NoDeviceError(f"{name} is not installed: apt-get install {packages} (or what your system calls them)")
    return found


def run_tool(name: str, arguments: Sequence[str | Path]) -> str:
    """What a tool writes.

    Raises:
        UserError: it is not installed, or fails, with the first lines of what it says.
    """
    done = subprocess.run([require_tool(name), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        more = [f"... and {len(lines) - SHOWN} more lines"] if len(lines) > SHOWN else []
        raise UserError("\n".join([f"{name} ended with status {done.returncode}:", *lines[:SHOWN], *more]))
    return done.stdout


def run_program(program: Path) -> tuple[int, str]:
    """The status of a program for this machine, and what it writes.

    Raises:
        UserError: it cannot be run.
    """
    try:
        done = subprocess.run([program], capture_output=True, text=True)
    except OSError as error:
        raise UserError(f"{program} cannot be run: {error.strerror}") from error
    return done.returncode, done.stdout
