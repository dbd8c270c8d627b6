"""What a process frees stays with it: its next arrays need no new pages from the kernel."""

import ctypes
import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from experiments.distributed.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
found = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**23)  # 64 MiB
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(found[-1])
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt")
def test_an_array_takes_the_pages_of_the_one_before() -> None:
    """Oracle: the kernel's own count of page faults in a process of its own: one a page as glibc is by default, which
    shows that the count sees them, and hardly any once freed memory is kept."""
    pages = 2**26 // resource.getpagesize()
    faults = {
        kind: int(subprocess.run([sys.executable, "-c", PROGRAM, kind], capture_output=True, check=True).stdout)
        for kind in ("returned", "kept")
    }
    assert faults["kept"] < pages / 100
    assert faults["returned"] > 10 * faults["kept"] + 10
