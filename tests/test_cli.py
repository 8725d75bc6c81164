"""The command line: what it prints, and how it ends."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ser_jax
from ser_jax import cli, data
from ser_jax.features import Waveform


@pytest.fixture
def speech(tmp_path):
    """Three utterances of 0.5 s by two speakers."""
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", np.random.default_rng(i).uniform(-0.5, 0.5, 8000), 16000)
    rows = [
        "path,speaker,arousal,valence",
        "0.wav,a,low,positive",
        "1.wav,a,high,positive",
        "2.wav,b,high,positive",
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    return tmp_path / "manifest.csv"


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def prepare(capsys, speech):
    root = speech.parent / "root"
    return run(
        capsys,
        "prepare",
        "manifest",
        "--source",
        speech,
        "--name",
        "tiny",
        "--data-dir",
        root,
        "--workers",
        1,
    )


def test_prepare_prints_the_folder(capsys, speech):
    status, out, _ = prepare(capsys, speech)
    assert status == 0
    assert out == f"{speech.parent / 'root/manifest/tiny/2.0.0'}\n"


def test_describe_as_json(capsys, speech):
    prepare(capsys, speech)
    status, out, err = run(capsys, "describe", "tiny", "--data-dir", speech.parent / "root", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "name": "tiny",
        "builder": "manifest",
        "label_rule": "footnote",
        "utterances": 3,
        "speakers": 2,
        "sessions": 2,
        "synthetic": False,
        "left_out": 0,
        "seconds": 1.5,
        "emotions": {},
        "ratings": {},
        "arousal": {"low": 1, "high": 2},
        "valence": {"negative": 0, "positive": 3},
    }


def test_describe_counts_emotions_and_ratings(capsys, speech):
    rows = ["path,speaker,arousal,emotion", "0.wav,a,1.5,Anger", "1.wav,a,,joy", "2.wav,b,4,anger"]
    speech.write_text("\n".join(rows))
    where = ("--data-dir", speech.parent / "root")
    more = ("--name", "rated", *where, "--arousal-threshold", 3)
    assert run(capsys, "prepare", "manifest", "--source", speech, *more, "--labels-only")[0] == 0
    counted = json.loads(run(capsys, "describe", "rated", *where, "--json")[1])
    assert (counted["emotions"], counted["ratings"]) == ({"anger": 2, "joy": 1}, {"arousal": 2})
    assert counted["arousal"] == {"low": 1, "high": 1}
    shown = run(capsys, "describe", "rated", *where)[1]
    assert "emotions    anger 2 (66.7%)   joy 1 (33.3%)" in shown
    assert "ratings     arousal 2 (66.7%)" in shown


OWN = """
import dataclasses
from typing import ClassVar
from ser_jax.features import Frontend

