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
from ser_jax.experiment import results
from ser_jax.experiment.command import run_function
from ser_jax.experiment.results import (
    gather_predictions,
    make_predictions,
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


def facts(count, **changes):
    names = np.array([f"u{i}" for i in range(count)])
    own = {
        "utterance": names,
        "speaker": names,
        "session": names,
        "cluster": np.arange(count),
        "sex": names,
        "fold": np.arange(count) % 2,
    }
    return own | {"train": ("one",), "test": ("two",), "name": "mine"} | changes


def test_scores_are_of_all_utterances_and_of_each_fold():
    outputs = np.eye(2, dtype=np.float32)[[[0, 0, 1, 1], [0, 1, 1, 1]]]
    found = make_predictions(
        TASKS["arousal"], outputs=outputs, **facts(4, labels=np.array([0, 0, 1, 1]), seed=np.arange(2))
    )
    np.testing.assert_allclose(found.scores, [[1, 1, 1], [0.75, 1, 0.5]])
    alone = facts(4, labels=np.array([0, 1, 0, 1]), seed=np.arange(2))  # a class in each fold
    assert np.isnan(make_predictions(TASKS["arousal"], outputs=outputs, **alone).scores[:, 1:]).all()
    outputs[1, 2] = np.nan
    stopped = make_predictions(
        TASKS["arousal"], outputs=outputs, **facts(4, labels=np.array([0, 0, 1, 1]), seed=np.arange(2))
    )
    assert np.isnan(stopped.scores).tolist() == [[False] * 3, [True] * 3]


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
    whole = make_predictions(task, outputs=outputs, **facts(9, labels=labels, seed=np.arange(3)))
    outputs = np.where(np.arange(3)[:, None, None] == 1, np.nan, outputs)
    write_predictions(
        tmp_path, make_predictions(task, outputs=outputs, **facts(9, labels=labels, seed=np.arange(3)))
    )
    found = read_predictions(tmp_path / "predictions" / f"{whole.slug}.npz")
    wanted = whole.only(seeds=np.arange(3) != 1)  # the seed that was stopped is left out
    for name, value in vars(wanted).items():
        np.testing.assert_array_equal(getattr(found, name), value)
    few = found.only(rows=np.array([2, 5]))
    assert few.utterance.tolist() == ["u2", "u5"]
    np.testing.assert_array_equal(few.outputs, outputs[[0, 2]][:, [2, 5]])


CHANGES = [
    {"seed": np.arange(2)}, {"fold": np.zeros(3)}, {"outputs": np.zeros((1, 4))}, {"facts": np.array("[]")},
    {"facts": np.array('{"setting": 1}')},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_predictions_that_do_not_fit_together_are_named(tmp_path, change):
    outputs = np.zeros((1, 4, 2), np.float32)
    found = make_predictions(
        TASKS["arousal"], outputs=outputs, **facts(4, labels=np.arange(4) % 2, seed=np.arange(1))
    )
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
    parts = {name: kind() for name, kind in results.PARTS.items()} | {"code": ""} | changes
    out.mkdir(exist_ok=True)
    results._write(out, parts)


@pytest.mark.parametrize(
    "changes",
    [{"corpora": {}}, {"settings": []}, {"sessions": {}}, {"tables": {"../x": {}}}, {"folds": 3}],
)  # fmt: skip
def test_an_incomplete_document_is_refused_though_its_hash_is_right(tmp_path, changes):
    document(tmp_path)
    assert results.read_document(tmp_path)["code"] == ""
    document(tmp_path, **changes)
    with pytest.raises(ResultsError, match=r"config\.json is not an experiment's, .*; restore it"):
        results.read_document(tmp_path)


def test_every_hashed_part_is_guarded(tmp_path):
    for name in results.HASHED:
        document(tmp_path)
        content = json.loads((tmp_path / "config.json").read_text())
        content[name] = "other"
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(ResultsError, match="it was edited: its hash does not match its content"):
            results.read_document(tmp_path)


def test_notes_are_kept_beside_each_other(tmp_path):
    document(tmp_path)
    results.note(tmp_path, settings={"a": {}})
    found = results.note(tmp_path, settings={"b": {}}, sessions=[1])
    assert (found["settings"], found["sessions"]) == ({"a": {}, "b": {}}, [1])


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
        run_function(command, "", [str(flag) for flag in flags])
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


def test_predictions_of_other_corpora_or_under_another_name_are_named(out):
    path = out / "predictions" / "monolingual-de-de-arousal.npz"
    path.with_stem("copy").write_bytes(path.read_bytes())
    with pytest.raises(ResultsError, match=r"copy.npz is not a predictions file"):
        Results(out)
    path.with_stem("copy").unlink()
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
