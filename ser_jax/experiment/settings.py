"""Define settings: what an experiment trains and tests. Functions make the paper's from a configuration.

A setting is complete: it carries corpora, task, network, training, front end and standardization, and plans
its own runs, of the rows of a `Pool` of all corpora. Nothing is inferred from its name.
"""

import contextlib
import dataclasses
import gc
import itertools
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ser_jax.data import facts, standardize
from ser_jax.data.corpus import Concatenated, Corpus
from ser_jax.data.folds import Fold, FoldError, connected_speakers, folds, read_folds
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Gathered
from ser_jax.engine import NO_ROWS, RunSpec
from ser_jax.errors import UserError
from ser_jax.experiment.config import Config, ProtocolConfig, describe, digest
from ser_jax.experiment.provenance import own_digest
from ser_jax.features import Frontend, LogMel
from ser_jax.features.joined import parts_of
from ser_jax.metrics import labelled
from ser_jax.model import Architecture, Array, Single
from ser_jax.tasks import TASKS, Categorical, Joint, Regression, Task, parts
from ser_jax.train import Data, TrainConfig
from ser_jax.train import key as run_key

STREAMS = {"arousal": 0, "valence": 1}  # of random numbers; other tasks get one by their name
FINE_TUNING = 1  # a stream of its own
SAMPLES = (10, 25, 50, 100, 200, 400)  # of the learning curve
BASELINE_RATE = 0.02  # with 0.001, a single weight does not converge in the paper's 50 epochs
KERNELS, POOLS = (5, 10, 20), (15, 30, 60)  # of the tuning, frames and positions; 16, 8 and 4 segments


Cell = tuple[tuple[str, ...], Task]


class ExperimentError(UserError):
    """An experiment that cannot be computed."""


class Features(NamedTuple):
    """Features of all rows as `Machine.place` returns them, and their sums per utterance."""

    features: Array  # [N, T F], or [N, T, F] on the host
    frames: Array  # [N]
    moments: standardize.Moments


