"""Corpora in memory: facts and features, one row per utterance; no class, no fold."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ser_jax.data.catalog import Catalog
from ser_jax.data.standardize import Moments, Scaler, moments
from ser_jax.errors import UserError

SEXES = ("female", "male", "unknown")
_SEX_WORDS = "female f w woman female_feminine", "male m man male_masculine", "unknown other diverse"
SEX_WORDS = {  # as tables call them, in lower case
    word: sex for sex, words in zip(SEXES, _SEX_WORDS, strict=True) for word in words.split()
}
DIALOGUES = ("improvised", "scripted", "")
DIMENSIONS = ("arousal", "valence", "dominance")
TEXTS = ("id", "speaker", "session", "sex", "language", "emotion", "dialogue", "raters")
NUMBERS: dict[str, type[np.generic]] = {"seconds": np.float64, "frames": np.int32}
NUMBERS |= dict.fromkeys(DIMENSIONS, np.float64)
LABELS = (*TEXTS, *DIMENSIONS)  # columns that are known without opening a recording


class CorpusError(UserError):
    """Rows or corpora that cannot be used together."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """The annotations of a corpus without its features; sorted by id once loaded.

    Attributes:
      name: the name given to `prepare`.
      database: the database it was read from, as in "iemocap"; determines the meaning of annotations.
      synthetic: whether it was made from synthesised speech.
      thresholds: dimension to the annotation that separates the two classes; lacks unannotated dimensions.
      scales: dimension to the lowest and the highest possible rating; lacks dimensions that nobody rated.
      id: [N] str, unique.
      speaker, session, sex, language: [N] str. Speakers of one session met and are never split between
        training and test, nor are sessions that share a speaker; sex is one of `SEXES`.
      emotion: [N] str, the category as the database names it; "" if it names none.
      dialogue: [N] str, one of `DIALOGUES`; "" if unknown.
      raters: [N] str, each rater's annotation as JSON (see `catalog.ratings`); "" if not published.
      arousal, valence, dominance: [N] float64, the consensus as the database gives it; NaN if not annotated.
    """

    name: str
    database: str
    synthetic: bool
    thresholds: dict[str, float]
    scales: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    id: np.ndarray
    speaker: np.ndarray
    session: np.ndarray
    sex: np.ndarray
    language: np.ndarray
    emotion: np.ndarray
    dialogue: np.ndarray
    raters: np.ndarray
    arousal: np.ndarray
    valence: np.ndarray
    dominance: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what all utterances share, as it is stored."""
        return {
            "builder": self.database,
            "synthetic": self.synthetic,
            "thresholds": self.thresholds,
            "scales": {dimension: list(scale) for dimension, scale in self.scales.items()},
        }

    @classmethod
    def of(cls, name: str, database: str, catalog: Catalog) -> "Facts":
        """Return the facts of a catalog, in its order."""
        rows = [vars(utterance) for utterance in catalog.utterances]
        return cls(
            name=name,
            database=database,
            synthetic=catalog.synthetic,
            thresholds=dict(catalog.thresholds),
            scales=dict(catalog.scales),
            **columns(rows),
        )


def columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = LABELS) -> dict[str, Any]:
    """Return the columns [N] of N rows, by name; None becomes NaN."""
    return {key: np.array([row[key] for row in rows], NUMBERS.get(key)) for key in names}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus(Facts):
    """All utterances of one database: its facts and its features.

    Attributes (those of `Facts`, and):
      fingerprint: hexadecimal digest of every fact and feature; equal data, equal digest.
      frontend: the front end that extracted the features and its configuration, see `features.describe`.
      left_out: number of utterances that could not be read and were left out on request.
      seconds: [N] float64, the whole utterance's duration, s (features may hold less).
      features: [N, T, F] float32 or float16; zero from `frames` on.
      frames: [N] int32, number of frames that are not padding.
    """

    fingerprint: str
    frontend: dict[str, Any]
    left_out: int = 0
    seconds: np.ndarray
    features: np.ndarray
    frames: np.ndarray


