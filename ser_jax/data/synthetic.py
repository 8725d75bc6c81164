"""Speech with known answers: two synthesised databases in the layouts of IEMOCAP and RECOLA.

The real recordings cannot be redistributed, so demonstrations, tests and benchmarks run on these. Arousal is
expressed by the same cues in both languages, valence by different ones: a recogniser should transfer arousal
but not valence, as in the paper, and the reason is known.

A source-filter synthesiser speaks: glottal pulses and noise pass formants that move from phone to phone. The
two invented languages share how arousal sounds (pitch level and range, speaking rate, spectral tilt) and
differ in how valence sounds. English: a resonance at 3 kHz or a dip. French: breath at 5.9 kHz or at 7.1 kHz,
with the same lowest band, so that the level around 3 kHz does not separate the French classes.
"""

import csv
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import ndimage, signal
from scipy.io import wavfile
from tqdm import tqdm

from ser_jax.data.catalog import MARKER
from ser_jax.errors import UserError
from ser_jax.io import atomic_folder

RATE = 16_000  # Hz
STEP = 160  # samples between two settings of the formants: 10 ms
SPEECH_DB = -27.0  # mean level of speech, dB of full scale
ROOM_DB = -69.0  # level of the room, dB of full scale
BREATH_DB = -33.0  # breath in each of its bands, dB of the voice


class Phone(NamedTuple):
    """One stretch of sound: seconds, amplitudes of voice and of three noises, formants in Hz."""

    seconds: float
    voice: float = 0.0
    hush: float = 0.0  # 1.2 to 7 kHz, as in f
    shush: float = 0.0  # 2.2 to 5 kHz, as in sh
    hiss: float = 0.0  # 4.8 to 7.4 kHz, as in s
    formants: tuple[float, float, float] = (500.0, 1500.0, 2500.0)


CONSONANTS = {
    "p": (Phone(0.06), Phone(0.01, hush=0.5)), "t": (Phone(0.05), Phone(0.02, hiss=0.25)),
    "k": (Phone(0.05), Phone(0.02, shush=0.4)), "f": (Phone(0.08, hush=0.22),),
    "b": (Phone(0.05, 0.08, formants=(250, 900, 2200)), Phone(0.01, 0.1, hush=0.3)),
    "d": (Phone(0.05, 0.08, formants=(250, 1700, 2600)), Phone(0.01, 0.1, hiss=0.15)),
    "g": (Phone(0.05, 0.08, formants=(250, 1900, 2300)), Phone(0.01, 0.1, shush=0.25)),
    "sh": (Phone(0.09, shush=0.35),), "s": (Phone(0.08, hiss=0.30),),
    "v": (Phone(0.05, 0.25, hush=0.12, formants=(300, 1200, 2300)),),
    "z": (Phone(0.06, 0.20, hiss=0.18, formants=(280, 1700, 2600)),),
    "m": (Phone(0.06, 0.40, formants=(270, 1000, 2200)),),
    "n": (Phone(0.06, 0.40, formants=(280, 1500, 2500)),),
    "l": (Phone(0.05, 0.55, formants=(360, 1200, 2700)),),
    "r": (Phone(0.05, 0.50, formants=(400, 1250, 1700)),),
    "R": (Phone(0.05, 0.35, hush=0.10, formants=(500, 1150, 2400)),),
    "w": (Phone(0.05, 0.50, formants=(310, 700, 2200)),),
    "j": (Phone(0.05, 0.50, formants=(280, 2150, 2900)),),
}  # fmt: skip
NOISES = tuple(
    signal.butter(2, band, "bandpass", fs=RATE) for band in ((1200, 7000), (2200, 5000), (4800, 7400))
)
BREATHS = tuple(
    (side, signal.butter(3, band, "bandpass", fs=RATE))
    for side, band in ((0, (4400, 5200)), (1, (5400, 6400)), (-1, (6600, 7700)))
)


