"""Bad input wherever a user can give some: one sentence, status 2, and nothing written.

Most tables are text: what is typed, "=>", and a part of the answer; {a|b} stands for two cases. The folder is
that of `lay`.
"""

import contextlib
import hashlib
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_jax import cli, data
from ser_jax.data import iemocap, manifest, recola
from ser_jax.errors import UserError

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


TRAIN = "train --corpora one two --data-dir pair --out new"
WORDS = {  # in what is typed and answered
    "PREPARE": "prepare manifest --source speech/m.csv --data-dir root --name new",
    "RECOLA_": "prepare recola --source RECOLA --data-dir root",
    "TRAIN": TRAIN,
    "PAIR": "--corpora one two --data-dir pair --tasks arousal",
    "NOWHERE": "--corpora nowhere tiny --data-dir data --out new",
    "LONG": "a" * 300,
    "HUGE": str(10**30),
}
M, AROUSAL, SPEECH = "speech/m.csv", f"{ANNOTATION}/arousal/P16.csv", f"{TIMINGS}/P16.csv"
CUT = HEAD.strip() + ",start,end\n"
PROGRESS = re.compile(r"\w+: +\d+%\|")


def in_full(text):
    for word, meaning in WORDS.items():
        text = text.replace(word, meaning)
    return text


def cases(table):
    """Return what is typed and answered in each line; {} in the answer is the alternative that was typed."""
    found = []
    for line in table.strip("\n").split("\n"):
        choice = re.search(r"\{(.+)\}", line.partition(" => ")[0])
        for one in choice[1].split("|") if choice else [""]:
            row = re.split(r" => | \| ", line.replace(choice[0], one) if choice else line)
            *typed, answer = map(in_full, row)
            found.append(
                pytest.param(*typed, answer.replace("{}", in_full(one.strip("'"))), id=str(len(found)))
            )
    return found


# Typed after "ser-jax".
REQUESTS = """
 => Missing subcommand
nonsense => Unrecognized options: nonsense
describe => NAME Name of the corpus. (required)
describe tiny --data-dir data --label-rule median => invalid choice 'median' for argument '--label-rule'
describe {'*'|../manifest/tiny|''} --data-dir data => no corpus '{}' in data, found tiny
describe tiny,tiny --data-dir data => found tiny; did you mean tiny tiny, separated by spaces?
describe tiny --data-dir dta => no corpus 'tiny' in dta, found no such folder (did you mean data?); prep
prepare emodb => --source PATH
prepare crema-d --source x => did you mean 'crema_d'?
prepare emodb --source emobd => emobd: no such folder (did you mean emodb?), expected EmoDB's
prepare emodb --source x --features logmle => did you mean 'logmel'?
prepare manifest --source nowhere.csv => nowhere.csv: no such file, expected a manifest
prepare emodb --source speech/folder => speech/folder: no recording of EmoDB, found no audio files
prepare ravdess --source emodb => emodb: no recording of RAVDESS, found 3 other audio files
PREPARE --name {../x|/etc|'a b'|Mine|'=1+1'|''} => name '{}
PREPARE --name LONG => expected a lower-case letter, then at most 99 lower-case letters, digits or underscores
PREPARE --workers {0|two|1.5|HUGE} => Error parsing --workers: '{}', expected an integer from 1 to 1,024
PREPARE --arousal-threshold {high|nan|1e999} => Error parsing --arousal-threshold: '{}', expected a number
PREPARE --arousal-threshold 3 => arousal is given in words, expected no --arousal-threshold
PREPARE --annotation-delay 2 => manifest does not take --annotation-delay
PREPARE --data-dir {speech/a.wav|/proc/new} => {}/manifest/new: cannot be written (
PREPARE --labels-only --skip-bad => --labels-only with --skip-bad or --beam-runner, expected neither
PREPARE --labels-only --name tiny --data-dir data => is prepared with its recordings already
PREPARE --beam-options a=b => --beam-options without --beam-runner, expected both
PREPARE --beam-runner {Nonsense|os.path|nowhere.Runner} => unknown Beam runner '{}' (
prepare emodb --source emodb --data-dir data --name tiny => was prepared by manifest from another source
audit emodb --source emodb --worker 2 => Perhaps you meant: --workers
audit manifest --source /dev/zero => /dev/zero: not a regular file, expected a manifest
audit emodb => neither --source nor --against, expected
audit tiny --against {tiny|some some} => --against {}, expected other corpora than tiny, each once
audit tiny --against tny --data-dir data => no corpus 'tny' in data, found tiny; did you mean 'tiny'?
audit tiny --source x --against y => both --source and --against, expected
audit iemocap --source RECOLA => RECOLA: contains no Session1 to Session5
synthesize {speech|speech/a.wav} => {}: exists and is not empty, expected a new or an empty folder
synthesize {speech/a.wav/x|/proc/new/x} => {}: cannot be written (
synthesize new/LONG => cannot be written (File name too long), expected a folder to write to
synthesize new/deep --utterances 91 => utterances: found 91, expected 92 to 1,200 per language
train => --corpora
train --corpora one one --data-dir pair --out new => one is named twice, expected each corpus and task once
train --corpora none --data-dir pair --out new => no corpus 'none' in pair, found one, two; did you mean
train --corpora tiny --data-dir data --out new => none of the 1 held-out utterances of tiny has arousal high
train --corpora one --data-dir pair --out {speech|speech/a.wav} => {}: exists and is not empty
TRAIN --model prob => --model prob: expected one of attentive_cnn, attentive_pooling, probe, or module:Name;
TRAIN --model.channels 0 => channels 0, kernel 10, stride 3, pool 30, dropout 0.5, expected at least 1
TRAIN --model probe --model.channels 3 => Unrecognized options: --model.channels
TRAIN --model.bands 3 => Unrecognized options: --model.bands
predict {''|} => no FILE, expected recordings
predict speech/a.wav --json --csv => Arguments --json and --csv are not allowed together
predict speech/a.wav --hop {nan|inf|x} => Error parsing --hop: '{}', expected a number
predict - - => standard input (-) is named twice, expected it once
predict --model speach speech/a.wav => speach: no such folder (did you mean speech?), expected the folder
{serve|stream -|predict speech/a.wav|export --format onnx --out new.onnx} --model nowhere => nowhere: no such
stream --rate 16000 => --rate without -, expected standard input as the source
stream - --device front => both --device and -, expected either a microphone or standard input
export --format onnx --out {speech/a.wav|speech} => {} exists, expected a new file, or one to replace
"""