def of_dialogue(corpus: Corpus, dialogue: str) -> Corpus:
    """Return the utterances of improvised or scripted dialogues; raise CorpusError if there are none."""
    rows = np.flatnonzero(corpus.dialogue == dialogue)
    if not len(rows):
        raise CorpusError(f"corpus {corpus.name} has no {dialogue} dialogues, expected some")
    names = (*TEXTS, *NUMBERS, "features")
    return dataclasses.replace(corpus, **{name: getattr(corpus, name)[rows] for name in names})


def first_seconds(corpus: Corpus, seconds: float) -> Corpus:
    """Return a corpus without the features after the first seconds of each utterance.

    Raises: CorpusError if these are less than a frame.
    """
    count = int(round(seconds * corpus.frontend["rate"], 6))
    if not count:
        found = f"{seconds:g} s of corpus {corpus.name}, {corpus.frontend['name']} features"
        raise CorpusError(f"{found} every {1 / corpus.frontend['rate']:g} s, expected a frame or more")
    features = corpus.features.copy()
    features[:, count:] = 0
    return dataclasses.replace(corpus, features=features, frames=np.minimum(corpus.frames, np.int32(count)))


def is_corpus(columns: Mapping[str, np.ndarray]) -> bool:
    """Return whether columns, `features` among them, are complete, sorted by id, and as in a `Corpus`."""
    features = columns["features"]
    return (
        columns.keys() == {*TEXTS, *NUMBERS, "features"}
        and features.ndim == 3
        and features.dtype in (np.float32, np.float16)
        and features.flags.c_contiguous
        and all(columns[name].shape == features.shape[:1] for name in (*TEXTS, *NUMBERS))
        and all(columns[name].dtype.kind == "U" for name in TEXTS)
        and all(columns[name].dtype == dtype for name, dtype in NUMBERS.items())
        and bool((columns["id"][1:] > columns["id"][:-1]).all())
        and bool(((columns["frames"] > 0) & (columns["frames"] <= features.shape[1])).all())
    )


class Labelled(Protocol):
    """The part of a task that this package needs: the labels [N] or [N, K] of a corpus."""

    def labels(self, corpus: Facts, /) -> np.ndarray:
        """Return [N] int64, -1 if unlabelled, or [N, K] float32, NaN if unlabelled."""


class ConcatenatedArray:
    """Several arrays [n, T, F], whose rows are gathered as if they were concatenated."""

    def __init__(self, parts: Sequence[np.ndarray]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, T, F)."""
        return (int(self._ends[-1]), *self._parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """float32 or float16."""
        return self._parts[0].dtype

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Return the rows [...] as an array [..., T, F]."""
        found = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        number = np.searchsorted(self._ends, rows, side="right")
        for i, part in enumerate(self._parts):
            found[number == i] = part[rows[number == i] - (self._ends[i] - len(part))]
        return found


class Concatenated:
    """Several corpora as the rows of one array.

    Attributes (`id`, `speaker`, `features` and `frames` as those of a `Corpus`, and):
      corpora, names: in the order given.
      corpus: [N] int, the number of each row's corpus.
      speaker_id: [N] str, the speaker preceded by the corpus, so that speakers of two corpora differ.
    Raises: CorpusError if two corpora have the same name or features of different front ends.
    """

    def __init__(self, corpora: Sequence[Corpus]):
        self.corpora = {corpus.name: corpus for corpus in corpora}
        self.names = list(self.corpora)
        if len(self.names) < len(corpora):
            raise CorpusError(f"corpora {[c.name for c in corpora]}, expected different names")
        if any(other.frontend != corpora[0].frontend for other in corpora):
            found = ", ".join(f"{other.name} of {other.frontend}" for other in corpora)
            raise CorpusError(f"corpora have features {found}, expected one front end")
        self.corpus = np.repeat(np.arange(len(corpora)), [len(corpus) for corpus in corpora])
        self.id = np.concatenate([corpus.id for corpus in corpora])
        self.speaker = np.concatenate([corpus.speaker for corpus in corpora])
        self.speaker_id = np.concatenate([np.char.add(f"{c.name} ", c.speaker.astype(str)) for c in corpora])
        self.features = ConcatenatedArray([corpus.features for corpus in corpora])
        self.frames = np.concatenate([corpus.frames for corpus in corpora])

    def labels(self, task: Labelled) -> np.ndarray:
        """Return the labels of all rows: [N] int64, or [N, K] float32 for a regression."""
        return np.concatenate([task.labels(corpus) for corpus in self.corpora.values()])

    def moments(self) -> Moments:
        """Return the sums of all rows, from which all scalers follow."""
        each = [moments(corpus.features, corpus.frames) for corpus in self.corpora.values()]
        return Moments(*(np.concatenate(parts) for parts in zip(*each, strict=True)))


