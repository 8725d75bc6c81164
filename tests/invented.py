"""A results folder made up without any training, for tests of what is made of one."""

import json
from pathlib import Path

import numpy as np

from experiments import keeping, predictions, protocol
from experiments.keeping import Training
from experiments.predictions import Cell, Predictions

NAMES = ("de", "en", "fr")
NOBODY = {"test": [], "dev": []}
TARGETS = ("arousal", "valence")
TABLES = {
    "monolingual": ["monolingual"],
    "table2": ["monolingual", "multilingual", "crosslingual", "finetuned"],
    "learning_curve": ["crosslingual", "finetuned_10", "finetuned_50", "finetuned_200", "finetuned_400"],
    "related": ["monolingual", "voted", "multilingual", "multilingual_histogram", "language"],
    "tuning": [f"tuning_k{kernel}_p{pool}" for kernel in (5, 10, 20) for pool in (15, 30)],
    "english_1308": ["monolingual", "monolingual_cut"],
}
SESSION = {
    "started": "2026-03-01T10:00:00+00:00",
    "seconds": 75.3,
    "finished": True,
    "computed": ["monolingual de", "crosslingual de>en"],
    "devices": 2,
    "hosts": 1,
    "commit": "0123456789abcdef0123456789abcdef01234567+",
    "backend": "cpu",
    "device": "A processor <fast>",
    "cores": 2,
    "python": "3.11.9",
    "omp_wait_policy": None,
    "jax": "0.10.2",
    "numpy": "2.4.0",
    "torch": None,
}


def corpus(name: str, **facts) -> dict:
    known = {"builder": "manifest", "synthetic": False, "left_out": 0, "fingerprint": f"{name}0" * 8}
    return {"name": name, **known, **facts}


def chosen(corpora: list[dict], **options) -> dict:
    return {
        "corpora": corpora,
        "targets": list(TARGETS),
        "seeds": 3,
        "folds": 5,
        "epochs": 50,
        "finetune_epochs": 10,
        "finetune_samples": 100,
        "standardize": None,
        "standardize_default": {"within": "train", "across": "corpus"},
        "label_rule": "footnote",
        "version": "1.0",
        "model": {"precision": "float32", "channels": 200},
        "training": {"learning_rate": 0.001, "batch": 32},
        "fold_hashes": {one["name"]: [protocol.sha256(NOBODY)] * 5 for one in corpora},
        **options,
    }


def claim(out: Path, corpora: list[dict], tables: dict | None = None, **options) -> None:
    wanted = chosen(corpora, **options)
    out.mkdir(parents=True, exist_ok=True)
    folds = {one["name"]: [{"sha256": protocol.sha256(NOBODY), **NOBODY}] * 5 for one in corpora}
    document = {"hash": protocol.sha256(wanted), "protocol": wanted, "folds": folds}
    shown = {name: {"settings": settings, "cells": []} for name, settings in (tables or {}).items()}
    content = document | {"tables": shown, "sessions": [SESSION]}
    (out / "protocol.json").write_text(json.dumps(content))


def said(right: float, seed: int = 0, runs: int = 3, speakers: int = 10, each: int = 8) -> Predictions:
    """Runs that are right about a share of the utterances, of 10 speakers in 5 folds."""
    rng, n = np.random.default_rng(seed), speakers * each
    label = (np.arange(n) % 3 > 0).astype(np.int8)
    hit = rng.random((runs, n)) < np.clip(right + rng.normal(0, 0.03, (runs, 1)), 0, 1)
    return Predictions(
        np.array([f"u{i:03d}" for i in range(n)]),
        np.repeat([f"s{i}" for i in range(speakers)], each),
        np.arange(n) // (n // 5),
        label,
        np.arange(runs),
        np.where(hit == (label == 1), 0.8, 0.2).astype(np.float32),
    )


