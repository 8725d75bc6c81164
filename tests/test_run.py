"""From settings to a results folder: what is computed, stored, continued, refused."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
from pair import changed, loaded, noise, with_facts
from pair import config as small

from ser_jax import checkpoint, report
from ser_jax.augment import Gain
from ser_jax.errors import ResultsError
from ser_jax.experiment import command, results
from ser_jax.experiment import provenance as code
from ser_jax.experiment import run as running
from ser_jax.experiment.config import digest
from ser_jax.experiment.results import read_predictions, read_training
from ser_jax.experiment.run import UNFINISHED, run
from ser_jax.experiment.settings import (
    ExperimentError,
    baselines,
    cross_validation,
    crosslingual,
    finetuned,
    monolingual,
    table2,
)
from ser_jax.features import LogMel
from ser_jax.metrics import labelled
from ser_jax.model import Probe
from ser_jax.objectives import DomainAdversarial, SupervisedContrastive
from ser_jax.report import Results
from ser_jax.report.tables import caption
from ser_jax.tasks import TASKS, Joint, Regression
from ser_jax.train import TrainConfig

pytestmark = pytest.mark.usefixtures("hastily")
AROUSAL = (TASKS["arousal"],)


SHORT = LogMel(seconds=0.6)  # all that the corpora of noise hold


def config(*names, **changes):
    """A configuration of the network and the inputs that take the shortest time."""
    return small(*names, **({"model": Probe(), "features": SHORT} | changes))


@pytest.fixture
def pair(monkeypatch):
    return loaded(monkeypatch, noise("one", "two", frontend=SHORT))


@pytest.fixture(scope="module")
def table(tmp_path_factory, hastily):
    """Table 2 of two corpora, each task, two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        loaded(patch, noise("one", "two", frontend=SHORT))
        out = tmp_path_factory.mktemp("table") / "out"
        run(table2(config()), config(out=out))
    return out


@pytest.fixture
def copy(table, tmp_path, pair):
    """The same, to be changed, and its configuration."""
    out = tmp_path / "copy"
    shutil.copytree(table, out)
    return config(out=out)


