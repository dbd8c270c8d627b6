"""What a clip costs on a device, in the section of a run: sentence, numbers, plot and tables, from its cost.json."""

from rich import box

from experiments.report import plots
from experiments.report.numbers import percent, word
from experiments.report.page import Grid, Plot, Tile
from experiments.report.terminal import Table
from students.device.cost import CLOCKS, Cost, Part, milliseconds

MHZ = 1e6
INSTRUCTIONS = "instructions"
CAPTION = "Of one clip on a Cortex-M4, by a model of its cycles; MAC: multiply-accumulate."


def cost_sentence(cost: Cost) -> str:
    """The time of a clip."""
    clock = CLOCKS[-1]
    return (
        f"One clip takes {cost.cycles / 1e6:.1f} million cycles on a Cortex-M4, {_time(cost.cycles, clock)} at "
        f"{clock / MHZ:.0f} MHz, by a model without the wait states of a board."
    )


def cost_tiles(cost: Cost) -> list[Tile]:
    """The numbers that stand at the top."""
    network = cost.network
    found = [Tile("cycles of one clip", word(cost.cycles), "a model of the Cortex-M4")]
    found += [Tile("cycles a MAC", f"{network.cycles_per_mac:.2f}", "of the network")] if network.macs else []
    if cost.front_end and cost.cycles:
        found.append(Tile("share of the front end", percent(cost.front_end.cycles / cost.cycles)))
    return found


def cost_plots(cost: Cost, name: str) -> list[Plot]:
    """Of the run of this name."""
    return [Plot("Cycles by layer", CAPTION, plots.cycles(cost), name)] if cost.layers else []


def cost_grids(cost: Cost) -> list[Grid]:
    """Times, parts and memory."""
    parts = [*([cost.front_end] if cost.front_end else []), cost.network]
    times = [[part.name, *(_time(part.cycles, clock) for clock in CLOCKS)] for part in parts]
    times.append(["together", *(_time(cost.cycles, clock) for clock in CLOCKS)])
    clocks = [f"{clock / MHZ:.0f} MHz" for clock in CLOCKS]
    rows = [_row(part, cost.cycles) for part in (*parts[:-1], *cost.layers, cost.network)]
    columns = ["", "MACs", INSTRUCTIONS, "cycles", "cycles a MAC", "of all cycles"]
    memory = [
        [f"{kind}, {what}", word(size)]
        for kind, sizes in (("RAM", cost.ram), ("flash", cost.flash))
        for what, size in sizes.items()
    ]
    found = [Grid("Time of one clip on a Cortex-M4", ["", *clocks], times), Grid("Cost by layer", columns, rows)]
    return [*found, *([Grid("Memory on the device", ["", "bytes"], memory)] if memory else [])]


def cost_table(grid: Grid) -> Table:
    """One of cost_grids for the terminal, where there is no room for instructions."""
    table, shown = Table(grid.title, box=box.SIMPLE), [c for c in grid.columns if c != INSTRUCTIONS]
    for number, column in enumerate(shown):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in grid.rows:
        table.add_row(*(cell for cell, column in zip(row, grid.columns, strict=True) if column in shown))
    return table


def _row(part: Part, cycles: int) -> list[str]:
    each = "" if part.cycles_per_mac is None else f"{part.cycles_per_mac:.2f}"
    share = percent(part.cycles / cycles if cycles else None)
    return [part.name, word(part.macs or None), word(part.instructions), word(part.cycles), each, share]


def _time(cycles: int, hertz: float) -> str:
    return f"{milliseconds(cycles, hertz):,.0f} ms"
