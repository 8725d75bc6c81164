"""Manifests: what each column may hold, and how a mistake is named."""

import dataclasses
import functools
import re

import numpy as np
import pytest

from ser_jax.data.catalog import DatabaseError
from ser_jax.data.corpus import Facts
from ser_jax.data.labels import ADJECTIVES, EMOTIONS, by_emotion
from ser_jax.data.manifest import EMPTY, read

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
    refused(tmp_path, "path,speaker,sex,gendr,emotoin\n", r"csv: no label column, found path, speaker, ")
    assert caplog.messages[1:] == [message]
    read(manifest(tmp_path, text.replace("mood", "gendr")))  # nearer to an alias than to "end"
    assert "column 'gendr' is not read; did you mean 'gender'?" in caplog.text


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


TABLE = """path,speaker,sex,emotion,arousal,dominance,rater1_valence,start,end
a b.wav,Zoë,female,joy,1.5,4,,0,3
a b.wav,Zoë,female,,2,3.25,5,3.5,
c.wav,René,male,anger,3,,0.5,,
d.wav,Ann,unknown,fear,,1,,62,3723.25
"""
SEXES = {"female": "female_feminine", "male": "male_masculine"}
HEADER = TABLE.partition("\n")[0]
MSP = "FileName,SpkrID,Gender,EmoClass,EmoAct,EmoDom,rater1_valence,start,end"


def beside(head, cell, text, after=False):
    """Add a column before a table or after it."""
    columns = [head, *[cell] * (text.count("\n") - 1)]
    rows = zip(columns, text.splitlines(), strict=True)
    return "".join(",".join([*row[::-1]] if after else row) + "\n" for row in rows)


FORMS = {  # of the same table: what is changed of its text
    "spaces": lambda text: text.replace(",", " , "),
    "index of pandas": functools.partial(beside, "", "7"),
    "upper case": lambda text: text.replace(HEADER, HEADER.upper().replace("RATER1", "rater1")),
    "title case": lambda text: text.replace(HEADER, HEADER.title().replace("Rater1", "rater1")),
    "audformat": lambda text: text.replace("path", "file", 1).replace("sex", "gender", 1),
    "MSP-Podcast": lambda text: text.replace(HEADER, MSP),
    "Hugging Face": lambda text: text.replace("path,speaker", "file_name,speaker id", 1),
    "Common Voice": lambda text: re.sub(r"\b(fe)?male\b", lambda sex: SEXES[sex[0]], text),
    "an actor's audio": lambda text: text.replace("path,speaker", "Audio Path,actor", 1),
    "path and file": functools.partial(beside, "file", "x"),
    "sex and gender": functools.partial(beside, "gender", "woman", after=True),
    **{
        f"{f}, {m}": lambda text, f=f, m=m: text.replace("female", f).replace("male", m)
        for f, m in (("F", "M"), ("f", "m"), ("w", "m"), ("Woman", "Man"), ("FEMALE", "Male"))
    },
    **{empty: lambda text, empty=empty: re.sub(r"(?<=,)(?=,|\n)", empty, text) for empty in EMPTY},
    "h:m:s": lambda text: text.replace("62,3723.25", "0:01:02,1:02:03.25").replace("0,3\n", "0:00,0:03\n"),
    "audformat's times": lambda text: text.replace("62,3723.25", "0 days 00:01:02,0 days 01:02:03.250000")
    .replace("0,3\n", "0 days,0 days 00:00:03\n").replace("3.5,", "0 days 00:00:03.500000,NaT"),
}  # fmt: skip


def facts(file):
    return [dataclasses.replace(one, place="") for one in read(file, 2.0, 1.0).utterances]


@pytest.mark.parametrize("form", FORMS)
def test_a_table_means_the_same_however_it_is_written(tmp_path, caplog, form):
    expected = facts(manifest(tmp_path, TABLE))
    assert not caplog.messages
    text = FORMS[form](TABLE)
    assert text != TABLE
    assert facts(manifest(tmp_path, text)) == expected
    assert len(caplog.messages) <= 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line", ["", "sep={}\n"])
def test_a_table_means_the_same_however_it_is_encoded(tmp_path, encoding, separator, line):
    expected = facts(manifest(tmp_path, TABLE))
    text = TABLE.replace(",", separator)
    if separator != ",":
        text = text.replace(".5", ",5").replace(".25", ",25")  # decimal commas
    found = facts(manifest(tmp_path, line.format(separator) + text, encoding))
    assert found == expected


def test_what_is_assumed_is_logged_in_one_line(tmp_path, caplog):
    text = "File;Gender;Client_ID;age;Arousal;start\na;F;x;nan;1,5;\nb;M;y;3;2,5;0:03\nc;f;z;3;NA;0:04\n"
    read(manifest(tmp_path, text), arousal_threshold=2)
    assert caplog.messages == [
        f"{tmp_path / 'manifest.csv'}: read 'File' as path, 'Gender' as sex, 'Client_ID' as speaker, 'F' as "
        "female, '1,5' as a decimal fraction, 'M' as male, '0:03' as hours, minutes and seconds, "
        "'NA' as empty"
    ]


def test_a_name_far_from_any_column_is_not_taken_for_one(tmp_path, caplog):
    read(manifest(tmp_path, words(["a.wav,1,low,negative,x,x,x"], HEAD.strip() + ",set,weekend,label")))
    assert not caplog.messages


@pytest.mark.parametrize("others", ["", ",arousal,valence", ",dominance,rater1_arousal"])
def test_arousal_and_valence_follow_from_emotions_alone(tmp_path, caplog, others):
    emotions = [*EMOTIONS, *map(str.title, ADJECTIVES), "contempt", "awe", ""]
    cells = "," * others.count(",")
    rows = [f"{i}.wav,{i % 4},{emotion}{cells}" for i, emotion in enumerate(emotions)]
    catalog = read(manifest(tmp_path, words(rows, f"path,speaker,emotion{others}")))
    found = [(one.arousal, one.valence) for one in catalog.utterances]
    known = [*EMOTIONS.values(), *(EMOTIONS[name] for name in ADJECTIVES.values())]
    np.testing.assert_equal(found, [*known, *[(np.nan, np.nan)] * 3])
    assert [one.emotion for one in catalog.utterances] == emotions
    assert (catalog.thresholds, catalog.scales) == ({"arousal": 0.5, "valence": 0.5}, {})
    said = "arousal and valence follow from the emotion, except for awe, contempt"
    assert caplog.messages == [f"{tmp_path / 'manifest.csv'}: {said}"]
    assert by_emotion(Facts.of("any", "manifest", catalog))
    with pytest.raises(DatabaseError, match="arousal is given in words, expected no --arousal-threshold"):
        read(tmp_path / "manifest.csv", arousal_threshold=3)


@pytest.mark.parametrize("text", ["path,speaker,emotion,arousal\na,x,fear,\nb,x,fear,low\n",
                                  "path,speaker,emotion,valence\na,x,fear,positive\n",
                                  "path,speaker,emotion\na,x,awe\n"])  # fmt: skip
def test_nothing_follows_from_emotions_beside_other_labels_or_of_unknown_ones(tmp_path, caplog, text):
    catalog = read(manifest(tmp_path, text))
    assert np.isnan(catalog.utterances[0].arousal)
    assert len(catalog.thresholds) == text.count("arousal") + text.count("valence")
    said = [f"{tmp_path / 'manifest.csv'}: arousal and valence do not follow from awe"]
    assert caplog.messages == (said if "awe" in text else [])
    assert not by_emotion(Facts.of("any", "manifest", catalog))
