"""YAMNet's log-mel spectrogram, in whole patches of 0.96 s, every 0.48 s.

Conventions: those of patch_mel.py; the offset is 0.001. Frames behind the last whole patch are left out as in YAMNet's
publication ("only complete frames are emitted"). The published reader of sound files completes a last patch with
silence instead; a second would have another patch there, half of it silence.
Source: TensorFlow models, research/audioset/yamnet (README, features.py, params.py).
"""

from data import bibliography
from data.front_ends import FrontEndEntry
from data.front_ends.patch_mel import PatchMel

PATCH_HOP = 48  # frames
OFFSET = 0.001


class YamnetMel(PatchMel):
    """YAMNet's log-mel spectrogram of a batch of waves; see PatchMel."""

    patch_hop, offset = PATCH_HOP, OFFSET


YAMNET_MEL = FrontEndEntry(
    build=YamnetMel,
    features="log-mel energies",
    citation=bibliography.YAMNET,
)
