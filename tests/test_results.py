"""Results on disk: found again by utterance, seed and fold; damaged or hostile files are refused."""

import dataclasses
import json

import invented
import numpy as np
import pytest
from pair import config, noise, pool
from predicted_by_hand import claimed, keep, predicted
from test_store import bomb

from experiments.report import report
from ser_jax.engine import RunResult
from ser_jax.errors import ResultsError
from ser_jax.experiment import results, start_function
from ser_jax.experiment.results import (
    gather_predictions,
    read_predictions,
    training_log,
    write_arrays,
    write_predictions,
)
from ser_jax.experiment.settings import monolingual, multilingual, whole_corpora
from ser_jax.report import Results
from ser_jax.tasks import TASKS, Regression


def test_predictions_are_found_by_utterance_seed_and_fold():
    """The output of fold f, seed s for row r stands at row r and seed s of its corpus's cell."""
    corpora = pool(noise("one", "two"))
    setting = multilingual(config())[1]
    specs = setting.plan(corpora, setting)
    outputs = [np.stack([spec.test, spec.test * 0 + spec.seed], axis=1) for spec in specs]
    for corpus in ("one", "two"):
        found = gather_predictions(corpora, setting, (corpus,), specs, outputs)
        rows = corpora.rows(corpus)
        np.testing.assert_array_equal(found.outputs[:, :, 0], [rows, rows])
        np.testing.assert_array_equal(found.outputs[:, :, 1].T, np.array([[0, 1]] * len(rows)))
        assert found.utterance.tolist() == corpora.corpora[corpus].id.tolist()
        assert found.labels.tolist() == corpora.corpora[corpus].valence.tolist()
        for i, fold in enumerate(corpora.folds(corpus)):
            np.testing.assert_array_equal(np.flatnonzero(found.fold == i) + rows[0], fold.test)
    together = dataclasses.replace(setting, plan=whole_corpora)
    specs = together.plan(corpora, together)
    found = gather_predictions(corpora, together, ("one", "two"), specs, [np.zeros((132, 2))] * 2)
    assert len(set(found.speaker)) == 22  # of different corpora, though they are called alike


def made(task, outputs, labels):
    """Predictions for utterances of a speaker each, in two folds."""
    each = np.arange(len(labels))
    return invented.cell(task, outputs, labels, each.astype(str), fold=each % 2)


def test_scores_are_of_all_utterances_and_of_each_fold():
    outputs = np.eye(2, dtype=np.float32)[[[0, 0, 1, 1], [0, 1, 1, 1]]]
    arousal, labels = TASKS["arousal"], np.array([0, 0, 1, 1])
    np.testing.assert_allclose(made(arousal, outputs, labels).scores, [[1, 1, 1], [0.75, 1, 0.5]])
    alone = np.array([0, 1, 0, 1])  # a class in each fold
    assert np.isnan(made(arousal, outputs, alone).scores[:, 1:]).all()
    outputs[1, 2] = np.nan
    assert np.isnan(made(arousal, outputs, labels).scores).tolist() == [[False] * 3, [True] * 3]


def test_development_utterances_are_scored_after_every_tenth_of_training():
    corpora = pool(noise("one", "two"))
    setting = monolingual(config())[0]
    spec = setting.plan(corpora, setting)[0]
    right = np.log(np.where(np.eye(2)[spec.labels[spec.dev]], 0.8, 0.2)).astype(np.float32)
    none = RunResult({}, np.ones(4, np.float32), right, np.stack([right, -right]), np.zeros(2))
    log = training_log(setting.task, [spec, dataclasses.replace(spec, dev=spec.dev[:0])],
                       [none, none._replace(dev_outputs=np.zeros((2, 0, 2)))], [2, 4])  # fmt: skip
    np.testing.assert_allclose(log.dev_score, [[1, 0], [np.nan, np.nan]])
    np.testing.assert_allclose(log.dev_loss, -np.log([[0.8, 0.2], [np.nan, np.nan]]), rtol=1e-6)
    assert log.dev_epochs.tolist() == [2, 4]


