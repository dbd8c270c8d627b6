"""Adding things takes the files that docs/adding.md names and no other: in a copy of the source, one of each is added,
trained, scored, reported and submitted by the command line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import ROOT
from pypdf import PdfReader

NEW = {
    "data/readers/toy.py": '''
        """A data set of its own: the synthetic one, as another reader would give it."""
        import dataclasses
        from pathlib import Path
        from data.official_layout import read_official
        from data.readers import Reader
        from data.readers.synthetic import write_synthetic
        from data.resources import Resource
        from data.scenes import ClipSet

        def read(root: str | Path, *, validation_fraction: float = 0.3, seed: int = 0, first: int = 0) -> ClipSet:
            clips = read_official(write_synthetic(root), validation_fraction=validation_fraction, seed=seed, name="toy")
            return dataclasses.replace(clips, clips=clips.clips[first:])

        READER = Reader(
            title="Toy recordings of nowhere",
            licence="none",
            citation="T. Oyset, Recordings of nowhere, 1999.",
            read=read,
            default_root=lambda cache, settings: cache / "toy",
            resources=(Resource("Toy recordings", "https://example.org/recordings", licence="none"),),
        )
        ''',
    "experiments/conf/data/toy.yaml": """
        kind: toy
        arguments: {first: 1}
        """,
    "data/front_ends/toy_bands.py": '''
        """A front end of its own: the log-mel one with another name."""
        from data.front_ends import FrontEndEntry
        from data.front_ends.log_mel import LogMel

        FRONT_END = FrontEndEntry(build=LogMel, features="toy bands", citation="F. Rontend, Toy bands, 1998.")
        ''',
    "teachers/toy_teacher.py": '''
        """A teacher of its own."""
        from torch import nn
        from data.resources import Resource
        from teachers.entry import Pretraining, Teacher

        def toy_teacher(*, classes: int = 10, pretrained: bool = False, weights: str | None = None) -> nn.Module:
            layers = [nn.Conv2d(1, 8, 5, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, classes, 1)]
            return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

        TEACHER = Teacher(
            build=toy_teacher,
            family="CNN",
            citation="T. Eacher, A toy teacher, 2001.",
            published=lambda arguments: Pretraining((Resource("Toy sounds", "https://example.org/toys"),)),
        )
        ''',
    "experiments/conf/teacher/toy_teacher.yaml": """
        defaults:
          - /augment@augment: cnn_teacher
          - _self_
        builder: toy_teacher
        pretrained: true
        mel: {kind: toy_bands, mels: 64, hop: 1000}
        fit: {epochs: 1, batch_size: 16, learning_rate: 1e-3, weight_decay: 0, constant_until: 1, down_over: 1,
              floor: 0}
        """,
    "students/toy_student.py": '''
        """A student of its own."""
        from torch import nn
        from students.entry import Student

        def toy_student(*, classes: int = 10) -> nn.Module:
            layers = [nn.Conv2d(1, 8, 5, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, classes, 1)]
            return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

        STUDENT = Student(
            build=toy_student, family="CNN", citation="S. Tudent, A toy student, 2002.", has_integer_form=True
        )
        ''',
    "experiments/conf/student/toy_student.yaml": """
        builder: toy_student
        mel: {kind: toy_bands, mels: 64, hop: 1000}
        augment: {gain_p: 0.5}
        fit: {epochs: 1, batch_size: 16, learning_rate: 1e-3, weight_decay: 0, constant_until: 1, down_over: 1,
              floor: 0}
        """,
    "experiments/stages/toy_stage.py": '''
        """A stage of its own."""
        import logging
        from experiments.settings.shared import Settings
        from experiments.settings.stages import ToyStage

        def run(settings: Settings) -> None:
            logging.getLogger(__name__).info("the word is %s", settings.of(ToyStage).word)
        ''',
}
# What is written into files that are there: an augmentation's class and its setting, a stage's declaration.
CHANGED = {
    "data/augmentation.py": [
        (
            "    crop: bool = setting(",
            '    gain_p: float = setting(0.0, "probability that a clip is made louder", "toy gain")\n',
        )
    ],
    "data/augmenter.py": [
        (
            "STEPS: tuple",
            "class Gain(Step):\n"
            '    """Make some clips louder."""\n\n'
            '    switch, reads = "gain_p", ("gain_p",)\n\n'
            "    def augment_waves(self, sounds, generator):\n"
            "        louder = _uniform(len(sounds.waves), generator) < self.settings.gain_p\n"
            "        return replace(sounds, waves=sounds.waves * (1 + louder[:, None].float()))\n\n\n",
        ),
        ("    Roll,\n", "    Gain,\n"),
    ],
    "experiments/settings/stages.py": [
        (
            "@dataclass(frozen=True)\nclass Stage:",
            "@dataclass(frozen=True, kw_only=True)\n"
            "class ToyStage:\n"
            '    """Of the toy stage."""\n\n'
            '    word: str = setting("that it says", default="nothing")\n\n\n',
        ),
        ('    "data": Stage(', '    "toy": Stage("say a word", f"{_S}.toy_stage", ToyStage, input="toy.word"),\n'),
    ],
}
ABOUT = {
    "title": "Toys",
    "authors": [
        {
            "lastname": "Doe",
            "firstname": "Jo",
            "email": "jo@uni.org",
            "corresponding": True,
            "affiliation": {"institute": "University of X", "abbreviation": "UNIX"},
        }
    ],
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source with one of everything added."""
    folder = tmp_path_factory.mktemp("added")
    for package in ("data", "teachers", "students", "experiments"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in NEW.items():
        lines = text.splitlines()[1:]
        indent = len(lines[0]) - len(lines[0].lstrip())
        (folder / name).write_text("\n".join(line[indent:] for line in lines) + "\n")
    for name, changes in CHANGED.items():
        text = (folder / name).read_text()
        for place, addition in changes:
            assert text.count(place) == 1, (name, place)
            text = text.replace(place, addition + place)
        (folder / name).write_text(text)
    return folder


def command(tree: Path, *arguments: str) -> str:
    settings = {**os.environ, "PYTHONPATH": str(tree), "WANDB_MODE": "offline", "COLUMNS": "120"}
    words = [sys.executable, "-m", "experiments.run", *arguments]
    result = subprocess.run(words, cwd=tree, env=settings, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_stage_is_a_module_and_a_declaration(tree: Path) -> None:
    """Oracle: what it says; its setting and its input in the help."""
    assert "the word is hello" in command(tree, "toy", "hello")
    assert "that it says" in command(tree, "toy", "--help")
    assert "say a word" in command(tree, "--help")


@pytest.mark.slow  # a whole path, from packing to a submission, in processes of their own: a minute
def test_everything_that_is_added_is_trained_reported_and_declared(tree: Path) -> None:
    """Oracle: the words that the added modules declare: in the report pages, in the description of the submission and
    in the text of its technical report; the reader's own argument leaves one clip out."""
    added = ["data=toy", "teacher=toy_teacher", "student=toy_student", "name=toys", "tracking=none"]
    added += ["quantize.clips=16"]
    command(tree, "all", *added)
    assert len(list(tree.glob("cache/toy-*/waves_32000.h5"))) == 1
    command(tree, "energy", *added, "energy.seconds=0.2")
    (tree / "about.yaml").write_text(yaml.safe_dump(ABOUT))
    sounds = tree / "sounds"
    sounds.mkdir()
    for number, path in enumerate(sorted((tree / "cache/toy/audio").glob("*.wav"))[:3]):
        shutil.copy(path, sounds / f"{number}.wav")
    command(tree, "submit", *added, "submit.about=about.yaml", f"submit.evaluation={sounds}", "submit.partial=true")
    shutil.unpack_archive(tree / "runs/submit/toys/submission.zip", tree / "unpacked")
    (meta,) = (tree / "unpacked").rglob("*.meta.yaml")
    description = yaml.safe_load(meta.read_text())["system"]
    assert "toy gain" in description["description"]["data_augmentation"]
    assert description["description"]["machine_learning_method"] == "CNN"
    assert description["description"]["acoustic_features"] == "toy bands"
    assert {"Toy sounds", "Toy recordings"} <= {dataset["name"] for dataset in description["external_datasets"]}
    (report,) = (tree / "unpacked").rglob("*.pdf")
    text = " ".join(page.extract_text() for page in PdfReader(report).pages).replace("\n", " ")
    for words in ("A toy teacher, 2001", "A toy student, 2002", "Toy bands, 1998", "Recordings of nowhere, 1999"):
        assert words in text
    assert "Toy recordings of nowhere" in text
    for stage in ("teacher", "student", "quantize"):
        page = (tree / f"runs/{stage}/toys/report.html").read_text()
        assert "toy" in page
        assert "gain_p" in page