def training(epochs: int = 12, runs: int = 6, dev: bool = True) -> Training:
    rng = np.random.default_rng(0)
    fall = 0.7 * np.exp(-np.arange(epochs) / 8) + rng.uniform(0, 0.1, (2 * runs, epochs))
    watched = np.arange(2, epochs + 1, 2)
    unknown = np.full((2 * runs, len(watched)), np.nan)
    return Training(
        np.repeat(TARGETS, runs),
        np.tile(np.arange(runs), 2),
        np.zeros(2 * runs, int),
        fall,
        watched,
        fall[:, 1::2] + 0.1 if dev else unknown,
        100 - 60 * fall[:, 1::2] if dev else unknown,
        np.zeros((2 * runs, 2), int),
    )


def keep(out: Path, cell: Cell, right: float) -> None:
    predictions.write(out, cell, said(right, seed=sum(map(ord, "".join(cell)))))


def keep_training(out: Path, setting: str, train: str, **how) -> None:
    predictions.write_arrays(out / "training" / f"{setting}-{train}-x.npz", training(**how)._asdict())


def everything(out: Path, names: tuple[str, ...] = NAMES, targets=TARGETS, **facts) -> Path:
    """All that experiments can leave: every section of a page has something to say."""
    claim(out, [corpus(name, **facts) for name in names], TABLES, targets=list(targets))
    for target in targets:
        known = 0.7 if target == "arousal" else 0.6
        for name in names:
            others = [other for other in names if other != name]
            keep(out, Cell("monolingual", name, name, target), known + 0.15)
            keep(out, Cell("multilingual", "+".join(names), name, target), known + 0.17)
            keep(out, Cell("multilingual_histogram", "+".join(names), name, target), known + 0.1)
            keep(out, Cell("voted", "+".join(names), name, target), known + 0.12)
            for kernel in (5, 10, 20):
                for pool in (15, 30):
                    keep(out, Cell(f"tuning_k{kernel}_p{pool}", name, name, target), known + pool / 200)
            for other in others:
                keep(out, Cell("aside", other, name, target), known - 0.02)
                keep(out, Cell("crosslingual", other, name, target), known)
                keep(out, Cell("finetuned", other, name, target), known + 0.12)
                for n in (10, 50, 200):
                    keep(out, Cell(f"finetuned_{n}", other, name, target), known + 0.05 * np.log10(n))
    keep(out, Cell("language", "+".join(names[:2]), "+".join(names[:2]), "language"), 0.9)
    keep(out, Cell("monolingual_cut", names[0], names[0], "arousal"), 0.77)
    for name in names:
        keep_training(out, "monolingual", name)
        keep_training(out, "crosslingual", name, dev=False)
        keep_training(out, "tuning_k5_p15", name)
    keep_training(out, "multilingual", "+".join(names))
    lost = [Cell("finetuned_400", names[0], names[1], target) for target in targets]
    keeping.note_missing(out, dict.fromkeys(lost, "fold 1: 300, fewer than 400"))
    (out / "attention.json").write_text(json.dumps(attention(names[:2])))
    return out


def attention(names) -> dict:
    rng = np.random.default_rng(0)
    found, even = {}, np.tri(8) / np.arange(1, 9)[:, None]
    for name in names:
        shares = rng.dirichlet(np.arange(8, 0, -1) * 3.0, 3)
        expected = np.arange(8, 0, -1) / 36
        among = rng.dirichlet(expected * 40, 3)
        found[name] = {
            "shares": shares.tolist(),
            "among": among.tolist(),
            "expected": expected.tolist(),
            "decided": rng.uniform(0.5, 0.8, 3).tolist(),
            "decided_among": rng.uniform(0.5, 0.8, 3).tolist(),
            "padding_weight": rng.uniform(0.3, 0.6, 3).tolist(),
            "padding_wins": rng.uniform(0.3, 0.6, 3).tolist(),
            "by_length_utterances": [0, *[10] * 7],
            "by_length_among": [even.tolist()] * 3,
        }
    return found
