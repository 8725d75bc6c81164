"""The corpora whose recordings' names tell everything, as their publishers arrange them."""

import itertools
import json
import shutil

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
    "nemo": {
        "samples/EB0_anger_1.wav": ("EB0_anger_1", "EB0", "female", "anger", "+-"),
        "samples/WR0_fear_58.wav": ("WR0_fear_58", "WR0", "male", "fear", "+-"),
        "samples/KS0_happiness_19.wav": ("KS0_happiness_19", "KS0", "male", "happiness", "++"),
        "samples/KD0_neutral_2.wav": ("KD0_neutral_2", "KD0", "female", "neutral", "-+"),
        "samples/MP0_sadness_79.wav": ("MP0_sadness_79", "MP0", "male", "sadness", "--"),
        "samples/TP0_surprised_17.wav": ("TP0_surprised_17", "TP0", "male", "surprise", "++"),
    },
    "casia": {
        "liuchanhg/angry/201.wav": ("liuchanhg_angry_201", "liuchanhg", "unknown", "anger", "+-"),
        "wangzhe/fear/202.wav": ("wangzhe_fear_202", "wangzhe", "unknown", "fear", "+-"),
        "zhaoquanyin/happy/250.wav": ("zhaoquanyin_happy_250", "zhaoquanyin", "unknown", "happiness", "++"),
        "ZhaoZuoxiang/neutral/201.wav": (
            "ZhaoZuoxiang_neutral_201",
            "ZhaoZuoxiang",
            "unknown",
            "neutral",
            "-+",
        ),
        "wangzhe/sad/249.wav": ("wangzhe_sad_249", "wangzhe", "unknown", "sadness", "--"),
        "wangzhe/surprise/220.wav": ("wangzhe_surprise_220", "wangzhe", "unknown", "surprise", "++"),
    },
    "eyase": {
        "Female01/fm01_ang (1).wav": ("Female01_fm01_ang (1)", "Female01", "female", "anger", "+-"),
        "Male02/ml02_hap (12).wav": ("Male02_ml02_hap (12)", "Male02", "male", "happiness", "++"),
        "Male02/ml02_neu (3).wav": ("Male02_ml02_neu (3)", "Male02", "male", "neutral", "-+"),
        "Female03/fm03_sad (4).wav": ("Female03_fm03_sad (4)", "Female03", "female", "sadness", "--"),
    },
    "tess": {
        "OAF_angry/OAF_back_angry.wav": ("OAF_back_angry", "OA", "female", "anger", "+-"),
        "YAF_disgust/YAF_bar_disgust.wav": ("YAF_bar_disgust", "YA", "female", "disgust", "--"),
        "OAF_Fear/OAF_base_fear.wav": ("OAF_base_fear", "OA", "female", "fear", "+-"),
        "YAF_happy/YAF_bath_happy.wav": ("YAF_bath_happy", "YA", "female", "happiness", "++"),
        "OAF_neutral/OA_bite_neutral.wav": ("OA_bite_neutral", "OA", "female", "neutral", "-+"),
        "YAF_pleasant_surprised/YAF_back_ps.wav": ("YAF_back_ps", "YA", "female", "surprise", "++"),
        "OAF_Sad/OAF_back_sad.wav": ("OAF_back_sad", "OA", "female", "sadness", "--"),
    },
    "subesco": {
        "F_02_MONIKA_S_1_NEUTRAL_5.wav": ("F_02_MONIKA_S_1_NEUTRAL_5", "F_02", "female", "neutral", "-+"),
        "F_01_OISHI_S_10_ANGRY_1.wav": ("F_01_OISHI_S_10_ANGRY_1", "F_01", "female", "anger", "+-"),
        "M_01_X_S_2_DISGUST_2.wav": ("M_01_X_S_2_DISGUST_2", "M_01", "male", "disgust", "--"),
        "M_10_X_S_3_FEAR_3.wav": ("M_10_X_S_3_FEAR_3", "M_10", "male", "fear", "+-"),
        "M_01_X_S_4_HAPPY_4.wav": ("M_01_X_S_4_HAPPY_4", "M_01", "male", "happiness", "++"),
        "F_02_MONIKA_S_5_SAD_1.wav": ("F_02_MONIKA_S_5_SAD_1", "F_02", "female", "sadness", "--"),
        "F_02_MONIKA_S_6_SURPRISE_1.wav": ("F_02_MONIKA_S_6_SURPRISE_1", "F_02", "female", "surprise", "++"),
    },
    "aesdd": {
        "anger/a06 (5)b.wav": ("a06 (5)b", "actor5", "unknown", "anger", "+-"),
        "disgust/d03 (1).wav": ("d03 (1)", "actor1", "unknown", "disgust", "--"),
        "fear/f20 (2).wav": ("f20 (2)", "actor2", "unknown", "fear", "+-"),
        "happiness/h13 (3).wav": ("h13 (3)", "actor3", "unknown", "happiness", "++"),
        "sadness/s01 (6)a.wav": ("s01 (6)a", "actor6", "unknown", "sadness", "--"),
    },
    "shemo": {
        "female/F14A09.wav": ("F14A09", "F14", "female", "anger", "+-"),
        "male/M02F01.wav": ("M02F01", "M02", "male", "fear", "+-"),
        "female/F21H02.wav": ("F21H02", "F21", "female", "happiness", "++"),
        "female/F21N37.wav": ("F21N37", "F21", "female", "neutral", "-+"),
        "female/F03S02.wav": ("F03S02", "F03", "female", "sadness", "--"),
        "male/M12W01.wav": ("M12W01", "M12", "male", "surprise", "++"),
    },
    "mesd": {
        "Anger_C_A_abajo.wav": ("Anger_C_A_abajo", "voiceC", "unknown", "anger", "+-"),
        "Disgust_F_B_asco.wav": ("Disgust_F_B_asco", "voiceF", "female", "disgust", "--"),
        "Fear_M_A_adios.wav": ("Fear_M_A_adios", "voiceM", "male", "fear", "+-"),
        "Happiness_F_A_ayer.wav": ("Happiness_F_A_ayer", "voiceF", "female", "happiness", "++"),
        "Neutral_M_B_mesa.wav": ("Neutral_M_B_mesa", "voiceM", "male", "neutral", "-+"),
        "Sadness_C_B_nadie.wav": ("Sadness_C_B_nadie", "voiceC", "unknown", "sadness", "--"),
    },
    "jl": {
        "female1_angry_10a_1.wav": ("female1_angry_10a_1", "female1", "female", "anger", "+-"),
        "female2_happy_1b_2.wav": ("female2_happy_1b_2", "female2", "female", "happiness", "++"),
        "male1_neutral_15a_1.wav": ("male1_neutral_15a_1", "male1", "male", "neutral", "-+"),
        "male2_sad_15b_2.wav": ("male2_sad_15b_2", "male2", "male", "sadness", "--"),
    },
    "esd": {
        "0001/Angry/train/0001_000371.wav": ("0001_000371", "0001", "female", "anger", "+-"),
        "0010/Happy/test/0010_000721.wav": ("0010_000721", "0010", "male", "happiness", "++"),
        "0011/Neutral/0011_000001.wav": ("0011_000001", "0011", "male", "neutral", "-+"),
        "0019/Sad/evaluation/0019_001051.wav": ("0019_001051", "0019", "female", "sadness", "--"),
        "0020/Surprise/0020_001750.wav": ("0020_001750", "0020", "male", "surprise", "++"),
    },
}
LANGUAGES = {
    "emodb": "de", "ravdess": "en", "cafe": "fr", "oreau": "fr",
    "crema_d": "en", "emovo": "it", "savee": "en", "urdu": "ur",
    "nemo": "pl", "casia": "zh", "eyase": "ar", "tess": "en", "subesco": "bn",
    "aesdd": "el", "shemo": "fa", "mesd": "es", "jl": "en",
    "esd": {"0001": "zh", "0010": "zh", "0011": "en", "0019": "en", "0020": "en"},
}  # fmt: skip


