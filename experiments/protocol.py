"""What was run, on which data, where and when: `protocol.json` of a results folder.

Two results whose protocols have the same hash are of one experiment and may stand in one table.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ser_jax
from experiments.options import ACROSS, COMPUTING, WITHIN, Options
from experiments.pool import Pool
from experiments.predictions import ResultsError, whole
from ser_jax.devices import Machine
from ser_jax.errors import beside
from ser_jax.experiment.provenance import commit, describe_environment
from ser_jax.experiment.resume import differences
from ser_jax.model import ModelConfig
from ser_jax.train import TrainConfig

NOTED = {
    "corpora", "targets", "seeds", "folds", "epochs", "finetune_epochs", "finetune_samples", "standardize",
    "standardize_default", "label_rule", "model",
}  # fmt: skip
TABLE = re.compile(r"[a-z0-9_]+")  # names become paths
CELL = re.compile(r"[a-z0-9_+]+(-[a-z0-9_+]+){3}")
FACTS = {  # of a corpus: what the protocol calls it, and its attribute
    "name": "name", "builder": "database", "synthetic": "synthetic", "left_out": "left_out",
    "fingerprint": "fingerprint",
}  # fmt: skip


def of(options: Options, pool: Pool) -> dict[str, Any]:
    """What must be the same for two results to be of one experiment, and the folds' utterances beside it."""
    chosen = dataclasses.asdict(options)
    for key in ("data_dir", "out", "precision", *COMPUTING):  # the precision is the model's
        del chosen[key]
    folds = {name: _folds(pool, name) for name in pool.names}
    chosen["version"] = ser_jax.__version__
    chosen["model"] = dataclasses.asdict(ModelConfig(precision=options.precision))
    chosen["training"] = {"learning_rate": TrainConfig.learning_rate, "batch": TrainConfig.batch}
    chosen["corpora"] = [
        {fact: getattr(c, own) for fact, own in FACTS.items()} for c in pool.corpora.values()
    ]
    chosen["fold_hashes"] = {name: [fold["sha256"] for fold in own] for name, own in folds.items()}
    chosen["standardize_default"] = {"within": WITHIN, "across": ACROSS}
    chosen = json.loads(json.dumps(chosen))
    return {"hash": sha256(chosen), "protocol": chosen, "folds": folds}


def sha256(content: Any) -> str:
    """Of what JSON can say, however it is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _folds(pool: Pool, name: str) -> list[dict[str, Any]]:
    """Who is in which part; what is in neither of the two trains."""
    parts = [
        {"test": pool.id[fold.test].tolist(), "dev": pool.id[fold.dev].tolist()} for fold in pool.folds(name)
    ]
    return [{"sha256": sha256(part), **part} for part in parts]


def claim(out: Path, asked: dict[str, Any]) -> None:
    """Makes `out` the home of results of what `of` gave, or finds that it is already.

    Raises: ResultsError where it holds results of another protocol, or of none; OSError where it cannot be
      written.
    """
    path = out / "protocol.json"
    if path.exists():
        found = read(out)
        if found != asked["protocol"]:
            raise ResultsError(
                f"{out} holds results of another protocol "
                f"({', '.join(_telling(differences(found, asked['protocol'])))}); repeat it with its own "
                "options, or choose another --out"
            )
        return
    orphans = [name for name in ("predictions", "models") if (out / name).exists()]
    if orphans:
        raise ResultsError(
            f"{out} holds {' and '.join(orphans)} without the protocol.json that says of what; "
            "choose another --out"
        )
    _write(out, asked | {"tables": {}, "sessions": []})


def _telling(found: Iterable[str]) -> list[str]:
    """Without the folds' hashes where something else is named that they follow from."""
    every = list(found)
    return [one for one in every if "fold_hashes" not in one] or every


def document(out: Path) -> dict[str, Any]:
    """The whole file.

    Raises: ResultsError where it is not there, or damaged.
    """
    path = out / "protocol.json"
    try:
        found = json.loads(path.read_text())
        hashes = {name: [fold["sha256"] for fold in own] for name, own in found["folds"].items()}
        parts = [fold for own in found["folds"].values() for fold in own]
        whole_folds = all(
            fold["sha256"] == sha256({"test": fold["test"], "dev": fold["dev"]}) for fold in parts
        )
        if found["hash"] != sha256(found["protocol"]):
            reason = "it was changed since it was written, its hash is of something else"
        elif hashes != found["protocol"]["fold_hashes"] or not whole_folds:
            reason = "its folds are not those of its hashes"
        elif not _complete(found["protocol"]):
            reason = "it lacks what every experiment notes"
        elif not isinstance(found["tables"], dict) or not isinstance(found["sessions"], list):
            reason = "its tables or sessions are missing"
        elif not all(map(TABLE.fullmatch, found["tables"])) or not all(map(CELL.fullmatch, _cells(found))):
            reason = "its tables have names that no experiment gives"
        else:
            return found
    except (FileNotFoundError, NotADirectoryError):
        raise ResultsError(
            f"no {path}{beside(out)}; expected a folder that an experiment has written"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        reason = "expected a JSON object with protocol and hash"
    raise ResultsError(f"{path} is not a protocol, {reason}; restore it, or compute into another folder")


def _complete(chosen: dict[str, Any]) -> bool:
    corpora = chosen.get("corpora") or []
    return chosen.keys() >= NOTED and bool(corpora) and all(set(FACTS) <= corpus.keys() for corpus in corpora)


def _cells(found: dict[str, Any]) -> list[str]:
    return [cell for shown in found["tables"].values() for cell in shown["cells"]]


def read(out: Path) -> dict[str, Any]:
    """The protocol that the results in `out` were made by.

    Raises: ResultsError where there is none, or its file is damaged.
    """
    return document(out)["protocol"]


def note_table(out: Path, name: str, settings: list[str], cells: list[str]) -> dict[str, Any]:
    """Keeps which settings and cells a table shows, so that it can be recomputed; returns the whole file."""
    found = document(out)
    shown = {"settings": settings, "cells": cells}
    if found["tables"].get(name) != shown:
        found |= {"tables": found["tables"] | {name: shown}}
        _write(out, found)
    return found


@contextlib.contextmanager
def timed(out: Path, machine: Machine) -> Iterator[Callable[[str], None]]:
    """Notes in the file what this program computes, with what, and how long it takes.

    A session that was killed stays noted as not finished, with no time.

    Yields: what is to be told of everything that was computed and stored.
    """
    if machine.host != 0:
        yield lambda _: None
        return
    before, earlier = time.perf_counter(), document(out)["sessions"]
    session: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": None,
        "finished": False,
        "computed": [],
        "devices": machine.mesh.size,
        "hosts": machine.hosts,
        "commit": commit(),
        **describe_environment(),
    }

    def note(computed: str | None = None) -> None:
        session["computed"] += [] if computed is None else [computed]
        _write(out, document(out) | {"sessions": [*earlier, session]})

    note()
    try:
        yield note
        session["finished"] = True
    finally:
        session["seconds"] = round(time.perf_counter() - before, 1)
        note()


def _write(out: Path, content: dict[str, Any]) -> None:
    with whole(out / "protocol.json") as file:
        file.write_text(json.dumps(content, indent=1) + "\n")