class Pool(Concatenated):
    """The corpora of an experiment, no two of the same name, with their folds, labels and features.

    A corpus with fewer clusters of speakers than `protocol.folds` has fewer. `place` moves (features, frames)
    to the device, as `Machine.place`. The columns `session`, `sex` and `cluster` (of speakers who met) are of
    all rows.
    """

    def __init__(
        self, corpora: list[Corpus], protocol: ProtocolConfig, place: Callable[..., tuple[Array, Array]]
    ):
        super().__init__(corpora)
        self.session, self.sex = (
            np.concatenate([getattr(corpus, name) for corpus in corpora]) for name in ("session", "sex")
        )
        self.cluster = connected_speakers(np.char.add(self.corpus.astype(str), self.session), self.speaker_id)
        starts = np.cumsum([0, *map(len, corpora)], dtype=np.int32)
        self._starts = dict(zip(self.names, starts, strict=False))
        self._protocol, self._place = protocol, place
        self._fold_of = {} if protocol.fold_file is None else read_folds(Path(protocol.fold_file))
        self._kept: dict[tuple[str, ...] | None, Features] = {}

    def rows(self, name: str) -> np.ndarray:
        """Return all rows of one corpus, int32."""
        return np.arange(len(self.corpora[name]), dtype=np.int32) + self._starts[name]

    @cache  # noqa: B019  a pool lives as long as the program
    def folds(self, name: str) -> list[Fold]:
        """Return the folds of a corpus as rows of the pool."""
        own = folds(self.corpora[name], self._protocol.folds, self._protocol.dev, self._fold_of)
        start = self._starts[name]
        return [Fold(fold.train + start, fold.dev + start, fold.test + start) for fold in own]

    def partners(self, name: str) -> bool:
        """Return whether a training set contains people who met development speakers of the same fold."""
        each = self.every_fold()[name]
        return any(np.intersect1d(self.session[fold.train], self.session[fold.dev]).size for fold in each)

    def every_fold(self) -> dict[str, list[Fold]]:
        """Return the folds of every corpus; none of one that cannot be divided."""
        found: dict[str, list[Fold]] = {name: [] for name in self.names}
        for name in self.names:
            with contextlib.suppress(FoldError):  # stops only settings that divide it
                found[name] = self.folds(name)
        return found

    @cache  # noqa: B019
    def labels(self, task: Task) -> np.ndarray:  # type: ignore[override]  # cached
        """Return the labels of all rows: [N] int32, -1 unlabelled; or [N, K] float32, NaN unlabelled."""
        found = super().labels(task)
        return found.astype(np.int32 if found.ndim == 1 else np.float32)

    @cache  # noqa: B019
    def ratings(self, task: Regression) -> dict[str, np.ndarray]:
        """Return every rater's own ratings of all rows, [N, K] float32, NaN where a rater gave none."""
        found: dict[str, np.ndarray] = {}
        for name, corpus in self.corpora.items():
            for rater, own in task.ratings(corpus).items():
                each = found.setdefault(rater, np.full((len(self.corpus), task.outputs), np.nan, np.float32))
                each[self.rows(name)] = own
        return found

    def at_most(self, rows: np.ndarray, count: int | None) -> np.ndarray:
        """Return at most `count` rows of every corpus, drawn at random; the same rows give the same draw."""
        if count is None:
            return rows
        each = (rows[self.corpus[rows] == corpus] for corpus in np.unique(self.corpus[rows]))
        return np.concatenate([np.sort(np.random.default_rng(0).permutation(own)[:count]) for own in each])

    @cached_property
    def sums(self) -> standardize.Moments:
        """Sums of each row's features over time."""
        return self.moments()

    @cached_property
    def membership(self) -> standardize.Membership:
        """Corpus, fold that tests it (0 in a corpus that cannot be divided) and speaker of every row."""
        fold = np.zeros(len(self.corpus), np.int32)
        for each in self.every_fold().values():
            for i, own in enumerate(each):
                fold[own.test] = i
        return standardize.Membership(self.corpus, fold, np.unique(self.speaker_id, return_inverse=True)[1])

    def data(self, mode: str, train: tuple[str, ...] | None) -> Data:
        """Return the features of all rows, to be standardized by a `standardize.Mode`.

        Histograms are equalized towards the corpora `train`, unless that is None.
        """
        found = self._features(train)
        return Data(
            features=found.features,
            frames=found.frames,
            group=standardize.group(mode, self.membership),
            speaker=self.membership.speaker.astype(np.int32),
            corpus=self.corpus.astype(np.int32),
            corpora=len(self.names),
        )

    def scaler(self, mode: str, train: tuple[str, ...] | None, rows: np.ndarray) -> Callable[[], Scaler]:
        """Return a function that fits the scaler of a run whose statistics are taken from `rows`."""
        return partial(self._fit_scaler, mode, train, rows.tobytes())

    @cache  # noqa: B019  the seeds and tasks of a fold share their scaler
    def _fit_scaler(self, mode: str, train: tuple[str, ...] | None, rows: bytes) -> Scaler:
        moments = self._features(train).moments
        return standardize.fit_scaler(mode, moments, self.membership, np.frombuffer(rows, np.int32))

    def _features(self, train: tuple[str, ...] | None) -> Features:
        """Return all features; of equalized ones only the latest are kept, since each is a copy of all."""
        if train not in self._kept:
            for other in self._kept.keys() - {None}:
                del self._kept[other]
                gc.collect()  # compiled functions refer to themselves and would keep the old features
            features: Gathered = self.features
            if train is not None:
                own = [self.names.index(name) for name in train]
                features = standardize.equalize(own, self.features, self.frames, self.membership)
            sums = self.sums if train is None else standardize.moments(features, self.frames)
            self._kept[train] = Features(*self._place(features, self.frames), sums)
        return self._kept[train]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to train and test one task."""

    name: str  # in tables; settings of an experiment that train otherwise have other names
    train: tuple[str, ...]
    test: tuple[str, ...]  # each corpus is tested by itself
    task: Task
    frontend: Frontend
    model: Architecture
    training: TrainConfig
    standardize: str  # a `standardize.Mode`
    plan: Callable[[Pool, "Setting"], list[RunSpec]]  # by `run_spec`
    seeds: int  # runs per fold
    equalize: bool = False  # histograms towards the training corpora first
    most: int | None = None  # utterances of each corpus that train; None for all
    samples: int | None = None  # utterances per fold that fine-tuning sees; None without fine-tuning
    draw: str = ""  # of fine-tuning, see `few_samples`, or of a cut, see `cut_to_smallest`
    draw_by_seed: bool = False  # anew for every seed
    start: "Setting | None" = None  # whose runs, of the same seed, these start from
    together: bool = False  # all tested corpora make one cell, since each has a single class
    tuned: bool = False  # development speakers are tested, to choose among settings
    beside: str = ""  # the only setting it is compared with; "" if with the others of its table

    @property
    def cells(self) -> list[Cell]:
        """The tested corpora and the task of each of its files of predictions."""
        tested = [self.test] if self.together else [(name,) for name in self.test]
        return [(test, task) for test in tested for task, _ in parts(self.task)]

    @property
    def equalized(self) -> tuple[str, ...] | None:
        """The corpora that histograms are equalized towards."""
        return self.train if self.equalize else None

    @property
    def label(self) -> str:
        """Return a name for messages: "crosslingual emodb>ravdess arousal"."""
        apart = "" if set(self.test) & set(self.train) else f">{'+'.join(self.test)}"
        return f"{self.name} {'+'.join(self.train)}{apart} {self.task.name}"

    @property
    def slug(self) -> str:
        """A name for its files, different for different settings of an experiment."""
        return slug(self.name, self.train, self.test, self.task.name)

    def describe(self) -> dict[str, Any]:
        """Return what its results depend on, apart from corpora and this package's code, as JSON."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plan, start, training = found.pop("plan"), found.pop("start"), self.training
        tasks, frontends = (task for task, _ in parts(self.task)), parts_of(self.frontend)
        own = (*tasks, *frontends, self.model, training.augment, training.objective, plan)
        return {name: describe(value) for name, value in found.items()} | {
            "task": {"name": self.task.name} | describe(self.task),
            "plan": f"{plan.__module__}:{plan.__qualname__}",
            "start": None if start is None else start.describe(),
            "code": own_digest(own),
        }


