"""A miniature data set in the official layout, made from a seed, for trying everything without the real one.

Each of ten scenes is a coloured noise that swells and fades, with its own kind of passing sounds: none, a hum, clicks,
short tones or glides. Two scenes share each kind and, on average over time, the same log spectrum: one beats slowly,
the other fast. A classifier must therefore use the course of time; a linear one on the mean log-mel cannot get much
above one half. Level, tilt, loudness and beat vary from recording to recording up to the neighbouring scene's.

Conventions: layout, names and formats as TAU22 (44.1 kHz, 24 bit, meta.csv, evaluation_setup/); 10-second recordings
of which some parts are kept; devices as there: a is clean, the others are a fixed impulse response and compression
each, s4-s6 in test only. The audio is computed, not recorded: it may be shared freely.
"""

import io
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from data.errors import UserError
from data.files import cannot_write
from data.locks import locked
from data.official_layout import META_COLUMNS, WHOLE, read_official
from data.readers import Reader, Settings
from data.records import META, TEST, TRAIN
from data.scenes import DEVICE_GROUPS, DEVICES, REFERENCE_DEVICE, SCENES, ClipSet
from data.tables import write_table

VERSION = 1  # counts changes of the sounds; part of the default folder's name
RATE = 44_100
PARTS = 10
CITIES = ("barcelona", "helsinki", "lisbon", "london")
TRAIN_RECORDINGS = 8  # per scene; every city twice
TEST_RECORDINGS = 4  # per scene; other locations of the same cities
TRAIN_PARTS = 4  # kept of the ten of a device-a recording
ELSEWHERE = "choose another folder with cache=... or data.root=..."
SLOW, FAST = (1.5, 4.0), (4.0, 7.0)  # beats, Hz: the ranges touch


class Texture(NamedTuple):
    """The events of a scene: how many a second, their length in s, pitch in Hz (none: noise), harmonics, glide."""

    rate: float
    seconds: float = 1.0
    pitch: tuple[float, float] | None = None
    harmonics: int = 1
    octaves: float = 0.0


TEXTURES = (
    Texture(rate=0),
    Texture(rate=1, seconds=3, pitch=(100, 300), harmonics=11),
    Texture(rate=8, seconds=0.01),
    Texture(rate=8, seconds=0.12, pitch=(400, 4000), harmonics=2),
    Texture(rate=3, seconds=0.6, pitch=(400, 4000), harmonics=2, octaves=1.0),
)
LOUDNESS = (0.3, 1.2)  # of events, relative to the noise
IMPULSES = 16
IMPULSE_FOLDER = "impulses"

log = logging.getLogger(__name__)


def read_synthetic(
    root: str | Path,
    *,
    subset: int = WHOLE,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
) -> ClipSet:
    """Write the miniature below `root`, unless it is there already, and read it; arguments as of read_official."""
    return read_official(
        write_synthetic(root, seed=seed),
        name="synthetic",
        subset=subset,
        validation_fraction=validation_fraction,
        folds=folds,
        fold=fold,
        seed=seed,
    )


def write_synthetic(root: str | Path, *, seed: int = 0) -> Path:
    """Write the miniature below `root`, unless it is there already, and return root.

    About 500 clips: 10 scenes x 8 train recordings (device a, 4 parts; one of b, c, s1-s3, 1 part) and 4 test
    recordings (two devices each, every one of the nine in turn).
    """
    root = Path(root)
    if (root / META).exists():
        return root
    with locked(Path(f"{root}.lock"), f"writing {root}", otherwise="stop it", elsewhere=ELSEWHERE, waits=True):
        if not (root / META).exists():
            if root.exists() and any(root.iterdir()):
                raise UserError(f"data.root={root} is not empty and has no {META}: choose a new folder, or data=tau22")
            log.info("writing the synthetic miniature to %s", root)
            for orphan in root.parent.glob(f"{root.name}.*.tmp"):  # of a process that was killed: we hold the lock
                shutil.rmtree(orphan)
            try:
                with tempfile.TemporaryDirectory(".tmp", f"{root.name}.", root.parent) as temporary:
                    _write(Path(temporary) / root.name, seed)
                    (Path(temporary) / root.name).replace(root)
            except (OSError, soundfile.SoundFileError, AssertionError) as error:  # the latter: soundfile wrote less
                raise cannot_write(root, error, ELSEWHERE) from error
    return root


def _write(root: Path, seed: int) -> None:
    for folder in ("audio", "evaluation_setup", IMPULSE_FOLDER):
        (root / folder).mkdir(parents=True)
    rows: dict[str, list[tuple[str, ...]]] = {"train": [], "test": []}
    # One generator a purpose: the devices stay the same whatever the scenes become.
    devices = _device_responses(np.random.default_rng([seed, 1]), len(DEVICES))
    extra = _device_responses(np.random.default_rng([seed, 2]), IMPULSES)
    for number, response in enumerate(extra):
        soundfile.write(root / IMPULSE_FOLDER / f"synthetic_{number:02}.wav", response, RATE, "PCM_24")
    for scene, split, index, parts in _plan():
        rng = np.random.default_rng([seed, 3, SCENES.index(scene), split == "test", index])
        sound = record(scene, rng)
        city = CITIES[index % len(CITIES)]
        place = 1000 + 100 * SCENES.index(scene) + 10 * (split == "test") + index
        for device, kept in parts.items():
            recorded = _through(sound, device, devices)
            for part in sorted(rng.choice(PARTS, kept, replace=False)):
                name = f"audio/{scene}-{city}-{place}-{place}-{part}-{device}.wav"
                soundfile.write(root / name, recorded[part * RATE : (part + 1) * RATE], RATE, "PCM_24")
                rows[split].append((name, scene, f"{city}-{place}", device))
    for name, lines, columns in (
        (META, rows["train"] + rows["test"], META_COLUMNS),
        (TRAIN, rows["train"], META_COLUMNS[:2]),
        (TEST, rows["test"], META_COLUMNS[:2]),
    ):
        write_table(root / name, {column: [line[place] for line in lines] for place, column in enumerate(columns)})