def ravdess():
    for emotion, intensity, *rest in itertools.product(range(1, 9), (1, 2), (1, 2), (1, 2), range(1, 25)):
        if (emotion, intensity) != (1, 2):
            fields = "-".join(f"{field:02d}" for field in (3, 1, emotion, intensity, *rest))
            yield f"Actor_{rest[-1]:02d}/{fields}.wav"


PEOPLE = [  # as published: corpus, women, men
    ("emodb", 5, 5), ("ravdess", 12, 12), ("cafe", 6, 6), ("oreau", 7, 25),
    ("crema_d", 43, 48), ("emovo", 3, 3), ("savee", 0, 4), ("urdu", 11, 27),
    ("nemo", 4, 5), ("tess", 2, 0), ("esd", 10, 10),
]  # fmt: skip
ANNOTATIONS = """file,a1_A,a1_V,a1_D,a1_cat,a2_A,a2_V,a2_D,a2_cat,a3_A,a3_V,a3_D,a3_cat,gt_emotion
DK_001_A_1.wav,4.0,1.5,4.5,A,4.0,2.5,5.0,A,5.0,1.0,4.5,N,A
EN_001_B_1.wav,3.0,3.5,3.0,B,2.0,2.5,1.5,N,,,,N,B
../audio/DK_019_S_5.wav,3.0,3.0,3.0,H,3.0,3.0,3.0,H,3.0,3.0,3.0,S,S
"""
SAMPLES = """file_name,sentence,actor,emotion_expressed
1.wav,"Vorrei il numero, grazie",anna,joy
2.wav,Piove,bruno,neutrality
"""


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
        language = (
            LANGUAGES[corpus] if isinstance(LANGUAGES[corpus], str) else LANGUAGES[corpus][each.speaker]
        )
        assert (each.session, each.language) == (each.speaker, language)
        assert {each.arousal, each.valence} <= {0.0, 1.0}
        assert np.isnan(each.dominance)
        assert (each.dialogue, each.raters) == ("", "")
    assert (catalog.thresholds, catalog.scales) == ({"arousal": 0.5, "valence": 0.5}, {})
    assert catalog.unlabelled == ()


