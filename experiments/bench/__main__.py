"""How fast this machine is: python -m experiments.bench data|teacher|logits|student|quantize|predict|command|device

Conventions: what is compared is measured in one run, in turns; results are medians over the rounds.
"""

import argparse
import importlib
import json
import logging
import platform
import sys
from pathlib import Path

from rich.console import Console

from data.errors import UserError
from experiments.distributed.memory import keep_freed_memory
from experiments.report.terminal import Table
from experiments.runs.layout import write_text

BENCHES = {
    "data": "experiments.bench.data",
    "teacher": "experiments.bench.teacher",
    "logits": "experiments.bench.logits",
    "student": "experiments.bench.student",
    "quantize": "experiments.bench.quantize",
    "predict": "experiments.bench.predict",
    "command": "experiments.bench.command",
    "device": "experiments.bench.device",
}
COLUMNS = ("what", "median", "unit", "rounds")
SIZE, SIZES = "127k", {"device": "61k"}  # of CP-Mobile, by bench
MILLION = 1e6  # from which on a number is written to its last digit


def main() -> None:
    """Run one bench, print its table, write its JSON."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=__doc__.splitlines()[0])
    parser.add_argument("bench", choices=BENCHES)
    parser.add_argument("--rounds", type=int, default=5, help="how often (default: 5)")
    parser.add_argument("--out", type=Path, help="default: runs/bench/<bench>.json")
    data = parser.add_argument_group("data")
    data.add_argument("--root", type=Path, help="data set in the layout of TAU22; default: the synthetic miniature")
    data.add_argument("--lists", type=Path, help="folder of the official lists (gzipped): also measure at full size")
    data.add_argument("--clips", type=int, default=2000, help="how many clips (also for predict; default: 2000)")
    teacher = parser.add_argument_group("teacher and logits")
    what = "by commas, of logits also NAME:ARGUMENT=VALUE (default: some; of logits all)"
    teacher.add_argument("--teachers", help=what)
    student = parser.add_argument_group("student (and, --size, quantize, predict and device)")
    student.add_argument("--size", help=f"of CP-Mobile (default: {SIZE}; device: {SIZES['device']})")
    student.add_argument("--impulses", type=Path, help="folder of impulse responses; default: the miniature's")
    both = parser.add_argument_group("teacher, logits and student")
    both.add_argument("--batch", type=int, help="clips a batch (default: 256 on a GPU, 16 and 64 on a CPU; logits: 16)")
    device = parser.add_argument_group("device")
    device.add_argument("--exact", action="store_true", help="scales that are powers of two, as quantize.exact=all")
    arguments = parser.parse_args()
    arguments.size = arguments.size or SIZES.get(arguments.bench, SIZE)
    out = arguments.out or Path("runs/bench") / f"{arguments.bench}.json"
    try:
        keep_freed_memory()
        rows = importlib.import_module(BENCHES[arguments.bench]).run(arguments)
        out.parent.mkdir(parents=True, exist_ok=True)
        machine = {"platform": platform.platform(), "processor": _processor(), "python": platform.python_version()}
        write_text(out, json.dumps({"machine": machine, "rows": rows}, indent=1))
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    table = Table(f"{arguments.bench}: {machine['processor']}")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("what", "unit") else "right")
    for row in rows:
        spread = f"{_number(min(row['rounds']))} - {_number(max(row['rounds']))}" if len(row["rounds"]) > 1 else ""
        table.add_row(row["what"], _number(row["median"]), row["unit"], spread)
    Console().print(table)
    print(f"written to {out}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= MILLION else f"{value:,.6g}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    main()
