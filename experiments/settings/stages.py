"""The stages of the command line: one declaration each, and the settings that one stage alone reads.

Those of the stages that use a finished model are in models.py.

Adding a stage is adding a module to experiments/stages/, with a function `run(settings)`, and a declaration here. A
module may also have `check(settings)`, which finds what is wrong with the settings of the stage without reading a data
set: the checks of all stages of a command run before the first stage starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from data.ranges import Weight
from data.settings import setting
from experiments.settings.models import Demo, Deploy, Energy, Predict
from experiments.settings.parts import Paths, Quantize, Recipe
from experiments.settings.search import SEARCH_READS, Search


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """How several teachers' logits become one; see teachers/ensemble.py."""

    mean: str = setting("what is averaged", choices=("logits", "probabilities"), default="logits")
    weights: Literal["equal", "fit"] | Sequence[Weight] = setting(
        "equal, fit (lowest log loss on the validation clips), or a list", suggested=("equal", "fit"), default="equal"
    )
    temperature: bool = setting("divide each member's logits by the temperature that fits best", default=False)


OF_DEVICE = Recipe(  # of the tensors of one device, which begin as those of all
    epochs=40,
    batch_size=32,
    learning_rate=1e-4,
    weight_decay=0,
    warm_up=0,
    constant_until=10,
    down_over=30,
    floor=0.01,
    keep="last",
)


