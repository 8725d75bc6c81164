"""Speech that is still arriving: what is said of it, and when."""

import json
import types

import jsonschema
import numpy as np
import pytest
import recognisers
from hypothesis import given
from hypothesis import strategies as st
from streams import close, heard, quick, small, wav

from ser_jax.features.logmel import logmel
from ser_jax.recognizer import hearing, schema, streaming
from ser_jax.recognizer.streaming import Live, Moment


def test_an_estimate_is_of_the_features_of_the_whole_recording_at_its_place():
    samples = recognisers.speech(11.3)
    features = logmel(samples).astype(np.float32)
    moments = Live(small(), 16_000).feed(samples)
    assert [moment.seconds for moment in moments] == [0.5 * i for i in range(1, 23)]
    for moment in moments:
        frames = 1 + (round(moment.seconds * 16_000) - 400) // 160
        first = max(0, frames - 750)
        close(
            moment.window,
            small()
            .window(features[first:frames], first / 100)
            ._replace(start=first / 100, end=min(moment.seconds, first / 100 + 7.5)),
        )


def test_the_first_seven_seconds_and_a_half_are_heard_as_a_file_is():
    samples = recognisers.speech(7.5, seed=3)
    for moment in Live(small(), 16_000).feed(samples):
        known = small()(samples[: round(moment.seconds * 16_000)], 16_000)
        close(moment.window, known.windows[0])


@given(st.lists(st.integers(1, 20_000), max_size=12))
def test_pieces_do_not_change_a_bit(sizes):
    samples = recognisers.speech(3.1)
    live, moments, place = Live(small(), 16_000), [], 0
    for size in [*sizes, len(samples)]:
        moments += live.feed(samples[place : place + size])
        place += size
    assert moments == Live(small(), 16_000).feed(samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_at_another_rate_features_are_those_of_the_converted_recording(rate):
    seen = []
    recorder = types.SimpleNamespace(
        filters=small().filters, window=lambda x, s: seen.append((x, s)) or Watched()
    )
    samples = recognisers.speech(9.2, rate)
    known = hearing.from_samples(samples, rate, small().filters).logmel
    moments = Live(recorder, rate).feed(samples)
    assert len(seen) == 18
    for moment, (features, start) in zip(moments, seen, strict=True):
        first = round(start * 100)
        np.testing.assert_allclose(features, known[first : first + len(features)], atol=1e-3)
        assert 0 <= moment.seconds - (first + len(features)) / 100 <= 0.14


class Watched:
    """A window that was only looked at."""

    def _replace(self, **_):
        return self


def test_half_seconds_of_an_odd_rate_begin_where_their_first_sample_does():
    moments = Live(quick(), 11_025).feed(np.zeros(11_025 * 3))
    assert [moment.seconds for moment in moments] == pytest.approx([0.5, 1, 1.5, 2, 2.5, 3], abs=1 / 11_025)
    assert [moment.seconds for moment in moments][1::2] == [1, 2, 3]


def test_of_a_backlog_the_newest_alone_is_estimated():
    samples = recognisers.speech(9)
    live = Live(small(), 16_000)
    [first] = live.feed(samples[:70_000], every=False)
    [second] = live.feed(samples[70_000:], every=False)
    assert live.feed(samples[:7_999], every=False) == []
    every = Live(small(), 16_000).feed(samples)
    assert [first, second] == [every[7], every[17]]


def test_a_line_says_when_and_what():
    [moment] = Live(small(), 16_000).feed(recognisers.speech(0.5))
    arousal, valence = moment.window.targets.values()
    arousal = arousal._replace(label="low", probability=0.214, spread=0.031)
    valence = valence._replace(label="positive", probability=0.8, spread=0.0)
    moment = moment._replace(window=moment.window._replace(targets={"arousal": arousal, "valence": valence}))
    said = "    0.5 s   arousal low      (high: 0.21 ± 0.03)   valence positive (positive: 0.80)"
    assert streaming.line(moment) == said
    assert streaming.line(moment._replace(behind=0.4)) == said
    assert streaming.line(moment._replace(behind=1.25)) == said + "   1.2 s behind"


def test_json_is_a_window_of_the_schema_and_the_seconds():
    moments = Live(small(), 16_000).feed(recognisers.speech(9))
    known = schema()
    window = known["properties"]["windows"]["items"] | {"$defs": known["$defs"]}
    for moment in moments:
        found = json.loads(json.dumps(streaming.as_dict(moment)))
        assert list(found) == ["seconds", "start", "end", "arousal", "valence"]
        assert found.pop("seconds") == moment.seconds
        jsonschema.validate(found, window, jsonschema.Draft202012Validator)
        assert found["arousal"]["probability"] == pytest.approx(
            moment.window.targets["arousal"].probability, abs=1e-6
        )


def test_a_moment_of_a_pipe_is_never_behind():
    assert Moment._field_defaults == {"behind": 0.0}
    assert {moment.behind for moment in heard(wav(recognisers.speech(2)))} == {0.0}
