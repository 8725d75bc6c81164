"""Train the models that come with the package, and measure them on corpora of other speakers and languages.

    python -m experiments.default_model --sources corpora

SOURCES has a folder for each corpus, with manifest_full.csv, manifest.csv or the database as released.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser_jax.experiment import start_function

TRAINED, UNSEEN = ("ravdess", "nemo", "korean"), ("emodb", "savee", "casia", "emotale_da")
HIGH = {"emotale_da": {"arousal_threshold": 3.0, "valence_threshold": 3.0}}  # ratings from 1 to 5


def default_model(sources: Path, out: Path = Path("results/model")) -> None:
    """Write the folders `default` and `small` into `out`; `sources` has a folder of each corpus."""
    from ser_jax import data
    from ser_jax.features import LogMel
    from ser_jax.features.whisper import Whisper
    from ser_jax.model import AttentiveCNN, Probe
    from ser_jax.recognizer import robustness, trained
    from ser_jax.recognizer.train import card, train
    from ser_jax.train import TrainConfig

    found: dict[str, dict[str, Any]] = {}
    for name in (*TRAINED, *UNSEEN):
        files = [sources / name / f"manifest{kind}.csv" for kind in ("_full", "")]
        if tables := [file for file in files if file.exists()]:
            found[name] = {"database": "manifest", "source": tables[0]} | HIGH.get(name, {})
        else:
            found[name] = {"database": name, "source": sources / name}
    whisper_mean = Whisper(layers=(1, 2), stride=375, relative=True, trim=25.0)
    balanced = TrainConfig(class_weights="corpora")
    convex = replace(balanced, epochs=500, batch=8192, optimizer="sgd", learning_rate=0.01, weight_decay=50.0)
    shared: dict[str, Any] = {"data_dir": out / "data", "unseen": UNSEEN, "license": "CC-BY-NC-SA-4.0"}
    shared |= {"tasks": ("arousal", "valence"), "label_rule": "footnote"}
    for folder, frontend, network, training, seeds in (
        ("default", whisper_mean, Probe(), convex, 1),
        ("small", LogMel(), AttentiveCNN(channels=40), balanced, 2),
    ):
        for name, source in found.items():
            data.prepare(name=name, features=frontend, data_dir=out / "data", **source)
        own: dict[str, Any] = {"frontend": frontend, "network": network, "training": training, "seeds": seeds}
        train(TRAINED, out / folder, name=folder, **shared, **own)
        model = trained.read(out / folder)
        table = robustness.measure(model, {name: found[name] for name in UNSEEN})
        metrics = json.loads((out / folder / "metrics.json").read_bytes())
        (out / folder / "README.md").write_text(card(model, metrics, table), encoding="utf-8")


if __name__ == "__main__":
    start_function(default_model, __doc__)