def slug(name: str, train: Iterable[str], test: Iterable[str], task: str) -> str:
    """Return a file name, not longer than file systems allow."""
    whole = "-".join([name, "+".join(train), "+".join(test), task])
    return whole if len(whole) <= 150 else f"{name}-{task}-{digest(whole)[:16]}"


def run_spec(
    pool: Pool, setting: Setting, *, fold: int, seed: int, train: np.ndarray, test: np.ndarray,
    dev: np.ndarray = NO_ROWS, statistics: np.ndarray | None = None, unlabelled: np.ndarray = NO_ROWS,
) -> RunSpec:  # fmt: skip
    """Return one run of a setting; utterances without a label of its task are left out everywhere.

    Args:
      train, test, dev: [M] int32, rows of the pool.
      statistics: [M] int32, rows whose statistics standardize features; `train` by default.
      unlabelled: [M] int32, rows of which an objective that wants it may use features, speakers and corpora.
    """
    task, labels = setting.task, pool.labels(setting.task)
    known = labelled(labels)
    train, dev, test = (rows[known[rows]] for rows in (train, dev, test))
    stream = STREAMS.get(task.name, zlib.crc32(task.name.encode()) & 0x7FFFFFFF)
    key = run_key(seed, stream, fold)
    if setting.start is not None:  # else the first fold would repeat the dropout of what it starts from
        key = jax.random.fold_in(key, FINE_TUNING)
    train = pool.at_most(train, setting.most)
    fitted = train if statistics is None else pool.at_most(statistics[known[statistics]], setting.most)
    return RunSpec(
        key=key,
        train=train,
        dev=dev,
        test=test,
        unlabelled=unlabelled if setting.training.objective.unlabelled else NO_ROWS,
        labels=labels,
        scaler=pool.scaler(setting.standardize, setting.equalized, fitted),
        fold=fold,
        seed=seed,
    )


