"""Related systems that are combined from the stored outputs of several settings.

Of each test corpus there is one model per training corpus: the mono-lingual one of its fold, and the
cross-lingual ones of the other corpora. "voted" averages them all ([4] in the paper); "identified" takes that
of the corpus that a language identification predicts ([7]).
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from ser_jax.experiment import predictions, results
from ser_jax.experiment.config import Config
from ser_jax.experiment.predictions import Predictions
from ser_jax.experiment.settings import slug
from ser_jax.tasks import Task, average

KEPT = ("test", "utterance", "speaker", "session", "fold", "labels", "seed")  # of the tested corpus's model


def combine(config: Config, *_: object) -> None:
    """Store the cells "voted" and "identified" of every task and test corpus, or note why there are none."""
    every, out = config.corpora, config.out
    missing = []
    for task, test in itertools.product(config.tasks, every):
        models = [
            slug("monolingual" if train == test else "crosslingual", (train,), (test,), task.name)
            for train in every
        ]
        needed = {"voted": models, "identified": [*models, slug("language", every, every, "language")]}
        for name, cells in needed.items():
            paths = [out / "predictions" / f"{cell}.npz" for cell in cells]
            if lacking := [path.stem for path in paths if not path.exists()]:
                where = {"setting": name, "train": every, "test": (test,), "task": task.name}
                missing.append(where | {"reason": f"there is no {lacking[0]}"})
                continue
            found, home = same_seeds(list(map(predictions.read_predictions, paths))), every.index(test)
            outputs = voted(task, found) if name == "voted" else identified(home, found)
            facts = {part: getattr(found[home], part) for part in KEPT}
            cell = predictions.cell(task, name=name, train=every, outputs=outputs, **facts)
            predictions.write_predictions(out, cell)
    if missing:
        results.note_missing(out, missing)


def same_seeds(found: Sequence[Predictions]) -> list[Predictions]:
    """Return the predictions of the seeds that all have: a seed that was stopped cannot be combined."""
    common = functools.reduce(np.intersect1d, [one.seed for one in found])
    return [one.only(seeds=np.isin(one.seed, common)) for one in found]


def voted(task: Task, found: Sequence[Predictions]) -> np.ndarray:
    """Return the average of outputs [R, M, K] that all models have for the same utterances."""
    return average(task, np.stack([one.outputs for one in found])).astype(np.float32)


def identified(home: int, found: Sequence[Predictions]) -> np.ndarray:
    """Return the outputs [R, M, K] of the model of the corpus that each utterance is taken for.

    Args:
      home: which corpus is tested.
      found: the predictions of every corpus's model for the same utterances, and at last those of the corpus
        itself for all utterances.
    """
    *models, language = found
    own = np.flatnonzero(language.labels == home)
    place = dict(zip(language.utterance[own].tolist(), own.tolist(), strict=True))
    rows = [place[name] for name in models[home].utterance.tolist()]
    chosen = language.predictions[:, rows]
    return np.take_along_axis(np.stack([one.outputs for one in models]), chosen[None, :, :, None], axis=0)[0]
