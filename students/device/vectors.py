"""What a device computes of signals that it makes itself, and its tables: by this a compiled library checks itself.

Conventions: a signal is noise through a low-pass filter of first order, times a gain, and a rectangular wave, all of
integers; templates/selftest.c computes the same. Of the log-mel and of each layer the CRC-32 of its integers in the
order in which they are computed is compared, row by row, (columns, channels); of each table that of its numbers' bytes,
the lowest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch

from data.front_ends.integer_log_mel import FULL_SCALE
from students.device.answer import answer_tables
from students.device.c_text import BYTES, LICENCE
from students.device.front_end import front_end_tables
from students.device.library import Model
from students.device.network import network_tables
from students.device.plan import planned

COUNT = 20
CHUNKS = (1, 17, 64, 160, 256, 333, 480, 512, 640, 700)  # samples that are pushed at once
HEADER = """#include <stdint.h>

typedef struct {{
    uint32_t seed;
    int32_t smoothing, gain;                 /* of the noise; the gain in 1/256 */
    uint32_t period;                         /* of the wave: samples of one half */
    int32_t amplitude;
    uint32_t chunk;                          /* samples at once */
    uint32_t input;                          /* CRC-32 of the log-mel */
    uint32_t layers[{layers}];
    int8_t logits[{classes}];
    uint16_t probabilities[{classes}];
    int32_t scene;
}} scenelet_vector;

#define SCENELET_VECTORS {count}

static const scenelet_vector scenelet_vectors[SCENELET_VECTORS] = {{
"""


@dataclass(frozen=True)
class Signal:
    """See the conventions above; `gain` is in 1/256, `period` are the samples of half a wave."""

    seed: int
    smoothing: int
    gain: int
    period: int
    amplitude: int
    chunk: int

    def samples(self, count: int) -> np.ndarray:
        """int16 (count,)."""
        seed, low, found = self.seed, 0, []
        for number in range(count):
            seed = (seed * 1_664_525 + 1_013_904_223) % (1 << 32)
            low += ((seed >> 16) - FULL_SCALE - low) >> self.smoothing
            value = (low * self.gain) >> 8
            found.append(value + (self.amplitude if number // self.period % 2 else -self.amplitude))
        return np.clip(found, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def signals() -> list[Signal]:
    """Silence, the smallest and the largest waves, and noise of many colours and levels, some of it clipped."""
    fixed = [Signal(1, 0, 0, 1, 0, 512), Signal(2, 0, 0, 1, 1, 1), Signal(3, 0, 0, 1, FULL_SCALE, 480)]
    fixed += [Signal(4, 0, 0, 1_000_000, FULL_SCALE, 700), Signal(5, 0, 4096, 7, 3000, 333)]
    drawn = np.random.default_rng(0)
    for number in range(COUNT - len(fixed)):
        gain, amplitude = (int(2 ** drawn.uniform(0, 14)) for _ in range(2))
        period, chunk = int(drawn.integers(2, 400)), CHUNKS[number % len(CHUNKS)]
        fixed.append(Signal(int(drawn.integers(1 << 32)), number % 7, gain, period, amplitude, chunk))
    return fixed


def vectors_text(model: Model) -> str:
    """The signals with what is computed of them, as vectors.h."""
    network, plan, some = model.network, planned(model.network), signals()
    samples = torch.from_numpy(np.stack([signal.samples(model.samples) for signal in some]))
    inputs, maps = model.inputs(samples), dict[str, torch.Tensor]()
    logits = network.run(inputs, maps)
    scenes, chances = model.answers(logits)
    counts = [plan.steps.count(number) for number in range(len(network.layers))]
    rows = []
    for number, signal in enumerate(some):
        layers = [_crc(maps[layer.name][number], count) for layer, count in zip(network.layers, counts, strict=True)]
        fields = [
            *(f"{signal.seed}u", signal.smoothing, signal.gain, f"{signal.period}u", signal.amplitude),
            *(f"{signal.chunk}u", f"{crc32(inputs[number].numpy().tobytes())}u"),
            *(_braces([f"{found}u" for found in layers]), _braces(logits[number].tolist())),
            *(_braces(chances[number].tolist()), scenes[number]),
        ]
        rows.append(f"    {_braces(fields)},")
    header = HEADER.format(layers=len(network.layers), classes=network.output.shape[0], count=len(some))
    return LICENCE + header + "\n".join([*rows, "};", "", *_checks(model)])


def _checks(model: Model) -> list[str]:
    """Lines of a macro that checks each table."""
    tables = {
        **network_tables(model.network),
        **front_end_tables(model.front_end),
        **answer_tables(model.network, model.confidence),
    }
    checks = [
        f"    check({place}, {BYTES[kind]}, {len(values)}, {_table_crc(kind, values)}u)"
        for place, (kind, values) in tables.items()
    ]
    head = [f"#define SCENELET_TABLES {len(tables)}", "#define SCENELET_CHECK_TABLES(check) \\"]
    return [*head, " \\\n".join(checks), ""]


def _table_crc(kind: str, values: Sequence[int]) -> int:
    return crc32(np.array(values, f"<{'u' if kind.startswith('u') else 'i'}{BYTES[kind]}").tobytes())


def _crc(values: torch.Tensor, rows: int) -> int:
    """Of the first rows of a map (channels, height, width)."""
    return crc32(values[:, :rows].permute(1, 2, 0).contiguous().numpy().tobytes())


def _braces(values: Sequence[object]) -> str:
    return f"{{{', '.join(map(str, values))}}}"
