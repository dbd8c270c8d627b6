"""The energy of a system as its description and its report state it.

Conventions: `energy` is by phase, see lineage.py; kWh. A figure of the baseline that was measured elsewhere stands
where it was not measured here, is called given, and has no ratio with what was: hardware differs.
Source: DCASE 2023 Task 1, "Measuring the energy consumption": energy of training and of inference, of the system and of
the baseline on the same hardware, and E_normalized = kWh of the baseline / kWh of the submission.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from experiments.runs.formats import Metered
from experiments.runs.meter import ratio
from experiments.runs.phases import ALL, BASELINE_TRAINING

INFERENCE, BASELINE = "inference", "baseline"
NOT_METERED = "not metered"
PARTS = {  # of training
    "training/teacher": "training of the teachers",
    "training/logits": "teachers writing their logits",
    "training/student": "training of the student",
    "training/specialize": "training of tensors of devices",
    "training/quantize": "quantisation",
}
FIELDS = {
    "training": ALL,
    "inference": INFERENCE,
    "baseline_training": BASELINE_TRAINING,
    "baseline_inference": BASELINE,
}
COPY = "the baseline is our own copy of it (its layers and front end; for inference 8 bits and random weights)"
FLOATS = "floats are computed by torch, the baseline's integers by LiteRT"
PLAIN = "no processor that was metered here had to be estimated"
GIVEN = {"training": BASELINE_TRAINING, "inference": BASELINE}  # keys of what is given

Energy = Mapping[str, Metered]


def with_given(energy: Energy, given: Mapping[str, Any] | None) -> dict[str, Metered]:
    """The phases, those of the baseline that were not measured here as somebody measured them elsewhere.

    Args:
        energy: by phase.
        given: training and inference (kWh; one may be missing) and hardware, in words.
    """
    found = dict(energy)
    for key, phase in GIVEN.items():
        if given is not None and given.get(key) is not None and _kwh(energy, phase) is None:
            found[phase] = {"kWh": given[key], "seconds": None, "estimated": False, "given": given["hardware"]}
    return found


def energy_fields(energy: Energy) -> dict[str, float | None]:
    """Those of a description."""
    return {field: _kwh(energy, phase) for field, phase in FIELDS.items()}


def energy_notes(energy: Energy) -> list[str]:
    """What the fields cannot say: parts and hardware, how it was read, and what is not in them."""
    estimated = [field for field, phase in FIELDS.items() if energy.get(phase, {}).get("estimated")]
    clips = energy.get(INFERENCE, {}).get("clips")
    of = f"inference and baseline_inference are of {clips if clips else 'an unknown number of'} clips"
    how = f"estimates, as the machine had no meter of its processor: {', '.join(estimated)}"
    parts = [f"{name} {_word(energy, phase)}" for phase, name in PARTS.items() if phase in energy]
    return [
        f"{of}; {how if estimated else PLAIN}",
        *([f"training is the sum of: {' + '.join(parts)}"] if parts else []),
        *(f"{name}: {words}" for name, words in _hardware(energy).items()),
        COPY,
        *(f"baseline_{name} is {words}" for name, words in _baseline(energy).items()),
        *(f"{name}: {words}" for name, words in _lost(energy).items()),
    ]


def energy_words(energy: Energy) -> dict[str, str]:
    """The rows of a report's table."""
    parts = {name: _word(energy, phase) for phase, name in PARTS.items() if phase in energy}
    return {
        **parts,
        "training, all": _word(energy, ALL),
        "training of the baseline": _word(energy, BASELINE_TRAINING),
        "baseline / system, training": _ratio(energy, BASELINE_TRAINING, ALL),
        "inference": _word(energy, INFERENCE),
        "inference of the baseline": _word(energy, BASELINE),
        "clips of inference": str(energy.get(INFERENCE, {}).get("clips", NOT_METERED)),
        "baseline / system, inference": _ratio(energy, BASELINE, INFERENCE),
        **_hardware(energy),
        **{f"baseline's {name}": words for name, words in _baseline(energy).items()},
        **_lost(energy),
    }


def _lost(energy: Energy) -> dict[str, str]:
    """What is not in the figures."""
    lost = [why for phase in (*PARTS, BASELINE_TRAINING) for why in energy.get(phase, {}).get("lost", [])]
    return {"not counted": "; ".join(map(_short, lost))} if lost else {}


def _hardware(energy: Energy) -> dict[str, str]:
    """Of what the figures are, and how they were read."""
    found = {}
    for name, phase in (("training on", ALL), ("inference on", INFERENCE), ("baseline trained on", BASELINE_TRAINING)):
        if words := energy.get(phase, {}).get("on"):
            version = energy[phase].get("codecarbon")
            found[name] = " | ".join(words) + (f" (codecarbon {version})" if version else "")
    return found


def _ratio(energy: Energy, baseline: str, own: str) -> str:
    """E_normalized, of two phases."""
    if None in (_kwh(energy, baseline), _kwh(energy, own)):
        return NOT_METERED
    found = ratio(energy[baseline], energy[own])
    return "not on one hardware" if found is None else f"{found:.4g}"


def _baseline(energy: Energy) -> dict[str, str]:
    """How the baseline's figures are known, where that is not plain: its training, and what is given."""
    found = {}
    for name, phase in GIVEN.items():
        entry = energy.get(phase, {})
        if "given" in entry:
            found[name] = f"given: measured elsewhere, on {entry['given']}"
        elif phase == BASELINE_TRAINING:
            runs = ", ".join(map(_short, entry.get("runs", {})))
            found[name] = NOT_METERED if entry.get("kWh") is None else f"that of {runs}, trained here"
    return found


def _short(text: str) -> str:
    """A run's folder without where it lies."""
    path, colon, rest = text.partition(": ")
    return "/".join(PurePath(path).parts[-2:]) + colon + rest


def _word(energy: Energy, phase: str) -> str:
    kwh = _kwh(energy, phase)
    how = "estimate" if energy.get(phase, {}).get("estimated") else "given" if "given" in energy.get(phase, {}) else ""
    return NOT_METERED if kwh is None else f"{kwh:.4g}{f' ({how})' * bool(how)}"


def _kwh(energy: Energy, phase: str) -> float | None:
    return energy.get(phase, {}).get("kWh")
