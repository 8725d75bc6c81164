"""`ser-jax predict`: every recording is answered or named, in every form of output."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import recognisers
import soundfile

from ser_jax.cli import main
from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import Recognizer, predicting, schema

HEAD = (
    "file,part,start,end,arousal_class,arousal_probability,arousal_spread,"
    "valence_class,valence_probability,valence_spread\n"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return recognisers.kept(
        tmp_path_factory.mktemp("kept") / "model", seeds=2, sizes=AttentiveCNN(channels=4)
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return recognisers.recordings(tmp_path_factory.mktemp("recordings"))


def predict(model, capsys, *typed):
    status = main(["predict", "--model", str(model), *map(str, typed)])
    out = capsys.readouterr()
    return status, out.out, [line for line in out.err.splitlines() if "demonstration" not in line]


def names(root, *files):
    return [str(root / file) for file in files]


def test_what_holds_nothing_is_named_and_the_others_are_done(
    recordings, tmp_path, monkeypatch, model, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".a.wav").write_bytes((recordings / "a.wav").read_bytes())
    status, out, err = predict(model, capsys, "*.xyz", recordings / "a.wav", "empty")
    assert (status, out) == (1, predict(model, capsys, recordings / "a.wav")[1])
    assert err == [
        "ser-jax: *.xyz: no file matches, expected recordings",
        "ser-jax: empty: no recording in it, expected .wav, .flac, .ogg, .mp3, .aif, .aiff",
    ]


def test_sound_that_a_folder_holds_and_nobody_reads_is_counted(recordings, tmp_path, model, capsys):
    shutil.copy(recordings / "a.wav", tmp_path)
    for name in ("b.m4a", "c.M4A", "d.webm", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    status, _, [note] = predict(model, capsys, tmp_path)
    assert status == 0
    assert f"{tmp_path}: 3 files passed over (.m4a, .webm), expected .wav, .flac" in note


def test_standard_input_is_heard_once(model, capsys):
    sentence = "ser-jax: standard input (-) is named twice, expected it once"
    assert predict(model, capsys, "-", "-") == (2, "", [sentence])


def test_json_is_a_list_of_what_the_schema_describes(model, recordings, capsys):
    status, out, err = predict(model, capsys, "--json", recordings)
    said = json.loads(out)
    assert (status, err) == (0, [])
    for one in said:
        jsonschema.validate(one, schema())
    recognizer = Recognizer.load(model)
    files = predicting.files([str(recordings)])
    assert said == [recognizer(file).as_dict(file) for file in files]
    status, out, _ = predict(model, capsys, "--json", "--hop", 0.9, files[1])
    assert json.loads(out) == [recognizer(files[1], hop=0.9).as_dict(files[1])]
    assert len(json.loads(out)[0]["windows"]) == 6


def test_the_schema_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--schema"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == schema()


def test_csv_has_a_line_for_each_recording_and_window(model, recordings, capsys):
    _, out, _ = predict(model, capsys, "--csv", recordings)
    rows = list(csv.DictReader(io.StringIO(out)))
    for said in json.loads(predict(model, capsys, "--json", recordings)[1]):
        own = [row for row in rows if row["file"] == said["file"]]
        assert [row["part"] for row in own] == ["all", *["window"] * len(said["windows"])]
        for row, one in zip(
            own, [{**said, "start": 0, "end": said["seconds"]}, *said["windows"]], strict=True
        ):
            assert [float(row["start"]), float(row["end"])] == pytest.approx(
                [one["start"], one["end"]], abs=6e-4
            )
            for target in ("arousal", "valence"):
                assert row[f"{target}_class"] == one[target]["class"]
                for what in ("probability", "spread"):
                    assert float(row[f"{target}_{what}"]) == pytest.approx(one[target][what], abs=1e-6)


def test_text_has_a_line_for_each_recording_and_for_several_windows(model, recordings, capsys):
    status, out, _ = predict(model, capsys, *names(recordings, "a.wav", "b.flac"))
    lines = out.splitlines()
    assert status == 0
    said = json.loads(predict(model, capsys, "--json", recordings / "a.wav")[1])[0]
    arousal, valence = said["arousal"], said["valence"]
    assert lines[0] == (
        f"{recordings / 'a.wav'}   1.00 s   arousal {arousal['class']} "
        f"(high: {arousal['probability']:.2f} ± {arousal['spread']:.2f})   valence {valence['class']} "
        f"(positive: {valence['probability']:.2f} ± {valence['spread']:.2f})"
    )
    assert [line.split()[:4] for line in lines[2:]] == [["0.0", "to", "7.5", "s"], ["3.6", "to", "11.1", "s"],
                                                        ["7.2", "to", "12.0", "s"]]  # fmt: skip


@pytest.mark.parametrize("form", ["--json", "--csv", "--hop=3.6"])
def test_a_bad_file_is_named_and_the_others_are_done(model, recordings, tmp_path, capsys, form):
    (tmp_path / "torn.wav").write_bytes((recordings / "a.wav").read_bytes()[:1000])
    (tmp_path / "empty.flac").write_bytes(b"")
    good = names(recordings, "a.wav", "b.flac")
    bad = [str(tmp_path / "torn.wav"), str(tmp_path / "none.wav"), str(tmp_path / "empty.flac")]
    status, out, err = predict(model, capsys, form, bad[0], good[0], bad[1], good[1], bad[2])
    assert status == 1
    assert [re.match(r"ser-jax: (.*?): ", line)[1] for line in err] == bad
    assert out == predict(model, capsys, form, *good)[1]
    status, out, err = predict(model, capsys, form, *bad)
    assert (status, len(err)) == (1, 3)
    assert out == {"--json": "[]\n", "--hop=3.6": "", "--csv": HEAD}[form]


@pytest.mark.parametrize("hop", ["1", "0", "-0.9", "9"])
def test_windows_that_cannot_be_laid_are_refused_before_anything_is_heard(model, recordings, capsys, hop):
    status, out, [sentence] = predict(model, capsys, f"--hop={hop}", recordings)
    assert (status, out) == (2, "")
    assert sentence.startswith(f"ser-jax: a hop of {hop} s, expected a multiple of 0.9 s")


def test_pictures_have_the_recordings_names(model, recordings, tmp_path, capsys):
    given = [
        recordings / "a.wav",
        recordings / "b.flac",
        tmp_path / "ben" / "a.flac",
        tmp_path / "ben" / "a.wav",
    ]
    given[-1].parent.mkdir()
    for copy in given[2:]:
        soundfile.write(copy, recognisers.speech(1.0), 16_000)
    status, _, err = predict(model, capsys, "--plot", tmp_path / "new" / "pictures", *given)
    assert (status, err) == (0, [f"ser-jax: {tmp_path / 'new' / 'pictures'}: 4 pictures written"])
    found = sorted((tmp_path / "new" / "pictures").iterdir())
    assert {path.name for path in found} == {f"{recordings.name}-a.png", "b.png", "ben-a.png", "ben-a-2.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)
    (tmp_path / "file").write_text("")
    status, out, [sentence] = predict(model, capsys, "--plot", tmp_path / "file", recordings / "a.wav")
    assert (status, out) == (2, "")
    assert str(tmp_path / "file") in sentence


def test_a_picture_that_cannot_be_written_is_named_and_the_others_are_done(
    model, recordings, tmp_path, capsys
):
    pictures = tmp_path / "pictures"
    (pictures / "a.png").mkdir(parents=True)
    good = names(recordings, "a.wav", "b.flac")
    status, out, [sentence, written] = predict(model, capsys, "--json", "--plot", pictures, *good)
    assert (status, written) == (1, f"ser-jax: {pictures}: 1 picture written")
    assert [one["file"] for one in json.loads(out)] == good
    assert sentence == (
        f"ser-jax: {good[0]}: its picture {pictures / 'a.png'} cannot be written (Is a directory), "
        "expected a place for a file"
    )
    assert sorted(path.name for path in pictures.iterdir()) == ["a.png", "b.png"]


def test_long_names_are_cut_in_those_of_pictures(model, recordings, tmp_path, capsys):
    long = [tmp_path / f"{letter * (251 // len(letter.encode()))}.wav" for letter in "x\u8bed"]
    long.append(tmp_path / f"{long[0].stem[:-1]}y.wav")
    for path in long:
        path.write_bytes((recordings / "a.wav").read_bytes())
    assert predict(model, capsys, "--plot", tmp_path / "pictures", *long)[0] == 0
    found = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert found == {"x" * 200 + ".png", "x" * 200 + "-2.png", "\u8bed" * 66 + ".png"}


def test_standard_input_is_a_wav(model, recordings, monkeypatch, capsys):
    def piped(content):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
        return predict(model, capsys, "--json", "-")

    content = (recordings / "a.wav").read_bytes()
    endless = content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:]
    expected = Recognizer.load(model)(recordings / "a.wav").as_dict("-")
    for given in (content, endless):
        status, out, err = piped(given)
        assert (status, json.loads(out), err) == (0, [expected], [])
    for given in (b"", b"fLaC" + bytes(100), content[:30], content[: 44 + 2 * 8000]):
        status, out, [sentence] = piped(given)
        assert (status, out) == (1, "[]\n")
        assert sentence.startswith("ser-jax: standard input: the stream ")
    assert sentence.endswith(
        "the stream ends after 8000 of the 16000 frames its header promises, expected them all"
    )


def test_the_demonstration_says_what_it_is(recordings, capsys):
    assert main(["predict", str(recordings / "a.wav")]) == 0
    out = capsys.readouterr()
    assert "arousal" in out.out
    assert "this model is a demonstration, trained on synthetic speech" in out.err


def test_names_that_are_no_text_are_printed_escaped(model, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\n\x1b[31m.wav"
    with Path(os.fsdecode(name)).open("wb") as file:
        soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 8000), 16_000, format="WAV")
    code = """
