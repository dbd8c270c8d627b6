"""A folder of C from a microphone's samples to the scene: the files of a library, its checks and examples.

Conventions: files are path -> text, the same text for the same model. What the C computes is what Model computes, in
every bit.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from data.errors import UserError
from data.front_ends.integer_log_mel import IntegerLogMel
from data.front_ends.integer_steps import steps_of
from students.device.answer import answer_files
from students.device.c_text import LICENCE, licensed, template
from students.device.front_end import front_end_files, front_end_memory
from students.device.network import memory_of, network_files
from students.device.plan import planned
from students.quantize.answer import Confidence, exponentials, known, probabilities
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import INPUT

SOURCES = ("scenelet.c", "scenelet.h")
# Template -> where it goes.
PLACES = {
    "selftest.c": "selftest/selftest.c",
    "classify.c": "examples/classify.c",
    "Microphone.ino": "examples/Microphone/Microphone.ino",
    "Makefile": "Makefile",
}
HEADER = """#ifndef SCENELET_TABLES_H
#define SCENELET_TABLES_H

#define SCENELET_SAMPLE_RATE {rate} /* Hz */
#define SCENELET_ARENA {arena} /* bytes of all memory but the stack: sizeof(scenelet) */

extern const char *const scenelet_scenes[{scenes}]; /* their names */
extern const char *const scenelet_layer_names[{layers}];

#endif
"""
ARDUINO = """name=scenelet
version={version}
author=scenelet
maintainer=scenelet
sentence=Acoustic scenes from a microphone's samples, in integers alone.
paragraph=Generated for one model; see README.md.
category=Signal Input/Output
url=
architectures=*
includes=scenelet.h
"""


@dataclass(frozen=True)
class Model:
    """From int16 samples to answers, as a device computes them.

    Attributes:
        network: of 8-bit integers, of one device.
        front_end: with the settings that the network was trained with.
        samples: of a clip.
        scenes: names of the classes.
        confidence: how sure its answers are.
    """

    network: IntegerNetwork
    front_end: IntegerLogMel
    samples: int
    scenes: Sequence[str]
    confidence: Confidence

    def inputs(self, samples: torch.Tensor) -> torch.Tensor:
        """The network's input (n, 1, mels, frames), int8, of int16 samples (n, samples)."""
        read = self.network.quantities[INPUT]
        front_end = self.front_end
        steps = steps_of(read.scale, read.zero_point, read.low, read.high, front_end.shift, front_end.stretch)
        return steps(front_end.integers(samples))[:, None]

    def answers(self, logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Answers (n,) and probabilities (n, classes), uint16 in 1/32768, of integer logits (n, classes)."""
        values = logits.numpy()
        found = probabilities(values, exponentials(self.network.output.scale, self.confidence.temperature))
        return known(values.argmax(1), found, self.confidence.least), found


def library_files(model: Model, version: str) -> dict[str, str]:
    """The files of the library and of what comes with it, but for the vectors of the selftest and the README.

    Raises:
        UserError: the model has no form in C; see network_files, front_end_files, answer_files; or a scene has a name
            that is no text of ASCII.
    """
    network, lies = model.network, planned(model.network).maps[INPUT]
    for scene in model.scenes:
        if not (scene.isascii() and scene.isprintable()):
            raise UserError(f"scene {scene!r} is no text of ASCII, which C has in strings")
    sources: dict[str, str] = {
        **network_files(network),
        **front_end_files(model.front_end, model.samples, network.quantities[INPUT], row=lies.row, first=lies.before),
        **answer_files(network, model.confidence),
    }
    header = HEADER.format(
        rate=model.front_end.sample_rate, arena=state_bytes(model), scenes=len(model.scenes), layers=len(network.layers)
    )
    names = (
        _names("scenelet_scenes", model.scenes),
        _names("scenelet_layer_names", [layer.name for layer in network.layers]),
    )
    source = '#include "scenelet_tables.h"\n\n' + "\n".join(names)
    sources |= licensed(SOURCES, {"scenelet_tables.h": header, "scenelet_tables.c": source})
    found = {f"src/{name}": text for name, text in sources.items()}
    for name, place in PLACES.items():
        text = template(name)
        found[place] = text if name == "Makefile" else LICENCE + text
    return found | {"library.properties": ARDUINO.format(version=version)}


def state_parts(model: Model) -> dict[str, int]:
    """Bytes of scenelet, the structure that has all memory but the stack, by what they are for."""
    kept, scratch = front_end_memory(model.front_end)
    network_input, network = memory_of(model.network)
    average = 4 * len(model.scenes) + 8
    return {
        "log-mel of a clip": network_input,
        "rows of layers, or the transform": max(scratch, network),
        "latest samples, averages": kept + average,
    }


def state_bytes(model: Model) -> int:
    """sizeof(scenelet)."""
    return sum(state_parts(model).values())


def _names(table: str, names: Sequence[str]) -> str:
    """A table of strings; json.dumps writes those of printable ASCII as C does, but for trigraphs."""
    lines = [f"    {json.dumps(name)},".replace("?", "\\?") for name in names]
    return "\n".join([f"const char *const {table}[{len(names)}] = {{", *lines, "};", ""])
