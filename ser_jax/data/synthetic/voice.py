"""A source-filter synthesiser: glottal pulses and noise through formants that move from phone to phone.

Two invented languages share how arousal sounds (pitch level and range, speaking rate, spectral tilt) and
differ in how valence sounds. English: a resonance at 3 kHz or a dip. French: breath at 5.9 kHz or at 7.1 kHz,
while its lowest band stays the same, so that 3 kHz against its surroundings tells nothing of French classes.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import ndimage, signal

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


@dataclasses.dataclass(frozen=True)
class Language:
    """Sounds and rhythm: vowels by formants (Hz, a man's), and how long each syllable's vowel lasts."""

    name: str
    vowels: tuple[tuple[int, int, int], ...]
    reduced: tuple[int, int, int] | None  # the vowel of unstressed syllables, if there is stress
    onsets: tuple[str, ...]
    coda: float  # probability of a consonant after the vowel
    long: float  # s, vowel of a stressed or of any syllable
    short: float  # s, vowel of an unstressed syllable
    final: float  # lengthening before a pause
    valence: str  # which cue carries valence: "ring" or "breath"


ENGLISH = Language(
    "english", reduced=(500, 1500, 2500), coda=0.45, long=0.17, short=0.07, final=1.2, valence="ring",
    vowels=((270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
            (640, 1190, 2390), (440, 1020, 2240), (300, 870, 2240), (490, 1350, 1750)),
    onsets=("p", "t", "k", "b", "d", "g", "f", "sh", "s", "v", "z", "m", "n", "l", "r", "w", "j"),
)  # fmt: skip
FRENCH = Language(
    "french", reduced=None, coda=0.15, long=0.11, short=0.11, final=1.8, valence="breath",
    vowels=((280, 2250, 3100), (370, 2050, 2650), (530, 1800, 2500), (700, 1350, 2500), (530, 1100, 2400),
            (380, 850, 2350), (290, 750, 2250), (280, 1850, 2150), (380, 1450, 2250), (600, 1000, 2550)),
    onsets=("p", "t", "k", "b", "d", "g", "f", "sh", "s", "v", "z", "m", "n", "l", "R", "R", "j"),
)  # fmt: skip


class Voice(NamedTuple):
    """A speaker: median pitch (Hz), formants relative to a man's, flatness of the spectrum (octaves)."""

    pitch: float
    tract: float
    brightness: float

    @classmethod
    def draw(cls, female: bool, rng: Generator) -> "Voice":
        """Draw a voice of that sex."""
        pitch = rng.uniform(180, 230) if female else rng.uniform(95, 140)
        tract = (1.15 if female else 1.0) * rng.uniform(0.96, 1.04)
        return cls(pitch, tract, rng.normal(0, 0.15))


@dataclasses.dataclass(frozen=True)
class Manner:
    """Describe how one utterance is spoken; degrees are about -1 or +1, and 0 means neither."""

    arousal: float  # degree of arousal: pitch, rate and tilt
    ring: float  # degree of the resonance at 3 kHz
    breath: float  # degree to which breath lies at 5.9 kHz rather than at 7.1 kHz
    level: float  # dB of full scale; independent of both classes

    @classmethod
    def draw(cls, language: Language, high: bool, positive: bool, rng: Generator) -> "Manner":
        """Draw a manner for these classes; the other language's cue of valence stays in the middle."""
        arousal = (1 if high else -1) + rng.normal(0, 0.4)
        valence = (1 if positive else -1) + rng.normal(0, 0.4)
        neutral = rng.normal(0, 0.4)
        ring, breath = (valence, neutral) if language.valence == "ring" else (neutral, valence)
        return cls(arousal, ring, breath, SPEECH_DB + rng.uniform(-4, 4))


def speak(language: Language, voice: Voice, manner: Manner, seconds: float, rng: Generator) -> np.ndarray:
    """Synthesise one utterance, silent before, after and in its pauses; `seconds` is a multiple of 0.01 s.

    Returns: [16000 * seconds] float64, full scale at 1; its level during speech is `manner.level`.
    """
    frames = round(seconds * RATE / STEP)
    tracks, accents = compose(language, manner, frames, rng)
    smooth = ndimage.uniform_filter1d(tracks, 3, axis=0, mode="nearest")
    samples = np.arange(frames * STEP)
    centres = STEP * (np.arange(frames) + 0.5)
    amplitude = [np.interp(samples, centres, track) for track in smooth[:, :4].T]

    pulses = excite(pitch_contour(voice, manner, accents, frames, rng), rng)
    # The tilt comes last, because it also softens the clicks of formants that move in steps.
    voiced = resonate(pulses, np.rint(voice.tract * smooth[:, 4:]))
    corner = 900 * 2 ** (1.1 * manner.arousal + voice.brightness)  # flatter with arousal
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


def pitch_contour(
    voice: Voice, manner: Manner, accents: np.ndarray, frames: int, rng: Generator
) -> np.ndarray:
    """Return the pitch [frames], Hz: a level, a slow fall, and a hump on each of `accents` [n], frames."""
    span = 2.0 * np.exp(0.4 * manner.arousal)  # semitones
    time = np.arange(frames)
    heights = span * rng.uniform(0.5, 1.5, len(accents))
    humps = heights @ np.exp(-0.5 * ((time - accents[:, None]) / 7.0) ** 2)
    semitones = 3.0 * manner.arousal + span * (0.5 - time / frames) + humps
    return voice.pitch * 2 ** (semitones / 12)


def excite(pitch: np.ndarray, rng: Generator) -> np.ndarray:
    """Return glottal pulses [samples] at this pitch [frames], times 1 % and heights 5 % irregular."""
    samples = len(pitch) * STEP
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