@pytest.mark.parametrize("change", [str.lower, str.upper])
@pytest.mark.parametrize("corpus", KNOWN)
def test_a_name_means_the_same_in_either_case(corpus, change, tmp_path):
    found = facts(read(corpus, touch(tmp_path, map(change, KNOWN[corpus]))))
    expected = {change(meaning[0]): meaning for meaning in KNOWN[corpus].values()}
    assert found.keys() == expected.keys()
    for id, (_, speaker, *others) in found.items():
        assert (speaker.lower(), others) == (expected[id][1].lower(), list(expected[id][2:]))


@pytest.mark.parametrize(("corpus", "women", "men"), PEOPLE)
def test_the_published_speakers_are_listed(corpus, women, men):
    rule = NAMED[corpus]
    assert (len(rule.women), len(rule.men)) == (women, men)
    assert len(set(rule.women + rule.men)) == women + men


@pytest.mark.parametrize("corpus", KNOWN)
def test_a_rule_is_whole(corpus, tmp_path):
    rule = NAMED[corpus]
    assert len(read(corpus, touch(tmp_path, [rule.example])).utterances) == 1
    assert {meaning[3] for meaning in KNOWN[corpus].values()} == set(rule.emotions.values())
    assert len(set(rule.emotions.values())) == len(rule.emotions)


def test_emotale_has_ratings(tmp_path, caplog):
    touch(tmp_path, ["audio/DK_001_A_1.flac", "audio/EN_001_B_1.wav", "audio/DK_002_N_1.wav"])
    (tmp_path / "annotations.csv").write_text(ANNOTATIONS)
    (tmp_path / "speaker_info.csv").write_text("speaker,gender,age\n1,Female,20\n019,Male,39\n")
    catalog = read("emotale", tmp_path)
    anger, boredom, sadness = catalog.utterances
    assert [each.path.name for each in catalog.utterances] == [
        "DK_001_A_1.flac", "EN_001_B_1.wav", "DK_019_S_5.wav",
    ]  # fmt: skip
    assert [
        (each.id, each.language, each.speaker, each.sex, each.emotion) for each in (anger, boredom, sadness)
    ] == [
        ("DK_001_A_1", "da", "001", "female", "anger"),
        ("EN_001_B_1", "en", "001", "female", "boredom"),
        ("DK_019_S_5", "da", "019", "male", "sadness"),
    ]
    assert (anger.arousal, anger.valence, anger.dominance) == pytest.approx((13 / 3, 5 / 3, 14 / 3))
    assert (boredom.arousal, boredom.valence, boredom.dominance) == (2.5, 3.0, 2.25)
    assert json.loads(boredom.raters) == {
        "a1": {"arousal": 3.0, "valence": 3.5, "dominance": 3.0, "emotion": ["boredom"]},
        "a2": {"arousal": 2.0, "valence": 2.5, "dominance": 1.5, "emotion": ["neutral"]},
        "a3": {"emotion": ["neutral"]},
    }
    assert (catalog.thresholds, catalog.scales["dominance"]) == ({"arousal": 3.0, "valence": 3.0}, (1.0, 5.0))
    assert sadness.path == tmp_path / "DK_019_S_5.wav"
    assert sadness.place == f"{tmp_path / 'annotations.csv'}:4"
    assert catalog.unlabelled == (str(tmp_path / "audio/DK_002_N_1.wav"),)
    (tmp_path / "speaker_info.csv").unlink()
    assert {each.sex for each in read("emotale", tmp_path).utterances} == {"unknown"}
    assert "no speaker_info.csv; sexes are unknown" in caplog.text