@dataclasses.dataclass(frozen=True)
class Blocks(Frontend):
    name: ClassVar[str] = "blocks"
    rate: ClassVar[float] = 40.0
    dims: ClassVar[int] = 400

    def extract(self, samples):
        return samples[: len(samples) // 400 * 400].reshape(-1, 400)
"""


def test_prepare_extracts_the_features_that_are_chosen(capsys, speech, monkeypatch):
    monkeypatch.chdir(speech.parent)
    (speech.parent / "own_front_end.py").write_text(OWN)
    root, found = speech.parent / "root", {}
    for name in ("logmel", "waveform", "own_front_end:Blocks"):
        more = ("--features", name, "--features.seconds", 0.4) if name == "waveform" else ("--features", name)
        where = ("--source", speech, "--name", "tiny", "--data-dir", root, "--workers", 1)
        status, out, err = run(capsys, "prepare", "manifest", *where, *more)
        assert status == 0, err
        found[name] = out
    assert [Path(out).parent.name.partition("-")[2][:6] for out in found.values()] == ["", "wavefo", "blocks"]
    front_end = importlib.import_module("own_front_end").Blocks()
    assert data.load("tiny", root, front_end).features.shape == (3, 300, 400)
    assert data.load("tiny", root, Waveform(seconds=0.4)).features.shape == (3, 6400, 1)


def test_a_front_end_that_is_not_there_is_a_mistake(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["prepare", "emodb", "--source", "x", "--features", "logmle"])
    assert end.value.code == 2
    assert "expected logmel, waveform or module:Name; did you mean 'logmel'?" in capsys.readouterr().err


def test_describe_for_people(capsys, speech):
    prepare(capsys, speech)
    _, out, _ = run(
        capsys, "describe", "tiny", "--data-dir", speech.parent / "root", "--label-rule", "table1"
    )
    assert out.splitlines()[0] == "tiny (manifest)"
    assert "label rule table1" in out
    assert "low 1 (33.3%)   high 2 (66.7%)" in out


def test_synthetic_speech_is_called_so(capsys, speech):
    (speech.parent / "SYNTHETIC.txt").touch()
    prepare(capsys, speech)
    _, out, _ = run(capsys, "describe", "tiny", "--data-dir", speech.parent / "root")
    assert "SYNTHETIC SPEECH" in out


def test_a_mistake_is_one_sentence_and_status_two(capsys, speech):
    speech.write_text(speech.read_text().replace("low", "lo"))
    status, out, err = prepare(capsys, speech)
    assert (status, out) == (2, "")
    expected = "expected low, high or a finite number; did you mean 'low'?"
    assert err == f"ser-jax: {speech}:2: arousal is 'lo', {expected}\n"


def test_broken_audio_is_named(capsys, speech):
    (speech.parent / "1.wav").write_text("no sound")
    status, _, err = prepare(capsys, speech)
    assert status == 2
    assert f"the first is {speech.parent / '1.wav'}: not readable as audio" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_an_unknown_corpus_ends_with_status_two(capsys, tmp_path):
    status, _, err = run(capsys, "describe", "tiny", "--data-dir", tmp_path)
    assert status == 2
    assert err.startswith("ser-jax: no corpus 'tiny'")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["prepare"],
        ["prepare", "iemo"],
        ["prepare", "iemocap"],
        ["prepare", "iemocap", "--source", "x", "--allow-outside"],
        ["describe", "x", "--label-rule", "table2"],
        ["describe"],
        ["synthesize"],
    ],
)
def test_a_wrong_command_ends_with_status_two(capsys, arguments):
    with pytest.raises(SystemExit) as error:
        cli.main(arguments)
    assert error.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ser-jax")


def test_an_interrupt_is_short(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "facts", interrupted)
    assert run(capsys, "describe", "tiny") == (130, "", "ser-jax: interrupted\n")


def test_names_that_are_no_text_can_be_printed(tmp_path):
    folder = tmp_path / "wav"
    folder.mkdir()
    soundfile.write(folder / "03a01Fa.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16000)
    (folder / os.fsdecode(b"Col\x8are.wav")).touch()
    shell = [sys.executable, "-m", "ser_jax", "audit", "emodb", "--source", tmp_path]
    done = subprocess.run(shell, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    assert rb"Col\udc8are.wav" in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"ser-jax {ser_jax.__version__}\n"


def test_starting_loads_nothing_heavy():
    code = "import sys, ser_jax.cli as cli; cli._parser().format_help(); print(*sys.modules)"
    shell = [sys.executable, "-c", code]
    loaded = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split()
    assert not {"jax", "scipy", "tensorflow_datasets", "librosa"} & set(loaded)


def test_synthesize_hands_on_what_was_asked(capsys, monkeypatch, tmp_path):
    from ser_jax.data import synthetic

    asked = []
    monkeypatch.setattr(
        synthetic, "synthesize", lambda out, utterances, seed, progress: asked.append((out, utterances, seed))
    )
    status, out, _ = run(capsys, "synthesize", tmp_path / "new", "--utterances", 46, "--seed", 7)
    assert (status, out) == (0, f"{tmp_path / 'new'}\n")
    assert asked == [(tmp_path / "new", 46, 7)]
