"""Two sounds to try a model with: ten seconds of scenes of the synthetic miniature, computed when asked for."""

from data.readers.synthetic import wave_of

TITLES = {"clicks": "clicks in noise", "glides": "gliding tones"}
_SCENES = {"clicks": "park", "glides": "tram"}  # of the miniature, whose noise they pass in


def example(name: str) -> bytes:
    """One of TITLES as the content of a WAV file, always the same."""
    return wave_of(_SCENES[name])
