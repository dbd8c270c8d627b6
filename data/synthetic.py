"""A miniature data set in the official layout, made from a seed: what runs when nobody has the real one.

Each of ten scenes is a coloured noise with passing sounds. Two scenes share each noise colour and, on average over
time, the same spectrum: in one the passing sounds glide up, in the other down. A classifier must therefore look at
the course of time; a linear one on the mean log-mel cannot get much above one half. Level, tilt, density and pitch
vary from recording to recording as much as between neighbouring colours.

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
    colour, rising = divmod(SCENES.index(scene), 2)
    length = PARTS * RATE
    # Neighbouring colours are 0.25 apart and each recording strays by up to 0.2: they overlap.
    tilt = 0.35 + 0.25 * (colour - 2) / 2 + rng.uniform(-0.2, 0.2)
    noise = lfilter([1], [1, -np.clip(tilt, -0.95, 0.95)], rng.standard_normal(length))
    noise /= noise.std()
    resonance = 400 * 2 ** (colour + rng.uniform(-0.45, 0.45))
    hum = lfilter([1], _resonator(resonance, width=0.3), rng.standard_normal(length))
    sound = noise + rng.uniform(0.5, 1.2) * hum / hum.std()
    for start in np.arange(rng.uniform(0, 0.4), PARTS - 1, rng.uniform(0.3, 0.5)):
        glide = _glide(rng, rising=bool(rising))
        begin = int((start + rng.uniform(0, 0.1)) * RATE)
        sound[begin : begin + len(glide)] += rng.uniform(1.5, 3.0) * glide
    level = 10 ** rng.uniform(-2.0, -0.5)
    return sound * level / np.abs(sound).max()


def _resonator(frequency: float, width: float) -> list[float]:
    radius = np.exp(-np.pi * width * frequency / RATE)
    return [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2]


def _glide(rng: np.random.Generator, *, rising: bool) -> np.ndarray:
    """A tone of 0.5-0.8 s that moves over some two thirds of an octave; time-reversed when falling, so both share one
    spectrum."""
    length = int(rng.uniform(0.5, 0.8) * RATE)
    octaves = np.linspace(0, rng.uniform(0.5, 0.9), length)
    phase = np.cumsum(rng.uniform(500, 2500) * 2**octaves) * 2 * np.pi / RATE
    tone = np.hanning(length) * sum(np.sin(k * phase) / k for k in (1, 2, 3))
    return tone if rising else tone[::-1]


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
