"""Check the labels of a corpus by models of other corpora.

If a release swaps two classes, models trained on it learn the swap. Models of other corpora reveal it: the
difference of their outputs for the two classes ranks the utterances in reverse. A preference for one class,
because of another language or room, does not change the order.
"""

import itertools
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ser_jax.data import Facts, facts
from ser_jax.data.labels import canonical
from ser_jax.experiment.config import Config, ProtocolConfig
from ser_jax.experiment.results import Predictions
from ser_jax.experiment.run import run
from ser_jax.experiment.settings import ExperimentError, Setting, setting, whole_corpora
from ser_jax.features import Frontend
from ser_jax.io import write_json
from ser_jax.model import Probe
from ser_jax.report import tables
from ser_jax.report.tables import Results, Table
from ser_jax.statistics import ROUNDING, holm, ranking_test
from ser_jax.tasks import Categorical
from ser_jax.train import TrainConfig

NAME, FILE = "label_check", "labels"  # of the settings; of OUT/labels.md and .json
LEVEL = 0.05
SHOWN = 5  # speakers and utterances of a pair that the table names
NOTE = (
    "Models of the other corpora rank the utterances of a corpus by the difference of their outputs for two "
    "classes. AUC: the probability that, of two utterances of a speaker, the one of the first class ranks "
    "higher. p: test that AUC is 0.5 or more on other speakers, over the clusters of speakers with both "
    "classes, with Holm's correction for all pairs of classes of the corpus; * marks values up to 0.05, "
    "which contradict the labels. A corpus without contradictions is shown with its pair of lowest AUC. "
    "Least p: pairs / 2^clusters, the smallest possible corrected p; ? marks an AUC below 0.5 if least p is "
    "above 0.05."
)
WORST = "Brackets give the contribution of a speaker or an utterance to AUC - 0.5, the lowest first."


class Pair(NamedTuple):
    """Two classes of a corpus, ranked by models of others, see `statistics.ranking_test`."""

    classes: tuple[str, str]
    auc: float
    p: float
    p_holm: float  # corrected for all pairs of the corpus
    clusters: int  # of speakers who met, some of whom have both classes
    speakers: dict[str, float]  # what they add to the AUC, if that is negative; the lowest first
    utterances: dict[str, float]  # likewise

    @property
    def contradicted(self) -> bool:
        """Return whether the models contradict the labels."""
        return self.p_holm <= LEVEL


def settings(config: Config, judged: Collection[str] = ()) -> list[Setting]:
    """Return settings that test each corpus of `judged`, by default all, with models trained on all others.

    The task has the emotions that occur in the tested corpus and in any other. If there are fewer than two,
    the tasks are those of the configuration whose classes all occur in both.

    Raises: ExperimentError if there is none.
    """
    known = {name: facts(name, config.data_dir) for name in config.corpora}
    found = []
    for name in judged or config.corpora:
        others = tuple(other for other in config.corpora if other != name)
        sides = [known[name]], [known[other] for other in others]
        emotions = tuple(sorted(_shared(canonical, *sides) - {""}))
        chosen = (Categorical("emotion", emotions),) if len(emotions) > 1 else config.tasks
        classes = [task for task in chosen if task.class_names]
        tasks = [task for task in classes if _shared(task.labels, *sides) >= {*range(task.outputs)}]
        if not tasks:
            raise ExperimentError(
                f"{name} shares {len(emotions)} emotions with {', '.join(others)}, expected two or more, or "
                f"all classes of {' or '.join(task.name for task in config.tasks)}"
            )
        found += [setting(config, NAME, task, others, (name,), whole_corpora) for task in tasks]
    return found


def _shared(labels: Callable[[Facts], np.ndarray], *sides: Sequence[Facts]) -> set[Any]:
    """Return the labels that occur on both sides."""
    return set.intersection(*({*np.concatenate([*map(labels, side)]).tolist()} for side in sides))


def analyse(config: Config, *_: Any) -> str:
    """Write what stored predictions say of the labels as OUT/labels.md and .json; return it as Markdown."""
    results = Results(config.out)
    write_json(config.out / f"{FILE}.json", as_json(results))
    table = tables.markdown(results.synthetic, parts(results))
    tables.write(config.out / f"{FILE}.md", table)
    return table.rstrip("\n")


