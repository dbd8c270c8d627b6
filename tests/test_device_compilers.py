"""The C of `scenelet deploy` by other compilers, for other processors, at all levels of optimisation."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from c_code import need
from test_deploy import deployed, files_of, make

from experiments.device.emulator import Program
from experiments.device.toolchain import CPU, DEVICE, WARNINGS, device_program

__all__ = ["deployed"]  # the fixture

LEVELS = ("-O0", "-O1", "-O2", "-O3", "-Os")
PROCESSORS = {
    "cortex-m4, hard floats": ["-mcpu=cortex-m4", "-mfloat-abi=hard"],
    "cortex-m4 with a frame pointer": ["-mcpu=cortex-m4", "-fno-omit-frame-pointer"],
    "cortex-m4 without unaligned words": ["-mcpu=cortex-m4", "-mno-unaligned-access"],
    "cortex-m7": ["-mcpu=cortex-m7"],
    "cortex-m33": ["-mcpu=cortex-m33"],
    "cortex-m0plus, without the extension": ["-mcpu=cortex-m0plus"],
}
SAYS_NOTHING = """
int puts(const char *text);
int printf(const char *text, ...);
int puts(const char *text)
{
    (void)text;
    return 0;
}
int printf(const char *text, ...)
{
    (void)text;
    return 0;
}
"""


def compile_all(compiler: list[str], folder: Path, flags: list[str]) -> subprocess.CompletedProcess:
    command = [
        *compiler,
        *WARNINGS,
        "-Werror",
        "-mthumb",
        *flags,
        "-c",
        *sorted(map(str, (folder / "src").glob("*.c"))),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow  # compiles the library 5 times for each
@pytest.mark.parametrize("processor", PROCESSORS)
def test_library_is_compiled_for_other_processors(processor: str, deployed: Path, tmp_path: Path) -> None:
    """Oracle: the compiler's silence; by hand: without unaligned words or the extension nothing is assembly."""
    need(DEVICE)
    folder = shutil.copytree(deployed, tmp_path / "copy")
    for level in LEVELS:
        done = compile_all([DEVICE], folder, [*PROCESSORS[processor], level])
        assert done.returncode == 0, (level, done.stderr)
    listing = subprocess.run(["arm-none-eabi-nm", "scenelet_network_tables.o"], cwd=folder, capture_output=True)
    assert (b" t scenelet_pairs_" in listing.stdout) == ("without" not in processor)


@pytest.mark.slow  # compiles the library twice for each
@pytest.mark.parametrize("more", [[], ["-fropi", "-frwpi"], ["-fno-omit-frame-pointer"]])
def test_library_is_compiled_by_clang(more: list[str], deployed: Path, tmp_path: Path) -> None:
    """Oracle: the compiler's silence: also where it keeps register 9, or one more for the frame, to itself."""
    need("clang", DEVICE)
    folder = shutil.copytree(deployed, tmp_path / "copy")
    found = subprocess.run([DEVICE, "-print-sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    headers = ["-isystem", f"{found}/include" if found else "/usr/lib/arm-none-eabi/include"]
    for level in ("-O0", "-O2"):
        done = compile_all(["clang", "--target=arm-none-eabi"], folder, [*CPU, *headers, level, *more])
        assert done.returncode == 0, (level, done.stderr)


@pytest.mark.slow  # two signals on an emulated processor, at each level
@pytest.mark.parametrize("level", [["-O0"], ["-O3"], ["-Os"], ["-O2", "-flto"]])
def test_selftest_is_equal_on_a_cortex_m4_at_every_level(level: list[str], deployed: Path, tmp_path: Path) -> None:
    """Oracle: the checks of the selftest, which ends with 0: layers and answers of two signals, and all tables."""
    need(DEVICE)
    files = {name.split("/")[1]: text for name, text in files_of(deployed).items() if name.startswith(("src", "selft"))}
    few = re.sub(r"(#define SCENELET_VECTORS) 20\n", r"\1 2\n", files["vectors.h"])
    files["vectors.h"] = few.replace("scenelet_vectors[SCENELET_VECTORS]", "scenelet_vectors[20]")
    files["stub.c"] = SAYS_NOTHING
    program = Program(device_program(files, tmp_path, ["main"], ["-fno-builtin", *level]))
    assert program.call("main") == 0


def test_selftest_is_made_anew_with_other_flags(deployed: Path, tmp_path: Path) -> None:
    """Oracle: an error that only the second call's flags ask for."""
    folder = shutil.copytree(deployed, tmp_path / "copy")
    assert make(folder, "selftest", "CFLAGS=-O1").returncode == 0
    assert make(folder, "selftest", "CFLAGS=-O1 -DSCENELET_H").returncode != 0
