"""Speech with known answers: two synthesised databases in the layouts of IEMOCAP and RECOLA.

The real recordings cannot be redistributed, so demonstrations, tests and benchmarks run on these. Arousal is
carried by the same cues in both languages, valence by different ones: a recogniser should transfer the first
and fail to transfer the second, which is the paper's finding in a case where the reason is known.
"""

import csv
import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from ser_jax.data.catalog import MARKER
from ser_jax.data.synthetic.voice import ENGLISH, FRENCH, RATE, ROOM_DB, Language, Manner, Voice, speak
from ser_jax.errors import UserError
from ser_jax.io import atomic_folder

DYADS = (
    ("16F", "17M"), ("19F", "21F"), ("23M", "25F"), ("26M", "28M"), ("30F", "34M"), ("37F", "39F"),
    ("41M", "42F"), ("43M", "45M"), ("46F", "48M"), ("56F",), ("58M",), ("62F",), ("64M",), ("65F",),
)  # fmt: skip
LANGUAGES = (ENGLISH, FRENCH)
SPEAKERS = {
    ENGLISH: tuple(f"{session:02d}{sex}" for session in range(1, 6) for sex in "FM"),
    FRENCH: tuple(user for dyad in DYADS for user in dyad),
}
FEWEST = 4 * len(SPEAKERS[FRENCH])  # so that every speaker has both classes of both dimensions
MOST = 1200  # whose turns fit into the recordings, however long they are drawn
SHORTEST, LONGEST = 0.7, 14.0  # s, an utterance
RECORDING = 300.0  # s, of each French speaker
PAUSE = 1.0  # s, the shortest between two of its turns
DIALOGS = {
    1: ("Ses01F_impro01", "Ses01F_impro02", "Ses01M_impro01", "Ses01M_script01_1", "Ses01F_script02_2"),
    2: ("Ses02F_impro03", "Ses02M_impro04", "Ses02M_impro06", "Ses02F_script01_2", "Ses02M_script03_1"),
    3: ("Ses03M_impro07", "Ses03M_impro05a", "Ses03M_impro05b", "Ses03M_impro08a", "Ses03M_impro08b"),
    4: ("Ses04F_impro01", "Ses04M_impro02", "Ses04F_impro08", "Ses04M_script01_3", "Ses04F_script03_2"),
    5: ("Ses05F_impro03", "Ses05M_impro07", "Ses05M_script01_1", "Ses05M_script01_1b", "Ses05F_script02_1"),
}
RATERS = ("FM1 ", "FM2 ", "FM3 ", "FF1 ", "FF2 ", "FF3")  # RECOLA's own blanks
EMOTIONS = {(False, False): ("sad", "neu"), (True, False): ("ang", "fru"), (False, True): ("neu",),
            (True, True): ("hap", "exc", "sur")}  # fmt: skip
NAMES = {"sad": "Sadness", "neu": "Neutral", "ang": "Anger", "fru": "Frustration", "hap": "Happiness",
         "exc": "Excited", "sur": "Surprise", "xxx": "Other"}  # fmt: skip
NOTICE = "This is synthesised sound in the layout of {0}; no part of it is {0} or human speech."
GRID = 0.04  # s, the step of RECOLA's annotation


