"""Padded batches for training loops outside this package."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_jax.data.corpus import Corpus
from ser_jax.errors import UserError

if TYPE_CHECKING:  # these import JAX, which the command line does without
    from ser_jax.data.concatenated import Labelled
    from ser_jax.data.standardize import Scaler

Batch = dict[str, np.ndarray]


class BatchError(UserError):
    """Batches that cannot be made as requested."""


def batches(
    corpus: Corpus,
    indices: np.ndarray,
    batch_size: int,
    key: Any = None,
    *,
    task: "Labelled | None" = None,
    scaler: "Scaler | None" = None,
    group: np.ndarray | None = None,
) -> Iterator[Batch]:
    """Iterate once over utterances of a corpus, each exactly once, in batches of one shape.

    Only the utterances of a batch are read, so that a corpus may be larger than memory.

    Args:
      corpus: the utterances.
      indices: [M] int rows of it, as a `Fold` holds them.
      batch_size: B; the last batch is padded with empty rows.
      key: JAX PRNG key for shuffling; None keeps the given order.
      task: defines the labels; batches have none by default.
      scaler: [F] or [G, F], as of `standardize.statistics` or `fit_scaler`; none by default.
      group: [N] int, which of G scalers an utterance takes, as of `standardize.group`.
    Returns: an iterator over dicts of new arrays: `features` [B, T, F] float32, exactly zero in the padding;
      `num_frames` [B] int32, frames that are not padding; `label`, [B] int32, -1 if unlabelled, or [B, K]
      float32, NaN if unlabelled; `mask` [B] bool, false for the empty rows, which are zero everywhere.
    Raises: BatchError, or the task's error, at the call and not at the first batch.
    """
    rows = np.asarray(indices)
    if rows.ndim != 1 or not len(rows) or not np.issubdtype(rows.dtype, np.integer):
        raise BatchError(f"indices are {rows.dtype} {rows.shape}, expected integers [M], at least one")
    if not 0 <= rows.min() <= rows.max() < len(corpus):
        found, last = f"{rows.min()} to {rows.max()}", len(corpus) - 1
        raise BatchError(f"indices of corpus {corpus.name} are {found}, expected rows from 0 to {last}")
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise BatchError(f"batch_size {batch_size!r}, expected an integer of at least 1")
    columns = {"features": corpus.features, "num_frames": corpus.frames}
    if task is not None:
        labels = task.labels(corpus)
        columns["label"] = labels.astype(np.int32) if labels.ndim == 1 else labels
    if scaler is not None:
        mean, scale = (np.atleast_2d(np.asarray(part, np.float32)) for part in scaler)
        group = np.zeros(len(corpus), int) if group is None and len(mean) == 1 else np.asarray(group)
        dims = corpus.features.shape[2]
        fits = mean.shape == scale.shape == (len(mean), dims) and group.shape == (len(corpus),)
        if not (fits and group.dtype.kind in "iu" and 0 <= group.min() <= group.max() < len(mean)):
            raise BatchError(
                f"a scaler of mean {mean.shape} and scale {scale.shape} with a group {group.shape}, expected "
                f"[{dims}], or [G, {dims}] with a number below G for each of the {len(corpus)} utterances"
            )
    if key is not None:
        import jax

        rows = rows[np.asarray(jax.random.permutation(key, len(rows)))]

    def batch(own: np.ndarray) -> Batch:
        found = {name: np.zeros((batch_size, *of.shape[1:]), of.dtype) for name, of in columns.items()}
        for name, values in columns.items():
            found[name][: len(own)] = values[own]
        if scaler is not None and group is not None:
            x = found["features"][: len(own)]
            x -= mean[group[own]][:, None, :]
            x *= scale[group[own]][:, None, :]
            x[np.arange(x.shape[1]) >= corpus.frames[own][:, None]] = 0
        return found | {"mask": np.arange(batch_size) < len(own)}

    return (batch(rows[first : first + batch_size]) for first in range(0, len(rows), batch_size))
