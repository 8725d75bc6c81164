"""Auditing a database: every line of it on recordings that deserve it, and what loudness gives away."""

import json
import re

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser_jax import cli
from ser_jax.data import audit, databases, manifest
from ser_jax.data.catalog import DatabaseError

RATE = 16000


def noise(seconds, seed=0, level=0.3, rate=RATE):
    """In whole 16 bit steps, so that every lossless format keeps the same samples."""
    samples = np.random.default_rng(seed).uniform(-level, level, round(seconds * rate))
    return np.rint(samples * 2**15) / 2**15


def write(folder, name, samples, rate=RATE, **options):
    soundfile.write(folder / name, samples, rate, **options)


def one_recording(folder, samples, **options):
    """Write a recording and the manifest that names it; return the manifest."""
    write(folder, "one.wav", samples, **options)
    (folder / "m.csv").write_text("path,speaker,arousal,valence\none.wav,a,low,negative\n")
    return folder / "m.csv"


MANIFEST = """path,speaker,arousal,valence,start,end
good.wav,a,low,negative,,
again.flac,b,low,positive,,
clipped.wav,a,high,negative,,
quiet.wav,a,low,positive,,
silent.wav,a,high,positive,,
long.wav,b,high,positive,,
short.wav,b,high,negative,,
nan.wav,b,low,negative,,
unscaled.wav,b,low,negative,,
tail.wav,b,low,negative,,
stereo.wav,c,low,negative,,
offset.wav,c,low,negative,,
dead.wav,c,low,negative,,
cancelling.wav,c,low,negative,,
text.wav,c,low,negative,,
gone.wav,c,low,positive,,
good.wav,c,low,negative,0.1,0.4
good.wav,c,low,negative,0.2,3.5
"""


@pytest.fixture
def speech(tmp_path):
    """A manifest of all that can be wrong; speaker c is always low, recordings of b are the loud ones."""
    clipped, quiet = noise(0.5, 1), noise(0.5, 2, 5e-4)
    clipped[100:104] = 1.0
    clipped[200:202] = -1.0
    sound = {
        "good.wav": noise(0.5, 3),
        "again.flac": noise(0.5, 3),
        "clipped.wav": clipped,
        "quiet.wav": quiet,
        "silent.wav": np.zeros(8000),
        "long.wav": noise(8.0, 4),
        "short.wav": noise(0.02, 5),
    }
    for name, samples in sound.items():
        write(tmp_path, name, samples, subtype="PCM_16")
    write(tmp_path, "nan.wav", np.where(np.arange(8000) == 77, np.nan, noise(0.5, 6)), subtype="FLOAT")
    write(tmp_path, "unscaled.wav", 32767 * noise(0.5, 9), subtype="FLOAT")
    write(tmp_path, "tail.wav", np.append(noise(8.0, 7), np.inf), subtype="FLOAT")
    write(tmp_path, "stereo.wav", np.stack([noise(0.5, 8, rate=44100)] * 2, axis=1), 44100)
    write(tmp_path, "offset.wav", 0.05 + noise(0.5, 10))
    for name, other in (("dead.wav", 0), ("cancelling.wav", -1)):
        write(tmp_path, name, np.outer(noise(0.5, 11), [1, other]))
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "manifest.csv").write_text(MANIFEST)
    return tmp_path / "manifest.csv"


def named(found, line):
    """File or speaker to the reason of each finding of a line."""
    own = found["findings"][line]
    assert own["count"] == len(own["found"])
    return {finding["what"].rpartition("/")[2]: finding["reason"] for finding in own["found"]}


def test_every_line_names_its_file(speech):
    found = audit.audit("manifest", speech, 1)
    lines = set(found["findings"]) - {"loudness"}
    assert {line: set(named(found, line)) for line in lines} == {
        "labels": set(),
        "missing": {"gone.wav"},
        "undecodable": {"text.wav"},
        "non-finite": {"nan.wav"},
        "unscaled": {"unscaled.wav"},
        "too short": {"short.wav"},
        "outside": {"good.wav (good.wav#0.2-3.5)"},
        "damaged tail": {"tail.wav"},
        "silent": {"quiet.wav", "silent.wav", "cancelling.wav"},
        "clipped": {"clipped.wav"},
        "offset": {"offset.wav"},
        "dead channel": {"dead.wav"},
        "cancelling": {"cancelling.wav"},
        "duplicate": {"again.flac"},
        "unlabelled": set(),
        "one class": {"c"},
        "long": {"long.wav", "tail.wav"},
    }
    assert found["refused"]
    (reason,) = named(found, "duplicate").values()
    assert reason == f"as {speech.parent / 'good.wav'}, but another speaker and valence"
    assert named(found, "one class") == {"c": "arousal always low"}
    assert named(found, "long")["long.wav"] == "8.00 s"