def cross_validation(pool: Pool, setting: Setting) -> list[RunSpec]:
    """Plan a run per fold and seed: merge training sets of a fold, and test that fold of each tested corpus.

    Of corpora with different numbers of folds, fold i takes fold i mod k of each; a test fold counts once.
    """
    trained, tested = ([pool.folds(name) for name in names] for names in (setting.train, setting.test))
    merged = []
    for i in range(max(map(len, [*trained, *tested]))):
        folds = [own[i % len(own)] for own in trained]
        train, dev = (np.concatenate([getattr(fold, part) for fold in folds]) for part in ("train", "dev"))
        merged.append(Fold(train, dev, np.concatenate([own[i].test for own in tested if i < len(own)])))
    return _by_fold(pool, setting, merged)


def _by_fold(pool: Pool, setting: Setting, folds: Iterable[Fold]) -> list[RunSpec]:
    return [
        run_spec(pool, setting, fold=i, seed=seed, **vars(fold))
        for i, fold in enumerate(folds)
        for seed in range(setting.seeds)
    ]


def whole_corpora(pool: Pool, setting: Setting) -> list[RunSpec]:
    """Plan a run per seed: train on whole corpora, and test whole corpora."""
    train, test = (np.concatenate([pool.rows(name) for name in own]) for own in (setting.train, setting.test))
    return [
        run_spec(pool, setting, fold=0, seed=seed, train=train, test=test, unlabelled=test)
        for seed in range(setting.seeds)
    ]


def few_samples(pool: Pool, setting: Setting) -> list[RunSpec]:
    """Plan a run per fold and seed: train on a few utterances of the tested corpus.

    A larger draw holds the smaller ones. The setting's `draw` is one of three readings of the paper's "100
    randomly selected samples from the target language for each CV split", "500 samples in total":

        split     100 of each fold's training part; folds draw some utterances twice
        disjoint  100 of the group of speakers that the fold before tests, so that no two folds share any
        pooled    500 (100 a fold) of the whole corpus; each fold takes those in its training part

    Raises: ExperimentError if there are fewer utterances.
    """
    [target], samples = setting.test, setting.samples
    assert samples is not None  # only settings that fine-tune are planned so
    known = labelled(pool.labels(setting.task))
    source, folds = np.concatenate([pool.rows(name) for name in setting.train]), pool.folds(target)
    found = []
    for i, fold in enumerate(folds):
        stream, wanted, rows = i, samples, fold.train
        if setting.draw == "disjoint":
            rows = np.intersect1d(folds[i - 1].test, fold.train)
        elif setting.draw == "pooled":
            stream, wanted, rows = 0, samples * len(folds), pool.rows(target)
        rows = rows[known[rows]]
        if len(rows) < wanted:
            raise ExperimentError(
                f"fold {i + 1}: {len(rows)} utterances of {target} to draw from, fewer than the {wanted} for "
                "fine-tuning (--finetune-samples)"
            )
        for seed in range(setting.seeds):
            rng = np.random.default_rng((stream, seed) if setting.draw_by_seed else stream)
            drawn = np.intersect1d(rng.permutation(rows)[:wanted], fold.train)
            parts = {"train": drawn, "dev": fold.dev, "test": fold.test}
            others = {"statistics": source, "unlabelled": fold.train}
            found.append(run_spec(pool, setting, fold=i, seed=seed, **parts, **others))
    return found