def test_emozionalmente_has_tables_of_recordings_and_people(tmp_path):
    touch(tmp_path, ["audio/1.wav", "audio/2.wav", "metadata/samples.csv"])
    (tmp_path / "metadata/samples.csv").write_text(SAMPLES)
    (tmp_path / "metadata/users.csv").write_text("username,age,gender\nbruno,30,male\nanna,40,female\n")
    catalog = read("emozionalmente", tmp_path)
    assert facts(catalog) == {
        "1": ("1", "anna", "female", "happiness", "++"),
        "2": ("2", "bruno", "male", "neutral", "-+"),
    }
    assert {(each.language, each.raters) for each in catalog.utterances} == {("it", "")}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (ANNOTATIONS.replace("5.0,1.0", "5.0,low"), r"annotations.csv:2: a3_V is 'low', expected a number"),
        (
            ANNOTATIONS.replace("EN_001_B_1", "FR_001_B_1"),
            r":3: recording 'FR_001_B_1.wav', emotion 'B', expected a name as in E",
        ),
        (ANNOTATIONS.replace("S,S", "S,X"), r"annotations.csv:4: .* emotion 'X', expected .* A, B, H, N, S$"),
        (ANNOTATIONS.replace("gt_emotion", "emo"), r"annotations.csv: no column 'gt_emotion'"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(text, answer, tmp_path):
    (tmp_path / "annotations.csv").write_text(text)
    with pytest.raises(DatabaseError, match=answer):
        read("emotale", tmp_path)
    (tmp_path / "annotations.csv").unlink()
    with pytest.raises(DatabaseError, match=r"no annotations.csv, expected EmoTale's with DK_001_A_1.wav"):
        read("emotale", tmp_path)


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


@pytest.mark.parametrize(
    ("corpus", "source", "names"),
    [
        ("crema_d", "AudioWAV", ["AudioWAV/1001_DFA_ANG_XX.wav"]),
        ("crema_d", "", ["AudioWAV/1001_DFA_ANG_XX.wav", "AudioMP3/1001_DFA_ANG_XX.mp3", "README.md"]),
        ("savee", "", ["ALL/DC_a01.wav"]),
        ("emodb", "wav", ["wav/03a01Fa.wav"]),
        ("nemo", "samples", ["samples/EB0_anger_1.wav"]),
        ("tess", "", ["TESS Toronto emotional speech set data/OAF_Fear/OAF_back_fear.wav"]),
        ("esd", "", ["Emotion Speech Dataset/0011/Angry/0011_000351.wav", "ReadMe.txt"]),
        ("jl", "", ["JL(wav+txt)/male1_sad_1a_1.wav", "JL(wav+txt)/male1_excited_1a_1.wav"]),
    ],
)  # fmt: skip
def test_a_corpus_is_read_as_it_is_mirrored(corpus, source, names, tmp_path):
    touch(tmp_path, names)
    catalog = read(corpus, tmp_path / source)
    assert [each.path for each in catalog.utterances] == [tmp_path / names[0]]
    assert catalog.unlabelled == ()


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
        ("savee", "AudioData/DC/a01.wav", "DC_a01.wav", "DC_a01"),
        ("savee", "ALL/DC_a01.wav", "DC/a01.wav", "DC_a01"),
        ("tess", "OAF_angry/OAF_back_angry.wav", "data/OAF_angry/OAF_back_angry.wav", "OAF_back_angry"),
        ("esd", "0011/Angry/0011_000351.wav", "0011/Angry/train/0011_000351.wav", "0011_000351"),
        ("oreau", "OréauFR_01/m/sessc/07a01Ca.wav", "OréauFR_02/m/sessc/07a01Ca.wav", "07a01Ca"),
        ("cafe", "CaFE_192k_1/Peur/Fort/01-P-2-1.aiff", "CaFE_48k/Peur/Fort/01-P-2-1.wav", "01-P-2-1"),
    ],
)
def test_a_recording_is_read_once_or_refused_by_both_names(corpus, one, other, id, tmp_path, caplog):
    touch(tmp_path, [one, other])
    (utterance,) = read(corpus, tmp_path).utterances
    assert (utterance.id, utterance.path) == (id, min(tmp_path / one, tmp_path / other))
    assert (
        f"1 recordings are copies, the same to the byte, and read once ({tmp_path / other} of " in caplog.text
    )
    (tmp_path / other).write_text("another take")
    with pytest.raises(DatabaseError, match=rf"{other}: {id} is already in .*{one}, expected it once"):
        read(corpus, tmp_path)


def test_a_corpus_that_lies_there_twice_is_read_once(tmp_path, caplog):
    files = list(ravdess())[::40]
    touch(tmp_path, files)
    for number, file in enumerate(files):
        (tmp_path / file).write_text(str(number))
    shutil.copytree(tmp_path, tmp_path / "audio_speech_actors_01-24")
    catalog = read("ravdess", tmp_path)
    assert len(catalog.utterances) == len(files)
    assert caplog.records[0].getMessage().startswith(f"{tmp_path}: {len(files)} recordings are copies")
