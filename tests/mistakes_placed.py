"""What can lie wrong in a folder: what makes it, what is typed then, and the sentence that answers it."""

import os
import shutil
from pathlib import Path

import numpy as np
from sources import ANNOTATION, TIMINGS, TURNS

OTHER = Path(TURNS).with_name("Ses01F_impro02.txt")
EMODB = "prepare emodb --source emodb --data-dir x --workers 1"
IEMOCAP = "audit iemocap --source IEMOCAP"
RECOLA = "audit recola --source RECOLA"


def others():
    """More recordings of another corpus than of this one."""
    for i in range(9):
        Path(f"emodb/{i}\n.wav").touch()


PLACED = [
    (lambda: Path("x").symlink_to("x"), "audit emodb --source x", "x: no such folder, expected EmoDB's"),
    (lambda: Path("x").symlink_to("x"), "audit manifest --source x", "x: no such file, expected a manifest"),
    (lambda: os.mkfifo("x"), "audit manifest --source x", "x: not a regular file, expected a manifest"),
    (
        lambda: shutil.copytree(ANNOTATION, "x"),
        "audit recola --source x",
        "x: no RECOLA-Annotation in it or in",
    ),
    (lambda: os.mkfifo(OTHER), IEMOCAP, "impro02.txt: not a regular file, expected a label file"),
    (lambda: OTHER.mkdir(), IEMOCAP, "impro02.txt: is a folder, expected a label file"),
    (lambda: OTHER.symlink_to(OTHER.name), IEMOCAP, "impro02.txt: no such file, expected a label file"),
    (lambda: OTHER.symlink_to("gone"), IEMOCAP, "impro02.txt: no such file, expected a label file"),
    (
        lambda: shutil.rmtree("IEMOCAP/Session1/dialog"),
        IEMOCAP,
        "EmoEvaluation: no label files, expected some",
    ),
    (
        lambda: shutil.copytree("IEMOCAP/Session1", "IEMOCAP/Session2"),
        IEMOCAP,
        "turn Ses01F_impro01_F000 lies in Session2, expected Session1",
    ),
    (
        lambda: shutil.move("IEMOCAP/Session1", "IEMOCAP/Session6"),
        IEMOCAP,
        "IEMOCAP: no Session1 to Session5 in it or in a folder of it, expected IEMOCAP_full_release",
    ),
    (
        lambda: shutil.copytree("IEMOCAP", "x/IEMOCAP") and shutil.copytree("IEMOCAP", "x/copy"),
        "audit iemocap --source x",
        "x: several folders hold Session1 to Session5 (IEMOCAP, copy), expected one",
    ),
    (
        lambda: shutil.copytree("RECOLA", "x/one") and shutil.copytree("RECOLA", "x/two"),
        "audit recola --source x",
        "x: several folders hold RECOLA-Annotation (one, two), expected one",
    ),
    (
        lambda: shutil.move(f"{TIMINGS}/P16.csv", f"{TIMINGS}/P17.csv"),
        RECOLA,
        "participant P16 is annotated, expected also audio timings",
    ),
    (
        lambda: Path(f"{TIMINGS}/P16.csv").unlink() or os.mkfifo(f"{TIMINGS}/P16.csv"),
        RECOLA,
        "P16.csv: not a regular file, expected a table",
    ),
    (lambda: shutil.rmtree(f"{ANNOTATION}/valence"), RECOLA, "found arousal, expected a folder valence"),
    (
        lambda: Path(f"{ANNOTATION}/valence/P16.csv").unlink(),
        RECOLA,
        "no participant has both an arousal and a valence file like P16.csv, expected some",
    ),
    (
        lambda: shutil.copy("emodb/03a01Fa.wav", "emodb/03a01Fa.flac"),
        "audit emodb --source emodb",
        "emodb/03a01Fa.wav: 03a01Fa is already in emodb/03a01Fa.flac, expected it once",
    ),
    (
        others,
        "audit emodb --source emodb",
        r"emodb: 3 recordings of EmoDB among 9 others, emodb/0\n.wav the first, expected a folder of EmoDB",
    ),
    (
        lambda: Path("emodb/03a02Fa.wav").symlink_to("03a02Fa.wav"),
        EMODB,
        "emodb/03a02Fa.wav: cannot be opened (Too many levels of symbolic links), expected an audio file",
    ),
    (
        lambda: os.mkfifo("emodb/03a02Fa.wav"),
        EMODB,
        "03a02Fa.wav: not a regular file, expected an audio file",
    ),
    (lambda: Path("emodb/03a02Fa.wav").write_bytes(b"RIFF"), EMODB, "03a02Fa.wav: not readable as audio ("),
    (lambda: Path("emodb/03a02Fa.wav").touch(), EMODB, "03a02Fa.wav: not readable as audio ("),
    (
        lambda: Path("data/manifest/new").mkdir(),
        "describe new --data-dir data",
        "no corpus 'new' in data, found",
    ),
    (
        lambda: Path("data/manifest/new/2.0.0").mkdir(parents=True),
        "prepare manifest --source speech/m.csv --name new --data-dir data",
        "new/2.0.0: not a complete corpus (no dataset_info.json); delete this folder",
    ),
]

# How a file of a prepared corpus is spoilt.
DAMAGES = {
    "absent": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(1000)),
    "other": lambda path: path.write_text("[]"),
}
