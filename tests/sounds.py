"""Sound files for tests of reading them: by libsndfile, and byte by byte."""

import struct

import numpy as np
import soundfile

RATE = 16000
CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "FLAC", "OGG", "MP3")


def write(path, samples, rate=RATE, subtype="FLOAT", **rest):
    soundfile.write(path, samples, rate, subtype=subtype, **rest)
    return path


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


def tone(seconds, rate, frequency=440.0):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def sweep(seconds, rate):
    """200 to 600 Hz, fading in; unlike a tone it cannot be shifted unnoticed."""
    time = np.arange(int(seconds * rate)) / rate
    return 0.4 * np.sin(2 * np.pi * (200 * time + 100 * time**2)) * np.minimum(1, 10 * time)


def wav(body, fmt=None, magic=b"RIFF", order="<", riff=None, data=None, before=b""):
    """A WAV file of our own, 16 kHz mono 16 bit unless `fmt` says otherwise, with any lengths."""
    fmt = fmt or struct.pack(order + "HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    before = b"fmt " + struct.pack(order + "I", len(fmt)) + fmt + before
    riff = 12 + len(before) + len(body) if riff is None else riff
    data = len(body) if data is None else data
    lengths = struct.pack(order + "I", riff), struct.pack(order + "I", data)
    return magic + lengths[0] + b"WAVE" + before + b"data" + lengths[1] + body


PCM = (noise(8000) * 32767).astype("<i2")


def with_flac_frames(data, count):
    """A FLAC file whose header claims another number of frames (36 bits from byte 21.5 on)."""
    assert data[:4] == b"fLaC"
    return data[:21] + bytes([data[21] & 0xF0 | count >> 32]) + struct.pack(">I", count % 2**32) + data[26:]
