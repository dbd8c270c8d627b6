"""Runs of earlier versions are recognised: what their records say of the settings is what the same command says now."""

import json
from pathlib import Path

import pytest

from data.settings import identity_of
from experiments.run import resolve
from experiments.runs.identity import differences
from experiments.settings.parts import Quantize

# Stage, overrides, and the settings that run.json had, of runs made by version 0.1.0.
RECORDS = json.loads((Path(__file__).parent / "records_0_1_0.json").read_text())

# What a run of the baseline by 0.1.0 is told: its front end was not that of the task's page, "analysis frame 40 ms (50%
# hop size)", "44.1kHz".
FRONT_END_OF_THE_BASELINE = [
    "mel.high: 16000.0 there, 22050.0 asked for",
    "mel.hop: 639 there, 882 asked for",
    "mel.pre_emphasis: None there, 0.0 asked for",
    "mel.window: 1280 there, 1764 asked for",
]


@pytest.mark.parametrize("record", RECORDS, ids=[f"{r['stage']} {' '.join(r['arguments'])}" for r in RECORDS])
def test_the_same_command_means_the_same_settings(record: dict) -> None:
    """Oracle: records of version 0.1.0; a difference would be a refusal of the user's finished run."""
    settings = resolve(record["arguments"])
    found = {"teacher": settings.teacher, "student": settings.student, "quantize": settings.of(Quantize)}
    now = json.loads(json.dumps(identity_of(found[record["stage"]])))
    for group, name in (("fit", "least_steps"), ("fit", "rate_steps"), ("augment", "roll_clips")):
        now.get(group, {}).pop(name, None)  # they stand in the identity by what they make of the recipe
    asked = {key: value for key, value in now.items() if key in record["settings"]}
    expected = FRONT_END_OF_THE_BASELINE if "student=baseline" in record["arguments"] else []
    assert differences(record["settings"], asked) == expected
    # These results do not depend on the others.
    assert now.keys() - asked.keys() <= {"shifts", "export"}
