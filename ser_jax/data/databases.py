"""The databases that can be read: how each is read, where it comes from, and what to cite."""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ser_jax.data import iemocap, manifest, recola
from ser_jax.data.catalog import Catalog, DatabaseError
from ser_jax.data.naming import Naming, Tabled
from ser_jax.errors import meant


def _numbers(first: int, last: int, step: int = 1, form: str = "{:02d}") -> tuple[str, ...]:
    return tuple(form.format(number) for number in range(first, last + 1, step))


_CREMA_D_WOMEN = (  # as in the release's VideoDemographics.csv; the other 48 actors are men
    "1002", "1003", "1004", "1006", "1007", "1008", "1009", "1010", "1012", "1013", "1018", "1020",
    "1021", "1024", "1025", "1028", "1029", "1030", "1037", "1043", "1046", "1047", "1049", "1052",
    "1053", "1054", "1055", "1056", "1058", "1060", "1061", "1063", "1072", "1073", "1074", "1075",
    "1076", "1078", "1079", "1082", "1084", "1089", "1091",
)  # fmt: skip
_OREAU_WOMEN = ("10", "11", "13", "21", "24", "37", "42")
_OREAU_NOBODY = ("15", "17", "34", "35")  # numbers from 07 to 42 that are nobody's
_FRENCH = {"C": "anger", "D": "disgust", "J": "happiness", "N": "neutral", "P": "fear", "S": "surprise",
           "T": "sadness"}  # fmt: skip  # colère, dégoût, joie, neutre, peur, surprise, tristesse

_ESD_WOMEN = tuple(
    ["0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019"]
)  # its ReadMe.txt

