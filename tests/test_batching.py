"""Batches for loops of one's own, against the inputs of the project's own training."""

import dataclasses

import jax
import numpy as np
import pytest
from corpora import noise_corpus
from hypothesis import given
from hypothesis import strategies as st

from ser_jax import runs
from ser_jax.data import labels, standardize
from ser_jax.data.batching import BatchError, batches
from ser_jax.errors import UserError

CORPUS = noise_corpus()
EVERYONE = np.zeros(len(CORPUS), np.int32)
SPEAKER = np.unique(CORPUS.speaker, return_inverse=True)[1]
MEMBER = standardize.Membership(EVERYONE, EVERYONE, SPEAKER)
SUMS = standardize.moments(CORPUS.logmel, CORPUS.frames)
ROWS = np.array([3, 59, 0, 17, 18, 4, 30], np.int32)

subsets = st.lists(st.integers(0, len(CORPUS) - 1), min_size=1, max_size=20, unique=True)


def joined(passed):
    """The rows that the masks keep, of all batches one after the other."""
    return {name: np.concatenate([b[name][b["mask"]] for b in passed]) for name in passed[0]}


@given(rows=subsets, size=st.integers(1, 25))
def test_every_utterance_comes_exactly_once_and_as_it_is(rows, size):
    passed = list(batches(CORPUS, rows, size))
    assert len(passed) == -(-len(rows) // size)
    assert sum(b["mask"].sum() for b in passed) == len(rows)
    found = joined(passed)
    np.testing.assert_array_equal(found["logmel"], CORPUS.logmel[rows])
    np.testing.assert_array_equal(found["num_frames"], CORPUS.frames[rows])
    np.testing.assert_array_equal(found["label"], labels.classes(CORPUS, "arousal")[rows])


@given(rows=subsets, size=st.integers(1, 25))
def test_shapes_and_types_never_change(rows, size):
    for batch in batches(CORPUS, rows, size, mean=np.full(26, -50), scale=np.full(26, 0.1)):
        assert {name: (values.shape, values.dtype) for name, values in batch.items()} == {
            "logmel": ((size, 750, 26), np.float32),
            "num_frames": ((size,), np.int32),
            "label": ((size,), np.int32),
            "mask": ((size,), bool),
        }
        for name in ("logmel", "num_frames", "label"):
            assert not batch[name][~batch["mask"]].any()


def test_only_the_last_batch_is_filled_up():
    masks = [batch["mask"].tolist() for batch in batches(CORPUS, ROWS, 4)]
    assert masks == [[True] * 4, [True] * 3 + [False]]


def test_a_key_shuffles_and_another_key_otherwise():
    def order(key):
        found = joined(list(batches(CORPUS, np.arange(60), 7, key)))["logmel"]
        return [int(np.flatnonzero((CORPUS.logmel == x).all(axis=(1, 2)))[0]) for x in found]

    first, again, other = (order(jax.random.key(seed)) for seed in (0, 0, 1))
    assert first == again
    assert sorted(first) == sorted(other) == list(range(60))
    assert list(range(60)) != first != other


@pytest.mark.parametrize("mode", standardize.MODES)
def test_standardised_as_in_the_projects_own_training(mode):
    mean, scale = standardize.affine(mode, SUMS, MEMBER, np.arange(30))
    group = standardize.grouping(mode, MEMBER)
    run = runs.Runs(None, None, None, None, mean, scale)
    expected = runs.inputs(runs.Data(CORPUS.logmel, CORPUS.frames, group), run, ROWS)
    found = joined(list(batches(CORPUS, ROWS, 3, mean=mean, scale=scale, group=group)))["logmel"]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert not found[np.arange(750) >= CORPUS.frames[ROWS][:, None]].any()


def test_one_map_may_come_with_its_group_axis_or_without():
    mean, scale = standardize.affine("train", SUMS, MEMBER, np.arange(30))
    one = joined(list(batches(CORPUS, ROWS, 3, mean=mean, scale=scale)))
    other = joined(list(batches(CORPUS, ROWS, 3, mean=mean[0], scale=scale[0])))
    np.testing.assert_array_equal(one["logmel"], other["logmel"])


def test_target_and_rule_decide_the_label():
    annotated = dataclasses.replace(
        CORPUS, database="iemocap", thresholds={"arousal": 2.5, "valence": 2.5}, valence=np.full(60, 2.5)
    )
    for rule, label in (("footnote", 1), ("table1", 0)):
        found = joined(list(batches(annotated, ROWS, 4, target="valence", rule=rule)))["label"]
        assert found.tolist() == [label] * 7


def test_what_a_loop_does_to_a_batch_stays_there():
    before = CORPUS.logmel.copy()
    for _ in range(2):
        for batch in batches(CORPUS, ROWS, 4):
            np.testing.assert_array_equal(batch["logmel"][0], before[ROWS[0 if batch["mask"].all() else 4]])
            batch["logmel"][:] = 7
    np.testing.assert_array_equal(CORPUS.logmel, before)


def test_a_mapped_corpus_is_read_batch_by_batch(tmp_path):
    """The map spans 64 GB of holes; a loop that touched them all would not end."""
    count, shape = 820_000, (750, 26)
    path = tmp_path / "logmel"
    with path.open("wb") as file:
        file.truncate(count * 78_000)
    large = np.memmap(path, np.float32, "r", shape=(count, *shape))
    corpus = dataclasses.replace(
        CORPUS, id=np.arange(count), logmel=large, frames=np.full(count, 3), arousal=np.zeros(count)
    )
    for batch in batches(corpus, np.arange(0, count, 10_000), 16, jax.random.key(0)):
        assert batch["logmel"].shape == (16, *shape)


def refused(message, *arguments, **options):
    """When called, not when the first batch is asked for."""
    with pytest.raises(UserError, match=message):
        batches(CORPUS, *arguments, **options)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 60], "index 60 of corpus noise, expected a row from 0 to 59"),
        ([-1], "index -1 of corpus noise, expected a row from 0 to 59"),
        ([], r"indices are float64 \(0,\), expected whole numbers \[M\], at least one"),
        (np.ones(60, bool), r"indices are bool \(60,\), expected whole numbers \[M\]"),
        ([[0, 1]], r"indices are int64 \(1, 2\), expected whole numbers \[M\]"),
        ([0.0], r"indices are float64 \(1,\), expected whole numbers \[M\]"),
        (3, r"indices are int64 \(\), expected whole numbers \[M\]"),
    ],
)
def test_wrong_indices_are_refused(indices, message):
    refused(message, indices, 4)