import sys
from ser_jax.cli import main
for form in ("--json", "--csv", "--hop=3.6"):
    assert main(["predict", "--model", sys.argv[1], form, sys.argv[2]]) == 0
"""
    done = subprocess.run([sys.executable, "-c", code, model, name], capture_output=True)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert done.stdout.count(b"\x1b") == 2  # in CSV names are as they are


def csv_names(model, capsys, *files):
    _, out, _ = predict(model, capsys, "--csv", *files)
    return [row["file"] for row in csv.DictReader(io.StringIO(out)) if row["part"] == "all"]


def test_in_csv_on_a_terminal_names_are_escaped(model, recordings, tmp_path, monkeypatch, capsys):
    bell = tmp_path / "\x1b]0;title\x07\n.wav"
    bell.write_bytes((recordings / "a.wav").read_bytes())
    assert csv_names(model, capsys, bell) == [str(bell)]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert csv_names(model, capsys, bell) == [f"{tmp_path}/\\x1b]0;title\\x07\\n.wav"]


def test_in_csv_no_name_is_a_formula_and_all_can_be_opened(model, recordings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wild = ["=1+1.wav", "+1.wav", "-1.wav", "@SUM(A1).wav", "\t=1.wav", "\r=1.wav"]
    for name in [*wild, "1=1.wav"]:
        Path(name).write_bytes((recordings / "a.wav").read_bytes())
    listed = csv_names(model, capsys, *[name for name in wild if name[0] != "-"], "1=1.wav", "*1.wav")
    assert not any(name.startswith(tuple("=+-@\t\r")) for name in listed)
    assert {Path(name).name for name in listed} == {*wild, "1=1.wav"}
    assert all(Path(name).is_file() for name in listed)
    content = (recordings / "a.wav").read_bytes()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
    assert csv_names(model, capsys, "-") == ["-"]
