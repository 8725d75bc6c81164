"""RECOLA's layout, its exact labels, and its irregularities."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data import recola
from ser_jax.data.recola import Decimal, turn_means

NAMES = {
    "annotation": "RECOLA-Annotation",
    "behaviour": "emotional_behaviour",
    "audio": "RECOLA-Audio-recordings",
    "timings": "RECOLA-Audio_timings",
    "metadata": "RECOLA-Metadata",
}


READ_TRACE, TRACES = recola.read_trace, {}


@pytest.fixture(autouse=True)
def _remembered(monkeypatch):
    """Read tables of the same content once: they are long."""

    def read_trace(file):
        content = file.read_bytes()
        if content not in TRACES:
            TRACES[content] = READ_TRACE(file)
        return TRACES[content]

    monkeypatch.setattr(recola, "read_trace", read_trace)


def read(source, **options):
    return recola.read(source, **options).utterances


def table(values, mark=";"):
    """An annotation file; `values` maps a row's number to its six cells, "0" elsewhere."""
    lines = [mark.join(["time", "FM1 ", "FM2 ", "FM3 ", "FF1 ", "FF2 ", "FF3"])]
    lines += [mark.join([f"{k * 0.04:.2f}", *values.get(k, ["0"] * 6)]) for k in range(7501)]
    return "\n".join(lines) + "\n"


def write(root, participant="P16", arousal="", valence="", turns="0.0;1.0\n", mark=";", names=NAMES):
    """Writes one participant; recordings are never opened by the reader."""
    for target, text in (("arousal", arousal), ("valence", valence)):
        folder = root / names["annotation"] / names["behaviour"] / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{participant}.csv").write_text(text or table({}, mark=mark))
    for key, suffix, text in (("audio", "wav", ""), ("timings", "csv", f"start{mark}stop\n{turns}")):
        (root / names[key]).mkdir(exist_ok=True)
        (root / names[key] / f"{participant}.{suffix}").write_text(text)
    return root


def people(root, text):
    folder = root / NAMES["metadata"]
    folder.mkdir(exist_ok=True)
    (folder / "recola_user_info.csv").write_text(text)


def test_a_label_is_the_mean_inside_the_turn(tmp_path):
    values = {0: ["0.9"] * 6, 25: ["0.5"] * 6, 26: ["1"] * 6, 27: ["0.1"] * 5 + ["-0.5"], 28: ["0.9"] * 6}
    root = write(tmp_path, arousal=table(values), turns="1.0;1.12\n0.04;0.08\n")
    first, second = read(root)
    assert first.arousal == pytest.approx((0.5 + 1 + 0) / 3, abs=1e-15)
    assert (second.arousal, second.valence) == (0.0, 0.0)
    assert (first.id, second.id) == ("P16_000", "P16_001")
    assert (first.start, first.stop, first.speaker, first.language) == (1.0, 1.12, "P16", "fr")
    assert first.path == root / "RECOLA-Audio-recordings/P16.wav"


@given(cells=st.lists(st.lists(st.floats(-1, 1), min_size=6, max_size=6), min_size=3, max_size=3))
def test_the_mean_is_exact(cells):
    trace = [[Decimal(repr(value)) for value in row] for row in cells]
    exact = [[Fraction(repr(value)) for value in row] for row in cells]
    consensus, of_raters = turn_means(trace, Decimal(0), Decimal("0.12"))
    assert consensus == float(sum(map(sum, exact)) / 18)
    assert of_raters == [float(sum(values) / 3) for values in zip(*exact, strict=True)]


def test_every_raters_mean_is_kept(tmp_path):
    values = {25: ["0.5", "0.1", "0", "0", "0", "-0.5"], 26: ["1", "0.2", "0", "0", "0", "-1"]}
    catalog = recola.read(write(tmp_path, arousal=table(values), turns="1.0;1.08\n"))
    (utterance,) = catalog.utterances
    means = {"FM1": 0.75, "FM2": 0.15, "FM3": 0.0, "FF1": 0.0, "FF2": 0.0, "FF3": -0.75}
    rated = {rater: {"arousal": mean, "valence": 0.0} for rater, mean in means.items()}
    assert json.loads(utterance.raters) == rated
    assert (np.isnan(utterance.dominance), utterance.dialogue) == (True, "")
    assert catalog.scales == {"arousal": (-1.0, 1.0), "valence": (-1.0, 1.0)}


