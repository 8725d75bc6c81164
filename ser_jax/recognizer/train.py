"""Train a recogniser: several networks per task, calibrated and evaluated on held-out speakers.

Temperature scaling divides the logits z of every seed before the softmax,

    p = mean_r softmax(z_r / T),   T = value share^-decay,

where `share` of the window is sound, so that predictions from less sound are less certain. `value` and
`decay` maximise the likelihood of held-out utterances, whole and cut short. They do not change the class that
a network predicts. References: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017); Platt,
"Probabilistic Outputs for Support Vector Machines" (1999), for the smoothed labels.
"""

import dataclasses
import itertools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.optimize import brute, fmin
from scipy.special import softmax
from tqdm import tqdm

from ser_jax import __version__, data, engine, metrics
from ser_jax.data import Corpus, standardize
from ser_jax.data.corpus import Concatenated
from ser_jax.data.folds import connected_speakers, groups
from ser_jax.data.labels import by_emotion
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Machine, use_all_cores
from ser_jax.engine import RunSpec
from ser_jax.errors import UserError
from ser_jax.features import Frontend
from ser_jax.io import atomic_folder, markdown_table
from ser_jax.model import Architecture, AttentiveCNN
from ser_jax.recognizer import trained
from ser_jax.recognizer.trained import TaskModel, Temperature, Trained, unknown_tasks
from ser_jax.shapes import Bool, Float, Int, Shaped
from ser_jax.statistics import mean_interval, speaker_interval
from ser_jax.tasks import Binary, Task
from ser_jax.tasks import task as task_named
from ser_jax.train import Data, TrainConfig
from ser_jax.train import key as run_key

GROUPS = 5  # of speakers in each corpus; one of them is held out
ATTENTIVE_CNN = AttentiveCNN()
VALUES = (0.05, 50.0)  # limits of a temperature
DECAYS = (0.0, 3.0)
SMALLEST = 1e-7  # probability, so that one certain mistake does not cost infinitely much
BINS = 10
BATCH = 64  # windows predicted at once
CUTS = (0.5, 1.0, 2.0, 4.0)  # s, to which longer utterances are cut


class TrainingError(UserError):
    """Corpora that no recogniser can be trained on."""


