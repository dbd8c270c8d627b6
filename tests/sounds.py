"""What networks with AudioSet's classes answer to sounds whose class is known."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from data.waves import read_pieces

SOUNDS = {"dog": "Dog", "rain": "Rain", "siren": "Siren"}  # classes of ESC-50, and the names of theirs in AudioSet
COUNT = 8  # clips of a class


def scores_of_sounds(network: nn.Module, front_end: nn.Module, folder: Path, names: Sequence[str]) -> torch.Tensor:
    """Mean scores (3, 3) over the loudest seconds of some clips: a row a class of SOUNDS, a column an output.

    Args:
        network: log-mels to logits.
        front_end: waves to log-mels.
        folder: of ESC-50, with the tables of its folds.
        names: of the network's outputs, in their order.
    """
    columns = [names.index(name) for name in SOUNDS.values()]
    table = pd.read_csv(folder / "fold1.csv")
    rows = []
    for label in SOUNDS:
        loudest = []
        for name in table[table.label == label].filename[:COUNT]:
            pieces = torch.cat(list(read_pieces(folder / name, front_end.sample_rate, 1.0)))
            loudest.append(pieces[pieces.square().mean(dim=1).argmax()])
        with torch.no_grad():
            rows.append(network(front_end(torch.stack(loudest))).sigmoid()[:, columns].mean(0))
    return torch.stack(rows)