def content(out):
    """SHA-256 of every file but models', and of what config.json tells apart from sessions."""
    files = [file for file in sorted(out.rglob("*.npz"))]
    found = {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    document = results.read_document(out)
    return found | {"config": digest({name: document[name] for name in document if name != "sessions"})}


def test_every_run_predicts_every_utterance(table):
    names = [path.stem for path in (table / "predictions").iterdir()]
    assert len(names) == 16
    for name in names:
        found = read_predictions(table / "predictions" / f"{name}.npz")
        assert found.slug == name
        assert found.outputs.shape == (2, {"one": 60, "two": 72}[found.test[0]], 2)
        assert len(set(found.utterance)) == len(found.utterance)
        assert np.isfinite(found.outputs).all()
        assert len(np.unique(found.fold)) == (1 if found.setting == "crosslingual" else 5)
        np.testing.assert_array_equal(found.predictions, found.outputs.argmax(axis=2))
        assert found.scores.shape == (2, 1 + len(np.unique(found.fold)))
    for path in (table / "training").iterdir():
        log = read_training(path)
        assert len(log.seed) == (2 if path.stem.startswith("crosslingual") else 10)
        assert np.isfinite(log.loss).all()
        assert np.isfinite(log.dev_loss).all() == (not path.stem.startswith("crosslingual"))
        assert (table / "models" / path.stem).exists()
    assert not (table / UNFINISHED).exists()


def test_the_document_says_what_was_run(table):
    found = results.read_document(table)
    assert found["hash"] == digest({name: found[name] for name in results.HASHED})
    assert {"out", "data_dir", "compute"}.isdisjoint(found["config"])
    assert [corpus["fingerprint"] for corpus in found["corpora"]] == ["one0", "two1"]
    for name, count in (("one", 60), ("two", 72)):
        tested = [utterance for fold in found["folds"][name] for utterance in fold["test"]]
        assert len(tested) == len(set(tested)) == count
    assert found["settings"].keys() == {path.stem for path in (table / "training").iterdir()}
    [session] = found["sessions"]
    assert session["finished"] is True
    assert "finetuned one>two valence" in session["computed"]
    assert len(session["computed"]) == 14


def test_lost_results_are_computed_again_to_the_same_bits(copy, table):
    lost = (
        "predictions/finetuned-one-two-valence.npz",
        "models/crosslingual-one-two-arousal",
        "training/multilingual-one+two-one+two-valence.npz",
    )
    for name in lost:
        place = copy.out / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    run(table2(copy), copy)
    assert all((copy.out / name).exists() for name in lost)
    assert content(copy.out) == content(table)


def test_results_of_another_protocol_or_other_speech_are_not_touched(copy, pair):
    before = content(copy.out)
    pair["one"] = dataclasses.replace(pair["one"], fingerprint="other")
    other = dataclasses.replace(
        changed(copy, seeds=3, label_rule="table1"),
        model=dataclasses.replace(copy.model, dropout=0.5),
        train=dataclasses.replace(copy.train, augment=Gain()),
    )
    with pytest.raises(ResultsError) as refused:
        run(table2(other), other)
    for part in (
        "holds results of another experiment (",
        "other corpora",
        "config model dropout: 0.0 there, 0.5 expected",
        "config protocol seeds: 2 there, 3 expected",
        "config protocol label_rule: footnote there, table1 expected",
        "train augment class: ser_jax.augment:NoAugmentation there, ser_jax.augment:Gain expected",
        "repeat it with its own options (--config",
        "or choose another --out",
    ):
        assert part in str(refused.value)
    assert content(copy.out) == before


def test_a_setting_of_another_make_is_another_experiment(copy):
    [first, *_] = monolingual(copy)
    for change in ({"standardize": "speaker"}, {"seeds": 1}):
        with pytest.raises(ResultsError, match=f"settings monolingual-one-one-arousal {next(iter(change))}"):
            run([dataclasses.replace(first, **change)], copy)
    document = json.loads((copy.out / "config.json").read_text())
    document["settings"][first.slug]["seeds"] = 1  # the hash covers settings
    (copy.out / "config.json").write_text(json.dumps(document))
    with pytest.raises(ResultsError, match="it was edited: its hash does not match"):
        run([first], copy)


def reversed_folds(pool, setting):
    """A plan of one's own."""
    return cross_validation(pool, setting)[::-1]


def test_changed_code_is_refused_or_accepted(copy, table, monkeypatch):
    mine = dataclasses.replace(monolingual(copy)[0], name="mine", plan=reversed_folds)
    run([mine], copy)
    before = content(copy.out)
    (copy.out / "predictions" / "monolingual-one-one-arousal.npz").unlink()
    monkeypatch.setattr(code, "code_digest", lambda: "other")
    with pytest.raises(ResultsError, match="another version of the code; choose"):
        run(monolingual(copy), copy)
    run(monolingual(copy), copy, accept_changed_code=True)
    run(monolingual(copy), copy)
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        loaded(patch, noise("one", "two", frontend=SHORT))
        run(monolingual(copy), copy, accept_changed_code=True)
        assert content(copy.out) == before
        # The same for the source of one's own class or plan.
        patch.setattr(code, "_own_source", lambda name: "changed = 1")
        run(monolingual(copy), copy)
        with pytest.raises(ResultsError, match="holds results of another version of the code"):
            run([mine], copy)
        run([mine], copy, accept_changed_code=True)
        run([mine], copy)


def test_unfinished_work_is_continued_with_accepted_code(tmp_path, pair, monkeypatch):
    own = config(out=tmp_path / "out", tasks=AROUSAL, train=TrainConfig(epochs=3))
    own = dataclasses.replace(own, compute=dataclasses.replace(own.compute, save_epochs=1))
    save, saved = checkpoint.save, []

    def dying(folder, tree):
        save(folder, tree)
        if folder.name == "2":
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        run(monolingual(own), own)
    monkeypatch.setattr(checkpoint, "save", save)
    monkeypatch.setattr(code, "code_digest", lambda: "other")
    monkeypatch.setattr(running, "_print", saved.append)
    run(monolingual(own), own, accept_changed_code=True)
    assert any("goes on after epoch 2 of 3" in sentence for sentence in saved)
    assert not (own.out / UNFINISHED).exists()


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        (TASKS["arousal"], {"train": TrainConfig(epochs=1, objective=DomainAdversarial(), augment=Gain())}),
        (TASKS["valence"], {"train": TrainConfig(epochs=1, class_weights="balanced", optimizer="adamw")}),
        (TASKS["emotion"], {"train": TrainConfig(epochs=1, objective=SupervisedContrastive())}),
        (Regression(("arousal", "dominance")), {}),
    ],
)
def test_any_task_goes_all_the_way(task, changes, tmp_path, monkeypatch):
    """Some utterances of either corpus have no label, and one corpus no rating of dominance."""
    pair = noise("one", "two", each=12, frontend=SHORT)
    emotion = ["anger", "happiness", "neutral", "sadness", "fear"]
    for name, corpus in pair.items():
        corpus.arousal[::7] = corpus.valence[::7] = np.nan
        corpus = dataclasses.replace(corpus, scales={"arousal": (0.0, 1.0), "dominance": (0.0, 1.0)})
        dominance = np.nan if name == "one" else corpus.valence
        pair[name] = with_facts(corpus, emotion=emotion, dominance=dominance)
    loaded(monkeypatch, pair)
    few = changed(config(), seeds=1, folds=3).protocol
    own = config(out=tmp_path / "out", tasks=(task,), protocol=few, **changes)
    run(finetuned(own), own)
    known = {name: labelled(task.labels(corpus)).sum() for name, corpus in pair.items()}
    cells = [read_predictions(path) for path in (own.out / "predictions").iterdir()]
    assert len(cells) == 4
    for found in cells:
        assert found.outputs.shape == (1, known[found.test[0]], task.outputs)
        assert (found.metric, found.class_names, found.chance) == (task.metric, task.class_names, task.chance)
        assert np.isfinite(found.outputs).all()
        assert np.isfinite(found.scores).all()