class SynthesisError(UserError):
    """A size, seed or folder with which the synthetic databases cannot be written."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """One utterance before synthesis: its speaker, its index among theirs, its classes, its duration in s."""

    language: Language
    speaker: str
    index: int
    high: bool
    positive: bool
    seconds: float


def read_truth(out: Path) -> dict[str, dict[str, str]]:
    """Return utterance id to {"arousal": "low" | "high", "valence": "negative" | "positive"}."""
    with (Path(out) / "truth.csv").open(newline="", encoding="utf-8") as file:
        return {row.pop("utterance"): row for row in csv.DictReader(file)}


def synthesize(
    out: Path, utterances: int = 240, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write both databases and their truth, atomically: OUT/IEMOCAP_full_release, OUT/RECOLA, OUT/truth.csv.

    The same arguments give the same bytes in every file.

    Args:
      out: a folder that does not exist yet or is empty.
      utterances: per language, spread evenly over 10 English and 23 French speakers.
      seed: not negative.
      progress: called with (utterances done, utterances in all).
    Raises: SynthesisError if `out` is not empty, or `utterances` or `seed` is out of range.
    """
    turns = plan(utterances, seed)
    done = itertools.count(1)

    def spoken(turn: Turn) -> np.ndarray:
        samples = speak_turn(turn, seed)
        if progress:
            progress(next(done), len(turns))
        return samples

    english, french = ([turn for turn in turns if turn.language is language] for language in LANGUAGES)
    with atomic_folder(out, SynthesisError) as root:
        named = iemocap(root / "IEMOCAP_full_release", english, seed, spoken)
        named |= recola(root / "RECOLA", french, seed, spoken)
        rows = (
            f"{name},{('low', 'high')[turn.high]},{('negative', 'positive')[turn.positive]}"
            for name, turn in sorted(named.items())
        )
        write_lines(root / "truth.csv", ["utterance,arousal,valence", *rows])


def stream(seed: int, language: Language, speaker: str, *rest: int) -> np.random.Generator:
    """Return the random generator of one utterance or speaker: no draw depends on another utterance."""
    place = (LANGUAGES.index(language), SPEAKERS[language].index(speaker), *rest)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def plan(utterances: int, seed: int) -> list[Turn]:
    """Return every turn of both languages, speaker by speaker; see `synthesize`."""
    if seed < 0:
        raise SynthesisError(f"seed: found {seed}, expected an integer that is not negative")
    if not FEWEST <= utterances <= MOST:
        raise SynthesisError(
            f"utterances: found {utterances}, expected {FEWEST} to {MOST:,} per language, so that each of "
            f"{len(SPEAKERS[FRENCH])} speakers has all classes, in {RECORDING:.0f} s"
        )
    turns = []
    for language in LANGUAGES:
        speakers = SPEAKERS[language]
        for place, speaker in enumerate(speakers):
            count = utterances // len(speakers) + (place < utterances % len(speakers))
            for index, classes in enumerate(design(count, place, stream(seed, language, speaker))):
                seconds = duration(stream(seed, language, speaker, index))
                turns.append(Turn(language, speaker, index, *classes, seconds))
    return turns


def design(count: int, place: int, rng: np.random.Generator) -> list[tuple[bool, bool]]:
    """Return (high arousal, positive valence) of a speaker's turns: all four equally often, in random order.

    A remainder of two takes opposite corners, so that both dimensions stay balanced; which corners come first
    alternates with the speaker's place.
    """
    corners = [(0, 0), (1, 1), (0, 1), (1, 0)]
    cells = [corners[index % 4] for index in range(count)]
    return [(bool(a ^ place & 1), bool(v ^ place >> 1 & 1)) for a, v in rng.permutation(cells)]


def duration(rng: np.random.Generator) -> float:
    """Draw a duration in s, to 0.01 s: log-normal with mean 2.4 s and 2 % above 7.5 s."""
    return round(float(np.clip(rng.lognormal(np.log(1.9), 0.68), SHORTEST, LONGEST)), 2)


def speak_turn(turn: Turn, seed: int) -> np.ndarray:
    """Return the samples [n] of a turn, without the room's noise."""
    voice = Voice.draw(turn.speaker[-1] == "F", stream(seed, turn.language, turn.speaker, 0, 3))
    rng = stream(seed, turn.language, turn.speaker, turn.index, 0)
    manner = Manner.draw(turn.language, turn.high, turn.positive, rng)
    return speak(turn.language, voice, manner, turn.seconds, rng)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, the same on every system."""
    path.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def save(path: Path, samples: np.ndarray, rng: np.random.Generator) -> None:
    """Write samples [n] (full scale at 1) with the room's noise as a 16-bit WAV file."""
    room = rng.standard_normal(len(samples), dtype=np.float32)
    room *= 10 ** (ROOM_DB / 20)
    room += samples
    room *= 32768
    np.clip(np.rint(room, out=room), -32768, 32767, out=room)
    wavfile.write(path, RATE, room.astype(np.int16))


