"""The front end of a network whose trainer stored torchaudio's tables beside the weights: the window and the bands.

Conventions: in a file of Lightning these are `mel.1.spectrogram.window`, (window,), and `mel.1.mel_scale.fb`, (fft / 2
+ 1, bands). They say nothing of the hop.
"""

from collections.abc import Collection, Mapping

import torch

from data.errors import UserError, in_short
from data.front_ends import DEFAULT, adapted, build_front_end
from data.front_ends.torchaudio_log_mel import TorchaudioLogMel
from data.state_dicts import tensors_ending
from data.tensors import FLOATS, is_plain

KIND = "torchaudio_log_mel"
WINDOW, BANDS = "spectrogram.window", "mel_scale.fb"
TOLERANCE = 1e-3  # of a weight, which may have been stored as float16


def stored_tables(content: object) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Window and bands in the content of a file; None: there are none, or several."""
    windows, bands = (tensors_ending(content, ending) for ending in (WINDOW, BANDS))
    if len(windows) != 1 or len(bands) != 1:
        return None
    tables = windows[0], bands[0]
    is_usable = all(is_plain(each) and each.dtype in FLOATS for each in tables)
    return tables if is_usable and windows[0].ndim == 1 and bands[0].ndim == 2 else None


def mel_of(
    tables: tuple[torch.Tensor, torch.Tensor], sample_rate: int, mel: Mapping[str, object], given: Collection[str]
) -> dict[str, object]:
    """The settings of the front end that has some tables.

    Args:
        tables: see stored_tables.
        sample_rate: Hz.
        mel: settings of a front end; those of them that are given must be right, and the hop is taken from here.
        given: names of settings.

    Raises:
        UserError: there is no such front end, or another kind is given.
    """
    window, bands = tables
    if "kind" in given and mel.get("kind", DEFAULT) != KIND:
        raise UserError(
            f"it stores the tables of torchaudio's MelSpectrogram, with which it was trained: give "
            f"student.mel.kind={KIND} and not {mel.get('kind', DEFAULT)}, or leave it out"
        )
    shapes = {"window": len(window), "fft": 2 * (len(bands) - 1), "mels": bands.shape[1]}
    found = {**adapted({**mel, "kind": KIND}, given), **{name: n for name, n in shapes.items() if name not in given}}
    front_end = build_front_end(sample_rate, found)
    assert isinstance(front_end, TorchaudioLogMel)
    for name, theirs, ours in (("window", window, front_end.window), ("bands", bands, front_end.weights)):
        if theirs.shape != ours.shape or not torch.allclose(theirs.float(), ours, rtol=0, atol=TOLERANCE):
            raise UserError(
                f"the {name} that it was trained with, {in_short(tuple(theirs.shape))}, are not those of {found} at "
                f"{sample_rate} Hz: give its own settings (student.mel.low, student.mel.high, data.sample_rate)"
            )
    return found
