"""Whether a sound file holds all that its header promises: of most formats libsndfile reads what is there, in silence.

Conventions: a file is its whole content (bytes, or a memory map of which only headers are touched); sizes are bytes. A
size of 0 or, of 32-bit sizes, of 2 GiB and more promises nothing: programs that write to a pipe cannot go back to the
header and leave such numbers (sox 0x7FFFF000, arecord 0x80000000, ffmpeg 0xFFFFFFFF). An OGG file promises no length,
but marks its last page; an MP3 file does so in its first frame, if at all.
Sources: the specifications of RIFF and RF64 (EBU Tech 3306), AIFF-C, Wave64, CAF, AU, NIST SPHERE, VOC and Ogg (RFC
3533).
"""

import contextlib
import io
import re
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

import soundfile

from data.errors import UserError
from data.mpeg import Data, behind_tags, read_mp3

UNKNOWN, UNKNOWN_64 = 0x7FFF_F000, 1 << 62  # sizes from which on none is meant, of 32 and of 64 bits
UNENDING = 1 << 62  # samples that libsndfile gives for a FLAC file that does not say how many it has
MOST_CHUNKS = 100_000  # of a file that are looked at; no sound has more
BLOCK = 1024  # samples that are counted at a time
LOST = 2  # frames of an MP3 that decoders may leave out: the first ones can need what was before them
FIRST_PAGE, LAST_PAGE = 2, 4  # flags of OGG pages
# Bytes a sample of the encodings in which all have as many.
WIDTHS = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "ULAW": 1,
    "ALAW": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
}


