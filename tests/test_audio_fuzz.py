"""Hostile headers: whatever a file claims, reading it gives finite sound or an error naming it.

Mutants of small valid files are read by a process of its own, under limits of memory and time for each.
"""

import itertools
import random
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from encoding import FFMPEG, encode

from ser_jax.data import audio

HEADER = 128  # bytes that are mutated
PER_SEED = 24  # mutants of one kind and seed
MEMORY = 1 << 30  # bytes a mutant may make the process grow by
SECONDS = 5.0  # a mutant may take; an honest file of this size takes a millisecond
EXTREMES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF)
SEEDS = {  # codings of each container
    "WAV": "PCM_16 FLOAT IMA_ADPCM MS_ADPCM GSM610 G721_32 NMS_ADPCM_32",
    "WAVEX": "PCM_24",
    "RF64": "PCM_16",
    "W64": "PCM_16",
    "AIFF": "PCM_16 IMA_ADPCM DWVW_16",
    "FLAC": "PCM_16",
    "OGG": "VORBIS OPUS",
    "MP3": "MPEG_LAYER_III",
    "AU": "PCM_16 G721_32",
    "CAF": "PCM_16 ALAC_16",
    "NIST": "PCM_16",
    "AVR": "PCM_16",
    "IRCAM": "PCM_16",
    "PAF": "PCM_24",
    "PVF": "PCM_16",
    "VOC": "PCM_16",
    "WVE": "ALAW",
}
STEREO = ("FLOAT", "MS_ADPCM", "PCM_24")


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def seeds(folder):
    """Small valid files by name, among them one of each container and one full of side information."""
    samples = 0.3 * np.sin(np.arange(3200) / 7)
    found = {}
    path = folder / "seed"
    codings = ((container, one) for container, every in SEEDS.items() for one in every.split())
    for container, subtype in codings:
        channels = 1 + (subtype in STEREO)
        tall = np.stack([samples] * channels, axis=1)
        with soundfile.SoundFile(path, "w", 8000, channels, subtype, format=container) as file:
            if container in ("FLAC", "OGG", "AIFF", "MP3"):
                file.title, file.comment = "a title", "a comment"
            file.write(tall)
        found[f"{container} {subtype}"] = path.read_bytes()
    for name, coding in FFMPEG.items():
        encode(path, *coding, samples, 8000)
        found[name] = path.read_bytes()
    plain = found["WAV PCM_16"]
    info = b"INFO" + chunk(b"INAM", b"a title\0") + chunk(b"IXYZ", b"odd") + chunk(b"ISFT", b"x\0")
    labels = b"adtl" + chunk(b"labl", struct.pack("<I", 1) + b"one\0") + chunk(b"note", b"\1\0\0\0two\0")
    sides = {
        "LIST": chunk(b"LIST", info),
        "cue": chunk(b"cue ", struct.pack("<7I", 1, 1, 0, 0x61746164, 0, 0, 5)) + chunk(b"LIST", labels),
        "smpl": chunk(b"smpl", struct.pack("<9I6I", *[0] * 7, 1, 0, *[0] * 6)),
        "bext": chunk(b"bext", bytes(602) + b"history\0"),
        "exif": chunk(b"LIST", b"exif" + chunk(b"ever", b"0220")),
        "zeros": chunk(b"LIST", bytes(400)),
        "fact": chunk(b"fact", struct.pack("<I", 3200)) + chunk(b"acid", bytes(24)) + chunk(b"iXML", b"<a/>"),
    }
    for name, side in sides.items():
        found[f"WAV {name}"] = plain[:12] + side + plain[12:]
        found[f"WAV late {name}"] = plain[:36] + side + plain[36:]
    found["WAV trailing LIST"] = plain + sides["LIST"]
    soundfile.write(path, samples, 8000, "PCM_16", "BIG", "WAV")
    found["RIFX"] = path.read_bytes()
    return found


def mutants(name, data, per_kind=PER_SEED):
    """(name, bytes) of each mutant of a file, the same on every run."""
    rng = random.Random(name)
    header = min(HEADER, len(data))

    def replaced(place, new):
        return data[:place] + new + data[place + len(new) :]

    kinds = {
        "bytes": [
            (f"byte {place} = {value:#x}", place, bytes([value]))
            for place in range(header)
            for value in {0, 0xFF, data[place] ^ 0x80, data[place] ^ 1, data[place] ^ 0x20} - {data[place]}
        ],
        "fields": [
            (f"{order}{code} at {place} = {value:#x}", place, struct.pack(order + code, value & mask))
            for place in range(header - 8)
            for value in EXTREMES
            for order, (code, mask) in itertools.product("<>", (("H", 0xFFFF), ("I", 0xFFFFFFFF)))
        ],
    }
    for listed in kinds.values():
        for what, place, new in rng.sample(listed, min(per_kind, len(listed))):
            yield f"{name}: {what}", replaced(place, new)
    for place in (match.end() for match in re.finditer(rb"[A-Za-z]{3}[A-Za-z ]", data[: 2 * HEADER])):
        for value, order in itertools.product(EXTREMES, "<>"):
            size = struct.pack(order + "I", value)
            yield f"{name}: size {order}I at {place} = {value:#x}", replaced(place, size)
    for place in rng.sample(range(header), min(per_kind, header)):
        yield f"{name}: cut at {place}", data[:place]
    for _ in range(per_kind // 3):
        first, length, to = rng.randrange(header), rng.choice((1, 4, 8, 24, 36)), rng.randrange(header)
        part = data[first : first + length]
        yield f"{name}: {length} bytes from {first} again at {to}", data[:to] + part + data[to:]
        yield f"{name}: {length} bytes at {first} gone", data[:first] + data[first + length :]


def all_mutants(folder):
    for path in sorted(folder.glob("*.seed")):
        yield from mutants(path.stem, path.read_bytes())


def outcome(path):
    """Return what went wrong, or ""."""
    try:
        samples, seconds = audio.read(path)
    except audio.AudioError as error:
        return "" if str(error).startswith(f"{path}: ") else f"the error {error}"
    except BaseException as error:  # a reader must raise nothing else
        return f"{type(error).__name__}: {error}"
    if not (np.isfinite(samples).all() and len(samples) <= 120000 and 0 < seconds < np.inf):
        return f"{len(samples)} samples of {seconds} s, finite: {np.isfinite(samples).all()}"
    return ""


def read_all(folder):
    """Read all mutants; print the name of each, then its outcome."""
    import resource

    for name in ("warm.wav", "warm.aac"):  # loads the libraries, whose size does not count
        audio.read(folder / name)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    path = folder / "mutant.wav"
    for name, data in all_mutants(folder):
        path.write_bytes(data)
        print(name, end=" -> ", flush=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of CPU time, whose signal kills this process
        print(outcome(path).replace("\n", " "), flush=True)


def test_no_header_kills_hangs_or_fools_the_reader(tmp_path):
    soundfile.write(tmp_path / "warm.wav", np.zeros((8000, 2)), 8000)
    encode(tmp_path / "warm.aac", *FFMPEG["AAC"], np.zeros(8000))
    for name, data in seeds(tmp_path).items():
        (tmp_path / f"{name}.seed").write_bytes(data)
        (tmp_path / "seed").write_bytes(data)
        assert len(audio.read(tmp_path / "seed")[0]) > 5000, name
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    outcomes = done.stdout.splitlines()
    assert done.returncode == 0, f"{outcomes[-1]} {done.stderr}"
    assert len(outcomes) >= 1000
    assert [line for line in outcomes if not line.endswith(" -> ")] == []


if __name__ == "__main__":
    read_all(Path(sys.argv[1]))
