"""Splice utterances of two corpora, as synthetic code-switching, and predict them by stored models."""

import jax
import numpy as np

from ser_jax import model
from ser_jax.data.folds import connected_speakers
from ser_jax.experiment.config import Config
from ser_jax.experiment.results import Predictions, make_predictions, read_params
from ser_jax.experiment.settings import ExperimentError, Pool, Setting
from ser_jax.shapes import Float, Int
from ser_jax.train import PREDICTION_BATCH, inputs


def splice(
    first: Float[np.ndarray, "N T F"],
    frames: Int[np.ndarray, "N"],
    second: Float[np.ndarray, "N T F"],
    others: Int[np.ndarray, "N"],
) -> Float[np.ndarray, "N T F"]:
    """Return the first half of each utterance's frames, then the second half of another's, then zeros.

    They fit into T, since neither the `frames` of the first nor those of the `others` exceed it.
    """
    half, start = frames[:, None] // 2, others[:, None] // 2
    place = np.arange(first.shape[1])[None, :]
    wanted = np.clip(place - half + start, 0, first.shape[1] - 1)
    found = np.where(
        (place < half)[:, :, None], first, np.take_along_axis(second, wanted[:, :, None], axis=1)
    )
    return np.where((place < half + others[:, None] - start)[:, :, None], found, 0)


def same_class(
    labels: Int[np.ndarray, "N"], first: Int[np.ndarray, "A"], second: Int[np.ndarray, "B"]
) -> Int[np.ndarray, "2 M"]:
    """Pair rows of the same class by a draw that is the same at every call, each row once at most.

    Args:
      labels: of all rows, -1 unlabelled.
      first, second: rows to pair.
    """
    draw, found = np.random.default_rng(0), [np.zeros((2, 0), np.int32)]
    for label in np.unique(labels[labels >= 0]):
        each = [draw.permutation(rows[labels[rows] == label]) for rows in (first, second)]
        count = min(map(len, each))
        found.append(np.stack([rows[:count] for rows in each]))
    return np.concatenate(found, axis=1)


def halved(pool: Pool, rows: Int[np.ndarray, "N"], corpus: str) -> Int[np.ndarray, "M"]:
    """Return those rows of a corpus that have two frames or more."""
    own = np.intersect1d(rows, pool.rows(corpus))
    return own[pool.frames[own] >= 2]


def predict_splices(
    config: Config, pool: Pool, setting: Setting, pair: tuple[str, str], name: str
) -> Predictions:
    """Return the predictions of a setting's stored models for splices of the two corpora of a pair.

    A model predicts splices of the utterances that it tests, so that it knows none of their speakers; each
    half is standardized as its own utterance. A cluster of splices shares speakers or people they met.

    Args:
      setting: tests both corpora, by classes.
      name: of the predictions.
    Raises: UserError if the models are not stored, ExperimentError if no fold tests a class of both.
    """
    specs, labels = setting.plan(pool, setting), pool.labels(setting.task)
    params, data = read_params(config.out, setting, len(specs)), pool.data(setting.standardize, None)
    tested = {spec.fold: spec.test for spec in specs}
    own = {
        fold: rows
        for fold, test in tested.items()
        if (rows := same_class(labels, *(halved(pool, test, corpus) for corpus in pair))).size
    }  # of corpora of unequal numbers of folds, the last have no splices
    if not own:
        raise ExperimentError(
            f"{' and '.join(pair)} have no class of {setting.task.name} in a test fold, expected one"
        )
    outputs: dict[int, list[np.ndarray]] = {spec.seed: [] for spec in specs}
    for i, spec in enumerate(specs):
        if spec.fold not in own:
            continue
        run, each = spec.run(), []
        for rows in own[spec.fold]:
            each += [np.asarray(inputs(data, run, rows)), pool.frames[rows]]
        trained = jax.tree.map(lambda leaf: leaf[i], params)  # noqa: B023  called at once
        x = splice(*each)
        for start in range(0, len(x), PREDICTION_BATCH):
            found = model.apply(setting.model, trained, x[start : start + PREDICTION_BATCH])
            outputs[spec.seed].append(np.asarray(found.outputs))
    first, second = np.concatenate([*own.values()], axis=1)
    joined = {
        name: np.char.add(np.char.add(column[first].astype(str), "+"), column[second].astype(str))
        for name, column in {
            "utterance": pool.id,
            "speaker": pool.speaker_id,
            "session": pool.session,
        }.items()
    }
    sex = np.where(pool.sex[first] == pool.sex[second], pool.sex[first], "unknown")
    return make_predictions(
        setting.task, name=name, train=setting.train, test=pair, sex=sex, labels=labels[first],
        outputs=np.stack([np.concatenate(one) for one in outputs.values()]), seed=np.array([*outputs]),
        cluster=connected_speakers(pool.cluster[first], pool.cluster[second]),
        fold=np.repeat([*own], [rows.shape[1] for rows in own.values()]), **joined,
    )  # fmt: skip
