"""A sound challenge package made by hand, for tests to spoil."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from reportlab.pdfgen.canvas import Canvas

from data.scenes import DEVICES, SCENES

LABEL = "Doe_TUX_task1_1"
CLIPS = [f"{number}.wav" for number in range(3)]


def page() -> bytes:
    """A PDF with an empty page, by reportlab."""
    buffer = BytesIO()
    canvas = Canvas(buffer, invariant=1)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


PDF = page()


def table(seed: int = 0) -> str:
    """As pandas writes it."""
    p = np.random.default_rng(seed).dirichlet(np.ones(10), size=len(CLIPS))
    frame = pd.DataFrame({"filename": CLIPS, "scene_label": [SCENES[n] for n in p.argmax(1)]})
    return frame.join(pd.DataFrame(p, columns=list(SCENES))).to_csv(sep="\t", index=False, lineterminator="\n")


def description(label: str = LABEL) -> dict:
    """With every field of the organisers' template."""
    figures = {"accuracy": 50.0, "logloss": 1.5}
    affiliation = {"abbreviation": "TUX", "institute": "University of X", "department": None, "location": "X"}
    author = {
        "lastname": "Doe",
        "firstname": "Jo",
        "email": "jo@x.org",
        "corresponding": True,
        "affiliation": affiliation,
    }
    texts = ["embeddings", "data_augmentation", "decision_making", "external_data_usage", "complexity_management"]
    return {
        "submission": {"label": label, "name": "A system", "abbreviation": "Sys", "authors": [author]},
        "system": {
            "description": {
                "input_sampling_rate": "32kHz",
                "acoustic_features": "log-mel energies",
                "machine_learning_method": "CNN",
                "ensemble_method_subsystem_count": None,
                "pipeline": "training",
                "framework": "pytorch",
                **dict.fromkeys(texts),
            },
            "complexity": {
                "total_model_size": 46512,
                "total_parameters": 46512,
                "total_parameters_non_zero": 46000,
                "memory_use": 65280,
                "macs": 29234920,
            },
            "energy_consumption": {"training": 0.21, "inference": 0.05, "baseline_inference": 0.068},
            "external_datasets": [{"name": "X", "url": "https://x.org", "total_audio_length": None}],
            "source_code": None,
        },
        "results": {
            "development_dataset": {
                "overall": dict(figures),
                "class_wise": {scene: dict(figures) for scene in SCENES},
                "device_wise": {device: dict(figures) for device in DEVICES},
            }
        },
    }


def files(*labels: str) -> dict[str, bytes]:
    """Of a package of these systems."""
    out = {"task1/Doe_TUX_task1.technical_report.pdf": PDF}
    for seed, label in enumerate(labels or [LABEL]):
        out[f"task1/{label}/{label}.output.csv"] = table(seed).encode()
        out[f"task1/{label}/{label}.meta.yaml"] = yaml.safe_dump(description(label)).encode()
    return out


def zipped(path: Path, content: dict[str, bytes]) -> Path:
    """By the standard library."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path
