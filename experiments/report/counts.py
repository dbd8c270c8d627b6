"""What a model file costs, as the tables that the count stage prints: those of the challenge's own tool.

Conventions: tensors are called by their index in the file; bytes of parameters are those of the numbers as stored.
Source: DCASE 2023 Task 1, "Calculation example / DCASE2022 Task 1, Baseline", whose tables are those of NeSsi.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.report.terminal import Table
from students.complexity import Activation, OperatorCost
from students.device.cost import CLOCKS, ESTIMATES, Estimate, milliseconds
from students.limits import LIMITS, Complexity

if TYPE_CHECKING:
    from students.layer_costs import StoredLayer

NAMES = {"macs": "multiply-accumulates", "parameter_bytes": "bytes of parameters"}


def tensor_table(tensors: Mapping[int, Activation]) -> Table:
    """The activations of a TFLite file."""
    out = _table("tensors, weights excluded", ("Id", "Tensor", "Shape", "Size in RAM (B)"), left=("Tensor", "Shape"))
    for number, each in tensors.items():
        out.add_row(str(number), each.name, _shape(each.shape), f"{each.bytes:,}")
    return out


def operator_table(operators: Sequence[OperatorCost], alive: Sequence[Sequence[int]], total: Complexity) -> Table:
    """The operators of a TFLite file, and what they cost together.

    Args:
        operators: in the order of execution.
        alive: for each the tensors in memory.
        total: of the file.
    """
    heads = ("Operator (output name)", "Tensors in memory (IDs)", "Memory use (B)", "MACs", "Parameters (B)")
    out = _table("operators, in the order of execution", heads, left=heads[:2])
    for each, ids in zip(operators, alive, strict=True):
        numbers = (f"{each.alive_bytes:,}", f"{each.macs:,}", f"{each.parameter_bytes:,}")
        out.add_row(each.output, f"[{', '.join(map(str, ids))}]", *numbers)
    _completed(out, total)
    if amounts := sum(each.amount_bytes for each in operators):
        out.add_row("Total of NeSsi, with amounts of PAD and SLICE", "", "", "", f"{total.parameter_bytes + amounts:,}")
    return out


def layer_table(rows: "Sequence[StoredLayer]", total: Complexity) -> Table:
    """The layers of a checkpoint, and what they cost together.

    Args:
        rows: in the order of execution.
        total: of the file.
    """
    heads = ("Layer", "Shape of its output", "Memory use (B)", "MACs", "Parameters (B)")
    caption = "memory use is of a layer's input and output: a lower bound of what a program needs"
    out = _table("layers, in the order of execution", heads, left=heads[:2], caption=caption)
    for (name, kind, shape, macs, _, alive), size in rows:
        out.add_row(
            f"{name} ({kind})" if kind else name, _shape(shape) if shape else "", f"{alive:,}", f"{macs:,}", f"{size:,}"
        )
    return _completed(out, total)


def limit_table(total: Complexity, years: Sequence[int]) -> Table:
    """Which limits of the challenge a network keeps, and by how much it is below or above them.

    Args:
        total: of the file.
        years: of the challenge, in which these limits hold.
    """
    out = _table(f"limits of DCASE {', '.join(map(str, years))}, Task 1", ("", "here", "at most", ""), left=("",))
    for cost, most in LIMITS.items():
        number = total._asdict()[cost]
        verdict = f"broken by {number - most:,}" if number > most else f"holds, {most - number:,} left"
        out.add_row(NAMES[cost], f"{number:,}", f"{most:,}", verdict)
    return out


def device_table(found: Estimate, joules: float | None, *, is_float: bool) -> Table:
    """What one clip costs a device, as it is estimated.

    Args:
        found: the estimate.
        joules: of one clip on the computer where the energy stage metered them; None: it has not.
        is_float: whether the file has floats, which get 8 bits before.
    """
    title = f"estimated on a Cortex-M4{', with 8 bits' * is_float}"
    caption = "a model without a board's wait states; joules are not modelled, they depend on the board"
    out = _table(title, ("", "one clip"), left=("",), caption=caption)
    for words, value in zip(ESTIMATES.values(), found, strict=True):
        out.add_row(words, f"{value:,}")
    for clock in CLOCKS:
        out.add_row(f"ms at {clock / 1e6:.0f} MHz", f"{milliseconds(found.cycles, clock):,.0f}")
    if joules is not None:
        out.add_row("J on a computer, as scenelet energy metered", f"{joules:.3g}")
    return out


def _completed(table: Table, total: Complexity) -> Table:
    """A table with the sums, and the most memory that one of its rows needs."""
    table.add_section()
    table.add_row("Total", "", "", f"{total.macs:,}", f"{total.parameter_bytes:,}")
    table.add_row("Max", "", f"{total.peak_bytes:,}", "", "")
    return table


def _table(title: str, heads: Sequence[str], left: Sequence[str], caption: str = "") -> Table:
    out = Table(title, caption=caption)
    for head in heads:
        out.add_column(head, justify="left" if head in left else "right", overflow="fold")
    return out


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"
