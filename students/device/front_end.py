"""The C of an integer log-mel: the kernels of templates/, and the tables of one front end.

Conventions: files are name -> text, the same text for the same settings. Tables are those of
data/front_ends/integer_log_mel.py and integer_fft.py, whose integers, as steps of a network's input
(integer_steps.py), the C equals in every bit.
"""

from collections.abc import Mapping

import torch

from data.errors import UserError
from data.front_ends.integer_fft import HALF, twiddles
from data.front_ends.integer_log_mel import MOST_SHIFT, IntegerLogMel
from data.front_ends.integer_steps import Steps, steps_of
from students.device.c_text import Table, licensed, table
from students.quantize.integer import Quantity

TEMPLATES = (
    "scenelet_front_end.c",
    "scenelet_front_end.h",
    "scenelet_dsp.h",
    "scenelet_front_end_cortex_m.h",
    "scenelet_spectrum.c",
    "scenelet_spectrum.h",
)
TABLES = "scenelet_front_end_tables"
SPARE = 4  # samples of the ring beside those of a window: emphasised are two at a time


def front_end_files(
    front_end: IntegerLogMel, samples: int, quantity: Quantity, *, row: int | None = None, first: int = 0
) -> dict[str, str]:
    """The C files of a front end for clips of so many samples.

    Args:
        front_end: which.
        samples: of a clip.
        quantity: the network's input.
        row: how far apart the rows of two bands are in the map that the C writes, integers; None: as many as frames.
        first: where the first row begins in it.

    Raises:
        UserError: a clip is too short to be mirrored at its ends, or the input has 16 bits.
    """
    if samples + front_end.lead - 1 <= front_end.fft // 2:
        raise UserError(f"clips of {samples} samples are too short: a frame of {front_end.fft} mirrors half of itself")
    if quantity.bits != 8:
        raise UserError("activations of 16 bits have no kernels on devices: quantize with quantize.activations=8")
    steps = steps_of(
        *(quantity.scale, quantity.zero_point, quantity.low, quantity.high), front_end.shift, front_end.stretch
    )
    frames = front_end.frames(samples)
    assert quantity.shape == (1, front_end.mels, frames)
    sizes = _sizes(front_end, samples, steps)
    sizes |= {"MAP_ROW": str(frames if row is None else row), "MAP_FIRST": str(first)}
    tables, guard = front_end_tables(front_end), f"{TABLES.upper()}_H"
    declared = [f"extern const {kind} {name}[{len(values)}];" for name, (kind, values) in tables.items()]
    header = [f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    header += [f"#define SCENELET_{name} {value}" for name, value in sizes.items()]
    header += ["", *declared, "", "#endif", ""]
    source = [f'#include "{TABLES}.h"', ""]
    for name, (kind, values) in tables.items():
        source += table(kind, name, values)
    return licensed(TEMPLATES, {f"{TABLES}.h": "\n".join(header), f"{TABLES}.c": "\n".join(source)})


def front_end_memory(front_end: IntegerLogMel) -> tuple[int, int]:
    """Bytes of what stays between two pushes, and of what one works in: the structures of scenelet_front_end.h."""
    return 2 * (window_length(front_end) + SPARE) + 8, 4 * front_end.fft


def window_length(front_end: IntegerLogMel) -> int:
    """Samples of a frame that its window does not make 0, in whole pairs."""
    before, behind = _used(front_end)
    return 2 * (behind - before)


def _sizes(front_end: IntegerLogMel, samples: int, steps: Steps) -> dict[str, str]:
    """The macros: name -> text. The window begins behind BEFORE pairs and has PAIRS, without those that are 0."""
    before, behind = _used(front_end)
    numbers = {
        "SAMPLES": samples,
        "FRAMES": front_end.frames(samples),
        "MELS": front_end.mels,
        "FFT": front_end.fft,
        "BITS": (front_end.fft // 2).bit_length() - 1,
        "EIGHTH": int(twiddles(2, 8, torch.device("cpu"))[0][1]),
        "BEFORE": before,
        "PAIRS": behind - before,
        "HOP": front_end.hop,
        "RING": 2 * (behind - before) + SPARE,
        "LEAD": front_end.lead,
        "EMPHASIS": front_end.emphasis,
        "MOST_SHIFT": MOST_SHIFT,
        "OFFSET": front_end.offset,
        "STEP_MULTIPLIER": steps.multiplier,
        "STEP_SHIFT": steps.shift,
    }
    texts = {name: str(value) for name, value in numbers.items()}
    return texts | {"FLOOR": f"{front_end.floor}u", "STEP_BIAS": f"INT64_C({steps.bias})"}


def _used(front_end: IntegerLogMel) -> tuple[int, int]:
    """The first pair of a frame's samples that the window does not make 0, and the one behind the last."""
    used = front_end.window.nonzero()[:, 0]
    return int(used[0]) // 2, int(used[-1]) // 2 + 1


def front_end_tables(front_end: IntegerLogMel) -> Mapping[str, Table]:
    """By name."""
    half, cpu = front_end.fft // 2, torch.device("cpu")
    before, behind = _used(front_end)
    turns = torch.stack(twiddles(half // 2 + 1, front_end.fft, cpu, unit=HALF), 1).flatten()
    window = front_end.window[2 * before : 2 * behind]
    # Where the bins of each place between two bands begin, from below the first to above the last, and their end.
    edges = front_end.first + torch.searchsorted(front_end.upper, torch.arange(front_end.mels + 2))
    return {
        "scenelet_window": ("int32_t", _pairs(window[0::2], window[1::2]).tolist()),
        "scenelet_factors": ("int32_t", [factor for length in _lengths(half) for factor in _factors(length)]),
        "scenelet_turns": ("int32_t", turns[2:].tolist()),  # from bin 1 on
        "scenelet_edges": ("uint16_t", edges.tolist()),
        "scenelet_shares": ("uint16_t", front_end.shares.tolist()),
        "scenelet_logarithms": ("uint32_t", front_end.logarithms.tolist()),
    }


def _lengths(count: int) -> list[int]:
    """Of the transforms that each stage of one of `count` values combines four of, but for the first four or eight
    values, whose factors are known."""
    first = 8 if count.bit_length() % 2 == 0 else 4
    return [first * 4**stage for stage in range(count.bit_length() // 2) if first * 4**stage < count]


def _factors(length: int) -> list[int]:
    """Of the values 1, 3 and 2 of each four that a stage combines, from the second four on; zeros end them."""
    columns = [part[1:] for step in (1, 3, 2) for part in twiddles(length, 4 * length, torch.device("cpu"), step)]
    return [*torch.stack(columns, 1).flatten().tolist(), *[0] * len(columns)]


def _pairs(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Numbers of 16 bits in words of 32, the first ones low."""
    return (second << 16) + (first & 0xFFFF)