NAMED: dict[str, Naming] = {
    "emodb": Naming(
        title="EmoDB", what="German, 535 acted recordings", language="de", recordings=(535,),
        citation="F. Burkhardt et al., Interspeech 2005, doi:10.21437/Interspeech.2005-446",
        name=r"(?P<speaker>\d\d)[ab]\d\d(?P<emotion>[A-Z])[a-z]",  # speaker, sentence, emotion, version
        example="wav/03a01Fa.wav",
        women=("08", "09", "13", "14", "16"), men=("03", "10", "11", "12", "15"),
        # Wut, Langeweile, Ekel, Angst, Freude, Trauer, neutral
        emotions={"W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness",
                  "N": "neutral"},
    ),
    "ravdess": Naming(
        title="RAVDESS", what="English, 1,440 acted recordings", language="en", recordings=(1440,),
        citation="S. R. Livingstone, F. A. Russo, PLoS ONE 13(5), 2018, doi:10.1371/journal.pone.0196391",
        # modality (03: sound only), channel (01: speech), emotion, intensity, statement, repetition, actor
        name=r"03-01-(?P<emotion>\d\d)-\d\d-\d\d-\d\d-(?P<speaker>\d\d)",
        example="Actor_01/03-01-05-01-02-01-01.wav",
        women=_numbers(2, 24, 2), men=_numbers(1, 23, 2), prefix="actor",
        emotions={"01": "neutral", "02": "calm", "03": "happiness", "04": "sadness", "05": "anger",
                  "06": "fear", "07": "disgust", "08": "surprise"},
        skipped=r"(0[12]-0[12]|03-02)(-\d\d){5}",  # video with and without sound, song
    ),
    "cafe": Naming(
        title="CaFE", what="Canadian French, 936 acted recordings", language="fr", recordings=(936,),
        citation="P. Gournay, O. Lahaie, R. Lefebvre, ACM MMSys 2018, doi:10.1145/3204949.3208121",
        # actor, emotion, intensity (which the 192 kHz release leaves out for neutral), sentence
        name=r"(?P<speaker>\d\d)-(?P<emotion>[A-Z])(-[12])?-[1-6]",
        example="Colère/Faible/01-C-1-1.wav",
        women=_numbers(2, 12, 2), men=_numbers(1, 11, 2), emotions=_FRENCH,
    ),
    "oreau": Naming(
        title="Oréau", what="French, 502 or 434 recordings of 32 people", language="fr",
        recordings=(502, 434),  # all, and those whose emotion listeners recognised
        citation="L. Kerkeni, C. Cleder, Y. Serrestou, K. Raoof, Zenodo 2020, doi:10.5281/zenodo.4405783",
        name=r"(?P<speaker>\d\d)[a-z]\d\d(?P<emotion>[A-Z])[a-z]",  # speaker, sentence, emotion, version
        example="f/sessc/10a01Ca.wav",
        women=_OREAU_WOMEN, emotions=_FRENCH,
        men=tuple(person for person in _numbers(7, 41) if person not in _OREAU_WOMEN + _OREAU_NOBODY),
    ),
    "crema_d": Naming(
        title="CREMA-D", what="English, 7,442 acted recordings", language="en", recordings=(7442,),
        citation="H. Cao et al., IEEE Trans. Affective Computing 5(4), 2014, doi:10.1109/TAFFC.2014.2336244",
        # actor, sentence, emotion, intensity (low, medium, high, unspecified; once X for XX)
        name=r"(?P<speaker>\d{4})_[A-Z]{3}_(?P<emotion>[A-Z]{3})_(LO|MD|HI|XX?)",
        example="AudioWAV/1001_DFA_ANG_XX.wav",
        women=_CREMA_D_WOMEN,
        men=tuple(actor for actor in _numbers(1001, 1091) if actor not in _CREMA_D_WOMEN),
        emotions={"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral",
                  "SAD": "sadness"},
        skipped=r"(AudioMP3|VideoFlash)/[^/]+",  # the same recordings again
    ),
    "emovo": Naming(
        title="EMOVO", what="Italian, 588 acted recordings", language="it", recordings=(588,),
        citation="G. Costantini, I. Iaderola, A. Paoloni, M. Todisco, LREC 2014",
        name=r"(?P<emotion>[a-z]{3})-(?P<speaker>[fm]\d)-[a-z]\d",  # emotion, speaker, sentence
        example="f1/dis-f1-b1.wav",
        women=("f1", "f2", "f3"), men=("m1", "m2", "m3"),
        # disgusto, gioia, neutro, paura, rabbia, sorpresa, tristezza
        emotions={"dis": "disgust", "gio": "happiness", "neu": "neutral", "pau": "fear", "rab": "anger",
                  "sor": "surprise", "tri": "sadness"},
    ),
    "savee": Naming(
        title="SAVEE", what="English, 480 acted recordings of four men", language="en", recordings=(480,),
        citation="S. Haq, P. J. B. Jackson, in: Machine Audition, 2010, doi:10.4018/978-1-61520-919-4.ch017",
        name=r"(?P<speaker>[A-Z]{2})[/_](?P<emotion>[a-z]{1,2})\d\d",  # DC_a01 if all are in one folder
        example="AudioData/DC/a01.wav",
        men=("DC", "JE", "JK", "KL"),
        emotions={"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral",
                  "sa": "sadness", "su": "surprise"},
    ),
    "urdu": Naming(
        title="URDU", what="Urdu, 400 utterances of talk shows", language="ur", recordings=(400,),
        citation="S. Latif, A. Qayyum, M. Usman, J. Qadir, FIT 2018, doi:10.1109/FIT.2018.00023",
        name=r"(?P<speaker>S[FM]\d+)_F\d+_(?P<emotion>[A-Z])\d+",  # speaker, their file, emotion, number
        example="Angry/SM1_F1_A01.wav",
        women=_numbers(1, 11, form="SF{}"), men=_numbers(1, 27, form="SM{}"),
        emotions={"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"},
    ),
    "nemo": Naming(
        title="nEMO", what="Polish, 4,481 acted recordings", language="pl", recordings=(4481,),
        citation="I. Christop, LREC-COLING 2024, arXiv:2404.06292",
        name=r"(?P<speaker>[A-Z]{2}0)_(?P<emotion>[a-z]+)_\d+",  # speaker, emotion, sentence; as in data.tsv
        example="samples/EB0_anger_1.wav",
        women=("EB0", "IC0", "KD0", "MK0"), men=("KS0", "MP0", "SM0", "TP0", "WR0"),
        emotions={"anger": "anger", "fear": "fear", "happiness": "happiness", "neutral": "neutral",
                  "sadness": "sadness", "surprised": "surprise"},
    ),
    "casia": Naming(
        title="CASIA", what="Mandarin, 1,200 acted recordings (9,600 in all)", language="zh",
        recordings=(1200, 9600),
        citation="Institute of Automation, Chinese Academy of Sciences, CASIA Chinese emotional corpus",
        name=r"(?P<speaker>[A-Za-z]+)[/_](?P<emotion>[a-z]+)[/_]\d+",
        example="liuchanhg/angry/201.wav",
        unknown=("ZhaoZuoxiang", "liuchanhg", "wangzhe", "zhaoquanyin"),
        emotions={"angry": "anger", "fear": "fear", "happy": "happiness", "neutral": "neutral",
                  "sad": "sadness", "surprise": "surprise"},
    ),
    "emotale": Tabled(
        title="EmoTale", what="Danish and English, 800 acted recordings", recordings=(800,),
        citation="M. J. Hjuler et al., IEEE ASRU 2025, arXiv:2508.14548",
        name=r"(?P<language>DK|EN)_(?P<speaker>\d{3})_[A-Z]_\d",  # language, speaker, emotion, sentence
        example="DK_001_A_1.wav", language={"DK": "da", "EN": "en"},
        emotions={"A": "anger", "B": "boredom", "H": "happiness", "N": "neutral", "S": "sadness"},
        table="annotations.csv", columns={"file": "file", "emotion": "gt_emotion"},
        people=("speaker_info.csv", "speaker", "gender"),
        raters=("a1", "a2", "a3"),
        rated={"A": "arousal", "V": "valence", "D": "dominance", "cat": "emotion"},
        thresholds=dict.fromkeys(("arousal", "valence"), 3.0),  # the middle of the scale
        scales=dict.fromkeys(("arousal", "valence", "dominance"), (1.0, 5.0)),
    ),
    "eyase": Naming(
        title="EYASE", what="Egyptian Arabic, recordings of a television series", language="ar",
        citation="L. Abdel-Hamid, Speech Communication 122, 2020, doi:10.1016/j.specom.2020.04.005",
        name=r"(?P<speaker>(?P<sex>[^/])[^/]*)/[^/_]+_(?P<emotion>[a-z]{3}) ?\(\d+\)",
        example="Female01/fm01_ang (1).wav",
        emotions={"ang": "anger", "hap": "happiness", "neu": "neutral", "sad": "sadness"},
    ),
    "tess": Naming(
        title="TESS", what="English, 2,800 acted recordings of two women", language="en", recordings=(2800,),
        citation="M. K. Pichora-Fuller, K. Dupuis, Toronto emotional speech set, 2020, hdl:1807/24487",
        name=r"(?P<speaker>OA|YA)F?_[^/_]+_(?P<emotion>[a-z]+)",  # speaker, word, emotion; once OA for OAF
        example="OAF_angry/OAF_back_angry.wav",
        women=("OA", "YA"),  # the older and the younger one
        emotions={"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness",
                  "neutral": "neutral", "ps": "surprise", "sad": "sadness"},  # ps: pleasant surprise
    ),
    "subesco": Naming(
        title="SUBESCO", what="Bangla, 7,000 acted recordings", language="bn", recordings=(7000,),
        citation="S. Sultana et al., PLoS ONE 16(4), 2021, doi:10.1371/journal.pone.0250173",
        # sex and number of the speaker, their name, S and sentence, emotion, take
        name=r"(?P<speaker>(?P<sex>[FM])_\d\d)_[^/_]+_S_\d+_(?P<emotion>[A-Z]+)_\d",
        example="F_02_MONIKA_S_1_NEUTRAL_5.wav",
        emotions={"ANGRY": "anger", "DISGUST": "disgust", "FEAR": "fear", "HAPPY": "happiness",
                  "NEUTRAL": "neutral", "SAD": "sadness", "SURPRISE": "surprise"},
    ),
    "aesdd": Naming(
        title="AESDD", what="Greek, about 600 acted recordings", language="el", recordings=(604, 605),
        citation="N. Vryzas et al., J. Audio Engineering Society 66(6), 2018",
        name=r"(?P<emotion>[a-z])\d\d ?\((?P<speaker>\d+)\)[a-z]?",  # emotion, utterance, speaker, take
        example="anger/a01 (1).wav", prefix="actor",
        emotions={"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"},
    ),
    "shemo": Naming(
        title="ShEMO", what="Persian, 3,000 recordings of radio plays", language="fa", recordings=(3000,),
        citation="O. Mohamad Nezami et al., Language Resources and Evaluation 53, 2019, "
                 "doi:10.1007/s10579-018-9427-x",
        name=r"(?P<speaker>(?P<sex>[FM])\d\d)(?P<emotion>[A-Z])\d+",  # sex, speaker, emotion, number
        example="female/F03S02.wav",
        emotions={"A": "anger", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness",
                  "W": "surprise"},
    ),
    "mesd": Naming(
        title="MESD", what="Mexican Spanish, 862 acted words", language="es", recordings=(862,),
        citation="M. M. Duville et al., Data 6(12), 2021, doi:10.3390/data6120130",
        # emotion, voice (of women, men or children, whose names are not told), list of words, word
        name=r"(?P<emotion>[A-Z][a-z]+)_(?P<speaker>(?P<sex>[FMC]))_[AB]_[^/]+",
        example="Anger_C_A_abajo.wav", prefix="voice",
        emotions={"Anger": "anger", "Disgust": "disgust", "Fear": "fear", "Happiness": "happiness",
                  "Neutral": "neutral", "Sadness": "sadness"},
    ),
    "jl": Naming(
        title="JL", what="New Zealand English, 960 acted recordings", language="en", recordings=(960,),
        citation="J. James, L. Tian, C. I. Watson, Interspeech 2018",
        name=r"(?P<speaker>(?P<sex>female|male)[12])_(?P<emotion>[a-z]+)_\d+[ab]_[12]",
        example="female1_angry_1a_1.wav",
        emotions={"angry": "anger", "happy": "happiness", "neutral": "neutral", "sad": "sadness"},
        # emotions without published arousal and valence
        skipped=r"(fe)?male[12]_(anxious|apologetic|assertive|concerned|encouraging|excited)_\d+[ab]_[12]",
    ),
    "esd": Naming(
        title="ESD", what="Mandarin and English, 35,000 acted recordings", recordings=(35000,),
        citation="K. Zhou, B. Sisman, R. Liu, H. Li, ICASSP 2021, doi:10.1109/ICASSP39728.2021.9413391",
        # the emotion is a folder, and a part of the data may be one
        name=r"(?P<emotion>Angry|Happy|Neutral|Sad|Surprise)/((train|evaluation|test)/)?"
             r"(?P<id>(?P<speaker>(?P<language>\d{4}))_\d{6})",
        example="0011/Angry/0011_000351.wav",
        language=dict.fromkeys(_numbers(1, 10, form="{:04d}"), "zh")
        | dict.fromkeys(_numbers(11, 20, form="{:04d}"), "en"),
        women=_ESD_WOMEN,
        men=tuple(speaker for speaker in _numbers(1, 20, form="{:04d}") if speaker not in _ESD_WOMEN),
        emotions={"Angry": "anger", "Happy": "happiness", "Neutral": "neutral", "Sad": "sadness",
                  "Surprise": "surprise"},
    ),
    "emozionalmente": Tabled(
        title="Emozionalmente", what="Italian, 6,902 recordings of 431 people", language="it",
        recordings=(6902,),
        citation="F. Catania et al., IEEE TASLP 33, 2025, doi:10.1109/TASLPRO.2025.3540662",
        name=".+", example="metadata/samples.csv",
        emotions={"anger": "anger", "disgust": "disgust", "fear": "fear", "joy": "happiness",
                  "neutrality": "neutral", "sadness": "sadness", "surprise": "surprise"},
        table="samples.csv",
        columns={"file": "file_name", "speaker": "actor", "emotion": "emotion_expressed"},
        people=("users.csv", "username", "gender"),
    ),
}  # fmt: skip


