"""A manifest of five recordings, sound or flawed, and its corpus."""

import numpy as np
import soundfile

from ser_jax import data

RATE = 16000


def noise(seconds, seed):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))


def written(folder):
    """A manifest of five recordings, the last of them 8 s long, with annotations no float32 can hold."""
    folder.mkdir()
    rows = ["path,speaker,session,sex,language,arousal,valence"]
    for i, seconds in enumerate([0.5, 0.3, 1.0, 0.025, 8.0]):
        name = f"{chr(ord('e') - i)}.wav"
        soundfile.write(folder / name, noise(seconds, i), RATE, subtype="DOUBLE")
        rows.append(f"{name},0{i},s{i // 2},female,é{i},{0.1 * i!r},positive")
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder / "manifest.csv"


def prepare(source, root, **options):
    options = {"workers": 1, "arousal_threshold": 0.1 * 3, "name": "tiny"} | options
    return data.prepare("manifest", source, data_dir=root, **options)


def flawed(speech):
    """The same with two recordings that cannot be records, and one that is not there."""
    (speech.parent / "b.wav").write_text("not sound")
    soundfile.write(speech.parent / "d.wav", noise(0.02, 0), RATE)
    (speech.parent / "e.wav").unlink()
    return speech
