"""A results folder made up without any training, for tests of reports."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from ser_jax.experiment import config as configuration
from ser_jax.experiment import results as stored
from ser_jax.experiment import settings as known
from ser_jax.experiment.config import Config, ProtocolConfig
from ser_jax.report.attention import COLUMNS
from ser_jax.tasks import TASKS, Regression

NAMES = ("de", "en", "fr")
SPEAKERS, EACH = 10, 8
SESSION = {
    "started": "2026-03-01T10:00:00+00:00", "seconds": 75.3, "finished": True,
    "computed": ["monolingual de", "crosslingual de>en"], "devices": 2, "hosts": 1,
    "commit": "0123456789abcdef0123456789abcdef01234567+", "backend": "cpu", "device": "A processor <fast>",
    "cores": 2, "python": "3.11.9", "omp_wait_policy": None, "jax": "0.10.2", "numpy": "2.4.0", "torch": None,
}  # fmt: skip
UTTERANCES = [f"u{i:03d}" for i in range(SPEAKERS * EACH)]


def config(names=NAMES, tasks=("arousal", "valence"), seeds=3, folds=5, **options):
    protocol = ProtocolConfig(seeds=seeds, folds=folds)
    return Config(corpora=names, tasks=tuple(map(TASKS.get, tasks)), protocol=protocol, **options)


def corpus(name, **facts):
    size = {"utterances": SPEAKERS * EACH, "speakers": SPEAKERS, "languages": [name[:2]]}
    start = {"name": name, "builder": "manifest", "synthetic": False, "left_out": 0, "partners": False}
    return start | {"fingerprint": f"{name}0" * 8} | size | facts


def claim(out: Path, config: Config, corpora=None, tables=None, folds=None, **facts):
    """Write config.json as an experiment does; `tables` are names to settings, or to (settings, figure)."""
    described = configuration.describe(config)
    tree = {key: value for key, value in described.items() if key not in stored.NEUTRAL}
    parts = np.split(np.array(UTTERANCES), config.protocol.folds)
    following = [*parts[1:], parts[0]]
    every = [{"test": one.tolist(), "dev": two.tolist()} for one, two in zip(parts, following, strict=True)]
    hashed = {
        "config": tree,
        "corpora": corpora or [corpus(name, **facts) for name in config.corpora],
        "folds": {name: every for name in config.corpora} if folds is None else folds,
        "code": "c0de" * 16,
    }
    hashed = json.loads(json.dumps(hashed | {"settings": {}}))
    shown = {
        name: dict(zip(("settings", "figure"), one, strict=True))
        if isinstance(one, tuple)
        else {"settings": one, "figure": None}
        for name, one in (tables or {}).items()
    }
    rest = {"missing": [], "tables": {n: {**one, "cells": []} for n, one in shown.items()}}
    out.mkdir(parents=True, exist_ok=True)
    document = {"hash": configuration.digest(hashed), **hashed, **rest, "sessions": [SESSION]}
    (out / "config.json").write_text(json.dumps(document))  # fmt: skip


def cell(task, outputs, labels, speakers, **facts):
    """Predictions of outputs [R, M, K] for utterances of speakers, each a cluster of its own by default."""
    known = {
        "utterance": np.array([f"u{i:03d}" for i in range(len(labels))]), "speaker": speakers,
        "session": speakers, "cluster": np.unique(speakers, return_inverse=True)[1],
        "sex": np.full(len(labels), "female"), "fold": np.zeros(len(labels), int),
        "train": ("one",), "test": ("two",), "name": "mine", "seed": np.arange(len(outputs)),
    }  # fmt: skip
    return stored.make_predictions(
        task, outputs=np.asarray(outputs, np.float32), labels=labels, **known | facts
    )


def predicted(task, right, *, name, train, test, seed=0, runs=3, folds=5, dev=False):
    """Runs that are right about a share of the utterances, of 10 speakers, in folds or in a single part."""
    rng, n = np.random.default_rng(seed), len(UTTERANCES)
    fold = np.arange(n) // (n // folds)
    if isinstance(task, Regression):
        labels = rng.uniform(-1, 1, (n, task.outputs)).astype(np.float32)
        labels[:, 2:] = np.nan if task.outputs > 2 else labels[:, 2:]
        outputs = np.nan_to_num(labels) + rng.normal(0, 1.5 - right, (runs, n, task.outputs))
    else:
        labels = np.arange(n) % task.outputs if task.outputs > 2 else np.arange(n) % 3 > 0
        labels = labels.astype(int)
        hit = rng.random((runs, n)) < np.clip(right + rng.normal(0, 0.03, (runs, 1)), 0, 1)
        taken = np.where(hit, labels, (labels + 1) % task.outputs)
        outputs = 1.4 * (taken[..., None] == np.arange(task.outputs))
    if dev:
        fold = (fold - 1) % folds
    speakers = np.repeat([f"s{i}" for i in range(SPEAKERS)], EACH)
    sex = np.where(np.arange(n) // EACH % 2, "male", "female")
    return cell(task, outputs, labels, speakers, name=name, train=train, test=test, fold=fold, sex=sex)


def log(epochs=12, runs=6, dev=True):
    rng = np.random.default_rng(0)
    fall = 0.7 * np.exp(-np.arange(epochs) / 8) + rng.uniform(0, 0.1, (runs, epochs))
    unknown = np.full((runs, epochs // 2), np.nan)
    return stored.TrainingLog(
        fold=np.arange(runs), seed=np.zeros(runs, int), loss=fall, dev_epochs=np.arange(2, epochs + 1, 2),
        dev_loss=fall[:, 1::2] + 0.1 if dev else unknown,
        dev_score=1 - 0.6 * fall[:, 1::2] if dev else unknown, different=np.array(100),
        stopped=np.zeros((runs, 2), int),
    )  # fmt: skip


def keep(out, setting, right, training=False, dev=True):
    """Store a setting's description and predictions, and how it was trained."""
    stored.note(out, settings={setting.slug: setting.describe()})
    if training:
        stored.write_arrays(out / "training" / f"{setting.slug}.npz", vars(log(dev=dev)))
    single = setting.plan is known.whole_corpora
    for test, task in setting.cells:
        found = predicted(
            task, right, name=setting.name, train=setting.train, test=test, runs=setting.seeds,
            folds=1 if single else 5, seed=sum(map(ord, setting.slug + "".join(test))), dev=setting.tuned,
        )  # fmt: skip
        stored.write_predictions(out, found)


