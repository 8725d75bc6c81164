"""The whole road, from synthesised speech to Table 2, and what goes wrong on it."""

import csv
import importlib
import json
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from corpora import noise_corpus

from experiments import harness, predictions, protocol, report, verify
from experiments.crosslingual import CROSSLINGUAL
from experiments.finetuning import FINETUNED
from experiments.main import main
from experiments.monolingual import MONOLINGUAL
from experiments.multilingual import MULTILINGUAL
from experiments.options import Options, parse
from experiments.plans import ExperimentError, planned
from experiments.pool import Pool
from experiments.predictions import Cell, ResultsError
from experiments.results import Results
from ser_jax.cli import main as ser_jax
from ser_jax.data import load

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
        return {(row["setting"], row["test"], row["target"]): row for row in csv.DictReader(file)}


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
    assert r"\begin{tabular}{lrrrrrrrr}" in (out / "table2.tex").read_text()
    assert "Synthetic speech" in printed
    assert "68.09" in printed
    assert "n = 2 runs" in printed
    assert (out / "table2.png").read_bytes().startswith(b"\x89PNG")
    columns = (
        "setting,train,test,target,uar_mean,uar_std,runs,folds,speakers,utterances,uar_pooled,low,high,"
        "chance_low,chance_high,paper_uar,stopped,missing"
    )
    assert (out / "table2.csv").read_text().splitlines()[0] == columns
    row = cells(out)["crosslingual", "synthetic_fr", "arousal"]
    assert (row["runs"], row["folds"], row["paper_uar"]) == ("2", "1", "61.2700")


def test_every_run_answers_for_every_utterance(table2):
    out, _ = table2
    for row in cells(out).values():
        said = predictions.read(out, Cell(row["setting"], row["train"], row["test"], row["target"]))
        assert said.probability.shape == (2, 115)
        assert np.isfinite(said.probability).all()
        assert len(set(said.utterance)) == 115