def test_what_is_refused_is_what_prepare_refuses(speech, tmp_path):
    from ser_jax import data
    from ser_jax.data import store

    folder = data.prepare("manifest", speech, name="x", data_dir=tmp_path / "root", skip_bad=True, workers=1)
    left_out = sorted((row["id"], row["finding"]) for row in store.metadata(folder)["left_out"])
    flaws = [(u.id, audit.measure(u).findings[:1]) for u in manifest.read(speech).utterances]
    errors = {line for line, (severity, _) in audit.LINES.items() if severity == "error"}
    assert left_out == sorted((id, own[0][0]) for id, own in flaws if own and own[0][0] in errors)
    assert len(left_out) == 6


def test_json_counts_what_the_table_shows(speech, capsys):
    arguments = ["audit", "manifest", "--source", str(speech), "--workers", "1"]
    assert cli.main([*arguments, "--json"]) == 1
    counted = json.loads(capsys.readouterr().out)
    assert [counted[key] for key in ("utterances", "usable", "recordings", "speakers")] == [18, 12, 16, 3]
    assert counted["formats"]["FLAC PCM_16, 16000 Hz, 1 channel"] == 1
    assert counted["formats"]["WAV PCM_16, 44100 Hz, 2 channels"] == 1
    assert sum(counted["formats"].values()) == 11
    assert counted["seconds"]["max"] == pytest.approx(8.0, abs=1e-3)
    assert counted["findings"]["clipped"]["count"] == 1
    assert counted["findings"]["clipped"]["severity"] == "warning"
    assert counted["classes"]["c"]["arousal"] == {"low": 8, "high": 0}
    assert counted["refused"] is True
    assert cli.main(arguments) == 1
    table = capsys.readouterr().out
    assert "prepare would reject it for 6 errors" in table
    assert "WAV PCM_16, 44100 Hz, 2 channels (1)" in table
    for line in ("missing", "undecodable", "non-finite", "unscaled", "too short", "outside"):
        assert f"error    {line:<13}      1" in table


def test_of_many_findings_the_table_names_the_first(tmp_path):
    rows = [f"{i}.wav,a,low,negative" for i in range(8)]
    (tmp_path / "m.csv").write_text("\n".join(["path,speaker,arousal,valence", *rows]))
    table = audit.table(audit.audit("manifest", tmp_path / "m.csv", 1))
    assert "4.wav: no such audio file" in table
    assert "5.wav" not in table
    assert "and 3 more (--json names all)" in table
    assert "none could be read" in table


def test_measurements_do_not_depend_on_the_blocks(tmp_path, monkeypatch):
    samples = noise(0.5, 9)
    samples[97:103] = 1.0
    (utterance,) = manifest.read(one_recording(tmp_path, samples)).utterances
    whole = audit.measure(utterance)
    assert whole.findings == [("clipped", "4 runs of 3 samples at full scale")]
    for block in (1, 7, 100):
        monkeypatch.setattr("ser_jax.data.audio.BLOCK", block)
        assert audit.measure(utterance) == whole


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
)
def test_clipping_is_seen_in_every_coding(tmp_path, subtype):
    samples = noise(0.5)
    samples[200:205] = 1.0
    samples[300:305] = -1.0
    for sound, clipped in (
        (samples, {"one.wav": "6 runs of 3 samples at full scale"}),
        (noise(0.5, level=0.9), {}),
    ):
        found = audit.audit("manifest", one_recording(tmp_path, sound, subtype=subtype), 1)
        assert named(found, "clipped") == clipped


@given(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 1), st.integers(0, 2)), min_size=2, max_size=40)
)
def test_separation_by_its_definition(rows):
    level, classes, speaker = (np.array(column) for column in zip(*rows, strict=True))
    found = audit.separation(level.astype(float), classes, speaker.astype(str))
    if len(set(classes)) < 2:
        assert [found["auc"], found["auc_within"], found["uar"]] == [None] * 3
        return
    pairs = [np.sign(h - q) for h in level[classes == 1] for q in level[classes == 0]]
    assert found["auc"] == pytest.approx(0.5 + np.mean(pairs) / 2)
    uars = []
    for threshold in [*level, level.max() + 1]:
        low, high = (level < threshold)[classes == 0].mean(), (level >= threshold)[classes == 1].mean()
        uars += [(low + high) / 2, 1 - (low + high) / 2]
    assert found["uar"] == pytest.approx(max(uars))


@given(st.integers(0, 1000))
def test_a_speakers_own_level_gives_nothing_away_within_speakers(seed):
    rng = np.random.default_rng(seed)
    classes = np.tile([0, 1], 10)
    level = rng.normal(0, 1, 20)
    speaker = np.repeat(["near", "far"], 10)
    moved = level + np.where(speaker == "near", 30.0, 0.0)
    one, other = (audit.separation(values, classes, speaker) for values in (level, moved))
    assert one["auc_within"] == pytest.approx(other["auc_within"])


