"""Corpora whose labels are kept without their recordings, in DATA_DIR/DATABASE/NAME/labels.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data.corpus import LABELS, TARGETS, Facts
from ser_jax.data.databases import DATABASES
from ser_jax.whole import new_file

FILE = "labels.json"


def found(data_dir: Path) -> dict[str, Path]:
    """Name to file of every corpus of which the labels are kept."""
    return {
        file.parent.name: file for database in DATABASES for file in data_dir.glob(f"{database}/*/{FILE}")
    }


def write(folder: Path, facts: Facts) -> Path:
    """Writes the labels of a corpus into its folder; what is there is replaced at once or not at all."""
    columns = [getattr(facts, key).tolist() for key in LABELS]
    rows = ",\n".join(
        json.dumps(dict(zip(LABELS, row, strict=True)), ensure_ascii=False)
        for row in zip(*columns, strict=True)
    )
    folder.mkdir(parents=True, exist_ok=True)
    with new_file(folder / FILE) as stream:
        stream.write(f'{json.dumps(facts.head)[:-1]}, "utterances": [\n{rows}\n]}}\n'.encode())
    return folder / FILE


def read(name: str, file: Path) -> Facts:
    """The facts in a file of labels, sorted by id.

    Raises: AttributeError, LookupError, RecursionError, TypeError, ValueError of what `write` did not write.
    """
    kept = json.loads(file.read_text(encoding="utf-8"))
    rows = sorted(kept["utterances"], key=lambda row: row["id"])
    if not rows or not {*TARGETS} <= kept["thresholds"].keys():
        raise LookupError("utterances or thresholds")
    columns: dict[str, Any] = {key: np.array([row[key] for row in rows]) for key in LABELS}
    return Facts(
        name=name,
        database=kept["builder"],
        synthetic=kept["synthetic"],
        thresholds=kept["thresholds"],
        **columns,
    )
