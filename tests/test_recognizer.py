"""A recogniser says of a recording what its networks say, however the recording is given, cut or batched."""

import io
import itertools
import re

import jax
import jsonschema
import numpy as np
import pytest
import recognisers
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_jax import model
from ser_jax.data import audio
from ser_jax.data import synthetic as plan
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.errors import UserError
from ser_jax.features import pad
from ser_jax.features.logmel import RATE, ShortSignalError, filterbank, logmel
from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import HopError, Recognizer, SoundError, hearing, schema


@pytest.fixture(scope="module")
def recogniser():
    return recognisers.recogniser()


@pytest.fixture(scope="module")
def small():
    return recognisers.recogniser(seeds=2, sizes=AttentiveCNN(channels=4))


def plainly(trained, samples):
    """Network by network, window by window: probabilities [A, R, W], attention [A, R, W, S], first frames."""
    features = logmel(samples)
    starts = [0]
    while starts[-1] + 750 < len(features):
        starts.append(starts[-1] + 360)
    probability, attention = [], []
    for target in trained.targets.values():
        for seed in range(trained.facts["seeds"]):
            params = jax.tree.map(lambda leaf: leaf[seed], target.params)  # noqa: B023
            for start in starts:
                x, frames = pad(features[start:], 750)
                x[:frames] = (x[:frames] - trained.mean) * trained.scale
                said = model.apply(trained.sizes, params, x[None])
                value, decay = target.temperature
                scores = np.exp(np.asarray(said.outputs[0], np.float64) / (value * (frames / 750) ** -decay))
                probability.append(scores[1] / scores.sum())
                attention.append(np.asarray(said.attention[0]))
    shape = (len(trained.targets), trained.facts["seeds"], len(starts))
    return np.reshape(probability, shape), np.reshape(attention, (*shape, -1)), starts


@pytest.mark.parametrize("seconds", [0.025, 0.5, 3.3, 7.5, 7.51, 11.1, 20.0])
def test_it_says_what_its_networks_say(recogniser, seconds):
    samples = recognisers.speech(seconds)
    said = recogniser(samples, RATE)
    probability, attention, starts = plainly(recogniser.model, samples)
    assert said.seconds == pytest.approx(seconds)
    assert [window.start for window in said.windows] == pytest.approx([start / 100 for start in starts])
    for place, window in enumerate(said.windows):
        for k, target in enumerate(("arousal", "valence")):
            own, estimate = probability[k, :, place], window.targets[target]
            assert estimate.probability == pytest.approx(own.mean(), abs=1e-5)
            assert estimate.spread == pytest.approx(own.std(ddof=1), abs=1e-5)
            assert estimate.label == CLASS_NAMES[target][int(own.mean() > 0.5)]
            weights = [segment.weight for segment in estimate.attention]
            np.testing.assert_allclose(weights, attention[k, :, place].mean(axis=0), atol=1e-5)


def test_a_recording_is_the_mean_of_its_windows_by_what_they_hold(recogniser):
    said = recogniser(recognisers.speech(20.0), RATE)
    assert [window.start for window in said.windows] == pytest.approx([0.0, 3.6, 7.2, 10.8, 14.4])
    assert [window.end for window in said.windows] == pytest.approx([7.5, 11.1, 14.7, 18.3, 20.0])
    frames = [750, 750, 750, 750, 1998 - 1440]
    for target, estimate in said.targets.items():
        mean = np.average([window.targets[target].probability for window in said.windows], weights=frames)
        assert estimate.probability == pytest.approx(mean)
        spread = [window.targets[target].spread for window in said.windows]
        assert 0 < estimate.spread <= max(spread)
        starts = [segment.start for segment in estimate.attention]
        np.testing.assert_allclose(starts, 0.9 * np.arange(24))
        # A stretch's weight is what the windows that hold it give it.
        for segment in estimate.attention:
            given = sum(
                own.weight * share / sum(frames)
                for window, share in zip(said.windows, frames, strict=True)
                for own in window.targets[target].attention
                if own.start == pytest.approx(segment.start)
            )
            assert segment.weight == pytest.approx(given)