def _plan() -> Iterator[tuple[str, str, int, dict[str, int]]]:
    """(scene, split, number of the recording, device -> parts to keep) of every recording."""
    in_train = [d for d in DEVICE_GROUPS["real"] + DEVICE_GROUPS["seen"] if d != REFERENCE_DEVICE]
    for s, scene in enumerate(SCENES):
        for index in range(TRAIN_RECORDINGS):
            yield scene, "train", index, {REFERENCE_DEVICE: TRAIN_PARTS, in_train[(s + index) % len(in_train)]: 1}
        for index in range(TEST_RECORDINGS):
            first = (s * TEST_RECORDINGS + index) * 3 % len(DEVICES)
            yield scene, "test", index, {DEVICES[(first + i) % len(DEVICES)]: 1 for i in range(3)}


def record(scene: str, rng: np.random.Generator) -> np.ndarray:
    """Ten seconds of a scene: float64 of shape (10 * 44100,), peak below 1."""
    from scipy.signal import lfilter  # takes half a second to import, which only writing is worth

    number, fast = divmod(SCENES.index(scene), 2)
    length = PARTS * RATE
    noise = lfilter([1], [1, -(0.35 + 0.1 * (number - 2) + rng.uniform(-0.2, 0.2))], rng.standard_normal(length))
    sound = noise / noise.std()
    for start, event in _events(TEXTURES[number], rng):
        sound[start : start + len(event)] += event
    decibels = rng.uniform(6, 10) * np.sin(_beats(rng, *(FAST if fast else SLOW)))
    sound *= 10 ** (decibels / 20)
    level = 10 ** rng.uniform(-2.0, -0.5)
    return sound * level / np.abs(sound).max()


def wave_of(scene: str, seed: int = 0, peak: float = 0.3) -> bytes:
    """A recording of a scene with this peak, as the content of a WAV file; the same for the same seed."""
    sound, file = record(scene, np.random.default_rng([seed, 4])), io.BytesIO()
    soundfile.write(file, sound * peak / np.abs(sound).max(), RATE, "PCM_16", format="WAV")
    return file.getvalue()


def _events(texture: Texture, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, samples) of each sound that passes in ten seconds."""
    for _ in range(rng.poisson(texture.rate * PARTS)):
        length = int(rng.uniform(0.6, 1.4) * texture.seconds * RATE)
        start = int(rng.integers(0, PARTS * RATE - length))
        if texture.pitch is None:
            sound = 4 * rng.standard_normal(length)
        else:
            octaves = np.linspace(0, rng.uniform(-1, 1) * texture.octaves, length)
            phase = 2 * np.pi * np.cumsum(rng.uniform(*texture.pitch) * 2**octaves) / RATE
            sound = sum((np.sin(k * phase) for k in range(1, texture.harmonics + 1)), np.zeros(length))
        yield start, rng.uniform(*LOUDNESS) * np.hanning(length) * sound


def _beats(rng: np.random.Generator, slowest: float, fastest: float) -> np.ndarray:
    """Phase of a beat whose rate (Hz) wanders between the limits, a new value every second."""
    rates = rng.uniform(slowest, fastest, PARTS + 1)
    rate = np.interp(np.arange(PARTS * RATE) / RATE, np.arange(PARTS + 1), rates)
    return rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.cumsum(rate) / RATE


def _device_responses(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random smooth colourings: (count, 512) minimum-delay-like responses, peak 1."""
    bands = np.fft.rfftfreq(1024)
    knots = np.linspace(0, 0.5, 9)
    responses = np.empty((count, 512))
    for response in responses:
        decibels = np.interp(bands, knots, rng.uniform(-9, 9, len(knots)))
        # Minimum phase from the real cepstrum (Oppenheim & Schafer, Discrete-Time Signal Processing, ch. 12).
        cepstrum = np.fft.irfft(np.log(10 ** (decibels / 20)))
        cepstrum[1:512] *= 2
        cepstrum[513:] = 0
        response[:] = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:512]
        response /= np.abs(response).max()
    return responses


def _through(sound: np.ndarray, device: str, responses: np.ndarray) -> np.ndarray:
    """The sound as a device records it: its response, then compression (a power law of the envelope), peak kept below
    1."""
    if device == REFERENCE_DEVICE:
        return sound
    from scipy.signal import fftconvolve  # see record()

    number = DEVICES.index(device)
    filtered = fftconvolve(sound, responses[number])[: len(sound)]
    peak = np.abs(filtered).max()
    compressed = np.sign(filtered) * (np.abs(filtered) / peak) ** (1 - 0.04 * number)
    return compressed * min(0.99, peak)


def _default_root(cache: Path, settings: Settings) -> Path:
    return cache / f"synthetic-v{VERSION}-{settings.get('seed', 0)}"


SYNTHETIC = Reader(
    title="Synthetic miniature",
    licence="computed, not recorded: it may be shared freely",
    citation="",
    read=read_synthetic,
    default_root=_default_root,
    impulses=IMPULSE_FOLDER,
    is_split_by_settings=True,
    is_computed=True,
)