# Typed after "python -m experiments.table2", which stands for every experiment that trains.
TABLE2 = """
--seeds {0|-1|HUGE} => --protocol.seeds is {}, expected a whole number from 1 to 1,000,000,000
--seeds 1e3 => Error parsing --protocol.seeds: invalid literal for int() with base 10: '1e3'
--seed 3 --fold 4 --x 5 => Unrecognized options: --seed
--tasks {''|joy} => --tasks {}: expected one of arousal, valence, emotion
--tasks => --tasks , expected one or more, all different
--tasks arousal,valance => did you mean arousal valence, separated by spaces?
--tasks emotion --task.class-names anger => classes anger of emotion without happiness, expected two or
--tasks arousal --task.rule table1 => --task.rule follows from --protocol.label-rule
--features waveform --features.seconds -1 => front end Waveform cannot be used: its seconds are -1.0, expected
--model.channels 0 => channels 0, kernel 10, stride 3, pool 30, dropout 0.5, expected at least 1
--model.dropout nan => dropout nan, expected
--model.bands 3 => Unrecognized options: --model.bands
--train.learning-rate 0 => expected a rate above 0
--train.optimizer lion => invalid choice 'lion' for argument '--train.optimizer'
--train.augment gain --train.augment.decibels loud => Error parsing --train.augment.decibels: could not
--precision float16 => invalid choice 'float16' for argument '--model.precision'
--compute.memory {0|1e+300} => --compute.memory is {}, expected more than 0, at most 1,000,000
--compute.coordinator {''|here:port|here:99999} => --compute.coordinator is '{}', expected HOST:PORT or auto
--corpora tiny => --corpora tiny, expected 2 or more, separated by spaces
--corpora tiny tny --data-dir data => no corpus 'tny' in data, found tiny; did you mean 'tiny'?
PAIR --out speech/a.wav => speech/a.wav cannot be made (File exists), expected a folder
PAIR --out damaged => damaged/config.json is not an experiment's, expected a JSON object with config and
PAIR --out orphan => orphan holds predictions but no config.json; choose another
PAIR --out /proc/new => /proc/new cannot be made (
PAIR --out new --compute.devices 1000 => 1000 devices requested, found
PAIR --features waveform => no corpus 'one-waveform' in pair, found one, two; prepare it with
"""

