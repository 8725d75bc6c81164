"""Ready padded batches, for those who bring their own training loop."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ser_jax.data.corpus import Corpus
from ser_jax.data.labels import classes
from ser_jax.errors import UserError

Batch = dict[str, np.ndarray]
Maps = tuple[np.ndarray, np.ndarray, np.ndarray]  # mean [G, F], scale [G, F], group [N]


class BatchError(UserError):
    """Batches that cannot be made as asked."""


def batches(
    corpus: Corpus,
    indices: np.ndarray,
    batch_size: int,
    key: Any = None,
    *,
    target: str = "arousal",
    rule: str = "footnote",
    mean: np.ndarray | None = None,
    scale: np.ndarray | None = None,
    group: np.ndarray | None = None,
) -> Iterator[Batch]:
    """One pass over utterances of a corpus, each exactly once, in batches of one shape.

    Only the utterances of a batch are read, so that a corpus may be larger than the memory.

    Args:
      corpus: the utterances.
      indices: [M] int rows of it, as a `Fold` holds them.
      batch_size: B; the last batch is filled up with empty rows.
      key: JAX PRNG key that shuffles this pass; None for the order given.
      target: what `label` says, "arousal" or "valence".
      rule: how annotations become classes, see `labels.classes`.
      mean, scale: [F] or [G, F], the map (x - mean) * scale, as `standardize.affine` returns it; the
        features stay as they are, dB, without it.
      group: [N] int, which of G maps an utterance takes, as `standardize.grouping` returns it.
    Returns: an iterator over dicts of new arrays: `logmel` [B, T, F] float32, exactly zero in the padding;
      `num_frames` [B] int32, frames that hold sound; `label` [B] int32; `mask` [B] bool, false for the empty
      rows, which are zero everywhere.
    Raises: BatchError, LabelError; when called, before the first batch is made.
    """
    rows = _rows(corpus, indices)
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise BatchError(f"a batch of {batch_size!r} utterances, expected a whole number of at least 1")
    maps = _maps(corpus, mean, scale, group)
    labels = classes(corpus, target, rule).astype(np.int32)
    if key is not None:
        import jax

        rows = rows[np.asarray(jax.random.permutation(key, len(rows)))]
    return (
        _batch(corpus, labels, maps, rows[first : first + batch_size], batch_size)
        for first in range(0, len(rows), batch_size)
    )


def _batch(corpus: Corpus, labels: np.ndarray, maps: Maps | None, rows: np.ndarray, size: int) -> Batch:
    batch = {
        "logmel": np.zeros((size, *corpus.logmel.shape[1:]), np.float32),
        "num_frames": np.zeros(size, np.int32),
        "label": np.zeros(size, np.int32),
        "mask": np.arange(size) < len(rows),
    }
    x = batch["logmel"][: len(rows)]
    x[:] = corpus.logmel[rows]
    if maps is not None:
        mean, scale, group = maps
        x -= mean[group[rows]][:, None, :]
        x *= scale[group[rows]][:, None, :]
        x[np.arange(x.shape[1]) >= corpus.frames[rows][:, None]] = 0
    batch["num_frames"][: len(rows)] = corpus.frames[rows]
    batch["label"][: len(rows)] = labels[rows]
    return batch


def _rows(corpus: Corpus, indices: np.ndarray) -> np.ndarray:
    rows = np.asarray(indices)
    if rows.ndim != 1 or not len(rows) or not np.issubdtype(rows.dtype, np.integer):
        raise BatchError(f"indices are {rows.dtype} {rows.shape}, expected whole numbers [M], at least one")
    wrong = rows[(rows < 0) | (rows >= len(corpus))]
    if len(wrong):
        raise BatchError(
            f"index {wrong[0]} of corpus {corpus.name}, expected a row from 0 to {len(corpus) - 1}"
        )
    return rows


def _maps(
    corpus: Corpus, mean: ArrayLike | None, scale: ArrayLike | None, group: ArrayLike | None
) -> Maps | None:
    """The maps; None where the features stay as they are."""
    if mean is None and scale is None and group is None:
        return None
    if mean is None or scale is None:
        raise BatchError("mean and scale are not both given, expected both or neither")
    mean, scale = (np.atleast_2d(np.asarray(part, np.float32)) for part in (mean, scale))
    bands = corpus.logmel.shape[2]
    if mean.shape != scale.shape or mean.ndim != 2 or mean.shape[1] != bands:
        raise BatchError(
            f"mean {mean.shape} and scale {scale.shape}, expected both [{bands}] or [G, {bands}]"
        )
    group = np.zeros(len(corpus), np.int32) if group is None and len(mean) == 1 else np.asarray(group)
    if group.shape != (len(corpus),) or not np.issubdtype(group.dtype, np.integer):
        raise BatchError(
            f"{len(mean)} means without their group, expected a whole number for each of the "
            f"{len(corpus)} utterances of corpus {corpus.name}"
        )
    if group.min() < 0 or group.max() >= len(mean):
        raise BatchError(f"groups from {group.min()} to {group.max()}, expected 0 to {len(mean) - 1}")
    return mean, scale, group
