"""One small source of every kind, and one prepared corpus: what a mistake is then made in."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ser_jax import data

MANIFEST = "path,speaker,arousal,valence\na.wav,x,low,negative\nb.wav,y,high,positive\nc.wav,y,low,positive\n"
HEAD, ROW = "path,speaker,arousal,valence\n", "a.wav,x,low,negative\n"  # of other manifests
ANNOTATION = "RECOLA/RECOLA-Annotation/emotional_behaviour"
TIMINGS = "RECOLA/RECOLA-Audio_timings"
PEOPLE = "RECOLA/RECOLA-Metadata/recola_user_info.csv"
TURNS = "IEMOCAP/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
TURN = "[{start:.4f} - {stop:.4f}]\t{name}\t{emotion}\t[2.5000, {arousal:.4f}, 2.5000]\n"
_READ: dict[tuple, Any] = {}
RATERS = "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"


def trace() -> str:
    """RECOLA's table of one dimension: raters who follow a slow wave, half of them upside down but one."""
    lines = ["time;FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3"]
    for k in range(7501):
        level = f"{np.sin(k / 500) / 2:.3f}"
        lines.append(f"{k * 0.04:.2f};{level};{level};0;0;0;0.1")
    return "\n".join(lines) + "\n"


def turns() -> str:
    """IEMOCAP's table of one dialog of three turns."""
    spoken = [("F000", "neu", 2.5), ("M000", "fru", 3.5), ("M001", "ang", 4.0)]
    text = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    for i, (name, emotion, arousal) in enumerate(spoken):
        name = f"Ses01F_impro01_{name}"
        text += TURN.format(start=2 * i, stop=2 * i + 1, name=name, emotion=emotion, arousal=arousal) + RATERS
    return text


def lay(world: Path) -> Path:
    """Writes speech/m.csv, RECOLA, IEMOCAP, emodb, and corpora: `tiny` in data, two of noise in pair."""
    speech = world / "speech"
    speech.mkdir()
    for i, name in enumerate("abc"):
        soundfile.write(speech / f"{name}.wav", np.random.default_rng(i).uniform(-0.5, 0.5, 4000), 16000)
    (speech / "m.csv").write_text(MANIFEST)
    (speech / "folder").mkdir()
    for target in ("arousal", "valence"):
        (world / ANNOTATION / target).mkdir(parents=True)
        (world / ANNOTATION / target / "P16.csv").write_text(trace())
    for file, text in ((f"{TIMINGS}/P16.csv", "start;stop\n0.5;1.0\n2;3\n"), (TURNS, turns())):
        (world / file).parent.mkdir(parents=True)
        (world / file).write_text(text)
    (world / PEOPLE).parent.mkdir()
    (world / PEOPLE).write_text("User;Group_id;Sex\nP16;3;female\nP17;3;male\n")
    sound = world / "RECOLA/RECOLA-Audio-recordings/P16.wav"
    sound.parent.mkdir()
    soundfile.write(sound, np.random.default_rng(9).uniform(-0.5, 0.5, 64000), 16000)
    for name in ("03a01Fa", "03a01Nc", "08a01Fd"):
        (world / "emodb").mkdir(exist_ok=True)
        shutil.copy(speech / "b.wav", world / f"emodb/{name}.wav")
    data.prepare("manifest", speech / "m.csv", name="tiny", data_dir=world / "data", workers=1)
    for i, name in enumerate(("one", "two")):
        data.prepare("manifest", noise(world / name, i), name=name, data_dir=world / "pair", workers=1)
    for name, root in (("tiny", "data"), ("one", "pair"), ("two", "pair")):
        data.load(name, world / root)  # what it keeps for the next time is there
    (world / "damaged").mkdir()
    (world / "damaged/config.json").write_text("[]")
    (world / "orphan/predictions").mkdir(parents=True)
    return world


def noise(folder: Path, seed: int) -> Path:
    """40 utterances of ten speakers, of all four kinds; returns their manifest."""
    folder.mkdir()
    draw = np.random.default_rng(seed)
    rows = [MANIFEST.partition("\n")[0]]
    for i in range(40):
        soundfile.write(folder / f"{i}.wav", draw.uniform(-0.5, 0.5, 800), 16000)
        kind = ("low", "high")[i // 10 % 2], ("negative", "positive")[i // 20]
        rows.append(",".join([f"{i}.wav", f"s{i % 10}", *kind]))
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    return folder / "m.csv"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def once(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Reads a file anew only where it was written anew."""

    def remembered(path):
        stat = path.stat()
        written = read, path.absolute(), stat.st_mtime_ns, stat.st_size, stat.st_ino
        if written not in _READ:
            _READ[written] = read(path)
        return _READ[written]

    return remembered


def listing(world: Path) -> dict[str, str]:
    """Everything in a folder, with a digest of what it holds."""
    return {
        str(path.relative_to(world)): f"-> {path.readlink()}"
        if path.is_symlink()
        else once(digest)(path)
        if path.is_file()
        else "no file"
        for path in sorted(world.rglob("*"))
    }