# A script of `experiments`, what is typed after it, and the answer.
SCRIPTS = """
class_distribution | --corpora tny --data-dir data => found tiny; did you mean 'tiny'?
report | damage => no damage/config.json (did you mean damaged?); expected a folder that
{report|verify} | orphan => no orphan/config.json; expected a folder that an experiment has written
{report|verify} | damaged => damaged/config.json is not an experiment's, expected a JSON object
{monolingual|multilingual|crosslingual|finetuning|english_1308} | NOWHERE => no corpus 'nowhere' in data
{tuning|learning_curve|attention_over_time} | NOWHERE => no corpus 'nowhere' in data, found tiny
{families|prototypicality|equalization} | NOWHERE => no corpus 'nowhere' in data, found tiny
label_check | NOWHERE => no corpus 'nowhere' in data, found tiny
monolingual | --corpora tiny --data-dir data --out new => corpus tiny has
attention_over_time | PAIR --out new --model probe => network Probe has 1 segment, expected one with attention
tuning | PAIR --out new --model probe => network Probe has no kernel and pool, expected one with both
"""

# An environment variable, its value, the module that runs, and the answer.
ENVIRONMENT = """
JAX_PLATFORMS | nonsense | experiments.table2 PAIR --out new => finds no device
JAX_PLATFORMS | {nonsense|rocm} | ser_jax predict speech/a.wav => JAX_PLATFORMS is '{}', but JAX finds no
"""


def swap(before, after):
    """Replace the first `before`."""
    return lambda text: text.replace(before, after, 1)


def quoted(mark):
    """Put every cell in quotes."""
    return lambda text: "\n".join(
        mark.join(f'"{cell.strip()}"' for cell in line.split(mark)) for line in text.splitlines()
    )


def column(name, cell):
    """Add a column with the same cell in every row."""
    return lambda text: "\n".join(
        f"{line},{cell if i else name}" for i, line in enumerate(text.strip().split("\n"))
    )