class Language(NamedTuple):
    """Sounds and rhythm: vowels by formants (Hz, a man's), and how long each syllable's vowel lasts."""

    vowels: tuple[tuple[int, int, int], ...]
    reduced: tuple[int, int, int] | None  # the vowel of unstressed syllables, if there is stress
    onsets: tuple[str, ...]
    coda: float  # probability of a consonant after the vowel
    long: float  # s, vowel of a stressed or of any syllable
    short: float  # s, vowel of an unstressed syllable
    final: float  # lengthening before a pause


ENGLISH = Language(
    reduced=(500, 1500, 2500), coda=0.45, long=0.17, short=0.07, final=1.2,
    vowels=((270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
            (640, 1190, 2390), (440, 1020, 2240), (300, 870, 2240), (490, 1350, 1750)),
    onsets=("p", "t", "k", "b", "d", "g", "f", "sh", "s", "v", "z", "m", "n", "l", "r", "w", "j"),
)  # fmt: skip
FRENCH = Language(
    reduced=None, coda=0.15, long=0.11, short=0.11, final=1.8,
    vowels=((280, 2250, 3100), (370, 2050, 2650), (530, 1800, 2500), (700, 1350, 2500), (530, 1100, 2400),
            (380, 850, 2350), (290, 750, 2250), (280, 1850, 2150), (380, 1450, 2250), (600, 1000, 2550)),
    onsets=("p", "t", "k", "b", "d", "g", "f", "sh", "s", "v", "z", "m", "n", "l", "R", "R", "j"),
)  # fmt: skip


class Turn(NamedTuple):
    """One utterance before synthesis: its speaker, its index among theirs, its classes, its duration in s."""

    language: Language
    speaker: str
    index: int  # type: ignore[assignment]  # hides a tuple's method
    high: bool
    positive: bool
    seconds: float


class Manner(NamedTuple):
    """Describe how one utterance is spoken; degrees are about -1 or +1, and 0 means neither."""

    arousal: float  # degree of arousal: pitch, rate and tilt
    ring: float  # degree of the resonance at 3 kHz
    breath: float  # degree to which breath lies at 5.9 kHz rather than at 7.1 kHz
    level: float  # dB of full scale; independent of both classes


def draw_manner(turn: Turn, rng: Generator) -> Manner:
    """Draw a manner for a turn's classes; the other language's cue of valence stays in the middle."""
    arousal = (1 if turn.high else -1) + rng.normal(0, 0.4)
    valence = (1 if turn.positive else -1) + rng.normal(0, 0.4)
    neutral = rng.normal(0, 0.4)
    ring, breath = (valence, neutral) if turn.language is ENGLISH else (neutral, valence)
    return Manner(arousal, ring, breath, SPEECH_DB + rng.uniform(-4, 4))


def speak_turn(turn: Turn, seed: int) -> np.ndarray:
    """Synthesise a turn, silent before, after and in its pauses, without the room's noise.

    Returns: [16000 * seconds] float64, full scale at 1; its level during speech is its manner's.
    """
    rng, female = stream(seed, turn.language, turn.speaker, 0, 3), turn.speaker[-1] == "F"
    median = rng.uniform(180, 230) if female else rng.uniform(95, 140)  # of the pitch, Hz
    tract = (1.15 if female else 1.0) * rng.uniform(0.96, 1.04)  # formants relative to a man's
    brightness = rng.normal(0, 0.15)  # flatness of the spectrum, octaves
    rng = stream(seed, turn.language, turn.speaker, turn.index, 0)
    manner = draw_manner(turn, rng)
    frames = round(turn.seconds * RATE / STEP)
    tracks, accents = compose(turn.language, manner, frames, rng)
    smooth = ndimage.uniform_filter1d(tracks, 3, axis=0, mode="nearest")
    samples = np.arange(frames * STEP)
    centres = STEP * (np.arange(frames) + 0.5)
    amplitude = [np.interp(samples, centres, track) for track in smooth[:, :4].T]

    pulses = excite(median, manner, accents, frames, rng)
    # The tilt comes last, because it also softens the clicks of formants that move in steps.
    voiced = resonate(pulses, np.rint(tract * smooth[:, 4:]))
    corner = 900 * 2 ** (1.1 * manner.arousal + brightness)  # flatter with arousal
    poles = np.exp(-2 * np.pi * np.array([40.0, 250.0, corner]) / RATE)
    voiced = signal.lfilter(np.array([1.0, -1.0]), np.poly(poles), voiced) * amplitude[0]
    voiced = signal.lfilter(*bell(3000.0, 2.2, 14.0 * manner.ring), voiced)
    speech = voiced / rms(voiced)
    white = rng.standard_normal(len(samples))
    for (b, a), envelope in zip(NOISES, amplitude[1:], strict=True):
        speech += 1.2 * envelope * signal.lfilter(b, a, white)
    white = rng.standard_normal(len(samples))
    for side, (b, a) in BREATHS:
        breath = amplitude[0] * signal.lfilter(b, a, white)
        speech += 10 ** ((BREATH_DB + 5.0 * side * manner.breath) / 20) * breath / rms(breath)
    spoken = np.sum(amplitude, axis=0) > 0.02
    return speech * 10 ** (manner.level / 20) / rms(speech[spoken])


def compose(language: Language, manner: Manner, frames: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Invent syllables until the time is filled.

    Returns: (tracks [frames, 7]: amplitudes of voice and the three noises, three formants in Hz;
      accents: frames at which the pitch rises).
    """
    rate = np.exp(0.22 * manner.arousal)
    lead, tail = (int(np.clip(frames * rng.uniform(0.02, 0.14), 3, 35)) for _ in range(2))
    rows: list[tuple[float, ...]] = [(0, 0, 0, 0, 500, 1500, 2500)]
    lengths, accents = [lead], []
    time, stop, until_pause = lead, frames - tail, rng.integers(4, 11)
    stressed = True
    while time < stop:
        last = until_pause == 1
        for phone, stretch in syllable(language, stressed, last, rng):
            length = max(1, round(stretch * phone.seconds * RATE / STEP / rate))
            if phone.voice == 1.0 and (stressed if language.reduced else last):
                accents.append(time + length // 2)
            rows.append((phone.voice, phone.hush, phone.shush, phone.hiss, *phone.formants))
            lengths.append(length)
            time += length
        until_pause -= 1
        if until_pause == 0:
            length = int(rng.uniform(12, 35))
            rows.append((0, 0, 0, 0, *rows[-1][4:]))
            lengths.append(length)
            time, until_pause = time + length, rng.integers(4, 11)
        stressed = not stressed or rng.random() < 0.2
    tracks = np.repeat(np.array(rows, float), lengths, axis=0)[:stop]
    tracks = np.pad(tracks, ((0, frames - len(tracks)), (0, 0)), "edge")
    tracks[stop:, :4] = 0
    return tracks, np.array(accents)


def syllable(language: Language, stressed: bool, last: bool, rng: Generator) -> Iterator[tuple[Phone, float]]:
    """Yield (phone, stretch) of an onset, a vowel and perhaps a coda."""
    onset = language.onsets[rng.integers(len(language.onsets))]
    yield from ((phone, 1.0) for phone in CONSONANTS[onset])
    vowel = language.vowels[rng.integers(len(language.vowels))]
    seconds = language.long
    if language.reduced and not stressed:
        vowel, seconds = language.reduced, language.short
    yield Phone(seconds, 1.0, formants=vowel), rng.uniform(0.8, 1.2) * (language.final if last else 1)
    if rng.random() < language.coda:
        coda = language.onsets[rng.integers(len(language.onsets))]
        yield from ((phone, 0.8) for phone in CONSONANTS[coda])


def excite(median: float, manner: Manner, accents: np.ndarray, frames: int, rng: Generator) -> np.ndarray:
    """Return glottal pulses [samples], times 1 % and heights 5 % irregular.

    The pitch falls slowly around its `median` (Hz), with a hump on each of `accents` [n], frames.
    """
    span = 2.0 * np.exp(0.4 * manner.arousal)  # semitones
    time = np.arange(frames)
    heights = span * rng.uniform(0.5, 1.5, len(accents))
    humps = heights @ np.exp(-0.5 * ((time - accents[:, None]) / 7.0) ** 2)
    semitones = 3.0 * manner.arousal + span * (0.5 - time / frames) + humps
    pitch = median * 2 ** (semitones / 12)
    samples = frames * STEP
    cycles = np.cumsum(np.repeat(pitch, STEP)) / RATE
    times = np.interp(np.arange(1, int(cycles[-1])), cycles, np.arange(samples))
    times += rng.normal(0, 0.01, len(times)) * np.gradient(times)
    times = np.clip(times, 0, samples - 2)
    heights = 1 + 0.05 * rng.standard_normal(len(times))
    before = times.astype(int)
    # A pulse between two samples is split over both: rounding its time would make high voices rough.
    return np.bincount(before, heights * (1 - times + before), samples) + np.bincount(
        before + 1, heights * (times - before), samples
    )


def bell(centre: float, quality: float, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a filter (b [3], a [3]) that changes the spectrum around `centre` (Hz) by `gain` (dB)."""
    angle = 2 * np.pi * centre / RATE
    half, root = np.sin(angle) / (2 * quality), 10 ** (gain / 40)
    cosine = -2 * np.cos(angle)
    b = np.array([1 + half * root, cosine, 1 - half * root])
    return b, np.array([1 + half / root, cosine, 1 - half / root])


def resonate(source: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Filter the source [samples] by three moving resonances [frames, 3], Hz, and two fixed ones."""
    starts = np.flatnonzero(np.diff(formants, axis=0, prepend=-1).any(axis=1))
    spans = [slice(*ends) for ends in itertools.pairwise((*STEP * starts, len(source)))]
    sound = source
    for centre, width in zip(formants[starts].T, (70.0, 90.0, 130.0), strict=True):
        state, moved = np.zeros(2), np.empty_like(sound)
        for span, b, a in zip(spans, *resonance(centre, width), strict=True):
            moved[span], state = signal.lfilter(b, a, sound[span], zi=state)
        sound = moved
    for centre, width in ((3500.0, 220.0), (4500.0, 300.0)):
        b, a = resonance(np.array([centre]), width)
        sound = signal.lfilter(b[0], a[0], sound)
    return sound


def resonance(centre: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two-pole filters (b [frames, 1], a [frames, 3]) at `centre` [frames] and `width`, Hz."""
    radius = np.exp(-np.pi * width / RATE)
    linear = -2 * radius * np.cos(2 * np.pi * centre / RATE)
    a = np.stack([np.ones_like(centre), linear, np.full_like(centre, radius**2)], axis=1)
    return a.sum(axis=1, keepdims=True), a


def rms(samples: np.ndarray) -> float:
    """Return the root of the mean square of samples [n]."""
    return float(np.sqrt(np.mean(samples**2)))


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
SHORTEST, LONGEST = 0.7, 14.0  # s, an utterance; their lengths are log-normal, with mean 2.4 s
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
    """A size or folder with which the synthetic databases cannot be written."""


def read_truth(out: Path) -> dict[str, dict[str, str]]:
    """Return utterance id to {"arousal": "low" | "high", "valence": "negative" | "positive"}."""
    with (Path(out) / "truth.csv").open(newline="", encoding="utf-8") as file:
        return {row.pop("utterance"): row for row in csv.DictReader(file)}


def synthesize(out: Path, utterances: int = 240, seed: int = 0) -> None:
    """Write both databases and their truth, atomically: OUT/IEMOCAP_full_release, OUT/RECOLA, OUT/truth.csv.

    The same arguments give the same bytes in every file. Shows a progress bar.

    Args:
      out: a folder that does not exist yet or is empty.
      utterances: per language, spread evenly over 10 English and 23 French speakers.
      seed: not negative.
    Raises: SynthesisError if `out` is not empty or `utterances` is out of range.
    """
    turns = plan(utterances, seed)
    english, french = ([turn for turn in turns if turn.language is language] for language in LANGUAGES)
    bar = tqdm(desc="synthesising", total=len(turns), unit=" utt", delay=1e-3)  # no empty bar above errors
    with atomic_folder(out, SynthesisError) as root, bar:
        named = iemocap(root / "IEMOCAP_full_release", english, seed, bar)
        named |= recola(root / "RECOLA", french, seed, bar)
        rows = (
            f"{name},{('low', 'high')[turn.high]},{('negative', 'positive')[turn.positive]}"
            for name, turn in sorted(named.items())
        )
        write_lines(root / "truth.csv", ["utterance,arousal,valence", *rows])


def stream(seed: int, language: Language, speaker: str, *rest: int) -> Generator:
    """Return the random generator of one utterance or speaker: no draw depends on another utterance."""
    place = (LANGUAGES.index(language), SPEAKERS[language].index(speaker), *rest)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def plan(utterances: int, seed: int) -> list[Turn]:
    """Return every turn of both languages, speaker by speaker; see `synthesize`."""
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
                rng = stream(seed, language, speaker, index)
                seconds = np.clip(rng.lognormal(np.log(1.9), 0.68), SHORTEST, LONGEST)
                turns.append(Turn(language, speaker, index, *classes, round(float(seconds), 2)))
    return turns


def design(count: int, place: int, rng: Generator) -> list[tuple[bool, bool]]:
    """Return (high arousal, positive valence) of a speaker's turns: all four equally often, in random order.

    A remainder of two takes opposite corners, so that both dimensions stay balanced; which corners come first
    alternates with the speaker's place.
    """
    corners = [(0, 0), (1, 1), (0, 1), (1, 0)]
    cells = [corners[index % 4] for index in range(count)]
    return [(bool(a ^ place & 1), bool(v ^ place >> 1 & 1)) for a, v in rng.permutation(cells)]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, the same on every system."""
    path.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def save(path: Path, samples: np.ndarray, rng: Generator) -> None:
    """Write samples [n] (full scale at 1) with the room's noise as a 16-bit WAV file."""
    room = rng.standard_normal(len(samples), dtype=np.float32) * 10 ** (ROOM_DB / 20)
    steps = np.rint(32768 * (room + samples).astype(np.float32))
    wavfile.write(path, RATE, np.clip(steps, -32768, 32767).astype(np.int16))


def iemocap(root: Path, turns: list[Turn], seed: int, bar: tqdm) -> dict[str, Turn]:
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
                save(folder / f"{name}.wav", speak_turn(turn, seed), rng)
                bar.update()
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


def rate(turn: Turn, dialog: str, rng: Generator) -> np.ndarray:
    """Return [valence, activation, dominance]; exactly 2.5 is a low activation but a positive valence."""
    valence = rng.choice((2.5, 2.5, 3.0, 3.5, 4.0, 4.5) if turn.positive else (1.5, 2.0))
    activation = rng.choice((3.0, 3.5, 4.0, 4.5) if turn.high else (1.5, 2.0, 2.5, 2.5))
    dominance = rng.choice((1.5, 2.0, 2.5, 3.0, 3.5, 4.0))
    if dialog == "Ses03M_impro07" and turn.positive:
        valence = 5.5
    if turn.index % 9 == 4:
        dominance = 0.5
    return np.array([valence, activation, dominance])


def recola(root: Path, turns: list[Turn], seed: int, bar: tqdm) -> dict[str, Turn]:
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
            recording[start:stop] = speak_turn(turn, seed)
            bar.update()
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


def place_turns(seconds: np.ndarray, rng: Generator) -> np.ndarray:
    """Return start and stop [turns, 2], s, of turns of `seconds` [turns], in order and `PAUSE` apart."""
    spare = RECORDING - PAUSE - np.sum(seconds + PAUSE)
    pauses = PAUSE + np.floor(100 * spare * rng.dirichlet(np.ones(len(seconds) + 1)))[:-1] / 100
    stop = np.cumsum(pauses + seconds)
    return np.round(np.stack([stop - seconds, stop], axis=1), 2)


def annotate(bounds: np.ndarray, high: np.ndarray, rng: Generator) -> np.ndarray:
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
