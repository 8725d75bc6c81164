"""The databases that can be read: how each is read, where it comes from, and what to cite."""

import dataclasses
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ser_jax.data import iemocap, labels, manifest, recola
from ser_jax.data.catalog import Catalog, DatabaseError, Utterance
from ser_jax.data.formats import SUFFIXES
from ser_jax.errors import meant, no_folder

THRESHOLDS = {"arousal": 0.5, "valence": 0.5}  # between the classes 0 and 1 of `labels.EMOTIONS`
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Naming:
    """A corpus whose recordings' names tell who speaks, and with which emotion."""

    title: str  # as its publishers call it
    what: str  # language and recordings in a few words
    citation: str
    language: str  # a code as in "en"
    # Regular expression of a recording's name without suffix, with the groups `speaker` and `emotion`; what
    # precedes a "/" in it is the folder's name.
    name: str
    example: str  # a recording as published
    recordings: tuple[int, ...]  # how many there are, a number for each release
    women: tuple[str, ...] = ()  # as group `speaker` matches them; other speakers are not read
    men: tuple[str, ...] = ()
    emotions: Mapping[str, str]  # what group `emotion` matches, to a key of `labels.EMOTIONS`
    prefix: str = ""  # what precedes the group `speaker` in a speaker's name
    skipped: str | None = None  # like `name`, of recordings that belong to the corpus but are not read

    def read(self, source: Path) -> Catalog:
        """Return all recordings in a folder and the folders below it, in the order of their paths.

        The id is the recording's name, so it does not depend on how the folders are arranged. The session is
        the speaker, since nobody is known to have met anybody.

        Raises: DatabaseError naming the folder.
        """
        if not source.is_dir():
            raise DatabaseError(
                f"{source}: {no_folder(source)}, expected {self.title}'s, which holds {self.example}"
            )
        utterances: list[Utterance] = []
        unlabelled, skipped = [], []
        for path in sorted(source.rglob("*")):
            place = path.relative_to(source)
            hidden = any(part.startswith(".") for part in place.parts)
            if hidden or path.suffix.lower() not in SUFFIXES or path.is_dir():
                continue  # a dangling link is a recording that is missing
            if self.skipped and _match(self.skipped, place):
                skipped.append(path)
            elif utterance := self._utterance(path, place):
                utterances.append(utterance)
            else:
                unlabelled.append(path)
        if not utterances:
            others = unlabelled or skipped
            found = f"{len(others)} other audio files ({others[0]} the first)" if others else "no audio files"
            expected = f"expected names like {self.example}"
            raise DatabaseError(f"{source}: no recording of {self.title}, found {found}, {expected}")
        if len(unlabelled) > len(utterances):
            raise DatabaseError(
                f"{source}: {len(utterances)} recordings of {self.title} among {len(unlabelled)} others, "
                f"{unlabelled[0]} the first, expected a folder of {self.title} alone"
            )
        if len(utterances) not in self.recordings:
            published = " or ".join(map(str, self.recordings))
            message = "%s: %d recordings, %s as published has %s"
            _log.warning(message, source, len(utterances), self.title, published)
        return Catalog(tuple(utterances), THRESHOLDS, unlabelled=tuple(map(str, unlabelled)))

    def _utterance(self, path: Path, place: Path) -> Utterance | None:
        """Return the facts in a recording's name; None if the name is not one of the corpus's."""
        match = _match(self.name, place)
        if not match or match["emotion"] not in self.emotions:
            return None
        if match["speaker"] not in (*self.women, *self.men):
            return None
        emotion = self.emotions[match["emotion"]]
        arousal, valence = labels.EMOTIONS[emotion]
        return Utterance(
            id=match["id"].replace("/", "_"),
            path=path,
            speaker=self.prefix + match["speaker"],
            sex="female" if match["speaker"] in self.women else "male",
            session=self.prefix + match["speaker"],
            language=self.language,
            arousal=arousal,
            valence=valence,
            emotion=emotion,
        )


def _match(name: str, place: Path) -> re.Match | None:
    return re.fullmatch(rf"(?s:.*/)?(?P<id>{name})", place.with_suffix("").as_posix())


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

NAMED = {
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
}  # fmt: skip


class Database(NamedTuple):
    """A database in a few words, its reader of a source and of options of its own, and what to cite."""

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
