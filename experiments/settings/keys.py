"""What a command line is told of single settings: which ones a stage does not read because of another one, and which
had another name."""

from collections.abc import Mapping
from types import MappingProxyType

from data.records import EVALUATION

_OF_LOGITS = (
    *("logits", "student.distill.temperature", "student.distill.hard_weight", "student.distill.weights"),
    *("student.distill.shifts", "student.distill.similarity", "student.distill.features", "student.distill.layer"),
)
# Stage, and a setting with the value at which the stage reads no more of the others; whether that is its default.
IDLE: Mapping[tuple[str, str, str, bool], tuple[str, ...]] = MappingProxyType(
    {
        ("data", "data.part", EVALUATION, False): (
            *("data.subset", "data.subset_lists", "data.impulses", "data.validation_fraction", "data.folds"),
            *("data.fold", "data.seed", "data.sample_rate", "data.clip_seconds", "data.residency"),
        ),
        ("teacher", "only", "logits", False): ("epochs", "refit", "teacher.fit", "teacher.folds", "teacher.start"),
        ("student", "distill", "none", False): _OF_LOGITS,
        ("specialize", "distill", "none", False): _OF_LOGITS,
        ("quantize", "quantize.method", "ptq", True): (
            *("quantize.fit", "quantize.frozen", "quantize.learns_from", "epochs", "distill", "logits", "fabric"),
            *("student.augment", "student.distill"),
        ),
    }
)
RENAMED: Mapping[str, str] = MappingProxyType(  # spellings of earlier versions, which still work
    {
        "predictions": "score.predictions",
        "package": "validate.package",
        "systems": "rank.systems",
        "audio": "predict.audio",
    }
)
