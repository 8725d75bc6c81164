"""Identify the language of an utterance, then use the model of that language or of its family (ref. 7).

    python -m experiments.language_identification --corpora ravdess emodb savee nemo

As in Sagha et al. (2016), a language identifier chooses the model; here it is the same network, trained on
the same utterances. `by_language` and `by_family` use the models of the identified language, `true_language`
and `true_family` those of the language actually spoken; `multilingual` is one model of all corpora. A network
may distinguish corpora by their rooms. Every language must be in every fold: use fewer --folds if one is not.
"""

from itertools import product

from ser_jax.experiment import settings, start
from ser_jax.experiment.config import Config
from ser_jax.experiment.results import combine, identified
from ser_jax.report.transfer import family
from ser_jax.tasks import Language

NAME = "language_identification"
SHOWN = ("multilingual", "true_language", "by_language", "true_family", "by_family", "language")


def groups(config: Config) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the corpora of each "language", and of its "family", by language."""
    spoken = settings.one_language(config)
    found = {}
    for kind, of in {"language": "".join, "family": family}.items():
        found[kind] = {
            one: tuple(n for n in spoken if of([spoken[n]]) == of([one])) for one in spoken.values()
        }
    return found


def language_identification(config: Config) -> list[settings.Setting]:
    """Return (b), the models of each language and family, and the identifier."""
    config, of, every = settings.shared_classes(config, numbers=True), groups(config), config.corpora
    plan, trained = settings.cross_validation, {*of["language"].values(), *of["family"].values()}
    special = [("special", task, own) for task, own in product(config.tasks, sorted(trained))]
    made = [settings.setting(config, *one, every, plan) for one in special]
    language = Language(tuple(of["language"]))
    made.append(settings.setting(config, "language", language, every, every, plan, together=True))
    return [*settings.multilingual(config), *made]


def choose(config: Config, *_: object) -> None:
    """Store the predictions of the identified models, and of the right ones."""
    config, every = settings.shared_classes(config, numbers=True), config.corpora
    for task, test, (kind, of) in product(config.tasks, every, groups(config).items()):
        cells = {own: settings.slug("special", own, (test,), task.name) for own in of.values()}
        each = [cells[own] for own in of.values()] + [settings.slug("language", every, every, "language")]
        combine(config, f"by_{kind}", every, test, task, each, identified)
        [right] = [cell for own, cell in cells.items() if test in own]
        combine(config, f"true_{kind}", every, test, task, [right], lambda found: found[0].outputs)


if __name__ == "__main__":
    module = f"experiments.{NAME}"
    start(NAME, __doc__, f"{module}:{NAME}", f"{module}:choose", shown=SHOWN)