def train(
    corpora: Sequence[str],
    out: Path,
    *,
    data_dir: Path | None,
    name: str | None,
    tasks: Sequence[str],
    frontend: Frontend,
    label_rule: str,
    unseen: Sequence[str] = (),
    license: str | None = None,
    **options: Any,
) -> None:
    """Train a recogniser on prepared corpora and write its folder atomically, showing a progress bar.

    On one machine the same arguments give the same bytes.

    Args:
      out: a folder that does not exist yet or is empty.
      data_dir: folder of prepared corpora; None for the default.
      name: of the model; None for the folder's.
      frontend: that the corpora were prepared with.
      label_rule: of arousal and valence, a `data.labels.Rule`.
      unseen: names of corpora to evaluate it on, of other speakers, and perhaps other languages.
      license: of the weights, such as "CC-BY-4.0".
      options: `seeds`, `training` and `network`, as in `fit`.
    Raises: UserError (a subclass) if a corpus or task is unknown, corpora are unfit, or `out` is not empty.
    """
    for names in ([*corpora, *unseen], tasks):
        if repeated := [one for one in names if names.count(one) > 1]:
            raise TrainingError(f"{repeated[0]} is named twice, expected each corpus and task once")
    name = name or out.absolute().name
    chosen = map(task_named, tasks)
    ruled = [dataclasses.replace(one, rule=label_rule) if type(one) is Binary else one for one in chosen]
    loaded = [data.load(one, data_dir, frontend) for one in corpora]
    others = [data.load(one, data_dir, frontend) for one in unseen]
    for pair in itertools.product(loaded, others):
        _check_apart(*pair)
    use_all_cores()
    with atomic_folder(out, TrainingError) as partial:  # before training: it may not be writable
        model, found = fit(loaded, ruled, frontend, Machine.here(), name=name, **options)
        facts = model.facts | {"license": license, "unseen": evaluate_unseen(model, others)}
        model = dataclasses.replace(model, facts=facts)
        trained.write(partial, model)
        (partial / "metrics.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(card(model, found), encoding="utf-8")


def fit(
    corpora: Sequence[Corpus],
    tasks: Sequence[Task],
    frontend: Frontend,
    machine: Machine,
    *,
    name: str,
    seeds: int,
    training: TrainConfig,
    network: Architecture = ATTENTIVE_CNN,
) -> tuple[Trained, dict[str, dict[str, Any]]]:
    """Train, calibrate and evaluate a recogniser, showing a progress bar.

    One of `GROUPS` balanced groups of speakers of each corpus is held out to calibrate and evaluate it, as in
    the folds of experiments; a corpus with fewer separate speakers has fewer groups. All others train, with
    one scaler. Utterances without a label of a task are left out of its training and evaluation.

    Args:
      frontend: that the corpora were prepared with.
      seeds: networks per task.
      training: how to train them.
      network: its input and output sizes follow from front end and task.
    Returns: the recogniser; its metrics by task, JSON.
    Raises: TrainingError if corpora cannot be used together or training diverges; FoldError if a corpus has
      too few speakers.
    """
    every, held_out = divide(corpora, tasks)
    scaler = Scaler(*standardize.statistics(every.moments(), ~held_out))
    x, frames = machine.place(every.features, every.frames)
    placed = Data(
        features=x, frames=frames, group=np.zeros(len(held_out), np.int32),
        corpus=every.corpus, corpora=len(corpora),
    )  # fmt: skip
    rows = {task.name: _labelled(every, task, ~held_out) for task in tasks}
    models = {}
    total = training.epochs * seeds * sum(map(len, rows.values()))
    with tqdm(desc="training", total=total, unit=" utterance-steps", unit_scale=True) as bar:
        for task in tasks:
            sizes = {"bands": frontend.dims, "frames": frontend.frames, "outputs": task.outputs}
            own = dataclasses.replace(network, **sizes)  # type: ignore[type-var]  # any dataclass
            specs = [
                RunSpec(
                    key=run_key(seed, zlib.crc32(task.name.encode()) & 0x7FFFFFFF, fold=0),
                    train=rows[task.name],
                    labels=every.labels(task).astype(np.int32 if task.class_names else np.float32),
                    scaler=Scaler(*(part[None, :] for part in scaler)),
                    seed=seed,
                )
                for seed in range(seeds)
            ]
            results: dict[int, engine.RunResult] = {}
            for some in engine.compute(
                machine, own, training, placed, specs, loss=task.loss,
                on_epoch=bar.update,
            ):  # fmt: skip
                results |= some
            for seed, result in results.items():
                if (epoch := result.stopped[0]) > 0:
                    found = f"numbers of epoch {epoch}, step {result.stopped[1]} were not finite"
                    raise TrainingError(f"{task.name}, seed {seed}: {found}; nothing was written")
            params = (results[seed].params for seed in range(seeds))
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *params)
            models[task.name] = TaskModel(task, own, stacked, None)
    facts = {"name": name, "ser_jax": __version__, "synthetic": any(one.synthetic for one in corpora)}
    facts |= {"seeds": seeds, "epochs": training.epochs, "corpora": _describe(every, held_out)}
    return evaluate(Trained(frontend, scaler, models, facts), every, np.flatnonzero(held_out))


def divide(corpora: Sequence[Corpus], tasks: Sequence[Task]) -> tuple[Concatenated, Bool[np.ndarray, " N"]]:
    """Concatenate corpora and hold speakers out of each.

    Returns: all utterances; which are of held-out speakers.
    Raises: TrainingError if speakers are in two corpora or a part lacks a class, FoldError.
    """
    for pair in itertools.combinations(corpora, 2):
        _check_apart(*pair)
    every = Concatenated(corpora)
    held_out = np.concatenate([groups(corpus, GROUPS) == 0 for corpus in corpora])
    for task, part in itertools.product(tasks, ("training", "held-out")):
        names = task.class_names or ("numbers",)
        rows = _labelled(every, task, held_out if part == "held-out" else ~held_out)
        labels = every.labels(task)[rows] if task.class_names else np.zeros(len(rows), int)
        counts = np.bincount(labels, minlength=len(names))
        if not counts.all():
            raise TrainingError(
                f"none of the {len(rows)} {part} utterances of {' and '.join(every.names)} has {task.name} "
                f"{names[int(np.argmin(counts))]}, expected all of {', '.join(names)}"
            )
    return every, held_out


def _check_apart(one: Corpus, other: Corpus) -> None:
    """Raise TrainingError if two corpora share speakers; manifests may name different people alike."""
    shared = sorted(set(one.speaker) & set(other.speaker))
    if one.fingerprint == other.fingerprint or (shared and one.database == other.database != "manifest"):
        raise TrainingError(
            f"corpora {one.name} and {other.name} hold the same speakers ({shared[0]}), expected each "
            "person in one, so that nobody is both trained on and evaluated"
        )