def iemocap(root: Path, turns: list[Turn], seed: int, spoken: Callable) -> dict[str, Turn]:
    """Write the five sessions; return the turns by name."""
    root.mkdir(parents=True)
    write_lines(root / MARKER, [NOTICE.format("IEMOCAP")])
    named = name_turns(turns)
    for session, dialogs in DIALOGS.items():
        labels = root / f"Session{session}" / "dialog" / "EmoEvaluation"
        labels.mkdir(parents=True)
        for dialog in dialogs:
            folder = root / f"Session{session}" / "sentences" / "wav" / dialog
            folder.mkdir(parents=True)
            present = {name: turn for name, turn in named.items() if name.rpartition("_")[0] == dialog}
            for name, turn in present.items():
                rng = stream(seed, ENGLISH, turn.speaker, turn.index, 1)
                save(folder / f"{name}.wav", spoken(turn), rng)
            write_lines(labels / f"{dialog}.txt", label_lines(dialog, present, seed))
    return named


def name_turns(turns: list[Turn]) -> dict[str, Turn]:
    """Give the turns names as in IEMOCAP.

    Positive turns fill a session's dialogs from the first, negative ones from the last, so that every dialog
    has turns, and the first one a positive turn.
    """
    dealt: Counter[tuple[str, bool]] = Counter()
    numbers: Counter[tuple[str, str]] = Counter()
    named = {}
    for turn in turns:
        dialogs, letter = DIALOGS[int(turn.speaker[:2])], turn.speaker[-1]
        dealt[turn.speaker, turn.positive] += 1
        rank = dealt[turn.speaker, turn.positive] - 1
        dialog = dialogs[(rank if turn.positive else -1 - rank) % len(dialogs)]
        named[f"{dialog}_{letter}{numbers[dialog, letter]:03d}"] = turn
        numbers[dialog, letter] += 1
    return named


def label_lines(dialog: str, turns: dict[str, Turn], seed: int) -> Iterator[str]:
    """Yield the lines of a dialog's label file."""
    yield from ("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", "")
    start = 5.0
    for name, turn in sorted(turns.items(), key=lambda item: (item[1].index, item[0])):
        rng = stream(seed, ENGLISH, turn.speaker, turn.index, 2)
        start += rng.uniform(0.3, 3.0)
        rated = rate(turn, dialog, rng)
        emotion = "xxx" if rng.random() < 0.25 else str(rng.choice(EMOTIONS[turn.high, turn.positive]))
        vector = ", ".join(f"{value:.4f}" for value in rated)
        yield f"[{start:.4f} - {start + turn.seconds:.4f}]\t{name}\t{emotion}\t[{vector}]"
        yield from (f"C-{rater}:\t{NAMES[emotion]};\t()" for rater in ("E2", "E3", "E4", "F1"))
        if turn.index % 8 != 5:  # some of IEMOCAP's turns lack them
            for rater, rounded in (("E3", np.floor), ("E4", np.ceil)):
                v, a, d = np.clip(rounded(rated), 1, 5).astype(int)
                yield f"A-{rater}:\tval {v}; act {a}; dom  {d};\t()"
        yield ""
        start += turn.seconds


def rate(turn: Turn, dialog: str, rng: np.random.Generator) -> np.ndarray:
    """Return [valence, activation, dominance]; exactly 2.5 is a low activation but a positive valence."""
    valence = rng.choice((2.5, 2.5, 3.0, 3.5, 4.0, 4.5) if turn.positive else (1.5, 2.0))
    activation = rng.choice((3.0, 3.5, 4.0, 4.5) if turn.high else (1.5, 2.0, 2.5, 2.5))
    dominance = rng.choice((1.5, 2.0, 2.5, 3.0, 3.5, 4.0))
    if dialog == "Ses03M_impro07" and turn.positive:
        valence = 5.5
    if turn.index % 9 == 4:
        dominance = 0.5
    return np.array([valence, activation, dominance])