@pytest.mark.parametrize("task", [TASKS["emotion"], Regression(("arousal", "valence"))])
def test_predictions_and_logs_survive_the_disk(tmp_path, task):
    draw = np.random.default_rng(0)
    labels = draw.uniform(-1, 1, (9, 2)).astype(np.float32) if task.metric == "CCC" else np.arange(9) % 4
    outputs = draw.normal(size=(3, 9, task.outputs)).astype(np.float32)
    whole = made(task, outputs, labels)
    outputs = np.where(np.arange(3)[:, None, None] == 1, np.nan, outputs)
    write_predictions(tmp_path, made(task, outputs, labels))
    found = read_predictions(tmp_path / "predictions" / f"{whole.slug}.npz")
    wanted = whole.only(seeds=np.arange(3) != 1)  # the seed that was stopped is left out
    for name, value in vars(wanted).items():
        np.testing.assert_array_equal(getattr(found, name), value)
    few = found.only(rows=np.array([2, 5]))
    assert few.utterance.tolist() == ["u002", "u005"]
    np.testing.assert_array_equal(few.outputs, outputs[[0, 2]][:, [2, 5]])


CHANGES = [
    {"seed": np.arange(2)}, {"fold": np.zeros(3)}, {"outputs": np.zeros((1, 4))}, {"facts": np.array("[]")},
    {"facts": np.array('{"setting": 1}')},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_predictions_that_do_not_fit_together_are_named(tmp_path, change):
    found = made(TASKS["arousal"], np.zeros((1, 4, 2)), np.arange(4) % 2)
    write_predictions(tmp_path, found)
    path = tmp_path / "predictions" / f"{found.slug}.npz"
    arrays = dict(np.load(path))
    write_arrays(path, arrays | change)
    with pytest.raises(ResultsError, match="is not a predictions file"):
        read_predictions(path)
    write_arrays(path.with_stem("another"), arrays)
    with pytest.raises(ResultsError, match="its parts do not fit together"):
        read_predictions(path.with_stem("another"))


def document(out, **changes):
    results._write(out, {"config": {}, "corpora": [], "folds": {}, "code": ""} | results.FILLED | changes)


def test_every_hashed_part_is_guarded_and_no_table_is_written_elsewhere(tmp_path):
    document(tmp_path, tables={"../x": {}})
    with pytest.raises(ResultsError, match="it holds tables of other names than letters, digits"):
        results.read_document(tmp_path)
    for name in results.HASHED:
        document(tmp_path)
        content = json.loads((tmp_path / "config.json").read_text())
        content[name] = "other"
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(ResultsError, match="it was edited: its hash does not match its content"):
            results.read_document(tmp_path)


@pytest.fixture
def out(tmp_path):
    """A results folder of predictions by hand."""
    folder = keep(claimed(tmp_path / "out"))
    write_arrays(folder / "training" / "monolingual-de-de-arousal.npz", vars(invented.log()))
    (folder / "attention.json").write_text(json.dumps(invented.attention(["de"])))
    return folder


def ended(command, capsys, *flags):
    """Return the exit status and standard error."""
    with pytest.raises(SystemExit) as stop:
        start_function(command, "", [str(flag) for flag in flags])
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return stop.value.code, error.strip()


@pytest.mark.parametrize("content", [b"", b"not what it was", b"PK\x03\x04 cut short", b"[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "predictions", "training", "attention.json"])
def test_a_damaged_file_is_named_with_a_remedy(out, capsys, name, content):
    file = sorted((out / name).iterdir())[0] if (out / name).is_dir() else out / name
    file.write_bytes(content)
    before = sorted(path.name for path in out.iterdir())
    status, line = ended(report, capsys, out)
    assert status == 2
    assert str(file) in line
    assert "delete it" in line or "restore it" in line
    if name != "attention.json":
        assert sorted(path.name for path in out.iterdir()) == before


def test_predictions_of_other_corpora_are_named(out):
    write_predictions(out, predicted(test=("fr",)))
    other = r"fr-arousal.npz is of fr, expected corpora of config.json \(de en\)"
    with pytest.raises(ResultsError, match=other):
        Results(out)


@pytest.mark.parametrize("name", ["utterance", "outputs", "facts"])
def test_predictions_that_hold_objects_are_refused(out, name):
    path = out / "predictions" / f"{predicted().slug}.npz"
    with np.load(path) as arrays:
        held = dict(arrays) | {name: bomb(out / "boom")}
    np.savez(path, allow_pickle=True, **held)
    with pytest.raises(ResultsError, match="is not a predictions file"):
        read_predictions(path)
    assert not (out / "boom").exists()