def _labelled(every: Concatenated, task: Task, which: Bool[np.ndarray, " N"]) -> np.ndarray:
    return np.flatnonzero(which & metrics.labelled(every.labels(task))).astype(np.int32)


def _describe(every: Concatenated, held_out: Bool[np.ndarray, " N"]) -> list[dict[str, Any]]:
    """Return what each corpus is and how it was divided, as JSON."""
    corpora = []
    for number, corpus in enumerate(every.corpora.values()):
        facts = {key: getattr(corpus, key) for key in ("name", "synthetic", "fingerprint")}
        facts |= {"languages": sorted(set(corpus.language.tolist())), "by_emotion": by_emotion(corpus)}
        for part, which in (("training", ~held_out), ("held_out", held_out)):
            speakers = every.speaker_id[which & (every.corpus == number)]
            facts[part] = {"utterances": len(speakers), "speakers": len(np.unique(speakers))}
        corpora.append(facts)
    return corpora


def evaluate_unseen(model: Trained, corpora: Sequence[Corpus]) -> dict[str, dict[str, Any]]:
    """Evaluate a calibrated recogniser on whole corpora that no network was trained on.

    Corpora without some class of a task are left out of its evaluation.

    Returns: JSON by task: the mean of its metric over the corpora, with its 95 % interval for other speakers
      of these; and the same of each corpus, with the metric of each sex.
    """
    found = {}
    for name, own in model.tasks.items() if corpora else ():
        task, tested, each = own.task, [], {}
        for corpus in corpora:
            every = Concatenated([corpus])
            variants = cut_short(task, every, np.arange(len(corpus)), rate=0)  # whole
            if not len(variants.row) or len(np.unique(variants.labels)) < len(task.class_names):
                continue
            decided = task.predict(_predict(model, name, every, variants).mean(axis=0))
            labels, decided = variants.labels, np.asarray(decided)
            cluster = connected_speakers(corpus.session, corpus.speaker)[variants.row]
            tested.append((labels, decided[None], cluster))
            each[corpus.name] = {
                "languages": sorted(set(corpus.language.tolist())),
                "utterances": len(labels), "speakers": len(np.unique(variants.speaker)),
                **_scored(task, tested[-1:]), **_by_sex(task, labels, decided, corpus.sex[variants.row]),
            }  # fmt: skip
        if tested:
            found[name] = {**_scored(task, tested), "corpora": each}
    return _plain(found)