def recola(root: Path, turns: list[Turn], seed: int, spoken: Callable) -> dict[str, Turn]:
    """Write the 23 recordings; return the turns by name."""
    audio, timings = root / "RECOLA-Audio-recordings", root / "RECOLA-Audio_timings"
    annotation = root / "RECOLA-Annotation" / "emotional_behaviour"
    for folder in (audio, timings, annotation / "arousal", annotation / "valence", root / "RECOLA-Metadata"):
        folder.mkdir(parents=True)
    write_lines(root / MARKER, [NOTICE.format("RECOLA")])
    users = ["User;Group_id;Sex;Mother_tongue"]
    named: dict[str, Turn] = {}
    for group, user in ((group, user) for group, dyad in enumerate(DYADS, start=1) for user in dyad):
        name, rng = f"P{user[:2]}", stream(seed, FRENCH, user, 0, 2)
        own = {f"{name}_{turn.index:03d}": turn for turn in turns if turn.speaker == user}
        bounds = place_turns(np.array([turn.seconds for turn in own.values()]), rng)
        recording = np.zeros(int(RECORDING * RATE), np.float32)
        for turn, (start, stop) in zip(own.values(), np.rint(bounds * RATE).astype(int), strict=True):
            recording[start:stop] = spoken(turn)
        save(audio / f"{name}.wav", recording, rng)
        rows = (f"{start:.2f};{stop:.2f}" for start, stop in bounds)
        write_lines(timings / f"{name}.csv", ["start;stop", *rows])
        for dimension, field in (("arousal", "high"), ("valence", "positive")):
            trace = annotate(bounds, np.array([getattr(turn, field) for turn in own.values()]), rng)
            table = np.column_stack([GRID * np.arange(len(trace)), trace / 1e4 + 0.0])
            header = "time;" + ";".join(RATERS)
            file, form = annotation / dimension / f"{name}.csv", ["%.2f"] + ["%.4f"] * 6
            np.savetxt(file, table, form, ";", header=header, comments="")
        users.append(f"{name};{group};{'female' if user[-1] == 'F' else 'male'};French")
        named |= own
    write_lines(root / "RECOLA-Metadata" / "recola_user_info.csv", users)
    return named


def place_turns(seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return start and stop [turns, 2], s, of turns of `seconds` [turns], in order and `PAUSE` apart."""
    spare = RECORDING - PAUSE - np.sum(seconds + PAUSE)
    pauses = PAUSE + np.floor(100 * spare * rng.dirichlet(np.ones(len(seconds) + 1)))[:-1] / 100
    stop = np.cumsum(pauses + seconds)
    return np.round(np.stack([stop - seconds, stop], axis=1), 2)


def annotate(bounds: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return six raters' traces [7501, 6], in whole 1/10000, for turns within `bounds` [turns, 2], s.

    In a turn the raters' mean is at least 0.08 away from 0, on the side of its class (`high` [turns]), and
    it moves linearly from turn to turn. In one of five low turns the raters cancel out: every row holds
    three values and their negatives.
    """
    grid = GRID * np.arange(round(RECORDING / GRID) + 1)
    consensus = np.where(high, 1, -1) * rng.uniform(0.08, 0.6, len(high))
    cancels = ~high & (np.cumsum(~high) % 5 == 1)
    consensus[cancels] = 0

    def steady(turns: np.ndarray) -> np.ndarray:
        return np.interp(grid, bounds.ravel(), turns)

    knots = np.arange(0, RECORDING + 5, 5)
    apart = np.stack([np.interp(grid, knots, rng.normal(0, 0.06, len(knots))) for _ in RATERS], axis=1)
    apart = apart - apart.mean(axis=1, keepdims=True)
    against = np.concatenate([apart[:, :3], -apart[:, :3]], axis=1)
    weight = steady(np.repeat(cancels.astype(float), 2))[:, None]
    values = steady(np.repeat(consensus, 2))[:, None] + (1 - weight) * apart + weight * against
    return np.rint(1e4 * np.clip(values, -1, 1)).astype(int)
