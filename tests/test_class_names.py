"""Names of classes with commas, quotes and slashes, as AudioSet has them, wherever names of classes go."""

import csv
import html
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from c_code import compiled
from command import QUICK, run
from rich.console import Console

from experiments.report.tables import split_table, subset_words

# AudioSet's longest kinds, and what a program could take for its own signs.
NAMES = (
    "Bird vocalization, bird call, bird song",
    'Dentist\'s "drill" ??=',
    "Outside, urban/manmade",
    "x/device/y | $\\frac{ <b>[red]z[/red]",
)


def test_tables_call_a_class_as_it_is_named() -> None:
    """Oracle: the names: a slash in one stays, that behind its kind does not."""
    scores = {"test/accuracy": 0.5, "test/log_loss": 1.0, "test/calibration_error": 0.1}
    scores |= {f"test/{metric}/scene/{name}": 0.5 for name in NAMES for metric in ("accuracy", "log_loss")}
    assert [subset_words(subset) for subset in ("", "device/a", "scene/Outside, urban/manmade")] == [
        "all (macro)",
        "device a",
        "scene Outside, urban/manmade",
    ]
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(split_table(scores))
    text = console.export_text()
    assert [name for name in NAMES if f"scene {name}" not in text] == []


@pytest.mark.slow  # a training, its integers and their C: 20 s
def test_every_file_has_the_names_of_the_classes(tmp_path: Path) -> None:
    """Oracle: the names in the table of the data set, as Python's csv and json read them in each file, and as a program
    of C prints them."""
    draw, rows = np.random.default_rng(0), [["filename", "label", "device", "split"]]
    for number in range(48):
        noise = 0.1 * (number % 4 + 1) * draw.standard_normal(8_000).clip(-2, 2)
        soundfile.write(tmp_path / f"{number}.wav", noise, 8_000)
        split = ("train", "train", "val", "test")[number // 12]
        rows.append([f"{number}.wav", NAMES[number % 4], "ab"[number // 4 % 2], split])
    with open(tmp_path / "clips.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    data = ["name=n", "data=folder", f"data.root={tmp_path}", *QUICK]
    for stage, given in {"student": [*data, "distill=none"], "quantize": data, "deploy": ["name=n"]}.items():
        done = run(tmp_path, stage, *given)
        assert done.returncode == 0, done.stderr
    done = run(tmp_path, "predict", "0.wav", "model=runs/quantize/n/model.tflite")
    assert done.returncode == 0, done.stderr
    for path in ("student/n/predictions.csv", "quantize/n/predictions.csv", "predict/0/predictions.csv"):
        with open(tmp_path / "runs" / path, newline="") as file:
            found = list(csv.DictReader(file, delimiter="\t"))
        assert [name for name in found[0] if name in NAMES] == sorted(NAMES)
        assert {row["scene_label"] for row in found} <= set(NAMES)
    scores = json.loads((tmp_path / "runs/quantize/n/score.json").read_text())
    assert {f"test/accuracy/scene/{name}" for name in NAMES} <= set(scores)
    page = (tmp_path / "runs/quantize/n/report.html").read_text()
    assert [name for name in NAMES if name not in html.unescape(page)] == []
    assert "<b>[red]" not in page
    deployed = tmp_path / "runs/deploy/n"
    cells = [line for line in (deployed / "README.md").read_text().splitlines() if line.startswith("| scenes |")]
    assert cells == [f"| scenes | {', '.join(f'`{name}`' for name in sorted(NAMES))} |".replace("y | $", "y \\| $")]
    files = {path.name: path.read_text() for path in (deployed / "src").iterdir()}
    main = (
        '#include <stdio.h>\n#include "scenelet.h"\n'
        "int main(void) { for (int n = 0; n < 4; n++) puts(scenelet_scenes[n]); return 0; }\n"
    )
    program = compiled({**files, "main.c": main}, tmp_path)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines() == sorted(NAMES)