def rated_pair():
    """Every seventh utterance has no class, others no emotion; two raters of arousal, and one without."""
    pair = noise("one", "two", each=12, frontend=SHORT)
    emotion = ["anger", "", "happiness", "neutral", "sadness"]
    for name, corpus in pair.items():
        corpus.arousal[::7] = np.nan
        corpus = dataclasses.replace(corpus, scales={"arousal": (0.0, 1.0), "valence": (0.0, 1.0)})
        raters = [json.dumps({"A": {"arousal": a, "valence": a}, "B": {"arousal": 1 - a}}) for a in (0, 1, 1)]
        pair[name] = with_facts(corpus, emotion=emotion, raters=[*raters, "", ""])
    return pair


def test_several_tasks_at_once_are_stored_one_by_one(tmp_path, monkeypatch):
    """Beside those trained alone, of the same utterances, and compared with them."""
    pair = loaded(monkeypatch, rated_pair())
    single = tuple(map(TASKS.get, ("arousal", "emotion", "dimensions")))
    own = config(
        out=tmp_path / "out", tasks=(*single, Joint(single)), protocol=changed(config(), folds=2).protocol
    )
    run(finetuned(own), own)
    run(monolingual(own), own)
    found = Results(own.out)
    for task in single:
        alone = found.cells[f"monolingual-one-one-{task.name}"]
        jointly = found.cells[f"monolingual_arousal+emotion+dimensions-one-one-{task.name}"]
        for part in ("utterance", "labels", "fold", "ratings"):
            np.testing.assert_array_equal(getattr(jointly, part), getattr(alone, part))
        assert len(alone.utterance) == labelled(task.labels(pair["one"])).sum()
        assert (jointly.outputs.shape, jointly.class_names) == (alone.outputs.shape, task.class_names)
        assert (jointly.outputs != alone.outputs).any()
        assert alone.raters == jointly.raters == (("A", "B") if task.name == "dimensions" else ())
    rows = found.rows(found.settings)
    assert {row.task for row in rows} == {task.name for task in single}
    assert all(found.description(row)["standardize"] == row.statistics == "train" for row in rows)
    pairs = [(c.one.setting, c.other.setting) for c in found.comparisons(rows) if c.one.test == ("one",)]
    assert pairs.count(("monolingual_arousal+emotion+dimensions", "monolingual")) == 3
    assert {"finetuned_arousal+emotion+dimensions", "finetuned"} <= {*found.settings}
    report.rewrite(own.out)
    assert report.verify(own.out) == []