def audit(name: str, against: Sequence[str], data_dir: Path | None, frontend: Frontend) -> Results:
    """Check a corpus with linear classifiers trained on at most 300 utterances of each other corpus.

    Features are standardized by each corpus's own statistics. Nothing is stored.

    Raises: UserError (a subclass) if a corpus is unknown or named twice, or the corpora share no classes.
    """
    if len({name, *against}) <= len(against):
        raise ExperimentError(f"--against {' '.join(against)}, expected other corpora than {name}, each once")
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            corpora=(name, *against), data_dir=data_dir, out=Path(folder), features=frontend, model=Probe(),
            train=TrainConfig(optimizer="adamw", weight_decay=0.01, epochs=30),
            protocol=ProtocolConfig(seeds=1, most=300, standardize="corpus"),
        )  # fmt: skip
        run(settings(config, [name]), config)
        return Results(config.out)


def as_json(results: Results) -> dict[str, Any]:
    """Return `pairs` as JSON values."""
    return {
        name: [pair._asdict() | {"contradicted": pair.contradicted} for pair in each]
        for name, each in pairs(results).items()
    }


def pairs(results: Results) -> dict[str, list[Pair]]:
    """Return all pairs of classes that some speaker of a checked corpus has, the lowest AUC first."""
    found: dict[str, list[Pair]] = {}
    for cell in results.cells.values():
        if cell.setting == NAME and len(cell.seed):
            found.setdefault(cell.test[0], []).extend(_ranked(cell))
    for name, each in found.items():
        corrected = holm([pair.p for pair in each]).tolist()
        each = [pair._replace(p_holm=p) for pair, p in zip(each, corrected, strict=True)]
        found[name] = sorted(each, key=lambda pair: pair.auc)
    return {name: found[name] for name in results.names if name in found}


def _ranked(cell: Predictions) -> Iterator[Pair]:
    for one, other in itertools.combinations(range(len(cell.class_names)), 2):
        own = cell.only(rows=np.isin(cell.labels, (one, other)))
        outputs = own.outputs.mean(axis=0)
        found = ranking_test(outputs[:, one] - outputs[:, other], own.labels == one, own.speaker, own.cluster)
        if found.clusters:
            classes = cell.class_names[one], cell.class_names[other]
            lowering = [_lowering(names, found.parts) for names in (own.speaker, own.utterance)]
            yield Pair(classes, found.auc, found.p, np.nan, found.clusters, *lowering)


def _lowering(names: np.ndarray, parts: np.ndarray) -> dict[str, float]:
    """Return the sums of parts [M] by name [M] that are negative, the lowest first."""
    each, number = np.unique(names, return_inverse=True)
    sums = np.bincount(number, parts)
    return {str(each[i]): float(sums[i]) for i in np.argsort(sums, kind="stable") if sums[i] < -ROUNDING}


def parts(results: Results) -> list[str | Table]:
    """Return the tables of a label check."""
    lines = [["corpus", "classes", "AUC", "p", "p (Holm)", "least p", "clusters", "pairs"]]
    worst = [["corpus", "classes", "speakers", "utterances"]]
    judged = pairs(results)
    for name, each in judged.items():
        for pair in [pair for pair in each if pair.contradicted] or each[:1]:
            start = [results.title([name]), " / ".join(pair.classes)]
            least = min(1.0, len(each) / 2**pair.clusters)
            mark = " *" if pair.contradicted else " ?" if pair.auc < 0.5 and least > LEVEL else ""
            p, p_holm, lowest = map(tables.p_value, (pair.p, pair.p_holm, least))
            sizes = str(pair.clusters), str(len(each))
            lines.append([*start, f"{pair.auc:.3f}", p, p_holm + mark, lowest, *sizes])
            if pair.contradicted:
                worst.append([*start, _listed(pair.speakers), _listed(pair.utterances)])
    return [
        Table("Labels, checked with models of other corpora", lines, NOTE),
        *(f"No speaker of {name} has two of the classes." for name, each in judged.items() if not each),
        *([Table("What contradicts the labels", worst, WORST)] if worst[1:] else []),
    ]


def _listed(parts: dict[str, float]) -> str:
    first = [f"{name} ({part:.4f})" for name, part in itertools.islice(parts.items(), SHOWN)]
    return ", ".join(first) + (f" and {len(parts) - SHOWN:,} more" if len(parts) > SHOWN else "")
