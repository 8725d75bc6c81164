"""The whole road, from synthesised speech to Table 2, and what goes wrong on it."""

import csv
import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
from corpora import noise_corpus

from experiments import harness, predictions, report
from experiments.crosslingual import CROSSLINGUAL
from experiments.finetuning import FINETUNED
from experiments.harness import ExperimentError
from experiments.main import run
from experiments.monolingual import MONOLINGUAL
from experiments.multilingual import MULTILINGUAL
from experiments.options import Options, parse
from experiments.pool import Pool
from experiments.predictions import Cell, Predictions, ResultsError
from ser_jax.cli import main as ser_jax
from ser_jax.data import load
from ser_jax.metrics import uar

SETTINGS = [MONOLINGUAL, MULTILINGUAL, CROSSLINGUAL, FINETUNED]
PAIR = ("synthetic_en", "synthetic_fr")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A data folder with both synthetic corpora, made by the command line."""
    root = tmp_path_factory.mktemp("speech")
    assert ser_jax(["synthesize", str(root / "trees"), "--utterances", "115", "--seed", "1"]) == 0
    for name, builder, tree in zip(
        PAIR, ("iemocap", "recola"), ("IEMOCAP_full_release", "RECOLA"), strict=True
    ):
        source = str(root / "trees" / tree)
        flags = ["--source", source, "--name", name, "--data-dir", str(root / "data"), "--workers", "1"]
        assert ser_jax(["prepare", builder, *flags]) == 0
    return root / "data"


FLAGS = [
    "--seeds",
    "2",
    "--folds",
    "3",
    "--epochs",
    "12",
    "--finetune-samples",
    "30",
    "--finetune-epochs",
    "3",
]


@pytest.fixture(scope="module")
def table2(speech, tmp_path_factory):
    """What `python -m experiments.table2` leaves behind and prints."""
    out = tmp_path_factory.mktemp("results") / "table2"
    command = [sys.executable, "-m", "experiments.table2", "--corpora", *PAIR, "--data-dir", str(speech)]
    done = subprocess.run([*command, "--out", str(out), *FLAGS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def cells(out):
    with (out / "table2.csv").open() as file:
        return {(row["setting"], row["corpus"], row["target"]): row for row in csv.DictReader(file)}


def test_the_synthetic_pair_shows_the_papers_pattern(table2):
    """Arousal is learnt and transferred; valence is learnt within a language and lost across."""
    found = {cell: float(row["uar_mean"]) for cell, row in cells(table2[0]).items()}
    assert len(found) == 16
    for corpus in PAIR:
        for setting in ("monolingual", "multilingual", "crosslingual", "finetuned"):
            assert found[setting, corpus, "arousal"] > 70, (setting, corpus)
        for setting in ("monolingual", "multilingual"):
            assert found[setting, corpus, "valence"] > 70, (setting, corpus)
        assert 38 < found["crosslingual", corpus, "valence"] < 62


def test_the_table_says_what_it_is(table2):
    out, printed = table2
    assert (out / "table2.md").read_text() == printed
    assert "Synthetic speech" in printed
    assert "68.09" in printed
    assert "n = 2 runs" in printed
    assert (out / "table2.png").read_bytes().startswith(b"\x89PNG")
    columns = "setting,corpus,target,uar_mean,uar_std,runs,folds,paper_uar"
    assert (out / "table2.csv").read_text().splitlines()[0] == columns
    row = cells(out)["crosslingual", "synthetic_fr", "arousal"]
    assert (row["runs"], row["folds"], row["paper_uar"]) == ("2", "1", "61.2700")


def test_the_table_follows_from_the_predictions_alone(table2):
    out, _ = table2
    for cell, row in cells(out).items():
        said = predictions.read(out, Cell(*cell))
        assert np.isfinite(said.probability).all()
        assert len(set(said.utterance)) == len(said.utterance) == 115
        each = []
        for probability in said.probability:
            decided = (probability > 0.5).astype(int)
            folds = [uar(said.label[said.fold == f], decided[said.fold == f]) for f in set(said.fold)]
            each.append(100 * np.mean(folds))
        assert float(row["uar_mean"]) == pytest.approx(np.mean(each), abs=1e-4)
        assert float(row["uar_std"]) == pytest.approx(np.std(each, ddof=1), abs=1e-4)


def options(speech, out, **changes):
    given = parse("", "table2", ["--corpora", *PAIR, "--data-dir", str(speech), "--out", str(out), *FLAGS])
    return Options(**{**vars(given), **changes})


def test_what_is_there_is_not_computed_again(table2, speech):
    out, _ = table2
    before = {path: path.stat().st_mtime_ns for path in (out / "predictions").iterdir()}
    harness.run(SETTINGS, options(speech, out))
    assert {path: path.stat().st_mtime_ns for path in (out / "predictions").iterdir()} == before


def test_a_missing_cell_is_computed_again_to_the_same_numbers(table2, speech):
    out, printed = table2
    predictions.file(out, Cell("finetuned", "synthetic_fr", "valence")).unlink()
    harness.run(SETTINGS, options(speech, out))
    assert report.write(out, "table2", [setting.name for setting in SETTINGS]) + "\n" == printed


def test_results_of_another_protocol_are_not_touched(table2, speech):
    out, _ = table2
    with pytest.raises(
        ResultsError, match="holds results with another epochs, label_rule; choose another --out"
    ):
        harness.run(SETTINGS, options(speech, out, epochs=13, label_rule="table1"))


def test_the_protocol_names_the_corpora_by_content(table2, speech):
    protocol = json.loads((table2[0] / "protocol.json").read_text())
    for noted, name in zip(protocol["corpora"], PAIR, strict=True):
        assert noted["synthetic"] is True
        assert noted["fingerprint"] == load(name, speech).fingerprint


def the_pool():
    corpora = [noise_corpus("one", seed=1), noise_corpus("two", sessions=6, seed=2)]
    return Pool(corpora, 5, "footnote")


CHOICE = Options(corpora=("one", "two"), seeds=2, finetune_samples=20)


def jobs_and_plans(setting):
    pool = the_pool()
    for job in setting.jobs(CHOICE.corpora):
        yield pool, job, setting.plans(pool, CHOICE, job, "arousal")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_run_is_tested_on_a_speaker_it_trained_on(setting):
    for pool, _, plans in jobs_and_plans(setting):
        for plan in plans:
            member = pool.membership
            assert not set(member.speaker[plan.train]) & set(member.speaker[plan.test])
            assert not set(member.speaker[plan.statistics]) & set(member.speaker[plan.test])


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_utterance_of_a_test_corpus_is_tested_once_per_seed(setting):
    for pool, job, plans in jobs_and_plans(setting):
        wanted = np.concatenate([pool.rows(name) for name in job.test])
        for seed in range(CHOICE.seeds):
            tested = np.concatenate([plan.test for plan in plans if plan.seed == seed])
            assert sorted(tested) == sorted(wanted)


def test_settings_train_on_what_the_paper_says():
    trained = {
        setting.name: [
            (job.train, job.test, {tuple(sorted({pool.id[row][:3] for row in plan.train})) for plan in plans})
            for pool, job, plans in jobs_and_plans(setting)
        ]
        for setting in SETTINGS
    }
    one, two = ("one",), ("two",)
    assert trained["monolingual"] == [(one, one, {one}), (two, two, {two})]
    assert trained["multilingual"] == [(one + two, one + two, {one + two})]
    assert trained["crosslingual"] == [(two, one, {two}), (one, two, {one})]
    assert trained["finetuned"] == [(two, one, {one}), (one, two, {two})]


def test_fine_tuning_draws_the_same_utterances_for_every_seed_of_a_split():
    for _, _, plans in jobs_and_plans(FINETUNED):
        for fold in range(5):
            draws = {tuple(plan.train) for plan in plans if plan.fold == fold}
            assert len(draws) == 1
            assert len(draws.pop()) == 20


def test_too_few_utterances_to_fine_tune_on_are_named():
    pool = the_pool()
    job = FINETUNED.jobs(CHOICE.corpora)[0]
    greedy = Options(**{**vars(CHOICE), "finetune_samples": 43})
    with pytest.raises(
        ExperimentError, match="finetuned one, fold 1: 42 training utterances, fewer than --fin"
    ):
        FINETUNED.plans(pool, greedy, job, "arousal")


def test_a_fold_without_a_class_is_named():
    pool = the_pool()
    lonely = pool.corpora["one"]
    lonely.arousal[lonely.session != "s0"] = 0
    job = MONOLINGUAL.jobs(CHOICE.corpora)[0]
    with pytest.raises(
        ExperimentError, match="monolingual one, fold 1 of 5: none of the 42 training utterances "
    ):
        harness._plans(pool, CHOICE, MONOLINGUAL, job)


def test_paper_figures_stand_only_beside_the_papers_pair(tmp_path):
    said = Predictions(
        *(np.array(x) for x in (["a", "b"], ["s", "s"], [0, 0], [0, 1], [0])), np.array([[0.1, 0.9]])
    )
    corpora = [{"name": n, "builder": "manifest", "synthetic": False, "fingerprint": n} for n in ("de", "en")]
    predictions.claim(tmp_path, {"corpora": corpora, "targets": ["arousal"]})
    for corpus in corpora:
        predictions.write(tmp_path, Cell("monolingual", corpus["name"], "arousal"), said)
    rows = report.rows(tmp_path, ["monolingual"])
    assert [row.uar_mean for row in rows] == [100.0, 100.0]
    assert np.isnan([(row.paper_uar, row.uar_std) for row in rows]).all()


def test_damaged_or_absent_predictions_are_named(tmp_path):
    cell = Cell("monolingual", "de", "arousal")
    with pytest.raises(ResultsError, match=r"no predictions .*monolingual-de-arousal.npz"):
        predictions.read(tmp_path, cell)
    path = predictions.file(tmp_path, cell)
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ResultsError, match=r"monolingual-de-arousal.npz is not a predictions file"):
        predictions.read(tmp_path, cell)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--corpora", "nowhere", "synthetic_fr"], "no corpus 'nowhere' in"),
        (["--corpora", "synthetic_en", "synthetic_en"], "expected different ones"),
        (["--folds", "11"], "corpus synthetic_en has 5 sessions"),
        (["--seeds", "0"], "'0', expected a whole number of at least 1"),
        (["--epochs", "many"], "'many', expected a whole number of at least 1"),
        (["--finetune-samples", "5000"], "fewer than --finetune-samples 5000"),
        (["--standardize", "zscore"], "invalid choice: 'zscore'"),
        (["--targets", "joy"], "invalid choice: 'joy'"),
    ],
)
def test_wrong_input_ends_in_one_sentence_and_status_2(speech, tmp_path, capsys, flags, sentence):
    arguments = ["--corpora", *PAIR, "--data-dir", str(speech), "--out", str(tmp_path / "out"), *flags]
    with pytest.raises(SystemExit) as stop:
        run("", "table2", SETTINGS, arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["monolingual", "multilingual", "crosslingual", "finetuning", "table2"])
def test_every_experiment_has_help_with_its_command(name, capsys):
    module = importlib.import_module(f"experiments.{name}")
    with pytest.raises(SystemExit) as stop:
        run(module.__doc__, name, SETTINGS, ["--help"])
    assert stop.value.code == 0
    assert f"python -m experiments.{name} --corpora synthetic_en synthetic_fr" in capsys.readouterr().out
