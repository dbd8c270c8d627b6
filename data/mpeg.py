"""How long an MP3 file is, from the headers of its frames, which libsndfile guesses from the first one.

Conventions: a file is a sequence of frames of equally many samples, with tags before, between and behind. The first
frame may hold, instead of sound, a header (Xing, Info or VBRI) with their number. Positions are bytes.
Sources: ISO 11172-3 and 13818-3; the Xing/LAME and VBRI headers as LAME and mpg123 read and write them.
"""

import mmap
from typing import NamedTuple

Data = bytes | mmap.mmap

# Of MPEG 1 and of MPEG 2 and 2.5, by layer: kbit/s by number; 0 (any) is left out.
_STEPS = {
    (1, 1): tuple(range(32, 449, 32)),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)  # of MPEG 1; halved for 2, and again for 2.5
_SLOWER = {3: 1, 2: 2, 0: 4}  # by the two bits of the version


class Mp3(NamedTuple):
    """What the headers say.

    Attributes:
        promised: how many frames of sound the first one announces; None: it does not.
        frames: how many there are.
        samples: of a frame.
        broken: where a frame is cut off by the end of the file, or followed by something else and more frames; or None.
        extra: frames that the first one announces besides: 1 if it counts itself, as some encoders do, else 0.
    """

    promised: int | None
    frames: int
    samples: int
    broken: int | None
    extra: int = 0


class _Frame(NamedTuple):
    kind: bytes  # what is equal in all frames of a file: version, layer, rate
    length: int
    samples: int


def read_mp3(data: Data) -> Mp3 | None:
    """The headers of a file; None if it does not begin with two frames, or one alone, of a known length."""
    place = behind_tags(data, 0)
    place, first = _first(data, place)
    if first is None:
        return None
    promised, stated = _announced(data[place : place + first.length])
    frames, at, size = 0, place if promised is None else place + first.length, len(data)
    end = at
    while at < size:
        if (frame := _frame(data, at)) is not None and frame.kind == first.kind:
            if at + frame.length > size:
                return Mp3(promised, frames, first.samples, at)
            frames, at = frames + 1, at + frame.length
            end = at
        elif (behind := behind_tags(data, at)) > at:
            at = behind
        else:
            more = _first(data, at, first.kind)[1]
            return Mp3(promised, frames, first.samples, None if more is None else at)
    # One frame less than announced may also be lost; that all bytes are there says that none is.
    extra = int(promised == frames + 1 and stated == end - place)
    return Mp3(frames if extra else promised, frames, first.samples, None, extra)


def _first(data: Data, start: int, kind: bytes | None = None) -> tuple[int, _Frame | None]:
    """The first frame from there on that another follows, or the end of the file."""
    at, tried = start, 0
    while (at := data.find(b"\xff", at)) >= 0 and tried < 10_000:
        frame = _frame(data, at)
        if frame is not None and kind in (None, frame.kind):
            following = _frame(data, at + frame.length)
            if at + frame.length == len(data) or (following is not None and following.kind == frame.kind):
                return at, frame
        at, tried = at + 1, tried + 1
    return start, None


def _frame(data: Data, at: int) -> _Frame | None:
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, step, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or step in (0, 15) or rate == 3:
        return None
    old = version == 3
    samples = 384 if layer == 1 else 576 if layer == 3 and not old else 1152
    unit = 4 if layer == 1 else 1  # bytes of what a frame may be longer by
    hertz = _RATES[rate] // _SLOWER[version]
    bits = 1000 * _STEPS[1 if old else 2, layer][step - 1]
    length = (samples // 8 // unit * bits // hertz + (head[2] >> 1 & 1)) * unit
    return _Frame(bytes((head[1] & 0xFE, head[2] & 0x0C)), length, samples)


def _announced(frame: bytes) -> tuple[int | None, int | None]:
    """The number of frames, and of bytes from itself on, that a file's first frame announces."""
    for name, frames, size in ((b"Xing", 8, 12), (b"Info", 8, 12), (b"VBRI", 14, 10)):
        at = frame.find(name, 4, 64)
        if not 0 <= at <= len(frame) - frames - 4:
            continue
        flags = 3 if name == b"VBRI" else frame[at + 7]
        if flags & 1:
            count, length = (int.from_bytes(frame[at + place : at + place + 4], "big") for place in (frames, size))
            return count, length if flags & 2 else None
    return None, None


def behind_tags(data: Data, at: int) -> int:
    """Where the ID3v2 tags, or the ID3v1 tag, that begin there end."""
    while data[at : at + 3] in (b"ID3", b"TAG"):
        head = data[at : at + 10]
        if head[:3] == b"TAG":
            at += 128
        elif len(head) == 10 and max(head[6:10]) < 128:
            size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            at += 10 + size + (10 if head[5] & 0x10 else 0)
        else:
            break
    return at
