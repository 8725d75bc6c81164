"""Find where speech starts and ends in recordings, and trim the silence around it."""

import dataclasses
from typing import NamedTuple

import numpy as np

from ser_jax.data.corpus import Corpus, CorpusError
from ser_jax.features import FLOOR, HOP, RATE, LogMel
from ser_jax.shapes import Float, Int

LOUD = 10  # frames, 0.1 s; in an utterance of fewer than 20 half of them
QUIET = 0.05  # of the frames
BELOW, ABOVE, CLEAR = 25.0, 6.0, 10.0  # dB
LASTING = 5  # frames
BLOCK = 64  # utterances converted to float64 at once; 10 MB


class Silence(NamedTuple):
    """Silence around the speech of every utterance, [N] float64; lead and tail are NaN if there is none.

    If the contrast is far below 20 dB, the room is loud or nobody pauses, and a lead of 0 s means little.
    """

    lead: np.ndarray  # s before the first frame of speech
    tail: np.ndarray  # s after the last one, in the first 7.5 s
    contrast: np.ndarray  # dB between loud and quiet frames


def silence(
    logmel: Float[np.ndarray, "N T F"], frames: Int[np.ndarray, "N"], below: float = BELOW
) -> Silence:
    """Measure the silence before and after speech, by the energy of log-mels (dB) alone; NaN without speech.

    The paper asks whether silence at the beginning keeps attention from the first segment (Sec. 6), and does
    not state its voice activity detector. Ours compares the levels of frames, their power summed over bands:

        loud      the level that 10 frames reach: 0.1 s, longer than a click
        quiet     the level that 5 % of the frames stay below: the room, or the softest speech
        speech    frames of at least loud - `below` dB and quiet + 6 dB; always from loud - 10 dB on
        start     the first of five such frames in a row: 0.05 s

    By default `below` is 25 dB: fricatives are within 25 dB of a loud vowel, but breath and echo hardly.
    `quiet + 6 dB` is the threshold if the room is louder than that; `loud - 10 dB` if there are no pauses,
    and the quiet frames are speech too. On 314 synthesised utterances with known starts, with noise 42 or
    10 dB below the speech, it errs by 0.1 s at most. On EmoDB and RAVDESS, 20 or 30 dB instead of 25 moves
    the median by 0.01 s.

    A frame covers 25 ms, so the start comes up to 25 ms early; a voiceless plosive begins with its burst.
    Neither the recording's level nor the padding matters, and digital silence is never speech.
    """
    parts = [slice(i, i + BLOCK) for i in range(0, len(frames), BLOCK)]
    found = [_silence(logmel[part, : frames[part].max()], frames[part], below) for part in parts]
    return Silence(*np.concatenate(found, axis=1))


def _silence(logmel: np.ndarray, frames: np.ndarray, below: float) -> tuple[np.ndarray, ...]:
    valid = np.arange(logmel.shape[1]) < frames[:, None]
    power = np.exp(np.log(10) / 10 * np.where(valid[:, :, None], logmel, np.nan).astype(np.float64))
    level = 10 * np.log10(power.sum(axis=2))  # NaN in the padding
    ordered = np.sort(level, axis=1)  # NaN comes last
    ranks = np.stack([frames - np.minimum(LOUD, (frames + 1) // 2), (QUIET * frames).astype(int)], axis=1)
    loud, quiet = np.take_along_axis(ordered, ranks, axis=1).T
    threshold = np.clip(quiet + ABOVE, loud - below, loud - min(CLEAR, below))

    speech = np.pad(level >= threshold[:, None], ((0, 0), (0, LASTING - 1)))
    starts = np.all(np.lib.stride_tricks.sliding_window_view(speech, LASTING, axis=1), axis=2)
    audible = loud - min(below, BELOW) > 10 * np.log10(FLOOR * logmel.shape[2])
    spoken = starts.any(axis=1) & audible
    first = starts.argmax(axis=1)
    last = level.shape[1] - 1 - starts[:, ::-1].argmax(axis=1) + LASTING - 1
    lead, tail = (np.where(spoken, count * HOP / RATE, np.nan) for count in (first, frames - 1 - last))
    return lead, tail, loud - quiet


def trim(corpus: Corpus, below: float = BELOW) -> Corpus:
    """Return a corpus of log-mels without the frames before and after speech, as `silence` finds it.

    Recordings without speech stay as they are. Of a recording longer than the front end's 7.5 s, only the
    stored part is known, so nothing replaces the removed frames.

    Raises: CorpusError if the features are not log-mels.
    """
    if corpus.frontend["name"] != LogMel.name:
        found = f"corpus {corpus.name} has {corpus.frontend['name']} features"
        raise CorpusError(f"{found}, expected logmel to trim silence by its level")
    around = silence(corpus.features, corpus.frames, below)
    lead, tail = (
        np.rint(np.nan_to_num(part) * RATE / HOP).astype(np.int32) for part in (around.lead, around.tail)
    )
    frames, features = corpus.frames - lead - tail, np.zeros_like(corpus.features)
    for row, own, start, count in zip(features, corpus.features, lead, frames, strict=True):
        row[:count] = own[start : start + count]
    return dataclasses.replace(corpus, features=features, frames=frames)