@settings(max_examples=30)
@given(seconds=st.floats(0.025, 40), segments=st.integers(1, 8))
def test_windows_cover_all_and_attention_sums_to_one(small, seconds, segments):
    said = small(recognisers.speech(seconds), RATE, hop=0.9 * segments)
    assert said.windows[0].start == 0
    for before, after in itertools.pairwise(said.windows):
        assert after.start - before.start == pytest.approx(0.9 * segments)
        assert after.start <= before.start + 7.5 < said.seconds
    assert said.windows[-1].end == pytest.approx(said.seconds, abs=0.01 + 0.015)
    for one in (said, *said.windows):
        for estimate in one.targets.values():
            assert sum(segment.weight for segment in estimate.attention) == pytest.approx(1, abs=1e-5)
            assert 0 <= estimate.probability <= 1
    jsonschema.validate(said.as_dict("any"), schema())


@pytest.fixture(scope="module")
def batching(small):
    """The same, sixteen windows at a time, as on an accelerator."""
    return Recognizer(small.model, batch=16)


@settings(max_examples=20)
@given(seconds=st.lists(st.floats(0.03, 60), min_size=1, max_size=8))
def test_how_recordings_share_batches_does_not_matter(small, batching, seconds):
    sounds = [recognisers.speech(one, seed=i) for i, one in enumerate(seconds)]
    heard = [small.hear(sound, RATE) for sound in sounds]
    alone = [small(sound, RATE) for sound in sounds]
    assert list(small.recognise(heard)) == alone
    together = list(batching.recognise(heard))
    assert [len(one.windows) for one in together] == [len(one.windows) for one in alone]
    for one, other in zip(together, alone, strict=True):
        for place, window in zip((one, *one.windows), (other, *other.windows), strict=True):
            for target, estimate in place.targets.items():
                assert estimate.probability == pytest.approx(window.targets[target].probability, abs=1e-5)


def test_no_more_recordings_are_held_than_fill_a_batch(batching):
    heard, most = batching.hear(recognisers.speech(1.0), RATE), 0
    given = yielded = 0

    def sounds():
        nonlocal given
        for _ in range(80):
            given += 1
            yield heard

    for _ in batching.recognise(sounds()):
        yielded += 1
        most = max(most, given - yielded)
    assert (given, yielded) == (80, 80)
    assert most <= 16


def test_what_stands_beside_a_window_never_matters(batching):
    features = batching.hear(recognisers.speech(7.5), RATE).logmel
    cut = batching.predict([features[:300]])
    poisoned = batching.predict([features[:300], np.full((750, 26), np.nan, np.float32)])
    np.testing.assert_array_equal(poisoned.probability[:, :, 0], cut.probability[:, :, 0])


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_file_is_heard_as_its_samples_are(tmp_path, recogniser, rate, ending):
    samples = recognisers.speech(9.0, rate)
    path = tmp_path / f"speech.{ending}"
    soundfile.write(path, np.stack([samples, 0.5 * samples], axis=1), rate, subtype="PCM_24")
    read, _ = soundfile.read(path)
    by_file, by_samples = recogniser(path), recogniser(read, rate)
    assert by_file == recogniser(str(path)) == by_samples
    mono = recogniser(read.mean(axis=1), rate)
    assert mono == by_samples


def test_a_short_file_is_heard_as_it_is_prepared(tmp_path, small):
    """The features are those that networks are trained on, `data.extract`'s."""
    for rate in (16_000, 44_100):
        soundfile.write(tmp_path / "a.wav", recognisers.speech(5.0, rate), rate)
        heard = small.hear(tmp_path / "a.wav")
        prepared = logmel(audio.read(tmp_path / "a.wav")[0])
        assert heard.logmel.shape == prepared.shape
        np.testing.assert_allclose(heard.logmel, prepared, atol=0.01)


def test_integers_are_fractions_of_their_largest(small):
    samples = (recognisers.speech(2.0) * 32767).astype(np.int16)
    assert small(samples, RATE) == small(samples / 32768, RATE)
    assert small(samples.astype(np.int32) * 65536, RATE) == small(samples, RATE)


@settings(max_examples=40)
@given(data=st.data(), rate=st.sampled_from([8_000, 16_000, 44_100]))
def test_an_ear_hears_pieces_as_the_whole(data, rate):
    samples = recognisers.speech(1.5, rate)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples) - 1), max_size=12)))
    ear, whole = hearing.Ear(rate, filterbank()), hearing.Ear(rate, filterbank())
    ends = [*cuts, len(samples)]
    pieces = [ear.feed(samples[a:b], b == len(samples)) for a, b in zip([0, *cuts], ends, strict=True)]
    features = np.concatenate([one for one, _ in pieces])
    expected, outline = whole.feed(samples, last=True)
    assert len(features) == len(expected) > 100
    np.testing.assert_allclose(features, expected, atol=0 if rate == RATE else 1e-3)
    np.testing.assert_allclose(np.concatenate([one for _, one in pieces]), outline, atol=1e-6)


