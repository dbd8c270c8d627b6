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

RATE, FFT, BANDS = 32_000, 2048, 96  # Hz, samples, and the log-mel's height: of what is drawn
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
    import torch
    from matplotlib.image import imsave

    from data.front_ends.log_mel import LogMel

    decoded = decode([file], RATE, seconds)
    if not decoded.read:
        return None
    wave = torch.from_numpy(decoded.wave[0].astype(np.float32) * decoded.scale[0])
    with torch.no_grad():
        mel = LogMel(sample_rate=RATE, window=FFT, fft=FFT, mels=BANDS)(wave[None])[0, 0].numpy()
    out = io.BytesIO()
    imsave(out, mel, cmap="magma", origin="lower", format="png", pil_kwargs={"compress_level": 1})
    return out.getvalue()
