"""The C of an integer log-mel: the kernels of templates/, and the tables of one front end.

Conventions: files are name -> text, the same text for the same settings. Tables are those of
data/front_ends/integer_log_mel.py, which the C equals in every bit.
"""

from collections.abc import Mapping
from importlib.resources import files

import torch

from data.errors import UserError
from data.front_ends.integer_fft import order, twiddles
from data.front_ends.integer_log_mel import EMPHASIS, MOST_SHIFT, IntegerLogMel
from students.device.c_text import LICENCE, table

TEMPLATES = ("scenelet_front_end.c", "scenelet_front_end.h")
TABLES = "scenelet_front_end_tables"


def front_end_files(front_end: IntegerLogMel, samples: int) -> dict[str, str]:
    """The C files of a front end for clips of so many samples.

    Raises:
        UserError: a clip is too short to be mirrored at its ends.
    """
    if samples - 1 <= front_end.fft // 2:
        raise UserError(f"clips of {samples} samples are too short: a frame of {front_end.fft} mirrors half of itself")
    sizes, tables = _sizes(front_end, samples), _tables(front_end)
    guard = f"{TABLES.upper()}_H"
    declared = [f"extern const {kind} {name}[{len(values)}];" for name, (kind, values) in tables.items()]
    header = [f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    header += [f"#define SCENELET_{name} {value}" for name, value in sizes.items()]
    header += ["", *declared, "", "#endif", ""]
    source = [f'#include "{TABLES}.h"', ""]
    for name, (kind, values) in tables.items():
        source += table(kind, name, values)
    templates = files(__package__) / "templates"
    found = {name: (templates / name).read_text() for name in TEMPLATES}
    found |= {f"{TABLES}.h": "\n".join(header), f"{TABLES}.c": "\n".join(source)}
    return {name: LICENCE + text for name, text in found.items()}


def _sizes(front_end: IntegerLogMel, samples: int) -> dict[str, str]:
    used = front_end.window.nonzero()[:, 0]
    window = len(used)  # without the ends that were rounded to 0
    ring = 1 << (window + 1).bit_length()
    numbers = {
        "SAMPLES": samples,
        "FRAMES": front_end.frames(samples),
        "MELS": front_end.mels,
        "FFT": front_end.fft,
        "WINDOW": window,
        "BEFORE": int(used[0]),
        "HOP": front_end.hop,
        "RING": ring,
        "PAIRS_FIRST": int((front_end.fft // 2).bit_length() % 2 == 0),
        "EMPHASIS": EMPHASIS,
        "MOST_SHIFT": MOST_SHIFT,
        "OFFSET": front_end.offset,
    }
    return {name: str(value) for name, value in numbers.items()} | {"FLOOR": f"{front_end.floor}u"}


def _tables(front_end: IntegerLogMel) -> Mapping[str, tuple[str, list[int]]]:
    """Name -> type of C, and values."""
    half, cpu = front_end.fft // 2, torch.device("cpu")
    re, im = twiddles(3 * half // 2, front_end.fft, cpu)
    factors = torch.stack([re, im], 1).flatten().tolist()
    factors[0] = 0  # 1 is no number of 16 bits, and is not read
    used = front_end.window[front_end.window > 0].tolist()  # symmetric
    weights, bands = front_end.weights.T.tolist(), front_end.bands.T.tolist()
    pairs = [_neighbours(*of_bin) for of_bin in zip(bands, weights, strict=True)]
    return {
        "scenelet_window": ("int16_t", used[: (len(used) + 1) // 2]),
        "scenelet_order": ("uint16_t", order(half, cpu).tolist()),
        "scenelet_twiddles": ("int16_t", factors),
        "scenelet_bands": ("uint16_t", [band for band, _ in pairs]),
        "scenelet_weights": ("uint16_t", [weight for _, both in pairs for weight in both]),
        "scenelet_logarithms": ("uint32_t", front_end.logarithms.tolist()),
    }


def _neighbours(bands: list[int], weights: list[int]) -> tuple[int, tuple[int, int]]:
    """The lower of the two bands of a bin, and the weights of it and the next one."""
    of_band = {band: weight for band, weight in zip(bands, weights, strict=True) if weight}
    first = min(of_band, default=0)
    assert of_band.keys() <= {first, first + 1}
    return first, (of_band.get(first, 0), of_band.get(first + 1, 0))