@pytest.mark.parametrize(
    ("start", "stop", "value"),
    [
        ("0.05", "0.07", 0.1),  # between the instants 0.04 and 0.08
        ("0.04", "0.06", 0.1),
        ("0.08", "0.081", 0.2),
        ("0.03", "0.05", 0.1),  # holds the instant 0.04
        ("299.99", "300", 0.7),
        ("299.97", "305", 0.7),
        ("299.96", "310", 0.7),
    ],
)
def test_turns_shorter_than_a_step_or_past_the_end(tmp_path, start, stop, value):
    values = {1: ["0.1"] * 6, 2: ["0.2"] * 6, 7499: ["0.7"] * 6, 7500: ["0.9"] * 6}
    (utterance,) = read(write(tmp_path, arousal=table(values), turns=f"{start};{stop}\n"))
    assert utterance.arousal == value
    assert utterance.stop == min(float(stop), 300.0)


def test_raters_may_be_given_a_delay(tmp_path):
    root = write(tmp_path, arousal=table({50: ["0.6"] * 6, 7500: ["1"] * 6}), turns="0;0.04\n299.96;300\n")
    assert [u.arousal for u in read(root, annotation_delay=2.0)] == [0.6, 1.0]
    assert [u.start for u in read(root, annotation_delay=2.0)] == [0.0, 299.96]


def test_participants_come_by_number_and_sessions_by_dyad(tmp_path):
    for participant in ("P100", "P16", "P17"):
        write(tmp_path, participant)
    people(tmp_path, "User; Group_id;Sex\nP16;3;Female\n17;3;M\n")
    known = [("P16", "dyad3", "female"), ("P17", "dyad3", "male"), ("P100", "P100", "unknown")]
    assert [(u.speaker, u.session, u.sex) for u in read(tmp_path)] == known
    people(tmp_path, "User,Sex\nP16,male\n")  # some metadata name no dyads
    assert [(u.session, u.sex) for u in read(tmp_path)][:2] == [("P16", "male"), ("P17", "unknown")]


@pytest.mark.parametrize("known", [None, "User;Group_id;Sex\nP16;3;f\n", "User,Sex\nP16,f\nP17,m\n"])
def test_unknown_partners_are_named_with_what_follows(tmp_path, caplog, known):
    for participant in ("P16", "P17"):
        write(tmp_path, participant)
    if known is not None:
        people(tmp_path, known)
    read(tmp_path)
    whose = "P17" if known and "Group" in known else "P16, P17"
    assert f"partners of {whose} unknown: each counts as a session, so that two who talked" in caplog.text


def test_releases_spell_their_folders_differently(tmp_path):
    names = {
        "annotation": "recola_annotation",
        "behaviour": "Emotional-Behavior",
        "audio": "RECOLA_Audio_recordings",
        "timings": "RECOLA-Audio-timings",
    }
    root = write(tmp_path, mark=",", turns="0,1\n", names=names)
    (utterance,) = read(root)
    assert utterance.path == root / "RECOLA_Audio_recordings/P16.wav"
    utterance.path.unlink()
    assert read(root) == (utterance,)


def test_one_dimension_is_not_enough(tmp_path, caplog):
    write(tmp_path, "P16")
    write(tmp_path, "P17")
    (tmp_path / "RECOLA-Annotation/emotional_behaviour/valence/P17.csv").unlink()
    assert {u.speaker for u in read(tmp_path)} == {"P16"}
    assert "P17 is annotated on one dimension only and left out" in caplog.text


def test_what_has_no_annotation_is_listed(tmp_path):
    write(tmp_path, turns="299;300\n300;301\n")
    (tmp_path / "RECOLA-Audio-recordings/P99.wav").touch()
    catalog = recola.read(tmp_path)
    assert [u.id for u in catalog.utterances] == ["P16_000"]
    recording, turn = catalog.unlabelled
    assert recording.endswith("P99.wav")
    assert turn.endswith("P16.csv:3 (from 300 s, annotated are 300 s)")
