"""The corpora whose recordings' names tell everything, as their publishers arrange them."""

import numpy as np
import pytest
from published import KNOWN, LANGUAGES, ravdess

from ser_jax.data.catalog import DatabaseError
from ser_jax.data.databases import NAMED, read

PEOPLE = [  # as published: corpus, women, men
    ("emodb", 5, 5), ("ravdess", 12, 12), ("cafe", 6, 6), ("oreau", 7, 25),
    ("crema_d", 43, 48), ("emovo", 3, 3), ("savee", 0, 4), ("urdu", 11, 27),
]  # fmt: skip


def touch(folder, names):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def facts(catalog):
    """Everything but where the recordings lie."""
    halves = ("-+"[each.arousal > 0] + "-+"[each.valence > 0] for each in catalog.utterances)
    each = zip(catalog.utterances, halves, strict=True)
    return {one.id: (one.id, one.speaker, one.sex, one.emotion, half) for one, half in each}


@pytest.mark.parametrize("corpus", KNOWN)
def test_a_published_name_means_what_its_publishers_say(corpus, tmp_path):
    catalog = read(corpus, touch(tmp_path, KNOWN[corpus]))
    assert facts(catalog) == {meaning[0]: meaning for meaning in KNOWN[corpus].values()}
    assert {str(each.path.relative_to(tmp_path)) for each in catalog.utterances} == set(KNOWN[corpus])
    for each in catalog.utterances:
        assert (each.start, each.stop, each.place) == (0.0, None, "")
        assert (each.session, each.language) == (each.speaker, LANGUAGES[corpus])
        assert {each.arousal, each.valence} <= {0.0, 1.0}
        assert np.isnan(each.dominance)
        assert (each.dialogue, each.raters) == ("", "")
    assert (catalog.thresholds, catalog.scales) == ({"arousal": 0.5, "valence": 0.5}, {})
    assert catalog.unlabelled == ()


@pytest.mark.parametrize(("corpus", "women", "men"), PEOPLE)
def test_a_rule_is_whole(corpus, women, men, tmp_path):
    rule = NAMED[corpus]
    assert (len(rule.women), len(rule.men)) == (women, men)
    assert len(set(rule.women + rule.men)) == women + men
    assert len(read(corpus, touch(tmp_path, [rule.example])).utterances) == 1
    assert {meaning[3] for meaning in KNOWN[corpus].values()} == set(rule.emotions.values())
    assert len(set(rule.emotions.values())) == len(rule.emotions)


def test_a_whole_release_is_read_without_a_warning(tmp_path, caplog):
    corpus, files = "ravdess", list(ravdess())
    catalog = read(corpus, touch(tmp_path, files))
    assert (len(catalog.utterances), catalog.unlabelled, caplog.text) == (len(files), (), "")
    missing = catalog.utterances[len(files) // 2].path
    missing.unlink()
    read(corpus, tmp_path)
    (record,) = caplog.records
    assert record.name.startswith("ser_jax.data")
    assert record.getMessage() == (
        f"{tmp_path}: {len(files) - 1} recordings, {NAMED[corpus].title} as published has {len(files)}"
    )


def test_what_is_no_name_of_the_corpus_has_no_label(tmp_path):
    strange = ["wav/17a01Fa.wav", "wav/03a01Xa.wav", "wav/03a01Fa copy.wav", "noise.flac"]
    known = [f"wav/03a0{i}Fa.wav" for i in range(4)]
    catalog = read("emodb", touch(tmp_path, [*known, *strange, "README.txt", "lab/03a01Fa.lab"]))
    assert [each.id for each in catalog.utterances] == [f"03a0{i}Fa" for i in range(4)]
    assert set(catalog.unlabelled) == {str(tmp_path / name) for name in strange}


def test_another_corpus_is_not_taken_for_this_one(tmp_path):
    touch(tmp_path, ["03a01Fa.flac", "08a01Fa.flac", "10a01Na.flac", "16a01Wa.flac"])
    assert len(read("emodb", tmp_path).utterances) == 4
    with pytest.raises(
        DatabaseError,
        match=r"1 recordings of Oréau among 3 others, \S*03a01Fa\.flac the first, expected a folder of Oréau",
    ):
        read("oreau", tmp_path)


def test_hidden_files_and_folders_are_no_recordings_but_a_link_into_nowhere_is_a_missing_one(tmp_path):
    hidden = ["wav/._03a01Fa.wav", ".trash/03a01Fa.wav", "__MACOSX/wav/._03a01Fa.wav"]
    place = touch(tmp_path / ".hidden", ["wav/03a01Fa.wav", *hidden])
    (place / "03a01Na.wav").symlink_to(place / "gone.wav")
    (place / "03a01Wa.wav").mkdir()
    catalog = read("emodb", place)
    assert ([each.id for each in catalog.utterances], catalog.unlabelled) == (["03a01Na", "03a01Fa"], ())


def test_ravdess_song_and_video_are_skipped(tmp_path):
    others = ["03-02-05-01-01-01-01.wav", "01-01-05-01-01-01-01.wav", "02-02-05-01-01-01-01.wav"]
    touch(tmp_path, ["03-01-05-01-01-01-01.wav", "01-01-05-01-01-01-01.mp4", *others])
    catalog = read("ravdess", tmp_path)
    assert [each.id for each in catalog.utterances] == ["03-01-05-01-01-01-01"]
    assert catalog.unlabelled == ()


@pytest.mark.parametrize(
    ("corpus", "one", "other", "id"),
    [
        ("savee", "DC/a01.wav", "DC_a01.wav", "DC_a01"),
        ("oreau", "OréauFR_01/m/sessc/07a01Ca.wav", "OréauFR_02/m/sessc/07a01Ca.wav", "07a01Ca"),
        ("cafe", "CaFE_192k_1/Peur/Fort/01-P-2-1.aiff", "CaFE_48k/Peur/Fort/01-P-2-1.wav", "01-P-2-1"),
    ],
)
def test_a_recording_stands_once(corpus, one, other, id, tmp_path):
    touch(tmp_path, [one, other])
    with pytest.raises(DatabaseError, match=rf"{other}: {id} is already in .*{one}, expected it once"):
        read(corpus, tmp_path)
