"""`ser-jax predict`: every recording is predicted or named, in every form of output."""

import csv
import io
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
import recognisers

from ser_jax.cli import main
from ser_jax.recognizer import Recognizer, schema
from ser_jax.recognizer.predict import find_files

pytestmark = pytest.mark.usefixtures("hastily")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "model"
    return recognisers.kept(path, tasks=("arousal", "emotion", "dimensions"), seeds=2, channels=4)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return recognisers.recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture
def predict(model, capsys):
    """Return a function of arguments: the exit status, the output, and the lines of errors."""

    def predict(*arguments):
        status = main(["predict", "--model", str(model), *map(str, arguments)])
        out = capsys.readouterr()
        return status, out.out, [line for line in out.err.splitlines() if "synthetic speech" not in line]

    return predict


def copy(recordings, *paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((recordings / "a.wav").read_bytes())


def test_folders_and_patterns_are_expanded_in_order(recordings, tmp_path, monkeypatch):
    every = [str(recordings / name) for name in ("a.wav", "b.flac", "deep/c.WAV", "deep/it's =2+3; $x$.ogg")]
    assert find_files([str(recordings)]) == every
    assert find_files([str(recordings / "*.flac"), every[0]]) == [every[1], every[0]]
    assert find_files([str(recordings / "**" / "*.[wW][aA][vV]")]) == [every[0], every[2]]
    assert find_files(["nowhere.wav", "-", "*.xyz"]) == ["nowhere.wav", "-", "*.xyz"]
    copy(recordings, *(tmp_path / name for name in ("z.wav", "z [1]/b.wav", ".hidden/c.wav", "z [1]/.d.wav")))
    for name in ("loop", "other", "z [1]/up"):  # following two of them would never end
        (tmp_path / name).symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    both = ["z [1]/b.wav", "z.wav"]
    for pattern in ("**/*.wav", "**//*.wav", "**/**/*.wav", "**"):
        assert find_files([pattern]) == both
    assert find_files([f"{tmp_path}/**/*.wav"]) == [f"{tmp_path}/{name}" for name in both]
    assert find_files(["z [1]/b.wav"]) == both[:1]


def test_files_that_cannot_be_used_are_named_and_the_rest_goes_on(predict, recordings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("torn.wav").write_bytes((recordings / "a.wav").read_bytes()[:1000])
    copy(recordings, Path("empty/.a.wav"))
    Path("c.M4A").write_bytes(b"x")
    good = [str(recordings / name) for name in ("a.wav", "b.flac")]
    for form, nothing in (("--json", "[]\n"), ("--csv", predict("--csv", "none.wav")[1]), ("--hop=3.6", "")):
        status, out, err = predict(form, "torn.wav", good[0], "*.xyz", "empty", good[1], "none.wav")
        assert (status, out) == (1, predict(form, *good)[1])
        named = [re.match(r"ser-jax: (.*?): ", line)[1] for line in err]
        assert named == ["torn.wav", "*.xyz", "empty", "none.wav"]
        assert predict(form, "torn.wav")[:2] == (1, nothing)
    assert "*.xyz: no file matches, expected recordings" in err[1]
    assert "empty: no recording in it, expected WAV, AIFF, FLAC" in err[2]
    assert "c.M4A: not readable as audio (it begins with b'x')" in predict(".")[2][0]


def test_json_is_a_list_of_what_the_schema_describes(predict, model, recordings):
    status, out, err = predict("--json", recordings)
    found, recognizer = json.loads(out), Recognizer.load(model)
    assert (status, err) == (0, [])
    for prediction in found:
        jsonschema.validate(prediction, schema())
    files = find_files([str(recordings)])
    assert found == [recognizer(file).as_dict(file) for file in files]
    [fine] = json.loads(predict("--json", "--hop", 0.9, files[1])[1])
    assert fine == recognizer(files[1], hop=0.9).as_dict(files[1])
    assert len(fine["windows"]) == 6


def test_csv_has_a_row_for_each_recording_and_window(predict, recordings):
    rows = list(csv.DictReader(io.StringIO(predict("--csv", recordings)[1])))
    for found in json.loads(predict("--json", recordings)[1]):
        own = [row for row in rows if row["file"] == found["file"]]
        assert [row["part"] for row in own] == ["all", *["window"] * len(found["windows"])]
        parts = [{**found, "start": 0, "end": found["seconds"]}, *found["windows"]]
        for row, part in zip(own, parts, strict=True):
            times = [float(row["start"]), float(row["end"])]
            assert times == pytest.approx([part["start"], part["end"]], abs=6e-4)
            for task, estimate in part["tasks"].items():
                assert row.get(f"{task}_class") == estimate.get("class")
                for name, value in (estimate.get("probabilities") or estimate["values"]).items():
                    assert float(row[f"{task}_{name}"]) == pytest.approx(value, abs=2e-6)
                    spread = float(row[f"{task}_{name}_spread"])
                    assert spread == pytest.approx(estimate["spread"][name], abs=2e-6)


def test_text_has_a_line_for_each_recording_and_for_several_windows(predict, recordings):
    status, out, _ = predict(recordings / "a.wav", recordings / "b.flac")
    lines = out.splitlines()
    assert status == 0
    number = r"-?\d\.\d\d ± \d\.\d\d"
    assert lines[0].startswith(f"{recordings / 'a.wav'}   1.00 s   ")
    for text in (
        rf"   arousal (low|high) \(high: {number}\)",
        rf"   emotion \w+ \({number}\)",
        rf"   dimensions arousal {number}, valence {number}, dominance {number}",
    ):
        assert re.search(text, lines[0])
    times = [line.split()[:4] for line in lines[2:]]
    assert times == [["0.0", "to", "7.5", "s"], ["3.6", "to", "11.1", "s"], ["7.2", "to", "12.0", "s"]]


def test_pictures_are_named_after_the_recordings(predict, recordings, tmp_path):
    given = [recordings / "a.wav", recordings / "b.flac", tmp_path / "a.wav"]
    copy(recordings, given[2])
    pictures = tmp_path / "new" / "pictures"
    (pictures / "b.png").mkdir(parents=True)
    status, out, [sentence, written] = predict("--json", "--plot", pictures, *given)
    assert (status, written) == (1, f"ser-jax: {pictures}: 2 pictures written")
    failed = f"{given[1]}: {pictures / 'b.png'}: Is a directory"
    assert sentence == f"ser-jax: {failed}, expected a place for a picture"
    assert len(json.loads(out)) == 3
    assert {path.stem for path in pictures.iterdir()} == {"a", "b", "a-2"}
    assert (pictures / "a-2.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").write_text("")
    assert predict("--plot", tmp_path / "file", given[0])[0] == 2


def test_standard_input_is_a_recording_and_a_model_of_synthetic_speech_warns(
    recordings, model, monkeypatch, capsys
):
    for name in ("a.wav", "b.flac"):
        content = (recordings / name).read_bytes()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert main(["predict", "--model", str(model), "--json", "-"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == [Recognizer.load(model)(recordings / name).as_dict("-")]
        assert "this model was trained on synthetic speech" in err
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content[:20_000])))
    assert main(["predict", "--model", str(model), "--json", "-"]) == 1
    out, err = capsys.readouterr()
    assert out == "[]\n"
    assert "ser-jax: standard input: truncated, or damaged at its end: its header states 192000" in err


def test_names_are_escaped_on_terminals_and_are_no_formulas(predict, recordings, tmp_path, monkeypatch):
    def listed(*files):
        rows = csv.DictReader(io.StringIO(predict("--csv", *files)[1]))
        return [row["file"] for row in rows if row["part"] == "all"]

    monkeypatch.chdir(tmp_path)
    wild = ["=1+1.wav", "+1.wav", "-1.wav", "@SUM(A1).wav", "\t=1.wav", "\r=1.wav", "1=1.wav"]
    copy(recordings, *map(Path, wild))
    found = listed("*1*.wav")
    assert not any(name.startswith(tuple("=+-@\t\r")) for name in found)
    assert {Path(name).name for name in found} == set(wild)
    assert all(Path(name).is_file() for name in found)
    odd = os.fsdecode(b"\xff\x1b]0;title\x07\n.wav")
    copy(recordings, Path(odd))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert listed("*title*") == [r"\udcff\x1b]0;title\x07\n.wav"]
    assert predict("*title*")[1].startswith(r"\udcff\x1b]0;title\x07\n.wav   1.00 s")