def test_one_task_at_once_trains_to_the_same_bits_as_by_itself(tmp_path, monkeypatch):
    loaded(monkeypatch, rated_pair())
    for task in (TASKS["arousal"], TASKS["emotion"], Regression(("arousal", "valence"))):
        own = config(out=tmp_path / task.name, tasks=(task,))
        run(monolingual(own), own)
        joint = dataclasses.replace(own, tasks=(Joint((task,)),), out=tmp_path / f"{task.name}_joint")
        run(monolingual(joint), joint)
        alone, jointly = (Results(one.out).cells for one in (own, joint))
        assert len(alone) == len(jointly) == 2
        for cell, other in zip(alone.values(), jointly.values(), strict=True):
            np.testing.assert_array_equal(other.outputs, cell.outputs)
            np.testing.assert_array_equal(other.scores, cell.scores)


def test_a_task_that_cannot_be_tested_leaves_the_others_at_once(tmp_path, monkeypatch, capsys):
    pair = rated_pair()
    pair["two"] = dataclasses.replace(pair["two"], scales={})
    loaded(monkeypatch, pair)
    own = config(out=tmp_path / "out", tasks=(Joint((TASKS["arousal"], TASKS["dimensions"])),))
    run(monolingual(own), own)
    assert [*Results(own.out).cells] == [
        f"monolingual_arousal+dimensions-{name}"
        for name in ("one-one-arousal", "one-one-dimensions", "two-two-arousal")
    ]
    sentence = "monolingual_arousal+dimensions, two dimensions: fold 1: 0 training utterances have dimensions"
    assert sentence in capsys.readouterr().err


def test_a_table_of_a_converged_probe_says_that_seeds_make_no_difference(tmp_path, pair):
    training = TrainConfig(learning_rate=0.05, batch=60, epochs=200, weight_decay=0.1)
    own = config(out=tmp_path / "out", tasks=AROUSAL, train=training)
    run(monolingual(own), own)
    found = Results(own.out)
    rows = found.rows(["monolingual"])
    assert "; the same for all 2 seeds." in caption(found, rows)
    assert all(row.score_sd < 0.05 for row in rows)


def test_each_corpus_has_its_own_categories(tmp_path, monkeypatch):
    """Across corpora there are those in common."""
    pair = noise("one", "two", each=12, frontend=SHORT)
    names = {"one": ["anger", "fear", "calm"], "two": ["fear", "anger", "sadness", "neutral"]}
    pair = loaded(monkeypatch, {name: with_facts(c, emotion=names[name]) for name, c in pair.items()})
    monkeypatch.setattr("ser_jax.experiment.settings.facts", lambda name, folder: pair[name])
    own = config(out=tmp_path / "out", tasks=(TASKS["categories"],))
    settings = [*monolingual(own), *crosslingual(own)]
    assert [setting.model.outputs for setting in settings] == [3, 4, 2, 2]
    run(settings, own)
    found = Results(own.out)
    classes = {name: cell.class_names for name, cell in found.cells.items()}
    assert classes == {
        "crosslingual-one-two-categories": ("anger", "fear"),
        "crosslingual-two-one-categories": ("anger", "fear"),
        "monolingual-one-one-categories": ("anger", "calm", "fear"),
        "monolingual-two-two-categories": ("anger", "fear", "neutral", "sadness"),
    }
    rows = found.rows(["monolingual"])
    assert "Chance: 33.3 (one categories), 25.0 (two categories)." in caption(found, rows)
    compared = found.comparisons(found.rows(["monolingual", "crosslingual"]))
    assert np.isnan([one.p for one in compared]).all()  # of other classes
    common = dataclasses.replace(own, tasks=(TASKS["all"],))
    assert [setting.model.outputs for setting in monolingual(common)] == [2, 2]


