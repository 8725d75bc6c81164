"""Systems that the paper names, as settings beside its own.

    python -m experiments.related                                            # IEMOCAP, RECOLA
    python -m experiments.related --corpora synthetic_en synthetic_fr

language      which corpus is speaking, told by the same network
identified    the model of the language so told ([7])
voted         the mean of all corpora's models, against the merged one ([4])
*_histogram   features equalised towards the training corpora first ([8])

The model of the tested corpus is the mono-lingual one of its fold, the others' are the cross-lingual ones.
The paper reports none of them. Two corpora differ in more than their language: who tells them apart may
listen to the room.
"""

import dataclasses
import functools

import numpy as np

from experiments import keeping, predictions
from experiments.crosslingual import CROSSLINGUAL
from experiments.harness import Experiment
from experiments.kinds import equalised
from experiments.main import main
from experiments.monolingual import MONOLINGUAL
from experiments.multilingual import MULTILINGUAL
from experiments.options import Options
from experiments.plans import ExperimentError, Job, Plan, Setting
from experiments.pool import LANGUAGE, Pool
from experiments.predictions import Cell, Predictions


def _told_apart(pool: Pool, options: Options, job: Job, target: str) -> list[Plan]:
    """The multilingual runs, trained to tell two corpora apart."""
    if len(job.train) != 2:
        raise ExperimentError(f"{len(job.train)} corpora, expected two to tell apart")
    return MULTILINGUAL.plans(pool, options, job, target)


# Standardised each by itself the corpora would sound more alike.
LANGUAGES = Setting(LANGUAGE, "train", MULTILINGUAL.jobs, _told_apart, fixed=True, target=LANGUAGE)
EQUALISED = [
    dataclasses.replace(setting, name=equalised(setting.name), standardize="histogram", fixed=True)
    for setting in (MULTILINGUAL, CROSSLINGUAL)
]
RELATED = [MONOLINGUAL, MULTILINGUAL, CROSSLINGUAL, *EQUALISED, LANGUAGES]
SHOWN = ["monolingual", "identified", "voted", "multilingual", equalised("multilingual"), "crosslingual",
         equalised("crosslingual"), LANGUAGE]  # fmt: skip


def combine(experiment: Experiment) -> None:
    """Writes the cells that follow from others' predictions: `identified` and `voted`."""
    options = experiment.options
    every = "+".join(options.corpora)
    language = Cell(LANGUAGE, every, every, LANGUAGE)
    missing, known = {}, keeping.read_missing(options.out)
    for target in options.targets:
        for home, test in enumerate(options.corpora):
            models = [
                Cell("monolingual" if train == test else "crosslingual", train, test, target)
                for train in options.corpora
            ]
            for name, combined, needed in (
                ("voted", voted, models),
                ("identified", identified, [*models, language]),
            ):
                cell = Cell(name, every, test, target)
                lacking = [one for one in needed if not predictions.file(options.out, one).exists()]
                if lacking:
                    missing[cell] = f"there is no {lacking[0]}: {known.get(lacking[0], 'it was lost')}"
                    continue
                said = same_seeds([predictions.read(options.out, one) for one in needed])
                predictions.write(options.out, cell, combined(home, said))
    keeping.note_missing(options.out, missing)


def same_seeds(said: list[Predictions]) -> list[Predictions]:
    """Only the seeds that all have: of one that was stopped there is nothing to combine."""
    common = functools.reduce(np.intersect1d, [one.seed for one in said])
    return [
        dataclasses.replace(one, seed=common, probability=one.probability[np.isin(one.seed, common)])
        for one in said
    ]


def voted(home: int, said: list[Predictions]) -> Predictions:
    """What all models say on average.

    Args:
      home: which of them is of the tested corpus.
      said: by every corpus's model of the same utterances.
    """
    return dataclasses.replace(said[home], probability=np.mean([one.probability for one in said], axis=0))


def identified(home: int, said: list[Predictions]) -> Predictions:
    """What the model of the corpus says that each utterance is taken for.

    Args:
      home: see `voted`.
      said: by two corpora's models of the same utterances, and of all utterances by what tells the corpora
        apart, in the same order.
    """
    *models, language = said
    taken = language.probability[:, language.label == home] > 0.5
    probability = np.where(taken, models[1].probability, models[0].probability)
    return dataclasses.replace(said[home], probability=probability)


if __name__ == "__main__":
    main(__doc__, "related", RELATED, shown=SHOWN, after=combine)