@dataclass(frozen=True, kw_only=True)
class Specialize:
    """Which tensors of a student each recording device has of its own, and how they are trained."""

    layers: str = setting(
        "norm: every BatchNorm; or classifier: the last layer", choices=("norm", "classifier"), default="norm"
    )
    fit: Recipe = setting("", default_factory=lambda: OF_DEVICE)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Which table of predictions is scored."""

    predictions: str | None = setting(
        "columns filename and one of probabilities for each class", is_path=True, default=None
    )
    by_device: bool = setting("whether log losses by scene and device are printed, too", default=False)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Which runs are averaged over seeds."""

    runs: Paths = setting(
        "run folders: a path, a pattern like runs/student/mine-*, or a list; null: those of this command's own stages",
        is_path=True,
        default=None,
    )
    by_device: bool = setting("whether log losses by scene and device are printed, too", default=False)
    reference: str | None = setting("what the others are compared with, or a part of its name", default=None)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Which runs are shown side by side."""

    runs: Paths = setting("run folders, as summary.runs; null: all runs of this name", is_path=True, default=None)
    embed: bool = setting(
        "put the sounds of mistakes into the page, to pass it on: mind the licence of the data",
        default=False,
    )


@dataclass(frozen=True, kw_only=True)
class Rank:
    """Which systems are ranked."""

    year: Literal[2022, 2023, 2024, 2025, "all"] = setting(
        "the challenge whose rule ranks whose systems; all: those of all years by the formula of 2023",
        choices=(2022, 2023, 2024, 2025, "all"),
        default=2023,
    )
    set: str | None = setting(
        "only published accuracies of this set; null: of evaluation where it is known",
        choices=("development", "evaluation"),
        default=None,
    )
    systems: str | None = setting("a table of systems; null: the published ones", is_path=True, default=None)
    runs: Paths = setting(
        "run folders of your own systems (2024: of one, trained on the five subsets); null: runs/quantize/<name>",
        is_path=True,
        default=None,
    )


@dataclass(frozen=True, kw_only=True)
class Submit:
    """What goes into a challenge package."""

    year: Literal[2023, 2024, 2025] = setting("whose task it is for", choices=(2023, 2024, 2025), default=2023)
    evaluation: str | None = setting(
        "folder of the sound files without labels; null: where data.part=evaluation was fetched to, below cache",
        is_path=True,
        default=None,
    )
    partial: bool = setting(
        "a package of other clips than the whole evaluation set is made: a rehearsal, which the organisers refuse",
        newer=True,
        default=False,
    )
    runs: Paths = setting(
        "one to four runs of the quantize stage, or, for floats of 32 bits, of the student stage (2024: five of each "
        "system); null: runs/quantize/<name>",
        is_path=True,
        default=None,
    )
    surname: str | None = setting("of the corresponding author, in the package's file names", default=None)
    institute: str | None = setting("abbreviation, in the package's file names", default=None)
    about: str | None = setting(
        "YAML file with what no run can know: authors, title, abstract, ...", is_path=True, default=None
    )


@dataclass(frozen=True, kw_only=True)
class Validate:
    """Which package is checked."""

    package: str | None = setting(
        "a challenge package, FILE.zip, a table of one, FILE.csv, or the folder of an inference package",
        is_path=True,
        default=None,
    )


@dataclass(frozen=True)
class Stage:
    """A stage of the command line.

    Attributes:
        about: one line of --help.
        module: with `run(settings)`; imported when the stage runs.
        own: the settings that it declares for itself, under the stage's name; None: none.
        reads: the other settings that it reads: groups (data, fabric), parts of them (student.augment) and single keys.
        input: the setting that a bare word of the command line gives, as in `scenelet score FILE`.
        shared: whether it runs in every process of several, or in the first one only.
        into: the stages into whose folders of runs it writes, if not into one of its own.
    """

    about: str
    module: str
    own: type | None = None
    reads: tuple[str, ...] = ()
    input: str | None = None
    shared: bool = False
    into: tuple[str, ...] = ()


_S = "experiments.stages"
_NAMED = ("name", "runs")
_RECORDED = (*_NAMED, "force", "tracking")
_CLIPS = ("data", "cache")
_TRAINING = (*_CLIPS, *_RECORDED, "fabric", "seed", "epochs")
STAGES: Mapping[str, Stage] = {
    "data": Stage("fetch, check and pack a data set once", f"{_S}.data", reads=_CLIPS),
    "teacher": Stage(
        "train a teacher, write its logits",
        f"{_S}.teacher",
        reads=("teacher", *_TRAINING, "refit", "only", "checkpoint"),
        shared=True,
    ),
    "ensemble": Stage(
        "make one logits file of several, and compare them", f"{_S}.ensemble", Ensemble, ("logits", *_CLIPS, *_RECORDED)
    ),
    "student": Stage(
        "train a student on logits of the same name, or logits=[FILES]",
        f"{_S}.student",
        reads=("student", *_TRAINING, "refit", "distill", "logits", "limits"),
        shared=True,
    ),
    "import": Stage(
        "take over a checkpoint or logits of public code bases",
        f"{_S}.importing",
        reads=("source", "student.mel", *_CLIPS, *_RECORDED, "fabric"),
        input="source.checkpoint",
        into=("student", "teacher"),
    ),
    "quantize": Stage(
        "make the student a network of integers and score that file",
        f"{_S}.quantize",
        Quantize,
        ("checkpoint", *_TRAINING, "distill", "logits", "student.augment", "student.distill"),
    ),
    "specialize": Stage(
        "give a trained student tensors of each recording device",
        f"{_S}.specialize",
        Specialize,
        ("checkpoint", *_TRAINING, "distill", "logits", "student.augment", "student.distill", "limits"),
        shared=True,
    ),
    "search": Stage("find the students that are best for what they cost", f"{_S}.search", Search, SEARCH_READS),
    "score": Stage(
        "official metrics of any table of predictions", f"{_S}.score", Score, (*_CLIPS, *_RECORDED), "score.predictions"
    ),
    "rank": Stage("rank systems by the rule of a year's challenge", f"{_S}.rank", Rank, _NAMED),
    "deploy": Stage(
        "write C for devices, from samples to the scene, and its cost", f"{_S}.deploy", Deploy, ("model", *_RECORDED)
    ),
    "energy": Stage(
        "meter inference, the model's and the baseline's", f"{_S}.energy", Energy, ("model", *_CLIPS, *_RECORDED)
    ),
    "count": Stage(
        "what a model file costs, and which limits it keeps", f"{_S}.count", reads=("model", *_NAMED), input="model"
    ),
    "summary": Stage("average runs over seeds, and compare settings pair by pair", f"{_S}.summary", Summary, _NAMED),
    "report": Stage("runs side by side on a page, with plots", f"{_S}.report", Report, (*_NAMED, "tracking")),
    "workspace": Stage("upload a layout for Weights & Biases", f"{_S}.workspace", reads=("tracking",)),
    "predict": Stage(
        "classify sound files, second by second", f"{_S}.predict", Predict, ("model", *_NAMED, "force"), "predict.audio"
    ),
    "demo": Stage(
        "a page on this machine that classifies a file or the microphone", f"{_S}.demo", Demo, ("model", *_NAMED)
    ),
    "submit": Stage("pack trained students for the challenge", f"{_S}.submit", Submit, (*_RECORDED, "cache")),
    "validate": Stage(
        "check a challenge package, and list every defect",
        f"{_S}.validate",
        Validate,
        ("submit.evaluation", "submit.year"),
        "validate.package",
    ),
}
ALL = ("data", "teacher", "student", "quantize")  # the steps of stage=all
