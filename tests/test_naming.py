"""The corpora that say everything in their recordings' names, as their publishers arrange them."""

import collections
import csv
import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_jax import data
from ser_jax.data import labels
from ser_jax.data.naming import NamingError

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
every_corpus = pytest.mark.parametrize("corpus", KNOWN)


def naming(corpus):
    return importlib.import_module(f"ser_jax.data.{corpus}").NAMING


def read(corpus, folder):
    return importlib.import_module(f"ser_jax.data.{corpus}").read(folder)


def touch(folder, names):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def facts(listing):
    """Everything but where the recordings lie."""
    return {
        each.id: (
            each.id,
            each.speaker,
            each.sex,
            each.emotion,
            "-+"[each.arousal > 0] + "-+"[each.valence > 0],
        )
        for each in listing.utterances
    }


@every_corpus
def test_a_published_name_means_what_its_publishers_say(corpus, tmp_path):
    listing = read(corpus, touch(tmp_path, KNOWN[corpus]))
    assert facts(listing) == {meaning[0]: meaning for meaning in KNOWN[corpus].values()}
    assert {str(each.path.relative_to(tmp_path)) for each in listing.utterances} == set(KNOWN[corpus])
    for each in listing.utterances:
        assert (each.start, each.stop, each.place) == (0.0, None, "")
        assert (each.session, each.language) == (each.speaker, LANGUAGES[corpus])
        assert {each.arousal, each.valence} <= {0.0, 1.0}
    assert listing.thresholds == {"arousal": 0.5, "valence": 0.5}
    assert listing.unlabelled == ()


@every_corpus
def test_folders_and_formats_change_no_fact(corpus, tmp_path):
    published = read(corpus, touch(tmp_path / "above" / "release", KNOWN[corpus]))
    assert read(corpus, tmp_path / "above") == published
    suffixes = itertools.cycle([".flac", ".WAV", ".Mp3", ".ogg", ".aif", ".AIFF"])
    flat = [Path(meaning[0]).with_suffix(next(suffixes)) for meaning in KNOWN[corpus].values()]
    assert facts(read(corpus, touch(tmp_path / "flat", flat))) == facts(published)


@every_corpus
def test_a_rule_is_whole(corpus):
    rule = naming(corpus)
    assert rule.language == LANGUAGES[corpus]
    assert not set(rule.women) & set(rule.men)
    assert len(set(rule.women + rule.men)) == len(rule.women + rule.men)
    assert {meaning[3] for meaning in KNOWN[corpus].values()} == set(rule.emotions.values())
    assert len(set(rule.emotions.values())) == len(rule.emotions)


@pytest.mark.parametrize(
    ("corpus", "women", "men"),
    [
        ("emodb", 5, 5),
        ("ravdess", 12, 12),
        ("cafe", 6, 6),
        ("oreau", 7, 25),
        ("crema_d", 43, 48),
        ("emovo", 3, 3),
        ("savee", 0, 4),
        ("urdu", 11, 27),
    ],
)
def test_as_many_people_as_published(corpus, women, men):
    assert (len(naming(corpus).women), len(naming(corpus).men)) == (women, men)


def ravdess():
    for emotion, intensity, *rest in itertools.product(range(1, 9), (1, 2), (1, 2), (1, 2), range(1, 25)):
        if (emotion, intensity) != (1, 2):
            fields = "-".join(f"{field:02d}" for field in (3, 1, emotion, intensity, *rest))
            yield f"Actor_{rest[-1]:02d}/{fields}.wav"


def cafe():
    for actor, emotion, intensity, sentence in itertools.product(range(1, 13), "CDJNPST", "12", "123456"):
        if (emotion, intensity) != ("N", "2"):
            yield f"{emotion}/{actor:02d}-{emotion}-{intensity}-{sentence}.wav"


def emovo():
    sentences = [
        f"{kind}{i}" for kind, count in zip("blnd", (3, 4, 5, 2), strict=True) for i in range(1, count + 1)
    ]
    for who, how, what in itertools.product(
        ("f1", "f2", "f3", "m1", "m2", "m3"), ("dis", "gio", "neu", "pau", "rab", "sor", "tri"), sentences
    ):
        yield f"{who}/{how}-{who}-{what}.wav"


def savee():
    for who, how in itertools.product(("DC", "JE", "JK", "KL"), ("a", "d", "f", "h", "n", "sa", "su")):
        for number in range(1, 31 if how == "n" else 16):
            yield f"AudioData/{who}/{how}{number:02d}.wav"


