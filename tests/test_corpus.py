"""Corpora in memory: several as one, and batches for training loops outside this package."""

import dataclasses
from typing import get_args

import jax
import numpy as np
import pytest
from corpora import noise_corpus
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data import labels, standardize
from ser_jax.data.corpus import Concatenated, ConcatenatedArray, CorpusError, batches
from ser_jax.data.standardize import Scaler, moments
from ser_jax.features import Waveform, describe

CORPUS = noise_corpus()
EVERYONE = np.zeros(len(CORPUS), np.int32)
SPEAKER = np.unique(CORPUS.speaker, return_inverse=True)[1]
MEMBER = standardize.Membership(EVERYONE, EVERYONE, SPEAKER)
SUMS = standardize.moments(CORPUS.features, CORPUS.frames)
ROWS = np.array([3, 59, 0, 17, 18, 4, 30], np.int32)

SCALER = Scaler(np.full(26, -50), np.full(26, 0.1))
subsets = st.lists(st.integers(0, len(CORPUS) - 1), min_size=1, max_size=20, unique=True)


class Arousal:
    def labels(self, corpus):
        return labels.classes(corpus, "arousal")


class Numbers:
    """Two numbers an utterance, the second not annotated."""

    def labels(self, corpus):
        return np.stack([corpus.arousal, corpus.dominance], axis=1).astype(np.float32)


def joined(passed):
    """The rows that the masks keep, of all batches one after the other."""
    return {name: np.concatenate([b[name][b["mask"]] for b in passed]) for name in passed[0]}


@given(rows=subsets, size=st.integers(1, 25), scaler=st.sampled_from([None, SCALER]))
def test_every_utterance_comes_exactly_once_in_batches_of_one_shape(rows, size, scaler):
    passed = list(batches(CORPUS, rows, size, task=Arousal(), scaler=scaler))
    full, rest = divmod(len(rows), size)
    assert [b["mask"].sum() for b in passed] == [size] * full + [rest] * (rest > 0)
    for batch in passed:
        assert {name: (values.shape, values.dtype) for name, values in batch.items()} == {
            "features": ((size, 750, 26), np.float32),
            "num_frames": ((size,), np.int32),
            "label": ((size,), np.int32),
            "mask": ((size,), bool),
        }
        assert not any(values[~batch["mask"]].any() for values in batch.values())
    found = joined(passed)
    if scaler is None:
        np.testing.assert_array_equal(found["features"], CORPUS.features[rows])
    np.testing.assert_array_equal(found["num_frames"], CORPUS.frames[rows])
    np.testing.assert_array_equal(found["label"], labels.classes(CORPUS, "arousal")[rows])


def test_labels_are_the_tasks():
    assert "label" not in next(batches(CORPUS, ROWS, 4))
    found = joined(list(batches(CORPUS, ROWS, 4, task=Numbers())))["label"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, Numbers().labels(CORPUS)[ROWS])
    unlabelled = dataclasses.replace(CORPUS, arousal=np.full(60, np.nan))
    assert joined(list(batches(unlabelled, ROWS, 4, task=Arousal())))["label"].tolist() == [-1] * 7


def test_a_key_shuffles_and_another_key_otherwise():
    def order(key):
        found = joined(list(batches(CORPUS, np.arange(60), 7, key)))["features"]
        return [int(np.flatnonzero((CORPUS.features == x).all(axis=(1, 2)))[0]) for x in found]

    first, again, other = (order(jax.random.key(seed)) for seed in (0, 0, 1))
    assert first == again
    assert sorted(first) == sorted(other) == list(range(60))
    assert list(range(60)) != first != other


@pytest.mark.parametrize("mode", get_args(standardize.Mode))
def test_features_are_standardised_and_their_padding_zero(mode):
    scaler, group = standardize.fit_scaler(mode, SUMS, MEMBER, np.arange(30)), standardize.group(mode, MEMBER)
    found = joined(list(batches(CORPUS, ROWS, 3, scaler=scaler, group=group)))["features"]
    for x, row in zip(found, ROWS, strict=True):
        used = CORPUS.features[row, : CORPUS.frames[row]]
        expected = (used - scaler.mean[group[row]]) * scaler.scale[group[row]]
        np.testing.assert_allclose(x[: len(used)], expected, rtol=1e-6, atol=1e-6)
        assert not x[len(used) :].any()


def test_a_mapped_corpus_is_read_batch_by_batch(tmp_path):
    """The map spans 64 GB of holes; a loop that read them all would not end."""
    count, shape = 820_000, (750, 26)
    path = tmp_path / "features"
    with path.open("wb") as file:
        file.truncate(count * 78_000)
    large = np.memmap(path, np.float32, "r", shape=(count, *shape))
    corpus = dataclasses.replace(
        CORPUS, id=np.arange(count), features=large, frames=np.full(count, 3, np.int32)
    )
    for batch in batches(corpus, np.arange(0, count, 10_000), 16, jax.random.key(0)):
        assert batch["features"].shape == (16, *shape)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 60], "indices of corpus noise are 0 to 60, expected rows from 0 to 59"),
        ([-1], "indices of corpus noise are -1 to -1, expected rows from 0 to 59"),
        ([], r"indices are float64 \(0,\), expected integers \[M\], at least one"),
        (np.ones(60, bool), r"indices are bool \(60,\), expected integers \[M\]"),
        ([[0, 1]], r"indices are int64 \(1, 2\), expected integers \[M\]"),
        (3, r"indices are int64 \(\), expected integers \[M\]"),
    ],
)
def test_wrong_indices_are_refused_before_the_first_batch(indices, message):
    with pytest.raises(CorpusError, match=message):
        batches(CORPUS, indices, 4)


ONE, OTHER = noise_corpus("one", seed=1), noise_corpus("other", seed=2, each=4)
BOTH = Concatenated([ONE, OTHER])


def test_rows_are_those_of_the_corpora():
    assert BOTH.names == ["one", "other"]
    assert BOTH.features.shape == (100, 750, 26)
    assert BOTH.corpus.tolist() == [0] * 60 + [1] * 40
    for name in ("id", "speaker", "frames"):
        joined = np.r_[getattr(ONE, name), getattr(OTHER, name)]
        np.testing.assert_array_equal(getattr(BOTH, name), joined)
    assert len(set(BOTH.speaker_id)) == 20
    assert BOTH.speaker_id[0] == "one s0F"


@pytest.mark.parametrize(
    "rows", [np.array([99, 0, 60, 59, 0]), np.arange(6).reshape(2, 3) * 19, np.arange(0)]
)
def test_gathering_is_that_of_one_array(rows):
    whole = np.concatenate([ONE.features, OTHER.features])
    np.testing.assert_array_equal(ConcatenatedArray([ONE.features, OTHER.features])[rows], whole[rows])


def test_moments_and_labels_are_those_of_the_corpora():
    class Task:
        def labels(self, corpus):
            return corpus.arousal.astype(int) * (1 if corpus is ONE else 7)

    whole = np.concatenate([ONE.features, OTHER.features])
    for found, expected in zip(BOTH.moments(), moments(whole, BOTH.frames), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(BOTH.labels(Task()), np.r_[ONE.arousal, 7 * OTHER.arousal])


def test_corpora_that_do_not_belong_together_are_refused():
    with pytest.raises(CorpusError, match=r"corpora \['one', 'one'\], expected different names"):
        Concatenated([ONE, ONE])
    waves = dataclasses.replace(OTHER, frontend=describe(Waveform()))
    with pytest.raises(CorpusError, match=r"features one of .*, other of .*, expected one front end"):
        Concatenated([ONE, waves])
