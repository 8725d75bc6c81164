"""The command line `ser-jax`: what it prints, how it ends, what shells complete."""

import json
import os
import resource
import shlex
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import ser_jax
from ser_jax import cli, data, errors
from ser_jax.features import Waveform

COMPLETION = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p ser-jax | sed 's/.*-F \\([^ ]*\\) .*/\\1/') ser-jax
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def speech(tmp_path):
    """Return the manifest of three utterances of 0.5 s by two speakers."""
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", np.random.default_rng(i).uniform(-0.5, 0.5, 8000), 16000)
    rows = ["0.wav,a,low,positive,Anger", "1.wav,a,high,positive,joy", "2.wav,b,high,positive,anger"]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,speaker,arousal,valence,emotion", *rows]))
    return tmp_path / "manifest.csv"


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def prepare(capsys, speech, *more):
    where = ("--source", speech, "--name", "tiny", "--data-dir", speech.parent / "root", "--workers", 1)
    return run(capsys, "prepare", "manifest", *where, *more)


@pytest.mark.parametrize("labels_only", [False, True])
def test_a_prepared_corpus_is_counted(capsys, speech, labels_only):
    (speech.parent / "SYNTHETIC.txt").touch()
    root = speech.parent / "root"
    status, out, _ = prepare(capsys, speech, *["--labels-only"] * labels_only)
    assert status == 0
    assert out.splitlines()[-1] == f"{root / 'manifest/tiny'}/{'labels.json' if labels_only else '2.0.0'}"
    status, out, err = run(capsys, "describe", "tiny", "--data-dir", root, "--json")
    assert (status, err) == (0, "")
    counts = {"name": "tiny", "builder": "manifest", "label_rule": "footnote", "synthetic": True}
    counts |= {"by_emotion": False, "utterances": 3, "speakers": 2, "sessions": 2}
    counts |= {"emotions": {"anger": 2, "joy": 1}, "ratings": {}}
    counts |= {"arousal": {"low": 1, "high": 2}, "valence": {"negative": 0, "positive": 3}}
    assert json.loads(out) == counts | ({} if labels_only else {"left_out": 0, "seconds": 1.5})
    shown = run(capsys, "describe", "tiny", "--data-dir", root, "--label-rule", "table1")[1]
    assert "label rule  table1\n" in shown
    assert "arousal     low 1 (33.3%)   high 2 (66.7%)" in shown


def test_prepare_extracts_the_chosen_features(capsys, speech):
    status, _, err = prepare(capsys, speech, "--features", "waveform", "--features.seconds", 0.4)
    assert status == 0, err
    found = data.load("tiny", speech.parent / "root", Waveform(seconds=0.4))
    assert found.features.shape == (3, 6400, 1)


def test_a_bug_is_not_taken_for_a_wrong_flag(monkeypatch):
    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(data, "facts", broken)
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["describe", "tiny"])


def test_file_names_that_are_not_text_can_be_printed(tmp_path):
    folder = tmp_path / "wav"
    folder.mkdir()
    soundfile.write(folder / "03a01Fa.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16000)
    (folder / os.fsdecode(b"Col\x8are.wav")).touch()
    shell = [sys.executable, "-m", "ser_jax", "audit", "emodb", "--source", tmp_path]
    done = subprocess.run(shell, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    assert rb"Col\udc8are.wav" in done.stdout


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"ser-jax {ser_jax.__version__}\n", "")


def test_the_list_of_commands_loads_nothing_heavy():
    code = "import sys, ser_jax.cli as cli; sys.argv[0] = 'x'\ntry: cli.main()\nfinally: print(*sys.modules)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert not {"jax", "scipy", "tensorflow_datasets", "librosa"} & set(done.stdout.splitlines()[-1].split())
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 2  # s; 0.6 on a quiet machine
    assert "Cross-lingual and multilingual speech emotion" in done.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_explains_every_flag(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([command.__name__, "--help"])
    shown = capsys.readouterr().out.splitlines()
    assert command.__doc__.split(":")[0] in " ".join(shown)
    for i, line in enumerate(shown):
        if line.startswith("│ --"):  # its explanation follows, or stands on the next line
            assert len(f"{line} {shown[i + 1]}".replace("│", "").split("  ")) > 1, line


@given(names=st.lists(st.text("abcde_", min_size=1, max_size=8), min_size=1, unique=True), draw=st.data())
def test_a_known_name_is_nearest_to_itself(names, draw):
    name = draw.draw(st.sampled_from(names))
    assert errors.nearest(name, names) == errors.nearest(name.upper(), names) == name
    assert errors.meant(f"{name}, {name}", names) == f"; did you mean {name} {name}, separated by spaces?"
    assert errors.meant("", names) == errors.meant("123", names) == errors.meant("123,456", names) == ""


def test_bash_completes(tmp_path):
    with pytest.raises(SystemExit):
        cli.main(["--tyro-write-completion", "bash", str(tmp_path / "script")])
    (tmp_path / "speech.wav").touch()
    (tmp_path / "my-model").mkdir()
    for typed, offered in {
        "pre": {"prepare", "predict"},
        "predict --mo": {"--model"},
        "predict --model ": {"my-model", "speech.wav", "script"},
        "export --format ": {"onnx", "stablehlo"},
    }.items():
        words = " ".join(shlex.quote(word) for word in ["ser-jax", *typed.split(" ")])
        shell = ["bash", "--norc", "-c", COMPLETION.format(script=tmp_path / "script", words=words)]
        done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True)
        assert {one.rstrip("/") for one in done.stdout.split()} == offered, done.stderr
