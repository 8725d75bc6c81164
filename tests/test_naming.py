"""The corpora whose recordings' names tell everything, as their publishers arrange them."""

import itertools

import numpy as np
import pytest

from ser_jax.data.catalog import DatabaseError
from ser_jax.data.databases import NAMED, read

# Published names, and what they mean: id, speaker, sex, emotion, arousal and valence in halves.
KNOWN = {
    "emodb": {
        "wav/03a01Wa.wav": ("03a01Wa", "03", "male", "anger", "+-"),
        "wav/08a02La.wav": ("08a02La", "08", "female", "boredom", "--"),
        "wav/09b03Ec.wav": ("09b03Ec", "09", "female", "disgust", "--"),
        "wav/10b10Ad.wav": ("10b10Ad", "10", "male", "fear", "+-"),
        "wav/13a07Fb.wav": ("13a07Fb", "13", "female", "happiness", "++"),
        "wav/15a05Tb.wav": ("15a05Tb", "15", "male", "sadness", "--"),
        "wav/16b09Na.wav": ("16b09Na", "16", "female", "neutral", "-+"),
    },
    "ravdess": {
        "Actor_01/03-01-01-01-01-01-01.wav": ("03-01-01-01-01-01-01", "actor01", "male", "neutral", "-+"),
        "Actor_02/03-01-02-02-02-01-02.wav": ("03-01-02-02-02-01-02", "actor02", "female", "calm", "-+"),
        "Actor_03/03-01-03-01-01-02-03.wav": ("03-01-03-01-01-02-03", "actor03", "male", "happiness", "++"),
        "Actor_10/03-01-04-02-01-01-10.wav": ("03-01-04-02-01-01-10", "actor10", "female", "sadness", "--"),
        "Actor_21/03-01-05-01-02-02-21.wav": ("03-01-05-01-02-02-21", "actor21", "male", "anger", "+-"),
        "Actor_22/03-01-06-01-02-01-22.wav": ("03-01-06-01-02-01-22", "actor22", "female", "fear", "+-"),
        "Actor_23/03-01-07-02-01-02-23.wav": ("03-01-07-02-01-02-23", "actor23", "male", "disgust", "--"),
        "Actor_24/03-01-08-02-02-02-24.wav": ("03-01-08-02-02-02-24", "actor24", "female", "surprise", "++"),
    },
    "cafe": {
        "Colère/Faible/01-C-1-1.wav": ("01-C-1-1", "01", "male", "anger", "+-"),
        "Dégoût/Fort/02-D-2-2.wav": ("02-D-2-2", "02", "female", "disgust", "--"),
        "Joie/Fort/11-J-2-3.wav": ("11-J-2-3", "11", "male", "happiness", "++"),
        "Neutre/12-N-1-6.wav": ("12-N-1-6", "12", "female", "neutral", "-+"),
        "Neutre/03-N-2.aiff": ("03-N-2", "03", "male", "neutral", "-+"),
        "Peur/Faible/07-P-1-4.aiff": ("07-P-1-4", "07", "male", "fear", "+-"),
        "Surprise/Fort/08-S-2-5.wav": ("08-S-2-5", "08", "female", "surprise", "++"),
        "Tristesse/Faible/10-T-1-6.wav": ("10-T-1-6", "10", "female", "sadness", "--"),
    },
    "oreau": {
        "f/sessc/10a02Ca.wav": ("10a02Ca", "10", "female", "anger", "+-"),
        "f/sessd/42a03Da.wav": ("42a03Da", "42", "female", "disgust", "--"),
        "f/sessj/37a05Ja.wav": ("37a05Ja", "37", "female", "happiness", "++"),
        "m/sessn/41a09Na.wav": ("41a09Na", "41", "male", "neutral", "-+"),
        "m/sessp/16a20Pa.wav": ("16a20Pa", "16", "male", "fear", "+-"),
        "m/sesss/07z03Sa.wav": ("07z03Sa", "07", "male", "surprise", "++"),
        "m/sesst/25a04Ta.wav": ("25a04Ta", "25", "male", "sadness", "--"),
    },
    "crema_d": {
        "AudioWAV/1001_DFA_ANG_XX.wav": ("1001_DFA_ANG_XX", "1001", "male", "anger", "+-"),
        "AudioWAV/1002_IEO_DIS_HI.wav": ("1002_IEO_DIS_HI", "1002", "female", "disgust", "--"),
        "AudioWAV/1091_IEO_FEA_LO.wav": ("1091_IEO_FEA_LO", "1091", "female", "fear", "+-"),
        "AudioWAV/1090_IEO_HAP_MD.wav": ("1090_IEO_HAP_MD", "1090", "male", "happiness", "++"),
        "AudioWAV/1063_DFA_NEU_XX.wav": ("1063_DFA_NEU_XX", "1063", "female", "neutral", "-+"),
        "AudioWAV/1040_ITH_SAD_X.wav": ("1040_ITH_SAD_X", "1040", "male", "sadness", "--"),
    },
    "emovo": {
        "f1/dis-f1-b1.wav": ("dis-f1-b1", "f1", "female", "disgust", "--"),
        "f2/gio-f2-l4.wav": ("gio-f2-l4", "f2", "female", "happiness", "++"),
        "f3/neu-f3-n5.wav": ("neu-f3-n5", "f3", "female", "neutral", "-+"),
        "m1/pau-m1-d2.wav": ("pau-m1-d2", "m1", "male", "fear", "+-"),
        "m2/rab-m2-b3.wav": ("rab-m2-b3", "m2", "male", "anger", "+-"),
        "m3/sor-m3-l1.wav": ("sor-m3-l1", "m3", "male", "surprise", "++"),
        "m3/tri-m3-n1.wav": ("tri-m3-n1", "m3", "male", "sadness", "--"),
    },
    "savee": {
        "AudioData/DC/a01.wav": ("DC_a01", "DC", "male", "anger", "+-"),
        "AudioData/JE/a01.wav": ("JE_a01", "JE", "male", "anger", "+-"),
        "AudioData/JE/d15.wav": ("JE_d15", "JE", "male", "disgust", "--"),
        "AudioData/JK/f02.wav": ("JK_f02", "JK", "male", "fear", "+-"),
        "AudioData/KL/h03.wav": ("KL_h03", "KL", "male", "happiness", "++"),
        "AudioData/KL/n30.wav": ("KL_n30", "KL", "male", "neutral", "-+"),
        "AudioData/DC/sa04.wav": ("DC_sa04", "DC", "male", "sadness", "--"),
        "AudioData/DC/su05.wav": ("DC_su05", "DC", "male", "surprise", "++"),
    },
    "urdu": {
        "Angry/SM1_F10_A010.wav": ("SM1_F10_A010", "SM1", "male", "anger", "+-"),
        "Happy/SF1_F1_H01.wav": ("SF1_F1_H01", "SF1", "female", "happiness", "++"),
        "Neutral/SM20_F10_N014.wav": ("SM20_F10_N014", "SM20", "male", "neutral", "-+"),
        "Sad/SF11_F4_S06.wav": ("SF11_F4_S06", "SF11", "female", "sadness", "--"),
    },
}
LANGUAGES = {
    "emodb": "de", "ravdess": "en", "cafe": "fr", "oreau": "fr",
    "crema_d": "en", "emovo": "it", "savee": "en", "urdu": "ur",
}  # fmt: skip


def ravdess():
    for emotion, intensity, *rest in itertools.product(range(1, 9), (1, 2), (1, 2), (1, 2), range(1, 25)):
        if (emotion, intensity) != (1, 2):
            fields = "-".join(f"{field:02d}" for field in (3, 1, emotion, intensity, *rest))
            yield f"Actor_{rest[-1]:02d}/{fields}.wav"


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
