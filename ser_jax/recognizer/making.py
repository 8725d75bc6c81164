"""`ser-jax train`: prepared corpora in, the folder of a recogniser out."""

import json
from pathlib import Path
from typing import Any

from ser_jax import data
from ser_jax.bar import late_bar
from ser_jax.devices import Machine, use_all_cores
from ser_jax.io import atomic_folder
from ser_jax.recognizer import fitting, folder
from ser_jax.recognizer.card import card
from ser_jax.recognizer.fitting import Recipe, TrainingError
from ser_jax.recognizer.trained import Trained


def make(
    corpora: list[str], out: Path, data_dir: Path | None = None, name: str | None = None, **recipe: Any
) -> dict[str, Any]:
    """Trains a recogniser and keeps it, whole or not at all; draws a progress bar.

    On one machine the same corpora and recipe give the same bytes.

    Args:
      corpora: names of prepared corpora, one or more.
      out: a folder that does not exist yet or is empty.
      data_dir: where they were prepared; None for the usual place.
      name: of the model; by default the folder's.
      recipe: what else `fitting.Recipe` holds.
    Returns: the metrics, as JSON.
    Raises: UserError (a subclass) where a corpus is unknown or unfit, `out` holds something, or the name has
      line breaks.
    """
    twice = sorted({one for one in corpora if corpora.count(one) > 1})
    if twice:
        raise TrainingError(f"corpus {twice[0]} is named twice, expected each once")
    name = name or out.absolute().name
    if not name.isprintable():
        raise TrainingError(f"name {name!r}, expected one line that can be printed")
    with atomic_folder(out, TrainingError) as partial:  # it can be written: known before an hour of training
        trained, metrics = _fitted(corpora, data_dir, Recipe(name, **recipe))
        folder.write(partial, trained)
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(card(trained, metrics), encoding="utf-8")
    return metrics


def _fitted(corpora: list[str], data_dir: Path | None, recipe: Recipe) -> tuple[Trained, dict[str, Any]]:
    try:
        loaded = [data.load(one, data_dir) for one in corpora]
        use_all_cores()
        with late_bar(desc="training", unit=" utterance-steps", unit_scale=True) as bar:
            return fitting.fit(loaded, recipe, Machine.here(), bar)
    except OSError as error:  # which would pass for one in writing the model
        raise TrainingError(
            f"{error.filename or 'a corpus'}: {error.strerror or error}, expected a corpus that can be read"
        ) from error
