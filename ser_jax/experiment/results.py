"""A results folder on disk: what was run, the predictions, the models, and how they were trained.

    config.json            configuration, corpora, folds, code digest, settings, tables, sessions
    predictions/*.npz      what every run of a setting predicts for a tested corpus
    models/*/              parameters of a setting's runs
    training/*.npz         losses and development scores of a setting's runs

Every file appears whole or not at all. Tables and figures follow from this folder alone.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ser_jax import checkpoint, io
from ser_jax.devices import Machine
from ser_jax.engine import RunResult, RunSpec
from ser_jax.errors import ResultsError, beside
from ser_jax.experiment import provenance
from ser_jax.experiment.code import code_digest
from ser_jax.experiment.config import Config, describe, differences, digest
from ser_jax.experiment.pool import Pool
from ser_jax.experiment.predictions import (
    gather_predictions,
    predictions_file,
    training_log,
    write_arrays,
    write_predictions,
)
from ser_jax.experiment.settings import Setting, slug
from ser_jax.model import Tree

CONFIG = "config.json"
PROTOCOL = ("config", "corpora", "folds", "code")  # equal for all results of a folder
HASHED = (*PROTOCOL, "settings")
PARTS = {"config": dict, "corpora": list, "folds": dict, "settings": dict, "missing": list, "tables": dict,
         "sessions": list}  # fmt: skip
NEUTRAL = ("out", "data_dir", "compute")  # parts of the tree that change no result
FOLDERS = ("predictions", "models", "training")


def protocol(config: Config, pool: Pool) -> dict[str, Any]:
    """Return what must be equal for two results to be of one experiment, by the names of `PROTOCOL`."""
    corpora = [
        {
            "name": one.name, "builder": one.database, "synthetic": one.synthetic, "left_out": one.left_out,
            "fingerprint": one.fingerprint, "utterances": len(one), "speakers": len(np.unique(one.speaker)),
            "languages": sorted(set(one.language.tolist())),
        }
        for one in pool.corpora.values()
    ]  # fmt: skip
    folds = {
        name: [{part: pool.id[getattr(fold, part)].tolist() for part in ("test", "dev")} for fold in each]
        for name, each in pool.every_fold().items()
    }
    tree = {name: value for name, value in describe(config).items() if name not in NEUTRAL}
    return json.loads(json.dumps({"config": tree, "corpora": corpora, "folds": folds, "code": code_digest()}))


def claim(
    out: Path, wanted: dict[str, Any], settings: Iterable[Setting], accept_changed_code: bool = False
) -> None:
    """Make `out` the folder of a protocol's results, or check that it is.

    Args:
      out: the folder.
      wanted: from `protocol`.
      settings: what is computed; those that are stored must be what they were.
      accept_changed_code: whether results of other code are continued.
    Raises: ResultsError if it holds results of another protocol or setting, of other code, or of none.
    """
    if not (out / CONFIG).exists():
        if orphans := [name for name in FOLDERS if (out / name).exists()]:
            raise ResultsError(
                f"{out} holds {' and '.join(orphans)} without the {CONFIG} that says of what; choose another "
                "--out"
            )
        _write(out, wanted | {name: kind() for name, kind in PARTS.items() if name not in wanted})
        return
    for folder in (out, *(out / name for name in FOLDERS)):
        io.remove_partial_files(folder)
    found = read_document(out)
    described = {one.slug: json.loads(json.dumps(one.describe())) for one in settings}
    now = wanted | {"settings": {name: one for name, one in described.items() if name in found["settings"]}}
    before = {name: found[name] for name in PROTOCOL}
    before |= {"settings": {name: found["settings"][name] for name in now["settings"]}}
    if other := list(differences(without_code(before), without_code(now))):
        raise ResultsError(
            f"{out} holds results of another experiment ({', '.join(other)}); repeat it with its own options "
            f"(--config {out / CONFIG}), or choose another --out"
        )
    if before != now:
        if not accept_changed_code:
            raise ResultsError(
                f"{out} holds results of other code: what they depend on was changed since; choose another "
                "--out, or go on with --accept-changed-code"
            )
        _write(out, found | wanted | {"settings": found["settings"] | now["settings"]})


def without_code(content: Any) -> Any:
    """Return JSON without the digests of code in it."""
    if isinstance(content, dict):
        return {name: without_code(value) for name, value in content.items() if name != "code"}
    return content


def read_document(out: Path) -> dict[str, Any]:
    """Read config.json of a results folder.

    Raises: ResultsError if it is missing, damaged or was edited.
    """
    path = out / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["hash"] != _hash(found):
            reason = "it was changed since it was written: its hash is of something else"
        elif not _complete(found):
            reason = "it lacks what every experiment notes"
        else:
            return found
    except (FileNotFoundError, NotADirectoryError):
        raise ResultsError(
            f"no {path}{beside(out)}; expected a folder that an experiment has written"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        reason = "expected a JSON object with config and hash"
    raise ResultsError(f"{path} is not an experiment's, {reason}; restore it, or compute into another folder")


def _hash(document: dict[str, Any]) -> str:
    return digest({name: document[name] for name in HASHED})


def _complete(found: dict[str, Any]) -> bool:
    # Names of tables become paths.
    names = all(name.replace("_", "").isalnum() and name.isascii() for name in found["tables"])
    entries = (
        (found["corpora"], {"name", "builder", "synthetic", "left_out"}),
        (found["tables"].values(), {"settings", "figure", "cells"}),
        (found["missing"], {"setting", "train", "test", "task", "reason"}),
    )
    facts = all(keys <= one.keys() for each, keys in entries for one in each)
    return names and facts and all(isinstance(found[name], kind) for name, kind in PARTS.items())


def _write(out: Path, content: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    io.write_json(out / CONFIG, content | {"hash": _hash(content)}, synced=True)


def note(out: Path, **changes: Any) -> dict[str, Any]:
    """Add to parts of config.json; returns the whole document."""
    found = read_document(out)
    for name, value in changes.items():
        found[name] = found[name] | value if isinstance(value, dict) else value
    _write(out, found)
    return found


def note_missing(out: Path, missing: Sequence[dict[str, Any]]) -> None:
    """Note cells that cannot be computed, with the reason, beside those noted before."""
    every = [*read_document(out)["missing"], *missing]
    known = {slug(one["setting"], one["train"], one["test"], one["task"]): one for one in every}
    note(out, missing=list(known.values()))


def store(
    pool: Pool, out: Path, setting: Setting, cells: Sequence[tuple[str, ...]], specs: Sequence[RunSpec],
    found: Sequence[RunResult], dev_epochs: Sequence[int],
) -> None:  # fmt: skip
    """Store the results of a setting: models first, predictions last; if these are there, everything is."""
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(one.params for one in found))
    checkpoint.save(out / "models" / setting.slug, params)
    log = training_log(setting.task, specs, found, dev_epochs)
    write_arrays(out / "training" / f"{setting.slug}.npz", vars(log))
    note(out, settings={setting.slug: setting.describe()})
    for test in cells:
        write_predictions(out, gather_predictions(pool, setting, test, specs, [one.outputs for one in found]))


def is_stored(out: Path, setting: Setting, cells: Sequence[tuple[str, ...]]) -> bool:
    """Return whether the results of a setting are there."""
    files = [predictions_file(out, setting, test) for test in cells]
    files.append(out / "training" / f"{setting.slug}.npz")
    files.append(out / "models" / setting.slug)
    return all(file.exists() for file in files)


def read_params(out: Path, setting: Setting, like: Tree) -> Tree:
    """Read the stacked parameters of a setting's runs; `like` is a tree of their shapes."""
    return checkpoint.restore(out / "models" / setting.slug, like)


@contextlib.contextmanager
def session(out: Path, machine: Machine) -> Iterator[Callable[[str], None]]:
    """Note in config.json what this program computes, on what, and how long it takes.

    A session that was killed stays noted as not finished.

    Yields: a function to call with every setting that was computed and stored.
    """
    if machine.host != 0:
        yield lambda _: None
        return
    before, earlier = time.perf_counter(), read_document(out)["sessions"]
    own: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": None, "finished": False,
        "computed": [], "devices": machine.mesh.size, "hosts": machine.hosts, "commit": provenance.commit(),
        **provenance.describe_environment(),
    }  # fmt: skip

    def computed(*labels: str) -> None:
        own["computed"] += labels
        note(out, sessions=[*earlier, own])

    computed()
    try:
        yield computed
        own["finished"] = True
    finally:
        own["seconds"] = round(time.perf_counter() - before, 1)
        computed()