def test_a_trap_is_a_warning(tmp_path):
    for i in range(30):
        write(tmp_path, f"03a{i:02d}{'NW'[i % 2]}a.wav", noise(0.1, i, (0.05, 0.5)[i % 2]))
    found = audit.audit("emodb", tmp_path, 1)
    alone = named(found, "loudness")
    assert list(alone) == ["arousal", "valence"]
    assert "threshold, high being louder" in alone["arousal"]
    assert "threshold, positive being quieter" in alone["valence"]
    assert found["loudness"]["arousal"]["auc"] == 1.0
    assert found["loudness"]["valence"]["auc"] == 0.0
    assert "\n  arousal and valence follow from the emotions\n" in audit.table(found)


def test_what_is_not_annotated_is_left_out(tmp_path):
    for i in range(3):
        write(tmp_path, f"{i}.wav", noise(0.1, i))
    (tmp_path / "m.csv").write_text("path,speaker,arousal\n0.wav,a,low\n1.wav,a,high\n2.wav,a,\n")
    found = audit.audit("manifest", tmp_path / "m.csv", 1)
    assert found["classes"]["a"]["arousal"] == {"low": 1, "high": 1}
    assert (found["loudness"]["arousal"]["counts"], named(found, "one class")) == ([1, 1], {})
    assert "valence  not annotated" in audit.table(found)
    assert "emotion" not in audit.table(found)


def test_a_report_names_all_labels_that_are_wrong(tmp_path, capsys):
    """Several a corpus: recordings of one name that differ, and damaged lines; prepare ends at the first."""
    for folder, seed in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        for name in ("03a01Fa.wav", "03a01Nc.wav"):
            write(tmp_path / folder, name, noise(0.1, seed))
    write(tmp_path / "two", "08a01Fd.wav", noise(0.1))
    labels = tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    labels.parent.mkdir(parents=True)
    turns = [f"[0 - 1]\tSes01F_impro01_F00{i}\tneu\t[2, {value}, 2]\n" for i, value in enumerate("2x37")]
    labels.write_text("".join([*turns, turns[0]]))
    labels.with_name("Ses01F_impro02.txt").touch()
    for database, places, usable in (
        ("emodb", ["two/03a01Fa.wav: 03a01Fa is already in", "two/03a01Nc.wav: 03a01Nc is already in"], 3),
        (
            "iemocap",
            [
                ".txt:2: found",
                ".txt:4: found",
                "02.txt: no turns, expected lines like",
                ".txt:5: Ses01F_impro01_F000 is already in",
            ],
            0,
        ),
    ):
        found = audit.audit(database, tmp_path, 1)
        lines = [finding["what"] for finding in found["findings"]["labels"]["found"]]
        assert [place in line for place, line in zip(places, lines, strict=True)] == [True] * len(lines)
        assert (found["usable"], found["refused"]) == (usable, True)
        assert cli.main(["audit", database, "--source", str(tmp_path), "--workers", "1"]) == 1
        table = capsys.readouterr().out
        assert f"error    labels        {len(lines):>6}" in table
        errors = len(lines) + found["findings"]["missing"]["count"]
        assert table.endswith(f"prepare would reject it for {errors} errors\n")
        with pytest.raises(DatabaseError, match=re.escape(places[0])):
            databases.read(database, tmp_path)
    labels.write_text(turns[1])
    assert audit.audit("iemocap", tmp_path, 1)["utterances"] == 0


def test_a_report_names_all_rows_of_a_manifest_that_are_wrong(tmp_path):
    write(tmp_path, "a.wav", noise(0.1))
    rows = ["a.wav,a,low", "b.wav,a,7x", "a.wav,a,high", "c.wav,,low", "d.wav,a"]
    (tmp_path / "m.csv").write_text("\n".join(["path,speaker,arousal", *rows]))
    found = audit.audit("manifest", tmp_path / "m.csv", 1)
    lines = [finding["what"] for finding in found["findings"]["labels"]["found"]]
    assert sorted(line.partition(":")[2].partition(":")[0] for line in lines) == ["3", "4", "5", "6"]
    assert (found["utterances"], found["refused"]) == (1, True)


def test_a_missing_recording_has_a_hint(tmp_path):
    write(tmp_path, "one_two.wav", noise(0.1))
    (tmp_path / "m.csv").write_text("path,speaker,arousal\none-two.wav,a,low\n")
    found = named(audit.audit("manifest", tmp_path / "m.csv", 1), "missing")
    assert found["one-two.wav"] == (
        f"no such audio file (asked for by m.csv:2) (did you mean {tmp_path / 'one_two.wav'}?)"
    )
