"""Recognise formats of sound, and files that are not sound, by their first bytes."""

import re
from typing import NamedTuple


class Format(NamedTuple):
    """A format of sound.

    Attributes:
      head: regular expression of a file's first bytes.
      suffixes: of files' names, in lower case.
      demuxer: FFmpeg's name of it, for the codings that libsndfile lacks; "" if it has them all.
      libsndfile: whether libsndfile reads it.
      counted: whether its header states how long the sound is.
    """

    name: str
    head: bytes
    suffixes: str
    demuxer: str = ""
    libsndfile: bool = True
    counted: bool = True


FORMATS = (
    Format("WAV", rb"(RIFF|RIFX|RF64)....WAVE", ".wav .wave .bwf .rf64", "wav"),
    Format("W64", rb"riff\x2e\x91\xcf\x11", ".w64", "w64"),
    Format("AIFF", rb"FORM....AIF[CF]", ".aif .aiff .aifc", "aiff"),
    Format("FLAC", rb"fLaC", ".flac"),
    Format("OGG", rb"OggS", ".ogg .oga .opus .spx", "ogg"),
    Format("MP3", rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", ".mp3 .mp2 .mpga", counted=False),
    Format("AU", rb"\.snd|dns\.", ".au .snd", "au"),
    Format("CAF", rb"caff", ".caf", "caf"),
    Format("NIST", rb"NIST_1A", ".sph .nist", "nistsphere"),
    Format("AVR", rb"2BIT", ".avr"),
    Format("IRCAM", rb"d\xa3[\0-\4]\0|\0[\0-\4]\xa3d", ".sf .ircam"),
    Format("PAF", rb" paf|fap ", ".paf"),
    Format("PVF", rb"PVF1", ".pvf"),
    Format("VOC", rb"Creative Voice File", ".voc"),
    Format("WVE", rb"ALawSoundFile", ".wve"),
    Format("MP4", rb"....(ftyp|moov|mdat|wide)", ".m4a .m4b .mp4 .m4v .mov .3gp .3g2", "mov", False),
    Format("WebM", rb"\x1aE\xdf\xa3", ".webm .weba .mka .mkv", "matroska", False),
    Format("WMA", rb"0&\xb2u\x8ef\xcf\x11", ".wma .wmv .asf", "asf", False),
    Format("AVI", rb"RIFF....AVI ", ".avi", "avi", False),
    Format("FLV", rb"FLV\x01", ".flv", "flv", False),
    Format("TTA", rb"TTA1", ".tta", "tta", False),
    Format("WavPack", rb"wvpk", ".wv", "wv", False),
    Format("AAC", rb"\xff[\xf0\xf1\xf8\xf9]", ".aac", "aac", False, False),
    Format("AMR", rb"#!AMR", ".amr .awb", "amr", False, False),
    Format("AC-3", rb"\x0bw", ".ac3", "ac3", False, False),
    Format("MPEG", rb"\0\0\x01\xba", ".mpg .mpeg", "mpeg", False, False),
    Format("MPEG-TS", rb"(.{4})?G.{187}(?(1).{4})G", ".mts .m2ts", "mpegts", False, False),
)
SUFFIXES = tuple(suffix for row in FORMATS for suffix in row.suffixes.split())  # in either case
EXPECTED = "expected WAV, AIFF, FLAC, OGG or MP3"
EXTRA = 'pip install "ser_jax[formats]"'
IS_URL = "is a URL, expected a recording: download it first, as curl -LO does"
STRANGERS = {  # first bytes to a sentence
    rb"version https://git-lfs": "is a Git LFS pointer, expected the recording: git lfs pull fetches it",
    rb"(?i)(\xef\xbb\xbf)?\s*<[!?a-z]": (
        "is a web page, expected a recording: download the file that it links to"
    ),
    rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|.{257}ustar": (
        "is an archive, expected a recording: unpack it first"
    ),
    rb"--\S+\r?\nContent-|RIFF.{0,3}WAVE": (
        "is the body of a form, expected a recording's own bytes: curl --data-binary @speech.wav sends them"
    ),
    rb"\s*(\{\s*[\"}]|\[\s*[\[{\"\d\]-])": "is JSON, expected a recording's own bytes",
    rb"https?://": IS_URL,
}
URL = re.compile("[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # a path has one slash
HEAD = 1024  # bytes that are looked at


def recognize(head: bytes) -> Format | None:
    """Return the format of a file that begins with `head`; None if it is not sound."""
    return next((row for row in FORMATS if re.match(row.head, head, re.DOTALL)), None)


def stranger(head: bytes) -> str:
    """Return what kind of file this is if it is not sound, and how to get the recording."""
    for pattern, sentence in STRANGERS.items():
        if re.match(pattern, head, re.DOTALL):
            return sentence
    found = f"it begins with {head[:8]!r}" if head else "it is empty"
    return f"not readable as audio ({found}), {EXPECTED}"