def _scored(task: Task, tested: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Return the mean metric over corpora, of labels, predictions [1, M] and clusters, and its interval."""
    scores = [task.score(labels, decided[0])[task.metric] for labels, decided, _ in tested]
    found: dict[str, Any] = {task.metric: float(np.mean(scores))}
    if task.metric in ("UAR", "CCC"):
        found["interval"] = mean_interval(task.metric, tested, classes=task.outputs)
    return found


def _by_sex(task: Task, labels: np.ndarray, decided: np.ndarray, sex: np.ndarray) -> dict[str, float]:
    """Return the metric of each sex that has every class."""
    found = {}
    for name in ("female", "male"):
        own = sex == name
        if own.any() and len(np.unique(labels[own])) >= len(task.class_names):
            found[name] = task.score(labels[own], decided[own])[task.metric]
    return found


def _plain(found: Any) -> Any:
    return json.loads(json.dumps(found), parse_constant=lambda name: None)  # JSON has no NaN


class Variants(NamedTuple):
    """M versions of labelled held-out utterances: whole, and cut to each shorter of `CUTS`."""

    row: Int[np.ndarray, " M"]  # in the corpora
    frames: Int[np.ndarray, " M"]  # that are used
    cut: Float[np.ndarray, " M"]  # s; infinite for whole utterances
    labels: Shaped[np.ndarray, "M ..."]
    speaker: Shaped[np.ndarray, " M"]


def evaluate(
    model: Trained, corpora: Concatenated, rows: Int[np.ndarray, " N"]
) -> tuple[Trained, dict[str, dict[str, Any]]]:
    """Calibrate a recogniser and evaluate it on held-out utterances.

    The probabilities of each speaker are calibrated on the other speakers, and not at all if these lack a
    class. Utterances without a label of a task are left out of its evaluation.

    Args:
      rows: the utterances of the held-out speakers; every class of every task must be among them.
    Returns: the calibrated recogniser; its metrics by task, JSON.
    """
    tasks, found = {}, {}
    for name, own in model.tasks.items():
        variants = cut_short(own.task, corpora, rows, model.frontend.rate)
        outputs = _predict(model, name, corpora, variants)
        predictions, temperature = outputs.mean(axis=0), None
        if own.task.class_names:
            predictions = cross_calibrate(outputs, variants, own.network.frames)
            temperature = calibrate(outputs, variants, own.network.frames)
        tasks[name] = dataclasses.replace(own, temperature=temperature)
        found[name] = _metrics(own.task, corpora, variants, outputs, predictions)
        found[name]["temperature"] = temperature and temperature._asdict()
    return dataclasses.replace(model, tasks=tasks), _plain(found)


def cut_short(task: Task, corpora: Concatenated, rows: Int[np.ndarray, " N"], rate: float) -> Variants:
    """Return the labelled ones of some utterances, whole and cut short.

    `rate` is in frames per second. At least one frame remains, so functionals stay whole.
    """
    labels = corpora.labels(task)
    rows = rows[metrics.labelled(labels[rows])]
    each = [(rows, corpora.frames[rows], np.full(len(rows), np.inf))]
    for seconds in CUTS:
        count = round(seconds * rate)
        longer = rows[(corpora.frames[rows] > count) & (count > 0)]
        each.append((longer, np.full(len(longer), count), np.full(len(longer), seconds)))
    row, frames, cut = map(np.concatenate, zip(*each, strict=True))
    return Variants(row, frames.astype(np.int32), cut, labels[row], corpora.speaker_id[row])


def _predict(
    model: Trained, name: str, corpora: Concatenated, variants: Variants
) -> Float[np.ndarray, "R M K"]:
    """Return the networks' outputs: logits, or probabilities if they are calibrated."""
    own, scaler = jax.device_put((model.tasks[name], model.scaler))
    count, found = len(variants.row), []
    for first in range(0, count, BATCH):
        some = np.arange(first, first + BATCH) % count  # batches of one size: one program
        features = corpora.features[variants.row[some]]
        found.append(trained.predict(own, scaler, features, variants.frames[some])[0])
    return np.concatenate(found, axis=1)[:, :count].astype(float)


def calibrate(logits: Float[np.ndarray, "R M K"], variants: Variants, frames: int) -> Temperature:
    """Return the temperature that makes the labels most likely.

    A label of a class with n utterances counts with probability (n + 1) / (n + 2), Platt's estimate;
    otherwise predictions of separable classes would be certain. A full window has `frames`.
    """
    labels, classes, share = variants.labels, logits.shape[-1], variants.frames / frames
    counts = np.bincount(labels[np.isinf(variants.cut)], minlength=classes)[labels, None]
    targets = np.where(np.eye(classes)[labels] == 1, counts + 1, 1 / (classes - 1)) / (counts + 2)
    # A single share does not tell value and decay apart.
    grid = [(*np.log(VALUES), 29j), (*DECAYS, 7j)][: 1 + bool(np.ptp(share))]

    def temperature(point: np.ndarray) -> Temperature:
        value, decay = [*np.atleast_1d(point), 0.0][:2]
        return Temperature(float(np.clip(np.exp(value), *VALUES)), float(np.clip(decay, *DECAYS)))

    def loss(point: np.ndarray) -> float:
        return log_loss(probabilities(logits, temperature(point), share), targets)

    # The loss is not convex, so that the best point of a grid is refined.
    best = brute(loss, tuple(slice(*one) for one in grid), finish=None)
    return temperature(fmin(loss, best, xtol=1e-4, ftol=1e-9, disp=False))


def cross_calibrate(
    logits: Float[np.ndarray, "R M K"], variants: Variants, frames: int
) -> Float[np.ndarray, "M K"]:
    """Return probabilities calibrated on the other speakers, or not at all if these lack a class."""
    share, classes = variants.frames / frames, logits.shape[-1]
    found = probabilities(logits, Temperature(1.0), share)
    for speaker in np.unique(variants.speaker):
        mine = variants.speaker == speaker
        others = Variants(*(part[~mine] for part in variants))
        if len(np.unique(others.labels)) == classes:
            temperature = calibrate(logits[:, ~mine], others, frames)
            found[mine] = probabilities(logits[:, mine], temperature, share[mine])
    return found


def probabilities(
    logits: Float[np.ndarray, "R M K"], temperature: Temperature, share: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "M K"]:
    """Return calibrated probabilities, the mean over the seeds."""
    return softmax(logits / temperature.at(share)[:, None], axis=-1).mean(axis=0)


def log_loss(probability: Float[np.ndarray, "M K"], targets: Float[np.ndarray, "M K"]) -> float:
    """Return the mean cross-entropy in nats; targets may be one-hot or smoothed."""
    return float(-(targets * np.log(np.maximum(probability, SMALLEST))).sum(axis=1).mean())


def calibration_error(probability: Float[np.ndarray, "M K"], labels: Int[np.ndarray, " M"]) -> float:
    """Return the expected calibration error of the predicted class, over `BINS` of equal width.

    It is the mean distance of a bin's accuracy from its mean probability, weighted by its utterances.

    >>> calibration_error(np.array([[0.25, 0.75]] * 4), np.array([1, 1, 0, 0]))  # 75 % certain, half right
    0.25
    """
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == labels
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.bincount(place, weights=confidence - right, minlength=BINS)
    return float(np.abs(gap).sum() / len(labels))


def _metrics(
    task: Task, corpora: Concatenated, variants: Variants, outputs: np.ndarray, predictions: np.ndarray
) -> dict[str, Any]:
    """Return the metrics of a task; `predictions` [M, K] are probabilities or numbers."""
    whole, labels, classes = np.isinf(variants.cut), variants.labels, len(task.class_names)

    def quality(which: np.ndarray, predictions: np.ndarray = predictions) -> dict[str, Any]:
        own, predicted = labels[which], predictions[which]
        found: dict[str, Any] = {"utterances": len(own)}
        if not classes or len(np.unique(own)) == classes:  # else UAR is not defined
            found |= task.score(own, np.asarray(task.predict(predicted)))
        if classes:
            found["log_loss"] = log_loss(predicted, np.eye(classes)[own])
            found["calibration_error"] = calibration_error(predicted, own)
        return found

    decided = np.asarray(task.predict(predictions[whole]))
    each = np.asarray(task.predict(outputs[:, whole]))
    found = quality(whole) | {"speakers": len(np.unique(variants.speaker))}
    found["seeds"] = [task.score(labels[whole], one)[task.metric] for one in each]
    if task.metric in ("UAR", "CCC"):
        arguments = task.metric, labels[whole], decided[None], variants.speaker[whole]
        found["interval"] = speaker_interval(*arguments, classes=task.outputs)
    if classes:
        found["confusion"] = metrics.confusion(labels[whole], decided, classes).tolist()
        found["uncalibrated"] = quality(whole, softmax(outputs, axis=-1).mean(axis=0))
    corpus = corpora.corpus[variants.row]
    found["corpora"] = {name: quality(whole & (corpus == i)) for i, name in enumerate(corpora.names)}
    sex = np.concatenate([one.sex for one in corpora.corpora.values()])[variants.row[whole]]
    found["sex"] = _by_sex(task, labels[whole], decided, sex)
    found["seconds"] = {f"{cut:g}": quality(variants.cut == cut) for cut in CUTS if cut in variants.cut}
    return found


CARD = """---
{header}
---

# {name}

{synthetic}Predicts {tasks}
from {frontend.seconds:g} s of speech, {networks}.

```
ser-jax predict --model path/to/this/folder speech.wav
```

## Training

{epochs} epochs; features ({computed}) are standardized by the training utterances.

{corpora}
{by_emotion}
## Evaluation on held-out speakers

No network was trained on these speakers. The probabilities of each are calibrated on the others. Scores of
all utterances have 95 % intervals over speakers.

{quality}
{unseen}{distorted}
## Uses

It is made for research on emotion in speech, for teaching, and for prototypes whose users know what it
computes and agreed to it. Do not use it to judge or monitor people, for example at work, in schools, in
hiring, in insurance, by police or in medicine, and do not use it on people who do not know of it. The
European Union's AI Act prohibits inferring emotions in workplaces and schools (Article 5).

## Limits

It was trained on certain speakers, microphones and languages ({languages}). It may be wrong about speech that
was recorded otherwise. Acted emotions differ from felt ones.

Made by ser_jax {ser_jax}. {license}
"""
LICENSE = "Licence of the weights: {license}."
NO_LICENSE = "Licences of the corpora may restrict the use of models trained on them."
OTHERS = """
## Evaluation on other corpora

Nothing of these corpora was used to train or to calibrate it, and each recording is predicted by itself. The
mean is over the corpora; intervals are 95 % intervals for other speakers of these corpora, not for other
corpora.

{scores}
{unknown}"""
DISTORTED = """
## Distorted recordings

Means over the other corpora. Levels change without clipping, and every offset is removed before prediction.

{table}
"""
NETWORKS = (
    "by {seeds} networks per task, trained with different seeds: the\nmean of their outputs is the "
    "prediction, their standard deviation the spread"
)
NOT_STATED = """
The interval of the mean of {tasks} includes chance. The recogniser therefore does not state a class, unless
asked with `--force`.
"""
SYNTHETIC = """**It was trained on synthetic speech: its predictions for people's voices mean nothing.**

"""


def card(model: Trained, found: dict[str, dict[str, Any]], distorted: str = "") -> str:
    """Return the model card as Markdown, with the YAML header that model hubs read.

    `found` are the metrics of `evaluate`, `distorted` a table of `robustness.measure`.
    """
    facts = model.facts
    languages = sorted({name for corpus in facts["corpora"] for name in corpus["languages"]})
    header = {
        **({"license": facts["license"].lower()} if facts.get("license") else {}),
        "language": [name for name in languages if name != "unknown"],
        "library_name": "ser_jax",
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", *model.tasks, *(["synthetic"] * facts["synthetic"])],
    }
    corpora = [["corpus", "languages", "training", "speakers", "held out", "speakers"]]
    for one in facts["corpora"]:
        sizes = [*one["training"].values(), *one["held_out"].values()]
        corpora.append([one["name"], ", ".join(one["languages"]), *map(str, sizes)])
    derived = ", ".join(one["name"] for one in facts["corpora"] if one["by_emotion"])
    quality = [["task", "utterances", "number", "score", "log loss", "calibration error"]]
    for name, own in found.items():
        parts = {"all": own, "not calibrated": own.get("uncalibrated")} | own["corpora"]
        parts |= {f"cut to {cut} s": part for cut, part in own["seconds"].items()}
        keys = model.tasks[name].task.metric, "log_loss", "calibration_error"
        for part, scores in parts.items():
            if scores is None:
                continue
            score, *rest = ("-" if (it := scores.get(key)) is None else f"{it:.3f}" for key in keys)
            if None not in scores.get("interval", [None]):  # there is none of a single speaker
                score += " [{:.3f}, {:.3f}]".format(*scores["interval"])
            quality.append([name, part, str(scores["utterances"]), f"{keys[0]} {score}", *rest])
        for sex, score in own["sex"].items():
            quality.append([name, sex, "-", f"{keys[0]} {score:.3f}", "-", "-"])
    unseen, unknown = facts.get("unseen"), " and ".join(sorted(unknown_tasks(model)))
    others = ""
    if unseen:
        not_stated = NOT_STATED.format(tasks=unknown) if unknown else ""
        others = OTHERS.format(scores=_unseen_table(model, unseen), unknown=not_stated)
    license = LICENSE.format(license=facts["license"]) if facts.get("license") else NO_LICENSE
    return CARD.format(
        **facts
        | {"corpora": markdown_table(corpora), "synthetic": SYNTHETIC if facts["synthetic"] else ""}
        | {"license": license, "unseen": others},
        distorted=DISTORTED.format(table=distorted.rstrip("\n")) if distorted else "",
        networks=NETWORKS.format(**facts) if facts["seeds"] > 1 else "by one network per task",
        header="\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items()),
        tasks="; ".join(f"{name} ({', '.join(own.names)})" for name, own in model.tasks.items()),
        frontend=model.frontend,
        computed=model.frontend.name + getattr(model.frontend, "notice", ""),
        quality=markdown_table(quality),
        by_emotion=f"\nArousal and valence follow from the emotions: {derived}.\n" if derived else "",
        languages=", ".join(languages),
    )


def _unseen_table(model: Trained, unseen: dict[str, dict[str, Any]]) -> str:
    lines = [["task", "corpus", "languages", "utterances", "speakers", "score", "women", "men"]]
    for task, found in unseen.items():
        metric = model.tasks[task].task.metric
        for name, own in [*found["corpora"].items(), ("mean", found)]:
            low, high = own.get("interval", [None, None])
            score = f"{metric} {own[metric]:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")
            about = [own.get(key, "-") for key in ("languages", "utterances", "speakers")]
            sizes = [", ".join(one) if isinstance(one, list) else str(one) for one in about]
            sexes = [f"{own[sex]:.3f}" if sex in own else "-" for sex in ("female", "male")]
            lines.append([task, name, *sizes, score, *sexes])
    return markdown_table(lines)