def test_the_outline_is_of_the_samples(small):
    samples = recognisers.speech(1.0)
    heard = small.hear(samples, RATE)
    assert heard.outline.shape == (len(heard.logmel), 2)
    np.testing.assert_allclose(heard.outline[3], [samples[480:640].min(), samples[480:640].max()], rtol=1e-6)


@pytest.mark.parametrize(
    ("samples", "rate", "sentence"),
    [
        (np.zeros(399), RATE, "399 samples at 16000 Hz, expected at least one frame of 0.025 s"),
        (np.zeros(0), RATE, "0 samples at 16000 Hz"),
        (np.zeros((800, 0)), RATE, "shape [800, 0]"),
        (np.zeros((8, 8, 8)), RATE, "shape [8, 8, 8]"),
        (np.zeros((2, 8000)), RATE, "samples of shape [2, 8000], expected [n, channels]: transpose them"),
        (np.zeros(8000), "16000", "rate '16000', expected a number of Hz"),
        (np.zeros(8000), True, "rate True, expected a number of Hz"),
        (b"RIFF", None, "bytes, expected a path, or samples and their rate"),
        (io.BytesIO(b"RIFF"), None, "an open file, expected a path, or samples and their rate"),
        (np.full(800, np.nan), RATE, "not finite"),
        (np.full(800, 1e300), RATE, "not finite"),
        (np.zeros(800, complex), RATE, "complex128"),
        (np.zeros(800, np.uint8), RATE, "uint8"),
        (np.zeros(800), 10, "10 samples a second, expected 1000 to 768000"),
        (np.zeros(800), -1, "-1 samples a second"),
        (np.zeros(800), np.nan, "nan samples a second"),
        (np.zeros(800), None, "samples without their rate"),
        ("a.wav", 16_000, "the file says its own"),
    ],
)
def test_what_is_no_sound_is_refused(small, samples, rate, sentence):
    with pytest.raises(SoundError, match=re.escape(sentence)):
        small(samples, rate)


@pytest.mark.parametrize("hop", [0, -0.9, 0.5, 1.0, 8.1, 1e30, np.nan, np.inf])
def test_windows_lie_on_segments(small, hop):
    with pytest.raises(HopError, match=r"expected a multiple of 0\.9 s"):
        small(recognisers.speech(1.0), RATE, hop=hop)


def test_a_bad_file_is_named(tmp_path, small):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(audio.AudioError, match=r"bad\.wav"):
        small(tmp_path / "bad.wav")
    soundfile.write(tmp_path / "short.wav", np.zeros(100), RATE)
    with pytest.raises(UserError, match=r"short\.wav: the file holds 0.0063 s of sound"):
        small(tmp_path / "short.wav")
    with pytest.raises(ShortSignalError):
        logmel(np.zeros(100))


@pytest.mark.parametrize("targets", [("arousal",), ("valence",)])
def test_one_target_and_one_seed(targets):
    said = recognisers.recogniser(targets=targets, seeds=1, sizes=AttentiveCNN(channels=4))(
        recognisers.speech(2.0), RATE
    )
    assert tuple(said.targets) == targets
    assert said.targets[targets[0]].spread == 0
    written = said.as_dict("a.wav")
    jsonschema.validate(written, schema())
    assert set(written) == {"file", "seconds", "windows", *targets}
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_demonstration_knows_synthetic_speech(tmp_path):
    """Of another draw than it was trained on."""
    english = [turn for turn in plan.plan(92, 7) if turn.language is plan.ENGLISH]
    turns = plan.iemocap(tmp_path / "speech", english, 7, lambda turn: plan.speak_turn(turn, 7))
    recognizer = Recognizer.load()
    assert recognizer.is_demonstration
    right = []
    for file in (tmp_path / "speech").rglob("*.wav"):
        if file.stem in turns:
            said, turn = recognizer(file).targets, turns[file.stem]
            truth = {"arousal": turn.high, "valence": turn.positive}
            right.append([said[one].label == CLASS_NAMES[one][value] for one, value in truth.items()])
    assert len(right) == 92
    assert (np.mean(right, axis=0) > 0.85).all(), np.mean(right, axis=0)
