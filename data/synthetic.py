"""A miniature data set in the official layout, made from a seed: what runs when nobody has the real one.

Each of ten scenes is a coloured noise that swells and fades, with its own kind of passing sounds: none, a hum, clicks,
short tones or glides. Two scenes share each kind and, on average over time, the same log spectrum: one beats slowly,
the other fast. A classifier must therefore look at the course of time; a linear one on the mean log-mel cannot get much
above one half. Level, tilt, loudness and beat vary from recording to recording up to the neighbouring scene's.

Conventions: layout, names and formats as TAU22 (44.1 kHz, 24 bit, meta.csv, evaluation_setup/); 10-second recordings
of which some parts are kept; devices as there: a is clean, the others are a fixed impulse response and compression
each, s4-s6 in test only. The audio is nobody's recording: it may be shared freely.
"""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from filelock import FileLock
from scipy.signal import fftconvolve, lfilter

from data.scenes import DEVICE_GROUPS, DEVICES, REFERENCE_DEVICE, SCENES
from data.tau22 import META, META_COLUMNS, TEST, TRAIN

RATE = 44_100
PARTS = 10
CITIES = ("barcelona", "helsinki", "lisbon", "london")
TRAIN_RECORDINGS = 8  # per scene; every city twice
TEST_RECORDINGS = 4  # per scene; other locations of the same cities
TRAIN_PARTS = 4  # kept of the ten of a device-a recording
SLOW, FAST = (1.5, 4.0), (4.0, 7.0)  # beats, Hz: the ranges touch
LOUDNESS = (0.3, 1.2)  # of events, relative to the noise
IMPULSES = 16
IMPULSE_FOLDER = "impulses"

log = logging.getLogger(__name__)


def write_synthetic(root: str | Path, *, seed: int = 0) -> Path:
    """Write the miniature below `root`, unless it is there already, and return root.

    About 500 clips: 10 scenes x 8 train recordings (device a, 4 parts; one of b, c, s1-s3, 1 part) and 4 test
    recordings (two devices each, every one of the nine in turn).
    """
    root = Path(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{root}.lock"):
        if not (root / META).exists():
            temporary = root.with_name(root.name + ".tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            log.info("writing the synthetic miniature to %s", root)
            _write(temporary, seed)
            temporary.replace(root)
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
            heard = _through(sound, device, devices)
            for part in sorted(rng.choice(PARTS, kept, replace=False)):
                name = f"audio/{scene}-{city}-{place}-{place}-{part}-{device}.wav"
                soundfile.write(root / name, heard[part * RATE : (part + 1) * RATE], RATE, "PCM_24")
                rows[split].append((name, scene, f"{city}-{place}", device))
    table = pd.DataFrame(rows["train"] + rows["test"], columns=list(META_COLUMNS))
    table.to_csv(root / META, sep="\t", index=False)
    for split, name in (("train", TRAIN), ("test", TEST)):
        lists = pd.DataFrame([row[:2] for row in rows[split]], columns=["filename", "scene_label"])
        lists.to_csv(root / name, sep="\t", index=False)


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
    texture, fast = divmod(SCENES.index(scene), 2)
    length = PARTS * RATE
    noise = lfilter([1], [1, -(0.35 + 0.1 * (texture - 2) + rng.uniform(-0.2, 0.2))], rng.standard_normal(length))
    sound = noise / noise.std()
    for start, event in _events(texture, rng):
        sound[start : start + len(event)] += event[: length - start]
    decibels = rng.uniform(6, 10) * np.sin(_beats(rng, *(FAST if fast else SLOW)))
    sound *= 10 ** (decibels / 20)
    level = 10 ** rng.uniform(-2.0, -0.5)
    return sound * level / np.abs(sound).max()


def _events(texture: int, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, samples) of what passes: nothing, a hum, clicks, short tones or long glides."""
    rate, seconds = ((0, 0), (0.1, PARTS), (8, 0.01), (8, 0.12), (3, 0.6))[texture]  # events a second, length
    for _ in range(rng.poisson(rate * PARTS) if rate >= 1 else round(rate * PARTS)):
        duration = seconds * (1 if texture == 1 else rng.uniform(0.6, 1.4))
        length = int(duration * RATE)
        start = 0 if texture == 1 else int(rng.uniform(0, PARTS - duration) * RATE)
        strength = rng.uniform(*LOUDNESS)
        if texture == 2:
            yield start, 4 * strength * np.hanning(length) * rng.standard_normal(length)
            continue
        low, octaves = (rng.uniform(100, 300), 0.0) if texture == 1 else (rng.uniform(400, 4000), 0.0)
        if texture == 4:
            octaves = rng.choice([-1, 1]) * rng.uniform(0.5, 1.0)
        phase = 2 * np.pi * np.cumsum(low * 2 ** np.linspace(0, octaves, length)) / RATE
        tone = sum(np.sin(k * phase) for k in range(1, 12 if texture == 1 else 3))
        yield start, strength * tone * (1 if texture == 1 else np.hanning(length))


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
    number = DEVICES.index(device)
    heard = fftconvolve(sound, responses[number])[: len(sound)]
    peak = np.abs(heard).max()
    compressed = np.sign(heard) * (np.abs(heard) / peak) ** (1 - 0.04 * number)
    return compressed * min(0.99, peak)
