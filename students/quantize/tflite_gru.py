"""A GRU in a TFLite file: gru.py's operations, each an operator, step after step.

Conventions: all tensors between the int8 of its gates and of its states have 16 bits. The weights are there once, for
all steps; the state begins as a constant of zeros.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from students.quantize.arithmetic import Quantity
from students.quantize.gru import DIFFERENCES, GATES, STATES, SUMS
from students.quantize.layers import Layer

if TYPE_CHECKING:
    from students.quantize.tflite import Writer

# First versions of the operators that take int16 (ADD and SUB: with any scales).
VERSIONS = {"QUANTIZE": 2, "SPLIT": 4, "CONCATENATION": 3, "CONV_2D": 6, "LOGISTIC": 3, "TANH": 3}
VERSIONS |= {"ADD": 4, "SUB": 5, "MUL": 4}
WIDTH, CHANNELS = 2, 3  # axes
BEFORE, OF_STEP, BEHIND = 2, 13, 1  # operators: QUANTIZE, SPLIT; see _step; QUANTIZE
MOST_JOINED = 10  # tensors that tflite-micro concatenates at once
CONVOLUTION = BEFORE + 1  # the place of the first one


def operators_of(steps: int) -> int:
    """How many operators a GRU of so many steps is."""
    return BEFORE + OF_STEP * steps + sum(_joins(steps)) + BEHIND


def _joins(count: int) -> list[int]:
    """How many CONCATENATIONs join so many tensors, and those of their results, until one is left."""
    found = [-(-count // MOST_JOINED)]
    while found[-1] > 1:
        found.append(-(-found[-1] // MOST_JOINED))
    return found


def write_recurrence(writer: "Writer", layer: Layer) -> None:
    """Add the operators of a layer to a file."""
    _Recurrence(writer, layer).write()


class _Recurrence:
    def __init__(self, writer: "Writer", layer: Layer) -> None:
        self.writer, self.layer = writer, layer
        channels, _, self.steps = writer.network.quantities[layer.inputs[0]].shape
        self.units = channels // GATES
        self.weight, self.bias, _ = writer.parameters(layer, "CONV_2D", layer.name, slice(None))
        self.axes = {
            n: writer.constant(f"{layer.name}/axis_{n}", np.array(n, np.int32), None) for n in (WIDTH, CHANNELS)
        }

    def write(self) -> None:
        gates, steps = self._tensor("gates", SUMS, GATES, self.steps), range(self.steps)
        self._add("QUANTIZE", [self.writer.index[self.layer.inputs[0]]], gates, schema.QuantizeOptionsT())
        each = self._split(gates, WIDTH, [self._tensor(f"gates_{step}", SUMS, GATES) for step in steps])
        zeros = np.zeros((1, 1, 1, self.units), np.int16)
        states = [self.writer.constant(f"{self.layer.name}/state", zeros, np.array([STATES.scale], np.float32))]
        for step in steps:
            states.append(self._step(step, each[step], states[-1]))
        together = self._joined(states[1:])
        self._add("QUANTIZE", [together], self.writer.index[self.layer.name], schema.QuantizeOptionsT())

    def _joined(self, states: list[int]) -> int:
        """All states, one after the other; they are joined in groups, and the groups in groups of these."""
        widths = [1] * len(states)
        for level, count in enumerate(_joins(len(states))):
            groups = [slice(n * MOST_JOINED, (n + 1) * MOST_JOINED) for n in range(count)]
            joined, wide = list[int](), [sum(widths[group]) for group in groups]
            for number, group in enumerate(groups):
                options = schema.ConcatenationOptionsT()
                options.axis = WIDTH
                joined.append(self._tensor(f"states_{level}_{number}", STATES, 1, wide[number]))
                self._add("CONCATENATION", states[group], joined[-1], options)
            states, widths = joined, wide
        return states[0]

    def _step(self, step: int, gates: int, state: int) -> int:
        """The state after a step."""
        sums = self._tensor(f"sums_{step}", SUMS, GATES)
        options = schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = schema.Padding.VALID, 1, 1
        options.dilationHFactor = options.dilationWFactor = 1
        parts = [self._tensor(f"gates_{step}_{n}", SUMS) for n in range(GATES)]
        gate_r, gate_z, gate_n = self._split(gates, CHANNELS, parts)
        self._add("CONV_2D", [state, self.weight, self.bias], sums, options)
        parts = [self._tensor(f"sums_{step}_{n}", SUMS) for n in range(GATES)]
        sum_r, sum_z, sum_n = self._split(sums, CHANNELS, parts)
        r, z = (
            self._compute(
                "LOGISTIC", f"{name}_{step}", STATES, self._compute("ADD", f"{name}_sum_{step}", SUMS, *sides)
            )
            for name, sides in (("reset", (gate_r, sum_r)), ("update", (gate_z, sum_z)))
        )
        kept = self._compute("MUL", f"kept_{step}", SUMS, r, sum_n)
        n = self._compute("TANH", f"candidate_{step}", STATES, self._compute("ADD", f"sum_{step}", SUMS, gate_n, kept))
        difference = self._compute("SUB", f"difference_{step}", DIFFERENCES, state, n)
        change = self._compute("MUL", f"change_{step}", DIFFERENCES, z, difference)
        return self._compute("ADD", f"state_{step}", STATES, n, change)

    def _compute(self, code: str, name: str, quantity: Quantity, *inputs: int) -> int:
        options = {"ADD": schema.AddOptionsT, "SUB": schema.SubOptionsT, "MUL": schema.MulOptionsT}
        made: Any = options[code]() if code in options else None
        if code in ("ADD", "SUB"):
            made.potScaleInt16 = False
        output = self._tensor(name, quantity)
        self._add(code, list(inputs), output, made)
        return output

    def _split(self, source: int, axis: int, parts: list[int]) -> list[int]:
        options = schema.SplitOptionsT()
        options.numSplits = len(parts)
        self._add("SPLIT", [self.axes[axis], source], parts, options)
        return parts

    def _tensor(self, name: str, quantity: Quantity, times: int = 1, steps: int = 1) -> int:
        shape = (times * self.units, 1, steps)
        return self.writer.activation(f"{self.layer.name}/{name}", replace(quantity, shape=shape))

    def _add(self, code: str, inputs: list[int], outputs: int | list[int], options: object) -> None:
        self.writer.operator(code, inputs, outputs, options, VERSIONS[code])