# What a file holds, or what is made of its content, and the answer.
MANIFESTS = [
    ("", "m.csv: no column 'path', found an empty file, expected path, speaker"),
    (HEAD, "m.csv: no utterances, expected a row for each"),
    (MANIFEST.encode("utf-16-le"), "m.csv: no column 'path', found p\\x00a\\x00t\\x00h\\x00"),
    (HEAD + "a.wav,x\x00,low,negative\n", "m.csv:2: speaker 'x\\x00' holds '\\x00'"),
    (MANIFEST.replace("speaker", "speker"), "did you mean 'speaker' by 'speker'?"),
    (HEAD + "a.wav,x,hihg,negative\n", "m.csv:2: arousal is 'hihg', expected low, high or a finite number;"),
    ("path," + HEAD + "a.wav," + ROW, "m.csv: column 'path' appears 2 times, expected once"),
    (HEAD + 'a.wav,"x,low,negative\n', "not CSV (unexpected end of data)"),
    (HEAD + f"a.wav,{'x' * 200000},low,negative\n", "m.csv:2: not CSV (field larger than field limit (1310"),
    (MANIFEST + "./folder/../a.wav,z,high,negative\n", "a.wav is already in speech/m.csv:2, expected it "),
    (HEAD + "a.wav,\xa0,low,negative\n", "m.csv:2: speaker is empty, expected a speaker"),
    (HEAD + "a.wav,NaN,low,negative\n", "m.csv:2: speaker is empty, expected a speaker"),
    (HEAD + "a.wav,x,,\nb.wav,y,,\n", "m.csv: no row has a label (arousal, valence, dominance, emotion), e"),
    (HEAD + "a.wav,\x1b[31mx,low,negative\n", "speaker '\\x1b[31mx' holds '\\x1b', expected a speaker "),
    (HEAD + "a.wav,x,.5,negative\n", "arousal is given in numbers, expected --arousal-threshold"),
    (HEAD + "a.wav,x,low,negative\nb.wav,x,0.5,negative\n", "m.csv:3: arousal is '0.5', but 'low' in speec"),
    (CUT + "a.wav,x,low,negative,inf,\n", "m.csv:2: start is 'inf', expected a finite number"),
    (CUT + "a.wav,x,low,negative,0:0:x,\n", "m.csv:2: start is '0:0:x', expected a finite number"),
    (CUT + "a.wav,x,low,negative,2,1\n", "segment from 2 s to 1 s, expected 0 <= start < end"),
    (CUT + "a.wav,x,low,negative,0,1e99\n", "segment ends at 1e+99 s, expected it within the file's 0.25"),
    (
        column("sex", "femle"),
        "m.csv:2: sex is 'femle', expected female, male, unknown; did you mean 'female'",
    ),
    (HEAD + "/etc/passwd,x,low,negative\n", "path '/etc/passwd' leads out of the manifest's folder, expect"),
    (HEAD + "folder,x,low,negative\n", "speech/folder: not a regular file, expected an audio file"),
    (HEAD + "m.csv,x,low,negative\n", "speech/m.csv: not readable as audio (it begins with b'path,spe')"),
    (HEAD + "gone.wav,x,low,negative\n", "speech/gone.wav: no such audio file (asked for by m.csv:2); `ser"),
]
RECOLA_FILES = [
    (AROUSAL, lambda text: text[:-5], "P16.csv:7502: 6 cells, expected 7"),
    (AROUSAL, lambda text: "\n".join(text.splitlines()[:4000]), "P16.csv: 3999 rows of annotation, expecte"),
    (AROUSAL, swap("\n0.00;", "\n0.08;"), "P16.csv:2: time 0.08 s, expected 0.00 s (steps of 0.04 s)"),
    (AROUSAL, swap("\n0.52;0.013", "\n0.52;1.01"), "P16.csv:15: annotation 1.01, expected a number from -1"),
    (SPEECH, "start;stop\n", "P16.csv: no turns, expected rows of start and stop"),
    (SPEECH, "start;stop\n2;1\n", "P16.csv:2: turn from 2 s to 1 s, expected 0 <= start < stop"),
    (SPEECH, "start;stop\n400;500\n", "RECOLA: no turn begins within the 300 s that are annotated, expecte"),
    (PEOPLE, "User;Sex\n;female\n", "user_info.csv:2: no user, expected one like P16 or 16"),
    (PEOPLE, "User;Group_id;Sex\nP16;3;female\n16;4;female\n", "user_info.csv:3: P16 with another sex or g"),
]
IEMOCAP_TURNS = [
    ("", "Ses01F_impro01.txt: no turns, expected lines like '[6.29 - 8.23] NAME neu [2.5, 2.5, 2.5]'"),
    (lambda text: text[: text.index("_M000")], "expected '[start - end] NAME emotion [valence, activation,"),
    (swap("3.5000", "nan"), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap("3.5000", "6.5"), "annotations from 0 to 6"),
    (swap("Ses01F_impro01_M000", "Ses01F_../../M000"), "turn named 'Ses01F_../../M000', expected a name li"),
    (swap("Ses01F_impro01_M000", "Ses02F_impro01_M000"), "lies in Session1, expected Session2"),
    (swap("Ses01F_impro01_M000", "Ses01F_impro01_F000"), "Ses01F_impro01_F000 is already in"),
]
READ = {
    M: f"prepare manifest --source {M} --name same",
    **dict.fromkeys((AROUSAL, SPEECH, PEOPLE), "prepare recola --source RECOLA --name same"),
    TURNS: "prepare iemocap --source IEMOCAP --name same",
}
WRITTEN = [
    *((M, text, answer) for text, answer in MANIFESTS),
    *RECOLA_FILES,
    *((TURNS, text, answer) for text, answer in IEMOCAP_TURNS),
]
OTHER = Path(TURNS).with_name("Ses01F_impro02.txt")
# What makes it, what is typed then, and the answer.
PLACED = [
    (lambda: os.mkfifo("x"), "audit manifest --source x", "x: not a regular file, expected a manifest"),
    (lambda: OTHER.mkdir(), "prepare iemocap --source IEMOCAP", "impro02.txt: is a folder, expected a label"),
    (lambda: shutil.copytree("IEMOCAP/Session1", "IEMOCAP/Session2"),
     "prepare iemocap --source IEMOCAP --data-dir x", "turn Ses01F_impro01_F000 lies"),
    (lambda: shutil.copytree("RECOLA", "x/one") and shutil.copytree("RECOLA", "x/two"),
     "audit recola --source x", "x: several folders hold RECOLA"),
    (lambda: Path(f"{ANNOTATION}/valence/P16.csv").unlink(), "audit recola --source RECOLA",
     "no participant has both an arou"),
    (lambda: os.mkfifo("emodb/03a02Fa.wav"), "prepare emodb --source emodb --data-dir x",
     "03a02Fa.wav: not a regular file, expected an audio fi"),
    (lambda: Path("data/manifest/new/2.0.0").mkdir(parents=True),
     "prepare manifest --source speech/m.csv --name new --data-dir data", "new/2.0.0: not a complete corp"),
]  # fmt: skip
# Odd and harmless: the corpus is that of the clean file.
HARMLESS = [
    *((M, change) for change in (
        lambda text: text.replace("\n", "\r\n"), lambda text: text.encode("utf-8-sig"), quoted(","),
        lambda text: "\n \n,,,\n" + text.rstrip("\n"), lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t,\xa0"), lambda text: text.replace("low", "LOW"),
        column("mood", "=1+1"), column("mood,mood", "1,2"), column("sex", ""), column("gender", "other"),
        lambda text: text.encode("utf-16"), lambda text: "sep=|\n" + text.replace(",", "|"),
    )),
    *((AROUSAL, change) for change in (
        lambda text: text.replace("\n", "\r"), quoted(";"), lambda text: text.replace(";", "\t"),
        swap("\n0.52;", "\n0.5200000001;"),
    )),
    (SPEECH, lambda text: text + "400;1e20\n"),
    (PEOPLE, lambda text: (text + "P20;4;femme n\xe9e à Genève\n").encode("latin-1")),
    (TURNS, lambda text: text.replace("\n", "\n\n").replace("\t", "   ").replace("3.0000", "3.0e0")),
]  # fmt: skip
READ_TRACE = recola.read_trace


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return lay(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _in_world(world, monkeypatch):
    """Begin every case in the same folder, and check that it leaves it unchanged."""
    monkeypatch.chdir(world)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr(recola, "read_trace", once(READ_TRACE))
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = listing(world)
    yield
    after = listing(world)
    if after != before:
        shutil.rmtree(world)
        world.mkdir()
        lay(world)
    assert after == before, "something was written"


def check(printed, program, answer):
    """Check for one printable sentence after the program's name, or a box of tyro."""
    assert "Traceback" not in printed
    lines = [line for line in printed.replace("\r", "\n").split("\n") if line and not PROGRESS.match(line)]
    if "For full helptext" in printed:
        line = " ".join(" ".join(line.strip("│╭╮╰╯─|+ ") for line in lines).split())
    else:
        [line] = lines
        assert line.startswith(f"{program}: ")
    assert answer in line
    assert line.isprintable()


def refused(capsys, typed, answer):
    try:
        status = cli.main(shlex.split(typed))
    except SystemExit as end:
        status = end.code
    out, printed = capsys.readouterr()
    assert (status, out) == (2, "")
    check(printed, "ser-jax", answer)


@pytest.mark.parametrize(("typed", "answer"), cases(REQUESTS))
def test_a_command_that_cannot_be_done(capsys, typed, answer):
    refused(capsys, typed, answer)


@pytest.mark.parametrize(
    ("name", "typed", "answer"), [*cases(SCRIPTS), *cases(re.sub("(?m)^", "table2 | ", TABLE2.strip("\n")))]
)
def test_a_script_that_cannot_be_done(capsys, monkeypatch, name, typed, answer):
    monkeypatch.setattr(sys, "argv", [name, *shlex.split(typed)])
    monkeypatch.delitem(sys.modules, f"experiments.{name}", raising=False)
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"experiments.{name}", run_name="__main__")
    out, printed = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    check(printed, f"experiments.{name}", answer)