def test_attention_is_told_of_the_models_that_are_there(table2, speech):
    """Of another experiment in the same folder: what is there is not trained again."""
    command = [sys.executable, "-m", "experiments.attention_over_time", "--corpora", *PAIR]
    flags = ["--data-dir", str(speech), "--out", str(table2[0]), *FLAGS]
    done = subprocess.run([*command, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "holds these results already" in done.stderr
    found = json.loads((table2[0] / "attention.json").read_text())
    assert list(found) == [f"{name}, {part}" for name in PAIR for part in ("training", "test")]
    for one in found.values():
        np.testing.assert_allclose(np.sum(one["shares"], axis=1), [1, 1], atol=1e-5)
        np.testing.assert_allclose(np.sum(one["among"], axis=1), [1, 1], atol=1e-5)
        assert sum(one["by_length_utterances"]) == one["utterances"]
    assert found["synthetic_en, test"]["utterances"] == 115
    assert "alpha_8" in done.stdout
    assert (table2[0] / "attention.svg").read_text().startswith("<?xml")


def test_related_systems_stand_beside_the_papers(speech, tmp_path):
    command = [sys.executable, "-m", "experiments.related", "--corpora", *PAIR, "--data-dir", str(speech)]
    few = ["--seeds", "1", "--folds", "2", "--epochs", "1"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out"), *few], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("identified", "voted", "multilingual_histogram", "crosslingual_histogram", "language"):
        assert f"| {name} " in done.stdout
    assert "not computed" not in done.stdout


def test_tables_are_verified_from_the_predictions(table2, capsys):
    out = table2[0]
    verified = [sys.executable, "-m", "experiments.verify", str(out)]
    done = subprocess.run(verified, capture_output=True, text=True)
    assert (done.returncode, "DIFFERS" in done.stdout) == (0, False), done
    file = out / "table2.csv"
    original = file.read_text()
    file.write_text(original.replace("monolingual", "monolingua1", 1))
    with pytest.raises(SystemExit) as stop:
        verify.main([str(out)])
    file.write_text(original)
    assert stop.value.code == 1
    assert "table2.csv: DIFFERS" in capsys.readouterr().out
    lost = out / "predictions" / "monolingual-synthetic_en-synthetic_en-arousal.npz"
    lost.rename(out / "lost.npz")
    with pytest.raises(SystemExit) as stop:
        verify.main([str(out)])
    (out / "lost.npz").rename(lost)
    assert stop.value.code == 1
    assert f"{lost.name}: LOST" in capsys.readouterr().out


def test_folds_that_were_changed_by_hand_are_refused(table2, tmp_path):
    shutil.copytree(table2[0], tmp_path / "copy")
    path = tmp_path / "copy" / "protocol.json"
    document = json.loads(path.read_text())
    document["folds"]["synthetic_en"][0]["test"][0] = "nobody"
    path.write_text(json.dumps(document))
    with pytest.raises(ResultsError, match="its folds are not those of its hashes"):
        protocol.read(tmp_path / "copy")


@pytest.fixture(scope="module")
def quick(speech, tmp_path_factory):
    """A folder of another protocol, of what is learnt in an epoch, and its table."""
    out = tmp_path_factory.mktemp("quick")
    few = {"seeds": 1, "epochs": 1, "finetune_epochs": 1, "finetune_samples": 60, "targets": ("arousal",)}
    harness.run([FINETUNED], options(speech, out, **few))
    return out, report.write(Results(out), "finetuning", ["finetuned"])


def test_results_of_two_protocols_share_a_table_only_on_request(table2, quick, capsys):
    folders = [str(table2[0]), str(quick[0])]
    with pytest.raises(SystemExit) as stop:
        report.main(folders)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "(epochs: 12 there, 1 asked for, " in said
    assert "seeds: 2 there, 1 asked for" in said
    with pytest.raises(SystemExit) as stop:
        report.main([*folders, "--mixed"])
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert "**Results of different protocols" in shown
    assert f"| {quick[0]} " in shown


def test_two_hosts_write_what_one_does(speech, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = ["--seeds", "1", "--folds", "3", "--epochs", "1", "--finetune-samples", "30"]
    flags += ["--finetune-epochs", "1", "--targets", "arousal", "--data-dir", str(speech)]
    command = [sys.executable, "-m", "experiments.finetuning", "--corpora", *PAIR, *flags]
    shared = ["--out", str(tmp_path / "two"), "--coordinator", f"localhost:{port}", "--hosts", "2"]
    programs = [[*command, *shared, "--host", host] for host in "01"]
    programs.append([*command, "--out", str(tmp_path / "one")])
    running = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for one in programs]
    said = [program.communicate(timeout=300)[1].decode()[-3000:] for program in running]
    assert [program.returncode for program in running] == [0, 0, 0], said
    for path in (tmp_path / "one" / "predictions").iterdir():
        wanted, found = np.load(path), np.load(tmp_path / "two" / "predictions" / path.name)
        np.testing.assert_allclose(found["probability"], wanted["probability"], atol=1e-3)


def test_the_protocol_says_who_was_where_and_when(table2):
    document = json.loads((table2[0] / "protocol.json").read_text())
    for name in PAIR:
        folds = document["folds"][name]
        tested = [utterance for fold in folds for utterance in fold["test"]]
        assert len(tested) == len(set(tested)) == 115
        hashes = [fold["sha256"] for fold in folds]
        assert hashes == document["protocol"]["fold_hashes"][name]
        assert hashes[0] == protocol.sha256({part: folds[0][part] for part in ("test", "dev")})
    session = document["sessions"][0]
    assert session["finished"] is True
    assert session["seconds"] > 0
    assert session["jax"] == jax.__version__
    assert "monolingual synthetic_en" in session["computed"]


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
    predictions.file(out, Cell("finetuned", "synthetic_en", "synthetic_fr", "valence")).unlink()
    harness.run(SETTINGS, options(speech, out))
    assert report.write(Results(out), "table2", [setting.name for setting in SETTINGS]) + "\n" == printed


def test_results_of_another_protocol_are_not_touched(table2, speech):
    out, _ = table2
    with pytest.raises(
        ResultsError,
        match=r"another protocol \(epochs: 12 there, 13 asked for, label_rule: footnote there, table1 asked "
        r"for, model precision: float32 there, bfloat16 asked for\); repeat it with its own options, or",
    ):
        harness.run(SETTINGS, options(speech, out, epochs=13, label_rule="table1", precision="bfloat16"))


def test_the_protocol_names_the_corpora_by_content(table2, speech):
    document = json.loads((table2[0] / "protocol.json").read_text())
    for noted, name in zip(document["protocol"]["corpora"], PAIR, strict=True):
        assert noted["synthetic"] is True
        assert noted["fingerprint"] == load(name, speech).fingerprint


def test_results_without_a_protocol_are_not_adopted(tmp_path, speech):
    (tmp_path / "predictions").mkdir()
    with pytest.raises(ResultsError, match=r"holds predictions without the protocol.json that says of what"):
        harness.run(SETTINGS, options(speech, tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"protocol": {}}'])
def test_a_damaged_protocol_is_named(tmp_path, speech, text):
    (tmp_path / "protocol.json").write_text(text)
    with pytest.raises(ResultsError, match=r"protocol.json is not a protocol, expected a JSON object with"):
        harness.run(SETTINGS, options(speech, tmp_path))


def test_one_corpus_under_two_names_is_refused(speech, tmp_path):
    trees = speech.parent / "trees"
    flags = ["--source", str(trees / "RECOLA"), "--name", "twin", "--data-dir", str(speech), "--workers", "1"]
    assert ser_jax(["prepare", "recola", *flags]) == 0
    with pytest.raises(ExperimentError, match="corpora synthetic_fr twin hold the same utterances"):
        harness.run(SETTINGS, options(speech, tmp_path, corpora=("synthetic_fr", "twin")))


def test_an_output_that_is_no_folder_is_named(speech, tmp_path, capsys):
    (tmp_path / "file").touch()
    arguments = ["--corpora", *PAIR, "--data-dir", str(speech), "--out", str(tmp_path / "file"), *FLAGS]
    with pytest.raises(SystemExit) as stop:
        main("", "table2", SETTINGS, arguments)
    assert stop.value.code == 2
    assert "file is a file, expected a folder for the results" in capsys.readouterr().err


def test_ctrl_c_ends_in_a_sentence_and_status_130(tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(harness, "run", interrupt)
    with pytest.raises(SystemExit) as stop:
        main("", "table2", SETTINGS, ["--corpora", *PAIR, "--out", str(tmp_path / "o")])
    assert stop.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err


def the_pool():
    corpora = [noise_corpus("one", seed=1), noise_corpus("two", sessions=6, seed=2)]
    return Pool(corpora, 5, "footnote", lambda *features: features)


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
            assert not set(member.speaker[plan.train]) & set(member.speaker[plan.dev])
            assert not set(member.speaker[plan.dev]) & set(member.speaker[plan.test])


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
    assert trained["crosslingual"] == [(one, two, {one}), (two, one, {two})]
    assert trained["finetuned"] == [(one, two, {two}), (two, one, {one})]


def test_fine_tuning_draws_the_same_utterances_for_every_seed_of_a_split():
    for _, _, plans in jobs_and_plans(FINETUNED):
        for fold in range(5):
            draws = {tuple(plan.train) for plan in plans if plan.fold == fold}
            assert len(draws) == 1
            assert len(draws.pop()) == 20


def test_too_few_utterances_to_fine_tune_on_are_named():
    pool = the_pool()
    job = FINETUNED.jobs(CHOICE.corpora)[1]
    greedy = Options(**{**vars(CHOICE), "finetune_samples": 43})
    with pytest.raises(
        ExperimentError, match="fold 1: 42 training utterances of one, fewer than the 43 to refine on"
    ):
        FINETUNED.plans(pool, greedy, job, "arousal")


def test_what_lacks_a_class_is_not_computed_and_the_rest_is():
    pool = the_pool()
    lonely = pool.corpora["one"]
    lonely.arousal[lonely.session != "s0"] = 0
    alone, other = planned([MONOLINGUAL], pool, CHOICE)
    without = "fold 1: none of the 42 training utterances has arousal high, expected both classes"
    assert alone.missing == {
        Cell("monolingual", "one", "one", "arousal"): without,
    }
    assert [str(cell) for cell in alone.cells] == ["monolingual-one-one-valence"]
    assert {plan.target for plan in alone.plans} == {"valence"}
    assert not other.missing
    [merged] = planned([MULTILINGUAL], pool, CHOICE)
    lacking = "fold 2: none of the 12 one test utterances has arousal high, expected both classes"
    assert merged.missing == {Cell("multilingual", "one+two", "one", "arousal"): lacking}
    assert {plan.target for plan in other.plans} == {"arousal", "valence"}


def test_what_cannot_be_started_is_not_refined():
    pool = the_pool()
    pool.corpora["one"].arousal[:] = 0
    refined = {
        work.job.train: work for work in planned([FINETUNED], pool, CHOICE) if work.setting == FINETUNED
    }
    reason = refined["one",].missing[Cell("finetuned", "one", "two", "arousal")]
    assert reason == "there is no crosslingual model of arousal to start from"
    assert {plan.target for plan in refined["one",].plans} == {"valence"}


def test_a_cell_that_cannot_be_computed_stands_in_the_table_with_its_reason(quick):
    _, text = quick
    assert "Not computed: finetuned" in text
    assert "fewer than the 60 to refine on" in text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not a zip"])
def test_damaged_or_absent_predictions_are_named(tmp_path, content):
    cell = Cell("monolingual", "de", "de", "arousal")
    with pytest.raises(ResultsError, match=r"no predictions .*monolingual-de-de-arousal.npz"):
        predictions.read(tmp_path, cell)
    path = predictions.file(tmp_path, cell)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=r"monolingual-de-de-arousal.npz is not a predictions file"):
        predictions.read(tmp_path, cell)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--corpora", "nowhere", "synthetic_fr"], "no corpus 'nowhere' in"),
        (["--corpora", "synthetic_en", "synthetic_en"], "expected different ones"),
        (["--corpora", "synthetic_en"], "--corpora: synthetic_en alone, expected two or more"),
        (["--folds", "11"], "corpus synthetic_en has 5 separate sessions"),
        (["--host", "-3"], "'-3', expected a whole number from 0 to 1,000,000"),
        (["--hosts", "2"], "--hosts and --host say nothing without --coordinator"),
        (["--seeds", "0"], "'0', expected a whole number from 1 to 10,000"),
        (["--epochs", "many"], "'many', expected a whole number from 1 to 1,000,000"),
        (["--standardize", "zscore"], "invalid choice: 'zscore'"),
        (["--targets", "joy"], "invalid choice: 'joy'"),
    ],
)
def test_wrong_input_ends_in_one_sentence_and_status_2(speech, tmp_path, capsys, flags, sentence):
    arguments = ["--corpora", *PAIR, "--data-dir", str(speech), "--out", str(tmp_path / "out"), *flags]
    with pytest.raises(SystemExit) as stop:
        main("", "table2", SETTINGS, arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_where_nothing_can_be_computed_the_reason_is_the_error(speech, tmp_path, capsys):
    arguments = ["--corpora", *PAIR, "--data-dir", str(speech), "--out", str(tmp_path / "out"), *FLAGS]
    with pytest.raises(SystemExit) as stop:
        main("", "finetuning", [FINETUNED], [*arguments, "--finetune-samples", "5000"])
    assert stop.value.code == 2
    reason = "fold 1: 47 training utterances of synthetic_en, fewer than the 5000 to refine on"
    assert f"finetuned synthetic_en valence: {reason}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


TRAINING = ["monolingual", "multilingual", "crosslingual", "finetuning", "table2", "english_1308", "tuning",
            "learning_curve", "related", "attention_over_time"]  # fmt: skip


@pytest.mark.parametrize("name", TRAINING)
def test_every_experiment_has_help_with_its_command(name, capsys):
    module = importlib.import_module(f"experiments.{name}")
    with pytest.raises(SystemExit) as stop:
        main(module.__doc__, name, SETTINGS, ["--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("\\\n", " ").split())  # long examples stand on two lines
    assert f"python -m experiments.{name} --corpora synthetic_en synthetic_fr" in shown
