"""The speakers, their turns and classes, and how each turn is spoken."""

import dataclasses

import numpy as np

from ser_jax.data.synthetic.voice import ENGLISH, FRENCH, Language, Manner, Voice, speak
from ser_jax.errors import UserError

SESSIONS = (1, 2, 3, 4, 5)
DYADS = (
    ("16F", "17M"), ("19F", "21F"), ("23M", "25F"), ("26M", "28M"), ("30F", "34M"), ("37F", "39F"),
    ("41M", "42F"), ("43M", "45M"), ("46F", "48M"), ("56F",), ("58M",), ("62F",), ("64M",), ("65F",),
)  # fmt: skip
LANGUAGES = (ENGLISH, FRENCH)
SPEAKERS = {
    ENGLISH: tuple(f"{session:02d}{sex}" for session in SESSIONS for sex in "FM"),
    FRENCH: tuple(user for dyad in DYADS for user in dyad),
}
FEWEST = 4 * len(SPEAKERS[FRENCH])  # so that every speaker has both classes of both dimensions
MOST = 1200  # whose turns fit into the recordings, however long they are drawn
SHORTEST, LONGEST = 0.7, 14.0  # s, an utterance
RECORDING = 300.0  # s, of each French speaker
PAUSE = 1.0  # s, the shortest between two of its turns


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


def stream(seed: int, language: Language, speaker: str, *rest: int) -> np.random.Generator:
    """Return the random generator of one utterance or speaker: no draw depends on another utterance."""
    place = (LANGUAGES.index(language), SPEAKERS[language].index(speaker), *rest)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def plan(utterances: int, seed: int) -> list[Turn]:
    """Return every turn of both languages, speaker by speaker.

    Args:
      utterances: per language.
      seed: not negative.
    Raises: SynthesisError if one of them is out of range.
    """
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