@pytest.mark.parametrize(("variable", "value", "typed", "answer"), cases(ENVIRONMENT))
def test_a_wrong_environment(world, variable, value, typed, answer):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), variable: value}
    shell = [sys.executable, "-m", *shlex.split(typed)]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    check(done.stderr, typed.split()[0].replace("ser_jax", "ser-jax"), answer)


@pytest.mark.parametrize(
    "typed",
    ["predict speech/a.wav", "stream -", "serve --no-browser", "export --format onnx --out new.onnx", TRAIN],
)
@pytest.mark.parametrize(
    "error", [RuntimeError("Unknown backend: 'cuda' (is it installed?)"), AssertionError()]
)
def test_a_platform_without_a_device(capsys, monkeypatch, typed, error):
    def absent():
        raise error

    monkeypatch.setattr(jax, "default_backend", absent)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    refused(capsys, typed, "JAX_PLATFORMS is 'cuda', but JAX finds no device (")


@contextlib.contextmanager
def standing(file, text):
    """Put text, bytes, or what is made of its content, into a file for a while."""
    path, before = Path(file), Path(file).read_bytes()
    content = text(before.decode()) if callable(text) else text
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        yield
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(("file", "text", "answer"), WRITTEN, ids=map(str, range(len(WRITTEN))))
def test_a_file_with_wrong_content(capsys, file, text, answer):
    with standing(file, text):
        refused(capsys, f"{READ[file]} --data-dir root/deep --workers 1", answer)


