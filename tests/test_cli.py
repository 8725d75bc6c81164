"""The command line: what it prints, and how it ends."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import ser_jax
from ser_jax import cli, data


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
        "arousal": {"low": 1, "high": 2},
        "valence": {"negative": 0, "positive": 3},
    }


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
