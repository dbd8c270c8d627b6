"""VGGish's log-mel spectrogram, in whole patches of 0.96 s, one behind the other.

Conventions: those of patch_mel.py; the offset is 0.01. Frames behind the last whole patch are left out, as VGGish's own
code does it.
Source: TensorFlow models, research/audioset/vggish (README, vggish_input.py, vggish_params.py).
"""

from data import bibliography
from data.front_ends import FrontEndEntry
from data.front_ends.patch_mel import PATCH, PatchMel

PATCH_HOP = PATCH  # frames
OFFSET = 0.01


class VggishMel(PatchMel):
    """VGGish's log-mel spectrogram of a batch of waves; see PatchMel."""

    patch_hop, offset = PATCH_HOP, OFFSET


VGGISH_MEL = FrontEndEntry(
    build=VggishMel,
    features="log-mel energies",
    citation=bibliography.VGGISH,
)