def cut_to_smallest(pool: Pool, setting: Setting) -> list[RunSpec]:
    """Plan cross-validation of a corpus cut to the size of the smallest, drawn once.

    All of it is cut or, if the setting's `draw` is "training", its training parts alone.

    Raises: ExperimentError if there is nothing to cut.
    """
    [name], parts = setting.train, ("train",) if setting.draw == "training" else ("train", "dev", "test")
    rows = pool.rows(name)
    smallest = min(pool.names, key=lambda other: len(pool.rows(other)))
    size = len(pool.rows(smallest))
    if len(rows) <= size:
        raise ExperimentError(f"it has {len(rows)} utterances, expected more than the {size} of {smallest}")
    left = np.random.default_rng(0).choice(rows, size, replace=False)
    cut = [
        dataclasses.replace(fold, **{part: np.intersect1d(getattr(fold, part), left) for part in parts})
        for fold in pool.folds(name)
    ]
    return _by_fold(pool, setting, cut)


def development(pool: Pool, setting: Setting) -> list[RunSpec]:
    """Plan cross-validation that tests the development speakers, to choose hyper-parameters."""
    return [dataclasses.replace(spec, test=spec.dev, dev=NO_ROWS) for spec in cross_validation(pool, setting)]


def setting(
    config: Config, name: str, task: Task, train: tuple[str, ...], test: tuple[str, ...],
    plan: Callable[[Pool, Setting], list[RunSpec]], **changes: Any,
) -> Setting:  # fmt: skip
    """Return a setting of a configuration; `changes` replace values of the configuration.

    Its name ends with those of the tasks if there are several at once, so that it stands beside the setting
    that trains one of them alone.
    """
    task = occurring(config, task, (*train, *test))
    if isinstance(task, Joint):
        name = f"{name}_{task.name}"
        changes |= {"beside": f"{changes['beside']}_{task.name}"} if changes.get("beside") else {}
    chosen: dict[str, Any] = {
        "frontend": config.features,
        "model": config.network(task),
        "training": config.train,
        "standardize": config.protocol.standardize,
        "seeds": config.protocol.seeds,
        "most": config.protocol.most,
    }
    return Setting(name=name, task=task, train=train, test=test, plan=plan, **(chosen | changes))


def occurring(config: Config, task: Task, corpora: Sequence[str]) -> Task:
    """Return a task of all emotions with those that occur everywhere; any other task as it is.

    The emotions of `all` occur in every corpus of the experiment, those of `categories` in all of `corpora`.
    """
    if isinstance(task, Joint):
        each = tuple(occurring(config, part, corpora) for part in task.parts)
        return dataclasses.replace(task, parts=each)
    if not isinstance(task, Categorical) or task not in (TASKS["all"], TASKS["categories"]):
        return task
    names = config.corpora if task == TASKS["all"] else corpora
    return task.occurring(facts(name, config.data_dir) for name in dict.fromkeys(names))


def shared_classes(config: Config, numbers: bool = False) -> Config:
    """Return a configuration whose tasks have the same classes in all corpora, so that models combine.

    Raises: ExperimentError for several tasks at once and, unless `numbers`, for tasks without classes.
    """
    for task in config.tasks:
        if isinstance(task, Joint) or not (task.class_names or numbers):
            raise ExperimentError(
                f"--tasks {task.name}, expected {'tasks' if numbers else 'classes'}, one by one"
            )
    tasks = tuple(occurring(config, task, config.corpora) for task in config.tasks)
    return dataclasses.replace(config, tasks=tasks)


def monolingual(config: Config, name: str = "monolingual", **changes: Any) -> list[Setting]:
    """Return (a): cross-validation within each corpus."""
    plan = changes.pop("plan", cross_validation)
    each = itertools.product(config.corpora, config.tasks)
    return [setting(config, name, task, (corpus,), (corpus,), plan, **changes) for corpus, task in each]