def test_a_run_whose_numbers_are_not_finite_is_named_and_left_out(tmp_path, pair, monkeypatch, capsys):
    def poisoned(pool, setting):
        specs = cross_validation(pool, setting)
        scaler = specs[2].scaler()
        specs[2] = dataclasses.replace(specs[2], scaler=scaler._replace(mean=scaler.mean * np.nan))
        return specs

    def settings(config):
        return [dataclasses.replace(one, plan=poisoned) for one in monolingual(config)[:1]]

    monkeypatch.setattr(command, "_start", lambda config: None)
    flags = f"--out {tmp_path} --corpora one two --tasks arousal --seeds 2 --epochs 1 --model probe"
    flags += f" --features.seconds {SHORT.seconds}"
    for attempt in range(2):  # also if everything is stored already
        with pytest.raises(SystemExit) as end:
            command.main("", "mine", settings, flags.split())
        assert end.value.code == 1
        out, err = capsys.readouterr()
        assert "Left out because it diverged: monolingual, one arousal: seed 0." in out
        assert "and left out: monolingual-one-one-arousal." in err
        assert ("fold 2, seed 0 was stopped in epoch 1, step 1: its loss or weights became" in err) == (
            attempt == 0
        )
    found = read_predictions(tmp_path / "predictions" / "monolingual-one-one-arousal.npz")
    assert found.seed.tolist() == [1]
    log = read_training(tmp_path / "training" / "monolingual-one-one-arousal.npz")
    assert log.stopped[:, 0].tolist() == [0, 0, 1] + [0] * 7


def test_missing_cells_are_noted_with_the_reason(tmp_path, pair, capsys):
    own = changed(config(out=tmp_path / "out", tasks=AROUSAL), finetune_samples=45)
    run(table2(own), own)
    reason = (
        "fold 1: 42 utterances of one to draw from, fewer than the 45 for fine-tuning (--finetune-samples)"
    )
    assert f"Not computed: finetuned, one arousal: {reason}." in capsys.readouterr().err
    missing = results.read_document(own.out)["missing"]
    noted = {"setting": "finetuned", "train": ["two"], "test": ["one"], "task": "arousal", "reason": reason}
    assert noted in missing
    run(table2(own), own)  # once is enough
    assert results.read_document(own.out)["missing"] == missing


def test_if_nothing_can_be_computed_the_reason_is_the_error(tmp_path, pair):
    own = changed(config(out=tmp_path / "out"), finetune_samples=99)
    reason = "finetuned one valence: fold 1: 42 utterances of one to draw from, fewer than the 99"
    with pytest.raises(ExperimentError, match=reason):
        run(finetuned(own), own)
    assert not own.out.exists()


def test_one_corpus_under_two_names_is_refused(tmp_path, monkeypatch):
    corpus = noise("one", frontend=SHORT)["one"]
    loaded(monkeypatch, {"one": corpus, "twin": dataclasses.replace(corpus, name="twin")})
    own = config("one", "twin", out=tmp_path / "out")
    with pytest.raises(
        ExperimentError, match="corpora one twin hold the same utterances, expected different"
    ):
        run(crosslingual(own), own)


def test_further_work_runs_while_the_folder_is_locked(copy):
    seen = []

    def after(own, pool, machine):
        for work in (lambda: run(monolingual(own), own), lambda: report.rewrite(own.out)):
            with pytest.raises(ResultsError, match=r"in use by process \d+ on .*or choose another --out"):
                work()
        seen.append((own, pool.names, machine.host))

    run(monolingual(copy), copy, after)
    assert seen == [(copy, ["one", "two"], 0)]


def test_the_whole_protocol_is_varied_by_its_fields(tmp_path, pair):
    """Trimmed speech, sessions that develop, adapted rows and baselines beside the strict ones."""
    few = {"adapted": ("corpus",), "baselines": ("level",), "dev": "session", "finetune_draw": "pooled"}
    own = changed(config(out=tmp_path / "out", tasks=AROUSAL, model=Probe()), trim=60.0, **few)
    wanted = table2(own)
    seen = []
    run([*wanted, *baselines(own, wanted)], own, lambda _, pool, machine: seen.append(pool))
    [pool] = seen
    assert (pool.frames < np.concatenate([corpus.frames for corpus in pair.values()])).any()
    assert not any(map(pool.partners, pool.names))
    found = Results(own.out)
    assert {*found.settings} >= {"crosslingual_corpus", "crosslingual_corpus_level", "finetuned_level"}
    for cell in found.cells.values():
        assert len(np.unique(cell.cluster)) == len(np.unique(cell.session))
        assert {*cell.sex} == {"female", "male"}
    for slug, log in found.logs.items():
        if slug.startswith("finetuned-"):
            assert log.different <= 5 * own.protocol.finetune_samples
            assert f"draws {log.different} different" in caption(found, found.rows(["finetuned"]))
