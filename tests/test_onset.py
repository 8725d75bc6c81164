"""Where speech starts, against levels drawn by hand and synthesised speech whose first sound is known."""

import dataclasses

import numpy as np
import pytest
from corpora import noise_corpus
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data.corpus import CorpusError
from ser_jax.data.onset import silence as extent
from ser_jax.data.onset import trim
from ser_jax.data.synthetic import compose, draw_manner, plan, speak_turn, stream
from ser_jax.features import BANDS, HOP, RATE, LogMel, Waveform, describe, logmel, pad

SEEDS = st.integers(0, 2**32 - 1)
ROOM, SPEECH = -60.0, -10.0  # dB
FRAMES = LogMel().frames


def onset(logmel, frames):
    return extent(logmel, frames).lead


def bands(*levels):
    """Level curves, dB, as log-mels with the power evenly over the bands: ([N, T, F], frames [N])."""
    features = np.zeros((len(levels), FRAMES, BANDS), np.float32)
    for row, level in zip(features, levels, strict=True):
        row[: len(level)] = np.asarray(level)[:, None] - 10 * np.log10(BANDS)
    return features, np.array([len(level) for level in levels])


def curve(frames, *stretches, room=ROOM):
    """A room's level with (start, stop, level) stretches, dB [frames]."""
    level = np.full(frames, room)
    for start, stop, loudness in stretches:
        level[start:stop] = loudness
    return level


def draw(seed, count=6):
    """Log-mels of speech with pauses, every value different: ([N, T, F], frames [N])."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(60, FRAMES + 1, count)
    speech = np.repeat(rng.random((count, FRAMES // 15)) < 0.6, 15, axis=1)
    level = np.where(speech, SPEECH, ROOM)[:, :, None] + rng.normal(0, 4, (count, FRAMES, BANDS))
    return np.where(np.arange(FRAMES)[None, :, None] < frames[:, None, None], level, 0), frames


@pytest.mark.parametrize(
    ("room", "level", "starts"),
    [
        (ROOM, -34.9, 20),  # 25 dB below the loud frames is speech
        (ROOM, -35.1, 100),
        (-30.0, -23.9, 20),  # in a loud room, 6 dB above it
        (-30.0, -24.1, 100),
        (-19.9, -19.9, 0),  # 10 dB below the loud frames, whatever the room
        (-20.1, -20.1, 100),
    ],
)
def test_where_speech_begins(room, level, starts):
    features = bands(curve(300, (20, 100, level), (100, 200, SPEECH), room=room))
    assert onset(*features) == pytest.approx([starts / 100])


def test_speech_begins_with_the_first_of_five_frames_and_ends_with_the_last():
    level = curve(300, (10, 14, SPEECH), (50, 55, SPEECH), (80, 120, SPEECH), (200, 204, SPEECH))
    found = extent(*bands(level))
    assert found.lead == pytest.approx([0.50])
    assert found.tail == pytest.approx([1.80])


def test_a_click_is_neither_speech_nor_what_speech_is_measured_by():
    level = curve(300, (100, 200, SPEECH))
    level[20:23] = SPEECH + 40
    assert onset(*bands(level)) == pytest.approx([1.0])


@given(seed=SEEDS, gain=st.floats(-20, 60))
def test_the_level_of_a_recording_does_not_matter(seed, gain):
    features, frames = draw(seed)
    for quiet, loud in zip(extent(features, frames), extent(features + gain, frames), strict=True):
        np.testing.assert_allclose(loud, quiet, atol=1e-9)


@given(seed=SEEDS, what=st.sampled_from([-100.0, 0.0, 60.0, 1e6, np.nan]))
def test_what_lies_in_the_padding_does_not_matter(seed, what):
    features, frames = draw(seed)
    padding = np.arange(FRAMES)[None, :, None] >= frames[:, None, None]
    np.testing.assert_array_equal(extent(np.where(padding, what, features), frames), extent(features, frames))


@given(seed=SEEDS, silence=st.integers(0, 200))
def test_silence_in_front_delays_the_start_by_its_length(seed, silence):
    features, frames = draw(seed)
    frames = np.minimum(frames, FRAMES - 200)
    room = np.full((len(frames), 40, BANDS), ROOM - 20)  # quiet enough for the margin of 25 dB to decide
    before, after = (
        extent(np.concatenate([*[room[:, :1]] * (40 + more), features], axis=1), frames + 40 + more)
        for more in (0, silence)
    )
    np.testing.assert_allclose(after.lead, before.lead + silence / 100)
    np.testing.assert_allclose(after.tail, before.tail)


def test_trimming_leaves_what_lies_between_start_and_end():
    levels = [
        curve(300, (20, 100, -34.9), (100, 200, SPEECH), (250, 260, -41)),
        curve(FRAMES, (0, FRAMES, SPEECH)),
        np.full(50, -100.0),  # no speech
    ]
    features, frames = bands(*levels)
    whole = noise_corpus(sessions=1, speakers_a_session=1, each=3)
    whole = dataclasses.replace(whole, features=features, frames=frames.astype(np.int32))
    for below, start, stop in ((25.0, 20, 200), (20.0, 100, 200), (35.0, 20, 260), (100.0, 20, 260)):
        found = trim(whole, below)
        assert found.frames.tolist() == [stop - start, FRAMES, 50]
        np.testing.assert_array_equal(found.features[0, : stop - start], features[0, start:stop])
        assert not found.features[0, stop - start :].any()
        np.testing.assert_array_equal(found.features[1:], features[1:])
    assert (found.id == whole.id).all()
    wave = dataclasses.replace(whole, frontend=describe(Waveform()))
    with pytest.raises(CorpusError, match="corpus noise has waveform features, expected logmel to trim"):
        trim(wave)


@pytest.fixture(scope="module")
def spoken():
    """Synthesised turns: their samples, and when their first and last sounds begin and end, s [2]."""
    turns = [turn for turn in plan(96, seed=1) if turn.seconds < 3][::5]
    samples, bounds = [], []
    for turn in turns:
        rng = stream(1, turn.language, turn.speaker, turn.index, 0)
        tracks, _ = compose(turn.language, draw_manner(turn, rng), round(100 * turn.seconds), rng)
        sounds = np.flatnonzero(tracks[:, :4].any(axis=1))
        bounds.append((sounds[0] / 100, sounds[-1] / 100 + 0.01))
        samples.append(speak_turn(turn, seed=1))
    return samples, np.array(bounds)


@pytest.mark.parametrize("room", [-69, -57, -47, -37])  # dB of full scale; speech is at -27 on average
def test_synthesised_speech_starts_when_it_was_made_to(spoken, room):
    rng = np.random.default_rng(0)
    samples, bounds = spoken
    assert len(samples) > 20
    noisy = (voice + 10 ** (room / 20) * rng.standard_normal(len(voice)) for voice in samples)
    features, frames = zip(*(pad(logmel(voice), FRAMES) for voice in noisy), strict=True)
    found = extent(np.array(features), np.array(frames))
    late = found.lead - bounds[:, 0]
    assert late.min() > -0.025 - 1e-9  # a frame sees 25 ms
    assert late.max() < 0.12  # soft consonants, under the noise
    assert abs(np.median(late)) < 0.05
    stops = (np.array(frames) - 1) * HOP / RATE + 0.025 - found.tail
    assert abs(np.median(stops - bounds[:, 1])) < 0.05