def urdu():
    published = {
        "Angry": "M1*22 M2*28 M3*2 M4*48",
        "Happy": "F1*12 F2*2 F3*2 F4*4 F5*4 F6*14 F7*6 F8*2 M17*2 M18*2 M19*2 M3*2 M5*8 M6*10 M7*28",
        "Neutral": "F9*4 M20*10 M21*4 M22*2 M3*8 M5*72",
        "Sad": "F10*2 F11*4 M23*6 M24*38 M25*40 M26*2 M27*4 M6*4",
    }
    for emotion, speakers in published.items():
        number = itertools.count(1)
        for who, count in (each.split("*") for each in speakers.split()):
            for file in range(1, int(count) + 1):
                yield f"{emotion}/S{who}_F{file}_{emotion[0]}0{next(number)}.wav"


@pytest.mark.parametrize("names", [ravdess, cafe, emovo, savee, urdu])
def test_a_whole_release_is_read_without_a_word(names, tmp_path, caplog):
    corpus, files = names.__name__, list(names())
    listing = read(corpus, touch(tmp_path, files))
    assert (len(listing.utterances), listing.unlabelled, caplog.text) == (len(files), (), "")
    missing = listing.utterances[len(files) // 2].path
    missing.unlink()
    read(corpus, tmp_path)
    (record,) = caplog.records
    assert record.name.startswith("ser_jax.data")
    assert record.getMessage() == (
        f"{tmp_path}: {len(files) - 1} recordings, {naming(corpus).corpus} as published has {len(files)}"
    )


@pytest.mark.parametrize(
    ("names", "emotion", "count"),
    [
        (ravdess, "anger", 192),
        (ravdess, "neutral", 96),
        (cafe, "fear", 144),
        (emovo, "anger", 84),
        (savee, "sadness", 60),
    ],
)
def test_actors_say_equally_much(names, emotion, count, tmp_path):
    listing = read(names.__name__, touch(tmp_path, names()))
    assert len(set(collections.Counter(each.speaker for each in listing.utterances).values())) == 1
    assert collections.Counter(each.emotion for each in listing.utterances)[emotion] == count


def test_either_version_of_oreau_is_whole(tmp_path, caplog):
    touch(tmp_path, [f"m/sessc/07{chr(97 + i // 100)}{i % 100:02d}Ca.wav" for i in range(434)])
    read("oreau", tmp_path)
    assert caplog.text == ""
    (tmp_path / "m/sessc/08a01Ca.wav").touch()
    read("oreau", tmp_path)
    assert caplog.messages == [f"{tmp_path}: 435 recordings, Oréau as published has 502 or 434"]


def test_what_is_no_name_of_the_corpus_has_no_label(tmp_path):
    strange = ["wav/17a01Fa.wav", "wav/03a01Xa.wav", "wav/03a01Fa copy.wav", "noise.flac"]
    known = [f"wav/03a0{i}Fa.wav" for i in range(4)]
    listing = read("emodb", touch(tmp_path, [*known, *strange, "README.txt", "lab/03a01Fa.lab"]))
    assert [each.id for each in listing.utterances] == [f"03a0{i}Fa" for i in range(4)]
    assert set(listing.unlabelled) == {str(tmp_path / name) for name in strange}


def test_another_corpus_is_not_taken_for_this_one(tmp_path):
    touch(tmp_path, ["03a01Fa.flac", "08a01Fa.flac", "10a01Na.flac", "16a01Wa.flac"])
    assert len(read("emodb", tmp_path).utterances) == 4
    with pytest.raises(
        NamingError,
        match=r"1 recordings of Oréau among 3 others, \S*03a01Fa\.flac the first, expected a folder of Oréau",
    ):
        read("oreau", tmp_path)


def test_hidden_files_are_no_recordings(tmp_path):
    hidden = ["wav/._03a01Fa.wav", ".trash/03a01Fa.wav", "__MACOSX/wav/._03a01Fa.wav"]
    listing = read("emodb", touch(tmp_path / ".hidden", ["wav/03a01Fa.wav", *hidden]))
    assert (len(listing.utterances), listing.unlabelled) == (1, ())


def test_a_link_into_nowhere_is_a_recording_that_is_missing(tmp_path):
    (tmp_path / "03a01Fa.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "03a01Na.wav").mkdir()
    assert [each.id for each in read("emodb", tmp_path).utterances] == ["03a01Fa"]


def test_ravdess_song_and_video_are_passed_over(tmp_path, caplog):
    others = ["03-02-05-01-01-01-01.wav", "01-01-05-01-01-01-01.wav", "02-02-05-01-01-01-01.wav"]
    touch(tmp_path, ["03-01-05-01-01-01-01.wav", "01-01-05-01-01-01-01.mp4", *others])
    with caplog.at_level("INFO", "ser_jax"):
        listing = read("ravdess", tmp_path)
    assert [each.id for each in listing.utterances] == ["03-01-05-01-01-01-01"]
    assert listing.unlabelled == ()
    assert "3 recordings are passed over, " in caplog.text
    assert "01-01-05-01-01-01-01.wav the first" in caplog.text


def test_crema_ds_copies_in_mp3_are_read_only_on_request(tmp_path):
    touch(tmp_path, ["AudioWAV/1001_DFA_ANG_XX.wav", "AudioMP3/1001_DFA_ANG_XX.mp3"])
    (wav,) = read("crema_d", tmp_path).utterances
    (mp3,) = read("crema_d", tmp_path / "AudioMP3").utterances
    assert (wav.path.suffix, mp3.path.suffix, wav.id) == (".wav", ".mp3", mp3.id)


@every_corpus
def test_what_is_no_corpus_is_named(corpus, tmp_path):
    rule = naming(corpus)
    with pytest.raises(NamingError, match=rf"gone: no such folder, expected {rule.corpus}'s, which holds"):
        read(corpus, tmp_path / "gone")
    with pytest.raises(
        NamingError,
        match=rf"no recording of {rule.corpus}, found no audio files, expected names like {rule.example}",
    ):
        read(corpus, tmp_path)
    touch(tmp_path, ["a/x.wav", "b/y.flac", "readme.txt"])
    with pytest.raises(
        NamingError, match=r"found 2 other audio files \(.*a.x\.wav the first\), expected names"
    ):
        read(corpus, tmp_path)


@every_corpus
def test_an_example_is_a_name_of_its_corpus(corpus, tmp_path):
    assert len(read(corpus, touch(tmp_path, [naming(corpus).example])).utterances) == 1


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
    with pytest.raises(
        NamingError, match=rf"{other}: \w+'s {id} stands already in .*{one}, expected one release"
    ):
        read(corpus, tmp_path)


CORPORA = Path(__file__).parents[2] / "shared" / "corpora"


@pytest.mark.parametrize("corpus", ["emodb", "ravdess"])
def test_real_files_say_what_is_known_of_them(corpus):
    manifest = CORPORA / corpus / "manifest.csv"
    if not manifest.is_file():
        pytest.skip(f"no {corpus} in {CORPORA}")
    with manifest.open(newline="") as file:
        known = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    listing = read(corpus, CORPORA / corpus)
    assert {each.id for each in listing.utterances} == set(known)
    assert listing.unlabelled == ()
    for each in listing.utterances:
        row = known[each.id]
        assert each.path == manifest.parent / row["path"]
        for fact in ("speaker", "sex", "language", "emotion"):
            assert getattr(each, fact) == row[fact]
        assert (each.arousal > 0.5) == (row["arousal"] == "high")
        assert (each.valence > 0.5) == (row["valence"] == "positive")


@every_corpus
def test_a_corpus_is_prepared_and_loaded(corpus, tmp_path):
    draw = np.random.default_rng(0)
    touch(tmp_path / "source", KNOWN[corpus])
    for name in KNOWN[corpus]:
        soundfile.write(tmp_path / "source" / name, draw.uniform(-0.5, 0.5, 9600), 48000)
    data.prepare(corpus, tmp_path / "source", data_dir=tmp_path / "root", workers=1)
    loaded = data.load(corpus, tmp_path / "root")
    known = sorted(KNOWN[corpus].values())
    assert loaded.id.tolist() == [meaning[0] for meaning in known]
    assert loaded.speaker.tolist() == loaded.session.tolist() == [meaning[1] for meaning in known]
    assert loaded.sex.tolist() == [meaning[2] for meaning in known]
    assert loaded.emotion.tolist() == [meaning[3] for meaning in known]
    for target, side in (("arousal", 0), ("valence", 1)):
        assert labels.classes(loaded, target).tolist() == ["-+".index(meaning[4][side]) for meaning in known]
    assert (loaded.database, loaded.synthetic, set(loaded.language)) == (corpus, False, {LANGUAGES[corpus]})
    assert loaded.seconds.tolist() == [0.2] * len(known)


@every_corpus
def test_every_builder_says_where_its_corpus_is(corpus):
    builder = importlib.import_module(f"ser_jax.data.{corpus}.{corpus}_dataset_builder").Builder
    metadata = builder.get_metadata()
    assert metadata.description.startswith(f"# {naming(corpus).corpus}\n")
    assert "http" in metadata.description
    assert "http" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    assert f"content.language.{LANGUAGES[corpus]}" in metadata.tags
