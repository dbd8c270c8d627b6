"""Sound files that were cut short: every one is refused, with what it promises and what is there."""

import io
import re
import struct
from pathlib import Path

import fuzzing
import numpy as np
import pytest
import soundfile

from data.audio import decode, read_audio
from data.errors import UserError
from data.mpeg import read_mp3
from data.sound import opened
from data.waves import read_pieces

SAMPLES, RATE = 24_000, 48_000
ENCODINGS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "ULAW"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "GSM610"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_24"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AIFF", "PCM_S8"),
    ("AIFF", "FLOAT"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("NIST", "PCM_16"),
    ("NIST", "ULAW"),
    ("NIST", "ALAW"),
    ("VOC", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]


def content(form: str, subtype: str, samples: int = SAMPLES, channels: int = 1) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, 1 if subtype == "GSM610" else channels))
    soundfile.write(file, noise, RATE, format=form, subtype=subtype)
    return file.getvalue()


def samples_of(sound: Path | bytes) -> int:
    """Number of samples that come out of a sound."""
    found = 0
    with opened(sound) as file:
        while block := len(file.read(10_000)):
            found += block
    return found


@pytest.mark.parametrize(("form", "subtype"), ENCODINGS)
def test_a_file_is_whole_or_refused_by_every_reader(form: str, subtype: str, tmp_path: Path) -> None:
    """Oracle: the number of samples that were written (codecs of blocks fill the last one up); of a file cut
    anywhere in its sound, one message of packing's, the whole-file and the any-length reader, from disk and memory."""
    whole = content(form, subtype, channels=2)
    in_blocks = subtype in ("MS_ADPCM", "IMA_ADPCM", "GSM610")
    assert 0 <= samples_of(whole) - SAMPLES <= (4096 if in_blocks else 0)
    path = tmp_path / "x.bin"
    path.write_bytes(whole)
    assert samples_of(path) == samples_of(whole)
    for cut in (len(whole) - 2 - (form == "VOC"), len(whole) * 9 // 10, len(whole) // 2, len(whole) // 3):
        path.write_bytes(whole[:cut])
        messages = decode([path], RATE, 0.01).failures
        for read in (
            lambda: read_audio(path, RATE),
            lambda: list(read_pieces(path, RATE, 1.0)),
            lambda: list(read_pieces(path.read_bytes(), RATE, 1.0)),
        ):
            with pytest.raises(UserError) as caught:
                read()
            messages.append(str(caught.value))
        assert len(messages) == 4
        (message,) = {message.replace(str(path), "the sound") for message in messages}
        assert re.search("is cut short|malformed", message), message


def test_a_message_says_how_many_samples_there_are(tmp_path: Path) -> None:
    """Oracle: counted by hand: 24,000 samples promised; a header of 44 bytes and 1,000 samples of 2 or 6 bytes."""
    for subtype, channels, width in (("PCM_16", 1, 2), ("PCM_24", 2, 6)):
        with pytest.raises(UserError, match="promises 24,000 samples and 1,000 are there: fetch it again"):
            samples_of(content("WAV", subtype, channels=channels)[: 44 + 1000 * width + 1])
    with pytest.raises(UserError, match=r"promises 24,000 samples and [1-9]\d?,\d{3} are there"):
        samples_of(content("FLAC", "PCM_16")[:-1000])
    with pytest.raises(UserError, match="its last page is missing"):
        samples_of(content("OGG", "VORBIS")[:-1])


def test_what_belongs_to_no_sound_changes_nothing() -> None:
    """Oracle: the sound without it: ID3 tags before (in a WAV too) and behind, chunks before and behind, of odd size
    and cut off, and what is no page, behind."""
    wav, mp3, ogg = content("WAV", "PCM_16"), content("MP3", "MPEG_LAYER_III"), content("OGG", "VORBIS")
    tag = b"ID3\x03\0\0" + bytes([0, 0, 7, 0x76]) + bytes(7 << 7 | 0x76)
    note = b"junk" + struct.pack("<I", 9) + b"123456789\0"
    for form in (tag + wav, tag + tag + mp3, mp3 + b"TAG" + bytes(125), mp3 + bytes(500), ogg + bytes(500)):
        assert samples_of(form) == SAMPLES
    for form in (wav[:12] + note + wav[12:], wav + note, wav + note[:10], content("WAV", "PCM_U8", 23_999) + b"\0"):
        assert samples_of(form) in (SAMPLES, 23_999)


def test_sounds_of_which_only_a_part_would_be_heard_are_refused() -> None:
    """Oracle: what libsndfile gives of them: one of two OGG streams, MP3s one behind the other, an MP3 of a variable
    bit rate without its first frame, a FLAC that does not know its length."""
    flac = bytearray(content("FLAC", "PCM_16"))
    flac[21:26] = bytes([flac[21] & 0xF0, 0, 0, 0, 0])
    mp3 = content("MP3", "MPEG_LAYER_III")
    first = read_mp3(mp3)
    assert first is not None
    for sound, message in {
        content("OGG", "VORBIS") * 2: "holds several sounds",
        content("OGG", "OPUS") * 2: "holds several sounds",
        mp3 * 2: "is cut short or damaged",
        mp3.replace(b"Xing", b"Xxxx"): "does not say how long it is",
        bytes(flac): "does not say how many samples",
    }.items():
        with pytest.raises(UserError, match=message):
            samples_of(sound)


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_the_frames_of_an_mp3_are_those_it_announces(mode: str, rate: int) -> None:
    """Oracle: LAME, which wrote the number into the first frame; and of a file without that frame, which any decoder
    takes, the same number; one byte less is a frame less, and broken."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * rate, 2))
    soundfile.write(file, noise, rate, format="MP3", bitrate_mode=mode)
    found, cut = read_mp3(file.getvalue()), read_mp3(file.getvalue()[:-1])
    assert found is not None
    assert found.promised == found.frames
    assert cut is not None
    assert (cut.promised, cut.frames) == (found.frames, found.frames - 1)
    assert cut.broken is not None


def test_an_mp3_may_count_its_first_frame() -> None:
    """Oracle: the sound of the file in which the number is one more by hand; such a file that lost its last frame, or
    one that does not announce its bytes either, is refused: then one frame may be missing."""
    mp3 = content("MP3", "MPEG_LAYER_III")
    at = mp3.find(b"Xing") + 8
    count = int.from_bytes(mp3[at : at + 4], "big")

    def announcing(frames: int) -> bytes:
        return mp3[:at] + frames.to_bytes(4, "big") + mp3[at + 4 :]

    found = read_mp3(announcing(count + 1))
    assert found is not None
    assert (found.promised, found.frames, found.extra) == (count, count, 1)
    assert samples_of(announcing(count + 1)) >= SAMPLES
    silent = announcing(count + 1)
    silent = silent[: at - 1] + bytes([silent[at - 1] & ~2]) + silent[at:]
    cut = mp3[: mp3.rindex(mp3[mp3.find(b"\xff") :][:2])]
    for lost in (announcing(count + 2), announcing(count - 1), silent, announcing(count + 1)[: len(cut)], cut):
        with pytest.raises(UserError, match="is cut short or damaged"):
            samples_of(lost)


FUZZED = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "")]


@pytest.mark.parametrize(("form", "subtype"), FUZZED)
def test_no_damage_makes_a_sound_shorter_in_silence(form: str, subtype: str, tmp_path: Path, fuzz: int) -> None:
    """Oracle: the bounds of tests/fuzzing.py; a file that was cut at any byte is refused, or gives all the samples; two
    readers agree."""
    whole = content(form, subtype or "MPEG_LAYER_III", 6_000)

    def read(path: Path) -> None:
        found = samples_of(path)
        assert sum(map(len, read_pieces(path, RATE, 0.001))) > 0
        assert found == 6_000 or not whole.startswith(path.read_bytes()), found

    damaged = [*fuzzing.mutants(whole, fuzz // 2), *(("cut", whole[:at]) for at in cuts(len(whole), fuzz // 2))]
    fuzzing.survive(read, whole, damaged, tmp_path, f"x.{form.lower()}")


def cuts(size: int, count: int) -> list[int]:
    """Places all over a file."""
    return np.random.default_rng(0).integers(0, size, count).tolist()
