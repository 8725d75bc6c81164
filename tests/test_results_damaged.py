"""Results folders that are damaged: one sentence that names the file, and no table of the rest."""

import dataclasses
import json

import invented
import pytest
from predicted_by_hand import LABEL, claimed, keep, predicted

from experiments.report import report
from experiments.verify import verify
from ser_jax.errors import ResultsError
from ser_jax.experiment import results as predictions
from ser_jax.experiment import results as stored
from ser_jax.experiment.command import run_function
from ser_jax.experiment.config import digest
from ser_jax.report import rewrite
from ser_jax.report.results import Results

DEEP = "[" * 100_000
COMMANDS = [report, verify]


@pytest.fixture
def out(tmp_path):
    return keep(claimed(tmp_path / "out"))


def ended(command, capsys, *flags):
    """Exit status and what is on standard error."""
    with pytest.raises(SystemExit) as stop:
        run_function(command, "", [str(flag) for flag in flags])
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return stop.value.code, error.strip()


DAMAGES = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "text": lambda content: b"not what it was",
    "nested": lambda content: DEEP.encode(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["config.json", "predictions", "training", "attention.json"])
def test_a_damaged_file_is_named_with_a_remedy(out, capsys, name, damage):
    predictions.write_arrays(out / "training" / "monolingual-de-de-arousal.npz", vars(invented.log()))
    (out / "attention.json").write_text(json.dumps(invented.attention(["de"])))
    file = sorted((out / name).iterdir())[0] if (out / name).is_dir() else out / name
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    before = sorted(path.name for path in out.iterdir())
    status, line = ended(report, capsys, out)
    assert status == 2
    assert str(file) in line
    assert "delete it" in line or "restore it" in line
    if name != "attention.json":
        assert sorted(path.name for path in out.iterdir()) == before


def changed(out, **parts):
    document = json.loads((out / "config.json").read_text()) | parts
    document["hash"] = digest({name: document[name] for name in stored.HASHED})
    (out / "config.json").write_text(json.dumps(document))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "parts",
    [
        {"corpora": [{"name": "x"}]},
        {"corpora": 3},
        {"folds": []},
        {"tables": {"table2": {"settings": []}}},
        {"tables": {"../../outside": {"settings": ["monolingual"], "figure": None, "cells": []}}},
        {"tables": {"/tmp/outside": {"settings": ["monolingual"], "figure": None, "cells": []}}},
        {"missing": [{"setting": "x"}]},
    ],
)
def test_an_incomplete_config_is_refused_though_its_hash_is_right(out, capsys, parts, command):
    changed(out, **parts)
    status, line = ended(command, capsys, out)
    assert status == 2
    assert "config.json is not an experiment's, " in line


def test_a_config_that_was_edited_is_refused(out):
    document = json.loads((out / "config.json").read_text())
    document["config"]["train"]["epochs"] = 51
    (out / "config.json").write_text(json.dumps(document))
    with pytest.raises(
        ResultsError, match=r"it was changed since it was written: its hash is of something else"
    ):
        Results(out)


def test_what_is_no_results_folder_is_named(tmp_path, capsys):
    for place in (tmp_path / "nowhere", tmp_path, "/dev/null"):
        for command in COMMANDS:
            status, line = ended(command, capsys, place)
            assert status == 2
            assert "expected" in line, line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "flags", "named"),
    [
        (report, [], "PATH"),
        (report, ["x", "--mixd"], "--mixd"),
        (verify, ["x", "y"], "y"),
    ],
)
def test_wrong_flags_are_named(capsys, command, flags, named):
    status, text = ended(command, capsys, *flags)
    assert status == 2
    assert named in text


def test_predictions_of_other_corpora_or_under_another_name_are_named(out):
    path = out / "predictions" / "monolingual-de-de-arousal.npz"
    (out / "predictions" / "copy.npz").write_bytes(path.read_bytes())
    with pytest.raises(ResultsError, match=r"copy.npz is not a predictions file"):
        Results(out)
    (out / "predictions" / "copy.npz").unlink()
    predictions.write_predictions(out, predicted(test=("fr",)))
    with pytest.raises(ResultsError, match=r"fr-arousal.npz is of fr, expected corpora of .* \(de en\)"):
        Results(out)


def test_predictions_of_unequal_lengths_are_named(out):
    predictions.write_predictions(out, dataclasses.replace(predicted(), labels=LABEL[:7]))
    with pytest.raises(ResultsError, match=r"monolingual-de-de-arousal.npz is not a predictions file"):
        Results(out)


def test_a_table_that_is_gone_is_found(out, capsys):
    rewrite(out)
    (out / "results.md").unlink()
    assert verify(out) == 1
    assert "results.md: LOST" in capsys.readouterr().out
