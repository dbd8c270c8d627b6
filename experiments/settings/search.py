"""The settings of the search stage: which networks there are, what they may cost, and how many are trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from data.errors import UserError
from data.ranges import Fraction, Range
from data.settings import setting

Most = Annotated[int, Range(1, 1 << 50)]
SEARCH_READS = (  # beside its own settings: how a student is trained, made integers, and ranked
    *("student", "data", "cache", "name", "runs", "force", "fabric", "seed", "epochs", "distill", "logits", "limits"),
    *("quantize.clips", "quantize.percentile", "rank.year", "rank.set", "rank.systems"),
)
COSTS = ("bytes", "macs", "ram", "flash", "cycles", "millijoules")


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """What a network of the search may cost at most; null: any."""

    bytes: Most | None = setting("of parameters, as the file of integers stores them", default=None)
    macs: Most | None = setting("multiply-accumulates of one clip", default=None)
    ram: Most | None = setting("bytes on a device, without the stack, by the estimate", default=None)
    flash: Most | None = setting("bytes on a device, by the estimate", default=None)
    cycles: Most | None = setting("of one clip on a Cortex-M4, by the estimate", default=None)
    millijoules: Annotated[float, Range(0, 1e12, above=True)] | None = setting(
        "of one clip on a Cortex-M4, by the estimate", default=None
    )


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which networks there are, what they may cost, and how many of them are trained how long."""

    arguments: dict[str, Any] = setting(
        "values of student.arguments that are tried, by name, {base_channels: [8, 16]}; null: as they are",
        default_factory=dict,
    )
    mel: dict[str, Any] = setting(
        "values of student.mel that are tried, by name, {mels: [64, 128]}; null: as they are", default_factory=dict
    )
    bits: Sequence[Literal[8, 4]] = setting(
        "of weights, that each trained network is rounded to", suggested=("[8,4]", "[8]"), default_factory=lambda: [8]
    )
    budget: Ceilings = setting("", default_factory=Ceilings)
    costs: Sequence[Literal["bytes", "macs", "ram", "flash", "cycles", "millijoules"]] = setting(
        "that count beside accuracy, by the names of search.budget",
        suggested=("[bytes,macs]", "[cycles,ram]"),
        default_factory=lambda: ["bytes", "macs"],
    )
    ranges: Annotated[int, Range(1, 1000)] = setting(
        "of cost, from the cheapest to the dearest networks, which are searched each by itself", default=4
    )
    candidates: Annotated[int, Range(1, 100_000)] = setting(
        "networks of each range that are trained; the best third goes on to three times the epochs, until one is left",
        default=9,
    )
    share: Fraction = setting(
        "of the recipe's epochs, which the longest trainings have, unless epochs are given", default=0.2
    )
    seeds: Annotated[int, Range(1, 1000)] = setting("trainings of the network that is left of each range", default=2)
    control: bool = setting("whether as many epochs go into networks that are drawn at random", default=True)
    nanojoules: Annotated[float, Range(0, 1e6, above=True)] = setting(
        "of one cycle of a Cortex-M4, from which energies are estimated", default=0.36
    )
    metered: Annotated[float, Range(0, 86_400)] = setting(
        "seconds for which each of the four systems that are picked is metered at least; 0: they are not", default=5.0
    )
    trial: str | None = setting("a row of trials.csv, which alone is computed; null: the whole search", default=None)

    def __post_init__(self) -> None:
        for name in ("bits", "costs"):
            values = getattr(self, name)
            if not values or len({*values}) < len(values):
                raise UserError(f"search.{name}={list(values)} must name each once, and one at least")
        for name, group in (("arguments", self.arguments), ("mel", self.mel)):
            if wrong := [key for key, values in group.items() if values is not None and not _is_list(values)]:
                raise UserError(
                    f"search.{name}.{wrong[0]}={group[wrong[0]]} must be a list of the values that are tried, each once"
                )


def _is_list(values: object) -> bool:
    return isinstance(values, list | tuple) and bool(values) and len({*map(str, values)}) == len(values)