@pytest.mark.parametrize(("file", "text"), HARMLESS)
def test_an_odd_and_harmless_file(capsys, tmp_path, file, text):
    labels = []
    for name in ("clean", "odd"):
        with standing(file, text) if name == "odd" else contextlib.nullcontext():
            typed = f"{READ[file]} --labels-only --data-dir {tmp_path / name}"
            assert cli.main(typed.split()) == 0, capsys.readouterr().err
        [kept] = (tmp_path / name).glob("*/same/labels.json")
        labels.append(kept.read_bytes())
    assert labels[0] == labels[1]


@pytest.mark.parametrize("cell", ["=1+1", "@x", "=cmd|' /C calc'!A0", "x;y", "na"])
def test_a_cell_that_a_spreadsheet_would_run_is_kept_as_written(cell, tmp_path):
    row = f'a.wav,"{cell}",low,negative,"{cell}","{cell}","{cell}"\n'
    with standing(M, f"{HEAD.strip()},emotion,session,language\n{row}"):
        data.prepare("manifest", M, name="f", data_dir=tmp_path, workers=1)
    corpus = data.load("f", tmp_path)
    assert {corpus.speaker[0], corpus.emotion[0], corpus.session[0], corpus.language[0]} == {cell}


@pytest.fixture
def odd(world):
    """A case that makes odd things in the world, which is as new afterwards."""
    kept = world.with_name("kept")
    shutil.copytree(world, kept)
    yield
    shutil.rmtree(world)
    kept.rename(world)
    os.chdir(world)


@pytest.mark.parametrize(("make", "typed", "answer"), PLACED, ids=map(str, range(len(PLACED))))
def test_a_folder_with_wrong_files(odd, world, capsys, make, typed, answer):
    make()
    before = listing(world)
    refused(capsys, typed, answer)
    assert listing(world) == before


@pytest.mark.parametrize("how", ["absent", "cut", "noise"])
def test_a_damaged_corpus_is_named_with_what_to_do(odd, world, capsys, how):
    path = next((world / "data/manifest/tiny/2.0.0").glob("*.array_record*"))
    path.unlink() if how == "absent" else path.write_bytes(path.read_bytes()[:99] * (how == "cut") or b"x")
    before = listing(world)
    for typed in ("describe tiny", "prepare manifest --source speech/m.csv --name tiny"):
        refused(capsys, f"{typed} --data-dir data", "tiny/2.0.0: cannot be read (")
    assert listing(world) == before


def test_odd_names_and_loops_change_nothing(odd, capsys, tmp_path):
    """Folders that lead into themselves, or whose names are no text or have several lines."""
    Path("emodb/up").symlink_to("..")
    inner = Path(os.fsdecode(b"emodb/w\xffa\nv\x1b[31m"))
    inner.mkdir()
    for file in Path("emodb").glob("*.wav"):
        file.rename(inner / file.name)
    data.prepare("emodb", "emodb", data_dir=tmp_path, workers=1)
    assert data.load("emodb", tmp_path).id.tolist() == ["03a01Fa", "03a01Nc", "08a01Fd"]
    assert cli.main(["audit", "emodb", "--source", "emodb", "--workers", "1"]) == 0
    assert r"emodb/w\udcffa\nv\x1b[31m/03a01Nc.wav" in capsys.readouterr().out


FILES = {
    M: lambda: manifest.read(M).utterances,
    TURNS: lambda: iemocap.read("IEMOCAP").utterances,
    SPEECH: lambda: recola.read_turns(Path(SPEECH)),
    PEOPLE: lambda: recola.read_people(Path(PEOPLE)),
}


@pytest.mark.parametrize("file", FILES)
@settings(max_examples=60)
@given(
    end=st.none() | st.integers(0, 500),
    places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
)
def test_a_file_that_is_cut_or_damaged_is_read_or_refused(file, end, places):
    damaged = bytearray(Path(file).read_bytes()[:end])
    for place, byte in places if damaged else ():
        damaged[place % len(damaged)] = byte
    with standing(file, bytes(damaged)), contextlib.suppress(UserError):
        assert FILES[file]() is not None
