"""How the C library hands out memory to the arrays of this process."""

import ctypes

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # parameters of mallopt, by their numbers in glibc's malloc.h
LARGEST = 2**31 - 1  # bytes; of a C int


def keep_freed_memory() -> None:
    """Let what this process frees stay with it, for its next arrays.

    By default glibc gives every large block back to the kernel at once, and the kernel fills each page of the next one
    with zeros: a training step on the CPU, which makes and frees the same hundreds of megabytes each time, can spend a
    quarter of its time on that. The process keeps as much memory as it needed at most. Other C libraries are left as
    they are.

    Source: mallopt(3), M_MMAP_MAX and M_TRIM_THRESHOLD.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, LARGEST)
