"""Manifests: what each column may hold, and how a mistake is named."""

import numpy as np
import pytest

from ser_jax.data.catalog import DatabaseError
from ser_jax.data.manifest import read

HEAD = "path,speaker,arousal,valence\n"
ROW = "a.wav,x,low,negative\n"


def manifest(folder, text, encoding="utf-8"):
    """Writes a manifest; its recordings need not be there to be read about."""
    path = folder / "manifest.csv"
    path.write_bytes(text.encode(encoding))
    return path


def words(rows, columns="path,speaker,arousal,valence"):
    return "\n".join([columns, *rows]) + "\n"


def refused(folder, text, message, **options):
    with pytest.raises(DatabaseError, match=message):
        read(manifest(folder, text), **options)


def test_words_are_zero_and_one(tmp_path):
    text = words(["a.wav,03,low,negative", "b.wav,04, High ,POSITIVE"])
    catalog = read(manifest(tmp_path, text))
    a, b = catalog.utterances
    assert (a.arousal, a.valence, b.arousal, b.valence) == (0, 0, 1, 1)
    assert catalog.thresholds == {"arousal": 0.5, "valence": 0.5}
    assert (a.id, a.path, a.speaker, a.session) == ("a.wav", tmp_path / "a.wav", "03", "03")
    assert (a.sex, a.language, a.start, a.stop) == ("unknown", "unknown", 0.0, None)


def test_optional_columns_in_any_order_and_others_ignored(tmp_path):
    text = words(
        ["happy,positive,1,3.5,high,s1,F1,Female,de,a.wav"],
        "emotion,valence,start,end,arousal,session,speaker,sex,language,path",
    )
    (a,) = read(manifest(tmp_path, text)).utterances
    assert (a.session, a.speaker, a.sex, a.language) == ("s1", "F1", "female", "de")
    assert (a.id, a.start, a.stop) == ("a.wav#1-3.5", 1.0, 3.5)
    assert (a.emotion, a.place) == ("happy", f"{tmp_path / 'manifest.csv'}:2")


def test_numbers_with_a_threshold(tmp_path):
    text = words(["a.wav,1,3.25,negative", "b.wav,1,-1e-3,positive"])
    catalog = read(manifest(tmp_path, text), arousal_threshold=3)
    a, b = catalog.utterances
    assert (a.arousal, b.arousal) == (3.25, -0.001)
    assert catalog.thresholds == {"arousal": 3.0, "valence": 0.5}


def test_segments_of_one_recording(tmp_path):
    rows = ["a.wav,1,low,negative,0,2", "a.wav,1,low,negative,2.50,", "a.wav,1,low,negative,,1"]
    text = words(rows, "path,speaker,arousal,valence,start,end")
    utterances = read(manifest(tmp_path, text)).utterances
    assert [u.id for u in utterances] == ["a.wav#0-2", "a.wav#2.50-", "a.wav#-1"]
    assert [(u.start, u.stop) for u in utterances] == [(0, 2), (2.5, None), (0, 1)]


def test_what_may_be_a_misspelt_column_is_warned_of(tmp_path, caplog):
    text = words(["a.wav,1,low,negative,joy,x"], "path,speaker,arousal,valence,emotoin,mood")
    read(manifest(tmp_path, text))
    (message,) = caplog.messages
    assert message.endswith("manifest.csv: column 'emotoin' is not read; did you mean 'emotion'?")
    refused(tmp_path, "path,speaker,sex\n", r"csv: no column of labels, found path, speaker, sex, expected")


def test_labels_may_be_empty(tmp_path):
    text = words(["a.wav,1,low,", "b.wav,1,,negative", "c.wav,1,,"])
    for name in ("a.wav", "d.flac"):
        (tmp_path / name).touch()
    catalog = read(manifest(tmp_path, text))
    assert [(u.arousal, u.valence) for u in catalog.utterances[:2]] == [
        (0.0, pytest.approx(np.nan, nan_ok=True)),
        (pytest.approx(np.nan, nan_ok=True), 0.0),
    ]
    assert np.isnan([catalog.utterances[2].arousal, catalog.utterances[2].valence]).all()
    assert catalog.unlabelled == (str(tmp_path / "d.flac"),)


def test_dominance_dialogue_raters_and_scales(tmp_path):
    columns = "path,speaker,arousal,dominance,dialogue,rater1_arousal,rater1_emotion,rater_b_dominance"
    rows = ["a.wav,1,2.5,4,Scripted,1,joy,", "b.wav,1,3,,,5,,2"]
    text = words(rows, columns)
    catalog = read(manifest(tmp_path, text), arousal_threshold=3)
    a, b = catalog.utterances
    assert (a.dominance, a.dialogue, b.dialogue) == (4.0, "scripted", "")
    assert a.raters == '{"rater1":{"arousal":1.0,"emotion":["joy"]}}'
    assert b.raters == '{"rater1":{"arousal":5.0},"rater_b":{"dominance":2.0}}'
    assert catalog.scales == {"arousal": (1.0, 5.0), "dominance": (2.0, 4.0)}
    assert catalog.thresholds == {"arousal": 3.0}
    broken = text.replace("Scripted", "spoken")
    refused(tmp_path, broken, "dialogue is 'spoken', expected improvised, scripted", arousal_threshold=3)
    refused(tmp_path, text.replace(",4,", ",high,"), "csv:2: dominance is 'high', expected a finite number",
            arousal_threshold=3)  # fmt: skip
    refused(tmp_path, text.replace(",1,joy", ",x,joy"), "csv:2: rater1_arousal is 'x', expected low, ",
            arousal_threshold=3)  # fmt: skip
