"""The settings of the stages that use a finished model: what is metered, predicted, made into C, or shown."""

from dataclasses import dataclass
from typing import Annotated, Literal

from data.ranges import Range
from data.settings import setting


@dataclass(frozen=True, kw_only=True)
class Energy:
    """How inference is metered."""

    seconds: Annotated[float, Range(0, 86_400, above=True)] = setting(
        "that model and baseline are each metered, in whole passes", default=30.0
    )
    kernels: str = setting(
        "device, as a microcontroller; host, as a PC (XNNPACK)", choices=("device", "host"), default="device"
    )
    baseline: str | None = setting(
        "run of student=baseline distill=none, whose training is stated beside the model's; null: the only one",
        newer=True,
        default=None,
    )


@dataclass(frozen=True, kw_only=True)
class Smoothed:
    """How the answers to seconds that follow each other are averaged."""

    smoothing: Literal[1, 2, 4, 8, 16, 32] = setting(
        "N: each second counts 1/N in a moving average over its file; 1: none", choices=(1, 2, 4, 8, 16, 32), default=1
    )

    @property
    def shift(self) -> int:
        """The power of two that `smoothing` is."""
        return self.smoothing.bit_length() - 1


@dataclass(frozen=True, kw_only=True)
class Predict(Smoothed):
    """Which sounds are classified."""

    audio: str | None = setting(
        "a sound file of any length, rate and format, or a folder of them", is_path=True, default=None
    )
    out: str | None = setting(
        "the table; null: predictions.csv in runs/predict/<name>, or <sounds> without name=",
        is_path=True,
        default=None,
    )
    device: str | None = setting(
        "that recorded all sounds, if the model has tensors of devices; null: the general network", default=None
    )


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """Which network becomes C, and how large it may be."""

    device: str | None = setting(
        "recording device whose tensors the C has, if the model has some of its own; null: the general network",
        default=None,
    )
    ram: Annotated[int, Range(1, 1 << 31)] | None = setting(
        "bytes of RAM that the C may need, without the stack; null: any", default=None
    )


@dataclass(frozen=True, kw_only=True)
class Demo(Smoothed):
    """The local page."""

    port: Annotated[int, Range(0, 65_535)] = setting(
        "of the page, on this machine alone; 0: any that is free", default=8000
    )