@pytest.mark.parametrize("size", [0, -1, 2.0, None])
def test_wrong_sizes_are_refused(size):
    refused(f"a batch of {size} utterances, expected a whole number of at least 1", ROWS, size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": np.zeros(26)}, "mean and scale are not both given, expected both or neither"),
        ({"group": EVERYONE}, "mean and scale are not both given"),
        (
            {"mean": np.zeros(25), "scale": np.ones(25)},
            r"mean \(1, 25\) and scale \(1, 25\), expected both \[26\] or \[G, 26\]",
        ),
        ({"mean": np.zeros((2, 26)), "scale": np.ones(26)}, r"mean \(2, 26\) and scale \(1, 26\)"),
        (
            {"mean": np.zeros((2, 26)), "scale": np.ones((2, 26))},
            "2 means without their group, expected a whole number for each of the 60 utterances",
        ),
        (
            {"mean": np.zeros((2, 26)), "scale": np.ones((2, 26)), "group": EVERYONE + 2},
            "groups from 2 to 2, expected 0 to 1",
        ),
        ({"target": "dominance"}, "no target 'dominance', expected one of arousal, valence"),
        ({"rule": "table2"}, "no label rule 'table2', expected one of footnote, table1"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(UserError, match=message) as refusal:
        batches(CORPUS, ROWS, 4, **options)
    assert isinstance(refusal.value, BatchError | labels.LabelError)
