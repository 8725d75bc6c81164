"""Corpora whose labels are stored without their recordings, in DATA_DIR/DATABASE/NAME/labels.json."""

import json
from pathlib import Path

from ser_jax.data.corpus import LABELS, Facts, label_columns
from ser_jax.data.databases import DATABASES
from ser_jax.io import write_json

FILE = "labels.json"


def found(data_dir: Path) -> dict[str, Path]:
    """Return name to file of every corpus of which only the labels are stored."""
    return {
        file.parent.name: file for database in DATABASES for file in data_dir.glob(f"{database}/*/{FILE}")
    }


def write(folder: Path, facts: Facts) -> Path:
    """Write the labels of a corpus into its folder, atomically; NaN becomes null."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = zip(*(getattr(facts, key).tolist() for key in LABELS), strict=True)
    rows = [
        {key: None if value != value else value for key, value in zip(LABELS, row, strict=True)}
        for row in columns
    ]
    write_json(folder / FILE, facts.metadata | {"utterances": rows})
    return folder / FILE


def read(name: str, file: Path) -> Facts:
    """Return the facts in a file of labels, sorted by id.

    Raises: AttributeError, LookupError, RecursionError, TypeError, ValueError if `write` did not write it.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = sorted(content["utterances"], key=lambda row: row["id"])
    if not rows:
        raise LookupError("utterances")
    return Facts(
        name=name,
        database=content["builder"],
        synthetic=content["synthetic"],
        thresholds=dict(content["thresholds"]),
        scales={dimension: (low, high) for dimension, (low, high) in content["scales"].items()},
        **label_columns(rows),
    )