def multilingual(config: Config, name: str = "multilingual", **changes: Any) -> list[Setting]:
    """Return (b): the training folds of all corpora merged, tested on each corpus's test fold."""
    every = config.corpora
    return [setting(config, name, task, every, every, cross_validation, **changes) for task in config.tasks]


def crosslingual(config: Config, name: str = "crosslingual", **changes: Any) -> list[Setting]:
    """Return (c): train on all of one corpus, and test all of every other."""
    others = {corpus: tuple(o for o in config.corpora if o != corpus) for corpus in config.corpora}
    each = itertools.product(others.items(), config.tasks)
    return [
        setting(config, name, task, (corpus,), test, whole_corpora, **changes)
        for (corpus, test), task in each
    ]


def with_adapted(config: Config, settings: Callable[..., list[Setting]]) -> list[Setting]:
    """Return settings, and a copy of them for each mode of `--adapted`, named as in `crosslingual_MODE`.

    The copies use statistics that the paper's protocol does not.
    """
    name, own = settings.__name__, settings(config)
    for mode in config.protocol.adapted:
        own += settings(config, f"{name}_{mode}", standardize=mode, beside=name)
    return own


def within(config: Config) -> list[Setting]:
    """Return (a), and (a) with each mode of `--adapted`."""
    return with_adapted(config, monolingual)


def across(config: Config) -> list[Setting]:
    """Return (c), and (c) with each mode of `--adapted`."""
    return with_adapted(config, crosslingual)


def finetuned(
    config: Config,
    name: str = "finetuned",
    starts: Callable[[Config], list[Setting]] = crosslingual,
    **changes: Any,
) -> list[Setting]:
    """Return (d): the models of `starts`, fine-tuned on a few utterances of each tested corpus."""
    training = dataclasses.replace(config.train, epochs=config.protocol.finetune_epochs)
    protocol = config.protocol
    few: dict[str, Any] = {"samples": protocol.finetune_samples, "draw": protocol.finetune_draw}
    changes = few | {"training": training} | changes
    return [
        setting(config, name, start.task, start.train, (corpus,), few_samples, start=start, **changes)
        for start in starts(config)
        for corpus in start.test
    ]


def baselines(config: Config, settings: Iterable[Setting]) -> list[Setting]:
    """Return the settings with each of the configuration's baselines in place of the network, in all stages.

    Their names join both, as in "monolingual_level". Settings that tune a network have none.

    Raises: ExperimentError if there is no level or duration in the features.
    """

    def replaced(one: Setting, baseline: Any) -> Setting:
        start = None if one.start is None else replaced(one.start, baseline)
        sizes = {"bands": one.model.bands, "frames": one.model.frames, "outputs": one.model.outputs}
        model = Single(quantity=baseline, **sizes)
        training = dataclasses.replace(one.training, learning_rate=BASELINE_RATE)
        changes: dict[str, Any] = {"model": model, "training": training, "start": start, "beside": one.name}
        return dataclasses.replace(one, name=f"{one.name}_{baseline}", **changes)

    found: dict[Setting, Setting] = {}  # by what is trained, whatever its name
    for baseline, one in itertools.product(config.protocol.baselines, settings):
        if baseline == "level" and (one.standardize == "utterance" or one.frontend.name != LogMel.name):
            raise ExperimentError(
                f"--protocol.baselines level of {one.frontend.name} features, standardized by "
                f"{one.standardize}, expected logmel and other statistics than each utterance's own"
            )
        if baseline == "duration" and one.frontend.frames == 1:
            features = f"{one.frontend.name} features of one frame an utterance"
            raise ExperimentError(f"--protocol.baselines duration of {features}, expected more frames")
        if not one.tuned:
            baseline_setting = replaced(one, baseline)
            found.setdefault(dataclasses.replace(baseline_setting, name="", beside=""), baseline_setting)
    return list(found.values())