def missing(setting, reason, test=None):
    cell = {"setting": setting.name, "train": setting.train, "test": test or setting.test}
    return cell | {"task": setting.task.name, "reason": reason}


def everything(out):
    """What experiments leave that have figures of their own: of three corpora, and one task."""
    own = config(tasks=("arousal",))
    claim(out, own)
    for setting in known.table2(own):
        keep(out, setting, 0.7, training=setting.name in ("monolingual", "crosslingual"),
             dev=setting.name == "monolingual")  # fmt: skip
    for setting in known.tuning(dataclasses.replace(own, corpora=NAMES[:1])):
        keep(out, setting, 0.6 + setting.model.pool / 300)
    for n in (10, 50, 200):
        for setting in known.finetuned(own, f"finetuned_{n}", samples=n, draw_by_seed=True)[:3]:
            keep(out, setting, 0.6 + 0.05 * np.log10(n))
    lost = known.finetuned(own, "finetuned_400", samples=400, draw_by_seed=True)[0]
    stored.note_missing(out, [missing(lost, "fold 1: 300, fewer than 400")])
    return out


def attention(names):
    rng, found = np.random.default_rng(0), {}
    for name in names:
        expected = np.arange(8, 0, -1) / 36
        shares = rng.dirichlet(np.arange(8, 0, -1) * 3.0, 3), rng.dirichlet(expected * 40, 3), expected
        each = [*shares, *rng.uniform(0.3, 0.7, (4, 3))]
        found[name] = {key: value.tolist() for key, value in zip(COLUMNS, each, strict=True)}
    return found