class Database(NamedTuple):
    """A database: a short description, its reader with the names of its options, and its citation."""

    what: str
    read: Callable[..., Catalog]
    citation: str


DATABASES: dict[str, Database | Naming] = {
    "iemocap": Database(
        "English, 10,039 turns of ten actors in dialog",
        iemocap.read,
        "C. Busso et al., Language Resources and Evaluation 42(4), 2008, doi:10.1007/s10579-008-9076-6",
    ),
    "recola": Database(
        "French, speech turns of 23 people in video calls",
        recola.read,
        "F. Ringeval, A. Sonderegger, J. Sauer, D. Lalanne, IEEE FG 2013, doi:10.1109/FG.2013.6553805",
    ),
    "manifest": Database(
        "any labelled speech, by a CSV file",
        manifest.read,
        "M. Neumann, N. T. Vu, ICASSP 2018, arXiv:1803.00357",
    ),
    **NAMED,
}


def check(database: str, options: Iterable[str]) -> None:
    """Raise DatabaseError if a database does not exist or does not take the options of these names."""
    if database not in DATABASES:
        raise DatabaseError(
            f"no database {database!r}, expected one of {', '.join(DATABASES)}{meant(database, DATABASES)}"
        )
    known = inspect.signature(DATABASES[database].read).parameters
    for name in options:
        if name not in known:
            flag = name.replace("_", "-")
            raise DatabaseError(f"{database} does not take --{flag}, expected options of its reader")


def read(database: str, source: Path | str, **options: Any) -> Catalog:
    """Return the facts of one of `DATABASES`, given its options; no recording is opened, none need exist.

    Raises: DatabaseError naming the file, and the line if there is one.
    """
    check(database, options)
    return DATABASES[database].read(Path(source), **options)
