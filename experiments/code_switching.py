"""Test speech that switches from one language to another, by models of one, of both and of neither (Sec. 7).

    python -m experiments.code_switching --corpora ravdess emodb casia --protocol.trim 25

The splices are synthetic: the first half of the frames of an utterance of A, then the second half of one of
B, of the same class; speakers always differ. Models of A (`first`), of B (`second`), of both and of neither
are tested on splices of their test fold (columns A+B) and on whole utterances (`unspliced`).
"""

from itertools import permutations, product

from ser_jax.errors import UserError
from ser_jax.experiment import results, settings, start
from ser_jax.experiment.config import Config
from ser_jax.experiment.settings import ExperimentError, Pool, Setting
from ser_jax.experiment.splices import predict_splices

NAME = "code_switching"
SHOWN = ("first", "second", "both", "neither", "unspliced")
Pair = tuple[str, str]


def sources(config: Config) -> dict[Pair, dict[str, tuple[str, ...]]]:
    """Return what trains the models of each pair of languages."""
    spoken, found = settings.one_language(config), {}
    for one, two in permutations(spoken, 2):
        if spoken[one] != spoken[two]:
            third = tuple(n for n in spoken if spoken[n] not in (spoken[one], spoken[two]))
            both = tuple(n for n in spoken if n in (one, two))
            found[one, two] = {"first": (one,), "second": (two,), "both": both, "neither": third}
    return found


def code_switching(config: Config) -> list[Setting]:
    """Return cross-validation of each set of training corpora, tested on the folds of all."""
    config = settings.shared_classes(config)
    if config.features.frames < 2:
        raise ExperimentError(
            f"--features {config.features.name} of one frame, expected two or more to splice"
        )
    trained = {own for each in sources(config).values() for own in each.values() if own}
    each, plan = product(config.tasks, sorted(trained)), settings.cross_validation
    return [settings.setting(config, "unspliced", *one, config.corpora, plan) for one in each]


def switch(config: Config, pool: Pool, *_: object) -> None:
    """Store the predictions of the models for the splices of their test folds."""
    for own, (pair, by) in product(code_switching(config), sources(config).items()):
        for name in (name for name, train in by.items() if train == own.train):
            try:
                results.write_predictions(config.out, predict_splices(config, pool, own, pair, name))
            except UserError as error:
                cell = {"setting": name, "train": own.train, "test": pair, "task": own.task.name}
                results.note_missing(config.out, [cell | {"reason": str(error)}])


if __name__ == "__main__":
    module = f"experiments.{NAME}"
    start(NAME, __doc__, f"{module}:{NAME}", f"{module}:switch", shown=SHOWN)
