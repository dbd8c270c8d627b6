"""The most confident mistakes of a run as sounds that can be heard on a page, each with its log-mel spectrogram.

Conventions: a sound is a file of the data set, and the page has its address; only where it is asked for has the page
the file itself, which is then passed on with the page. A file that is gone, or is no sound, has neither.
"""

import io
import math
from pathlib import Path

import numpy as np

from data.audio import decode
from experiments.report.numbers import percent
from experiments.report.page import Sound
from experiments.runs.formats import Row
from experiments.runs.reader import RunFiles

RATE, FFT, HOP, BANDS = 32_000, 2048, 500, 96  # Hz, samples, samples, and the log-mel's height: of what is drawn
FLOOR = 1e-5  # of a band's power
SECONDS = 1.0  # of a clip, if the run does not say
SHORTEST, LONGEST = 0.2, 30.0  # seconds that are drawn


def sounds_of(run: RunFiles) -> list[Sound]:
    """The mistakes of a run, the most confident first."""
    asked = run.data.get("clip_seconds")
    seconds = float(asked) if isinstance(asked, int | float) and 0 < asked < math.inf else SECONDS
    return [_sound(mistake, run.folder, seconds) for mistake in run.mistakes]


def _sound(mistake: Row, folder: Path, seconds: float) -> Sound:
    words = f"{mistake['scene']}, answered {mistake['answer']} with {percent(mistake['probability'])}"
    file = folder.resolve() / mistake["sound"]
    picture = _picture(file, min(max(seconds, SHORTEST), LONGEST)) if file.is_file() else None
    return Sound(words.replace("_", " "), mistake["filename"], file if picture else None, seconds, picture or b"")


def _picture(file: Path, seconds: float) -> bytes | None:
    """The log-mel of the beginning of a sound file as PNG, low frequencies below; None if it cannot be read."""
    from matplotlib.image import imsave

    decoded = decode([file], RATE, seconds)
    if not decoded.read:
        return None
    mel, out = log_mel(decoded.wave[0] * float(decoded.scale[0])), io.BytesIO()
    imsave(out, mel, cmap="magma", origin="lower", format="png", pil_kwargs={"compress_level": 1})
    return out.getvalue()


def log_mel(wave: np.ndarray) -> np.ndarray:
    """A log-mel to look at, (BANDS, frames), low bands first, of samples at RATE. Those that networks are given are in
    data/front_ends, and load torch, which a stage that only reads results need not wait for.

    Bands are triangles in Hz, whose corners are equally far apart on HTK's scale, 2595 log10(1 + f / 700).
    """
    padded, window = np.pad(wave, FFT // 2, mode="reflect"), np.hanning(FFT + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP] * window
    corners = 700 * (10 ** np.linspace(0, np.log10(1 + RATE / 2 / 700), BANDS + 2) - 1)
    bins, widths = np.fft.rfftfreq(FFT, 1 / RATE)[:, None], np.diff(corners)
    weights = np.minimum((bins - corners[:-2]) / widths[:-1], (corners[2:] - bins) / widths[1:]).clip(0)
    return np.log((np.abs(np.fft.rfft(frames)) ** 2 @ weights).T + FLOOR)