def batches(
    corpus: Corpus,
    indices: np.ndarray,
    batch_size: int,
    key: Any = None,
    *,
    task: Labelled | None = None,
    scaler: Scaler | None = None,
    group: np.ndarray | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Iterate once over utterances of a corpus in batches of equal shape, for your own training loop.

    Only the utterances of a batch are read, so a corpus may be larger than memory.

    Args:
      indices: [M] int rows of it, as in a `Fold`.
      batch_size: B; the last batch is padded with empty rows.
      key: JAX PRNG key for shuffling; None keeps the given order.
      task: defines the labels; batches have none by default.
      scaler: [F] or [G, F], from `standardize.statistics` or `fit_scaler`; none by default.
      group: [N] int, the scaler of each utterance, from `standardize.group`; needed if G > 1.
    Returns: an iterator over dicts of new arrays: `features` [B, T, F] float32, exactly zero in the padding;
      `num_frames` [B] int32, frames that are not padding; `label`, [B] int32, -1 if unlabelled, or [B, K]
      float32, NaN if unlabelled; `mask` [B] bool, false for the empty rows, which are zero everywhere.
    Raises: CorpusError, or the task's error, when called, before the first batch.
    """
    rows = np.asarray(indices)
    if rows.ndim != 1 or not len(rows) or not np.issubdtype(rows.dtype, np.integer):
        raise CorpusError(f"indices are {rows.dtype} {rows.shape}, expected integers [M], at least one")
    if not 0 <= rows.min() <= rows.max() < len(corpus):
        found, last = f"{rows.min()} to {rows.max()}", len(corpus) - 1
        raise CorpusError(f"indices of corpus {corpus.name} are {found}, expected rows from 0 to {last}")
    arrays = {"features": corpus.features, "num_frames": corpus.frames}
    if task is not None:
        labels = task.labels(corpus)
        arrays["label"] = labels.astype(np.int32) if labels.ndim == 1 else labels
    if scaler is not None:
        mean, scale = (np.atleast_2d(np.asarray(part, np.float32)) for part in scaler)
        group = np.zeros(len(corpus), int) if group is None else group
    if key is not None:
        import jax

        rows = rows[np.asarray(jax.random.permutation(key, len(rows)))]

    def batch(part: np.ndarray) -> dict[str, np.ndarray]:
        found = {name: np.zeros((batch_size, *of.shape[1:]), of.dtype) for name, of in arrays.items()}
        found["features"] = found["features"].astype(np.float32)
        for name, values in arrays.items():
            found[name][: len(part)] = values[part]
        if scaler is not None and group is not None:
            x = found["features"][: len(part)]
            x -= mean[group[part]][:, None, :]
            x *= scale[group[part]][:, None, :]
            x[np.arange(x.shape[1]) >= corpus.frames[part][:, None]] = 0
        return found | {"mask": np.arange(batch_size) < len(part)}

    return (batch(rows[first : first + batch_size]) for first in range(0, len(rows), batch_size))