def require_whole(data: Data, file: soundfile.SoundFile, name: str) -> int:
    """Check that a file is not cut short.

    Args:
        data: its content.
        file: what libsndfile makes of it.
        name: what it is called in messages.

    Returns:
        How many samples must come out of it at least.

    Raises:
        UserError: there are fewer samples than the file promises, or more than libsndfile would read.
    """
    if file.frames >= UNENDING:
        raise UserError(f"{name} does not say how many samples it has, as what was written to a pipe: save it again")
    if file.format == "OGG":
        _require_ogg(data, file.frames, name)
        _require_last(data, file, name)
    elif file.format == "MP3":
        return _require_mp3(data, file.frames, name)
    elif file.format == "FLAC":
        _require_last(data, file, name)
    elif file.format in _SIZES:
        promised, there = _SIZES[file.format](data, behind_tags(data, 0))
        width = WIDTHS.get(file.subtype, 0) * file.channels
        if width and promised // width > there // width:
            refuse_cut(name, there // width, promised // width)
        if not width and promised > there:
            refuse_cut(name, there, promised, "bytes of sound")
        if not file.frames and not promised and there:
            raise UserError(f"{name} holds no samples by its header, which {there:,} bytes follow: save it again")
    return file.frames


def refuse_cut(name: str, there: int, promised: int, what: str = "samples") -> NoReturn:
    """Raise the error for a file of which less is there than it promises."""
    raise UserError(
        f"{name} is cut short or damaged: it promises {promised:,} {what} and {there:,} are there: fetch it again, or "
        "save what is there as a new file"
    )


def _require_last(data: Data, file: soundfile.SoundFile, name: str) -> None:
    """The last sample can be read; the file's place is its beginning again."""
    with contextlib.suppress(soundfile.LibsndfileError):
        file.seek(max(0, file.frames - 1))
        last = len(file.read(1))
        file.seek(0)
        if last or not file.frames:
            return
    there = 0
    with contextlib.suppress(soundfile.LibsndfileError), soundfile.SoundFile(Memory(data)) as again:
        while found := len(again.read(BLOCK)):
            there += found
    refuse_cut(name, there, file.frames)


def _require_ogg(data: Data, frames: int, name: str) -> None:
    """The pages of one stream, from its first to its last, and no other stream behind it."""
    at, ended = 0, False
    while (at := data.find(b"OggS", at)) >= 0:
        head = data[at : at + 27]
        table = data[at + 27 : at + 27 + head[26]] if len(head) == 27 else b""
        if len(head) < 27 or len(table) < head[26] or (end := at + 27 + len(table) + sum(table)) > len(data):
            break
        if ended and head[5] & FIRST_PAGE:
            raise UserError(
                f"{name} holds several sounds, one behind the other, of which only the first would be heard: "
                "save them as files of their own"
            )
        at, ended = end, ended or bool(head[5] & LAST_PAGE)
    if not ended:
        raise UserError(
            f"{name} is cut short: its last page is missing, up to which {frames:,} samples are there: fetch it again, "
            "or save what is there as a new file"
        )


def _require_mp3(data: Data, frames: int, name: str) -> int:
    """As require_whole."""
    if (mp3 := read_mp3(data)) is None:
        raise UserError(f"{name} does not begin with frames of a known length: save it as another MP3, or WAV or FLAC")
    there = mp3.frames * mp3.samples
    if mp3.promised is not None and mp3.promised != mp3.frames:
        refuse_cut(name, there, mp3.promised * mp3.samples)
    if mp3.broken is not None:
        raise UserError(
            f"{name} is cut short or damaged: byte {mp3.broken:,} begins no whole frame, and {there:,} samples are "
            "before it: fetch it again, or save what is there as a new file"
        )
    if mp3.promised is not None:
        return frames - mp3.extra * mp3.samples
    least = max(0, there - LOST * mp3.samples)
    if frames < least:
        raise UserError(
            f"{name} does not say how long it is, and {frames:,} of its {there:,} samples would be heard: save it as "
            "another MP3, or WAV or FLAC"
        )
    return least


class _Chunks(NamedTuple):
    """A format of chunks: where they begin, how their heads are written, and which one holds the samples."""

    start: int
    head: struct.Struct  # name and size
    sound: bytes
    ahead: int = 0  # bytes of the chunk before the samples
    align: int = 2
    whole: int = 0  # bytes of the head that the size counts

    def sizes(self, data: Data, at: int) -> tuple[int, int]:
        """What is promised and there of the samples; (0, 0) if they are not found."""
        at, wide, instead = at + self.start, self.head.size > 8, 0
        for _ in range(MOST_CHUNKS):
            if len(head := data[at : at + self.head.size]) < self.head.size:
                break
            chunk, size = self.head.unpack(head)
            inside, size = at + self.head.size, size - self.whole
            if chunk[:4] == b"ds64":
                instead = int.from_bytes(data[inside + 8 : inside + 16], "little")
            if chunk[:4] == self.sound:
                wide, size = (True, instead) if instead and size == 0xFFFF_FFFF else (wide, size)
                known = 0 < size < (UNKNOWN_64 if wide else UNKNOWN)
                return (size - self.ahead if known else 0), max(0, len(data) - inside - self.ahead)
            if size < 0:
                break
            at = inside + size + -size % self.align
        return 0, 0


def _riff(data: Data, at: int) -> tuple[int, int]:
    order = ">" if data[at : at + 4] == b"RIFX" else "<"
    return _Chunks(12, struct.Struct(f"{order}4sI"), b"data").sizes(data, at)


def _au(data: Data, at: int) -> tuple[int, int]:
    order = "<" if data[at : at + 4] == b"dns." else ">"
    start, size = struct.unpack_from(f"{order}II", data[at + 4 : at + 12].ljust(8, b"\0"))
    return (size if size < UNKNOWN else 0), max(0, len(data) - at - start)


def _nist(data: Data, at: int) -> tuple[int, int]:
    text = data[at : at + 1024]
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")  # libsndfile writes `-s1 1` as the last, of mu-law
    keys = (rb"NIST_1A\s+", *(rb"\b" + name + rb"\s+-(?:i|s\d+)\s+" for name in names))
    found = [int(match[1]) for key in keys if (match := re.search(key + rb"(\d{1,18})\b", text))]
    if len(found) < len(keys):
        return 0, 0
    head, samples, channels, width = found
    return samples * channels * width, max(0, len(data) - at - head)


def _voc(data: Data, at: int) -> tuple[int, int]:
    """Of the last block that is there, as libsndfile reads what there is of it."""
    at += int.from_bytes(data[at + 20 : at + 22], "little")
    for _ in range(MOST_CHUNKS):
        kind, size = data[at : at + 1], int.from_bytes(data[at + 1 : at + 4], "little")
        if kind in (b"", b"\0"):
            break
        if at + 4 + size > len(data):
            return size, max(0, len(data) - at - 4)
        at += 4 + size
    return 0, 0


_W64 = _Chunks(40, struct.Struct("<16sQ"), b"data", align=8, whole=24)
_SIZES: Mapping[str, Callable[[Data, int], tuple[int, int]]] = {
    "AIFF": _Chunks(12, struct.Struct(">4sI"), b"SSND", ahead=8).sizes,
    "AU": _au,
    "CAF": _Chunks(8, struct.Struct(">4sQ"), b"data", ahead=4, align=1).sizes,
    "NIST": _nist,
    "RF64": _riff,
    "VOC": _voc,
    "W64": _W64.sizes,
    "WAV": _riff,
    "WAVEX": _riff,
}


class Memory(io.BytesIO):
    """Bytes as a file in which libsndfile may seek to where a damaged header sends it: an exception in its callbacks
    would be printed, not raised."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self.tell(), len(self.getbuffer()))[whence]
        return super().seek(min(max(start + offset, 0), len(self.getbuffer())))