def table2(config: Config) -> list[Setting]:
    """Return the four settings of Table 2, and (c) with each mode of `--adapted`."""
    return [*monolingual(config), *multilingual(config), *across(config), *finetuned(config)]


def learning_curve(config: Config) -> list[Setting]:
    """Return (d) with 10 to 400 utterances per fold, drawn anew for every seed."""
    sizes = [finetuned(config, f"finetuned_{n}", samples=n, draw_by_seed=True) for n in SAMPLES]
    return [*crosslingual(config), *itertools.chain(*sizes)]


def other_corpora(config: Config, name: str = "other_corpora", **changes: Any) -> list[Setting]:
    """Return (c) from all other corpora to each."""
    each = {target: tuple(one for one in config.corpora if one != target) for target in config.corpora}
    return from_many(config, name, each, **changes)


def other_languages(config: Config, name: str = "other_languages", **changes: Any) -> list[Setting]:
    """Return (c) to each corpus from all corpora of other languages.

    Corpora that share a language with the tested one, or whose language is unknown, are excluded from
    training.
    """
    spoken = languages(config)
    known = {corpus for corpus, own in spoken.items() if "unknown" not in own}
    each = {
        target: tuple(
            one for one in config.corpora if one in known and set(spoken[target]).isdisjoint(spoken[one])
        )
        for target in config.corpora
        if target in known
    }
    return from_many(config, name, each, **changes)


def languages(config: Config) -> dict[str, list[str]]:
    """Return the languages of each corpus, sorted."""
    return {name: sorted(set(facts(name, config.data_dir).language.tolist())) for name in config.corpora}


def one_language(config: Config) -> dict[str, str]:
    """Return the language of each corpus; raise ExperimentError unless each has one, and there are two."""
    each = languages(config)
    if (
        any(own == ["unknown"] or len(own) > 1 for own in each.values())
        or len({*map(tuple, each.values())}) < 2
    ):
        found = ", ".join(f"{' and '.join(own)} ({name})" for name, own in each.items())
        raise ExperimentError(f"languages {found}, expected one of each corpus and two in all")
    return {name: own[0] for name, own in each.items()}


def from_many(
    config: Config, name: str, sources: Mapping[str, tuple[str, ...]], **changes: Any
) -> list[Setting]:
    """Return (c) to each corpus from the corpora that `sources` names for it; none if it names none."""
    plan = changes.pop("plan", whole_corpora)
    return [
        setting(config, name, task, train, (target,), plan, **changes)
        for task, (target, train) in itertools.product(config.tasks, sources.items())
        if train
    ]


def transfer(config: Config) -> list[Setting]:
    """Return (c) from every corpus to every other, and to each from all others, and all other languages."""
    many = (other_corpora, other_languages) if len(config.corpora) > 2 else ()  # of two, these are (c) itself
    return [*across(config), *(one for settings in many for one in with_adapted(config, settings))]


def english_1308(config: Config) -> list[Setting]:
    """Return (a) of the first corpus, whole and cut to the size of the smallest."""
    first = dataclasses.replace(config, corpora=config.corpora[:1])
    cut: dict[str, Any] = {"plan": cut_to_smallest, "draw": config.protocol.cut}
    return [*monolingual(first), *monolingual(first, "monolingual_cut", **cut)]


def tuning(config: Config) -> list[Setting]:
    """Return (a) for every kernel width and pool size, tested on the development speakers.

    Raises: ExperimentError if the network has no kernel and pool.
    """
    found: list[Setting] = []
    for kernel, pool in itertools.product(KERNELS, POOLS):
        try:
            model: Any = dataclasses.replace(config.model, kernel=kernel, pool=pool)  # type: ignore[type-var]
        except TypeError:
            raise ExperimentError(
                f"network {type(config.model).__name__} has no kernel and pool, expected one with both"
            ) from None
        own = dataclasses.replace(config, model=model)
        found += monolingual(own, f"tuning_k{kernel}_p{pool}", plan=development, tuned=True)
    return found
