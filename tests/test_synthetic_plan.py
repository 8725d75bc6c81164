"""Who says what in synthesised databases: classes, turns and durations, by the seed."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data.synthetic.plan import design, plan
from ser_jax.data.synthetic.voice import ENGLISH, FRENCH

FEWEST = 92


def test_an_utterance_depends_on_the_seed_and_on_no_other_utterance():
    few, many, other = plan(FEWEST, 0), plan(2 * FEWEST, 0), plan(FEWEST, 1)
    seconds = {(turn.language.name, turn.speaker, turn.index): turn.seconds for turn in many}
    assert all(seconds[turn.language.name, turn.speaker, turn.index] == turn.seconds for turn in few)
    assert [turn.seconds for turn in few] != [turn.seconds for turn in other]


@given(count=st.integers(4, 300), place=st.integers(0, 22), seed=st.integers(0, 2**32))
def test_a_speakers_classes_are_as_even_as_their_number_allows(count, place, seed):
    cells = design(count, place, np.random.default_rng(seed))
    counts = Counter(cells)
    assert len(counts) == 4
    assert max(counts.values()) - min(counts.values()) <= 1
    for target in zip(*cells, strict=True):
        assert abs(2 * sum(target) - count) <= count % 2


def test_turns_are_spread_evenly_over_the_speakers():
    turns = plan(240, 0)
    for language, speakers in ((ENGLISH, 10), (FRENCH, 23)):
        counts = Counter(turn.speaker for turn in turns if turn.language is language)
        assert len(counts) == speakers
        assert sum(counts.values()) == 240
        assert max(counts.values()) - min(counts.values()) <= 1
        women = sum(speaker.endswith("F") for speaker in counts)
        assert abs(2 * women - speakers) <= 1


def test_durations_are_those_of_turns():
    seconds = np.array([turn.seconds for seed in range(10) for turn in plan(240, seed)])
    assert seconds.min() >= 0.7
    assert abs(seconds.mean() - 2.4) < 0.15
    assert 0.01 < np.mean(seconds > 7.5) < 0.04
