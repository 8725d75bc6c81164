"""The whole road, from synthesised speech to Table 2, and what goes wrong on it."""

import csv
import json
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import synthetic_pair
from synthetic_pair import FLAGS, PAIR, SETTINGS, options, typed

from experiments import harness, predictions, protocol, report, verify
from experiments.finetuning import FINETUNED
from experiments.main import main
from experiments.plans import ExperimentError
from experiments.predictions import Cell, ResultsError
from experiments.results import Results
from ser_jax.cli import main as ser_jax
from ser_jax.data import load


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return synthetic_pair.made(tmp_path_factory.mktemp("speech"))


def ran(script, *flags):
    """A script of `experiments` that has ended well."""
    command = [sys.executable, "-m", f"experiments.{script}", *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def table2(speech, tmp_path_factory):
    """What `python -m experiments.table2` leaves behind and prints."""
    out = tmp_path_factory.mktemp("results") / "table2"
    return out, ran("table2", *typed(speech, out, *FLAGS)).stdout


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
    done = ran("attention_over_time", *typed(speech, table2[0], *FLAGS))
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
    few = ["--seeds", "1", "--folds", "2", "--epochs", "1"]
    done = ran("related", *typed(speech, tmp_path / "out", *few))
    for name in ("identified", "voted", "multilingual_histogram", "crosslingual_histogram", "language"):
        assert f"| {name} " in done.stdout
    assert "not computed" not in done.stdout


def test_tables_are_verified_from_the_predictions(table2, capsys):
    out = table2[0]
    assert "DIFFERS" not in ran("verify", out).stdout
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
    with pytest.raises(SystemExit) as stop:
        main("", "table2", SETTINGS, typed(speech, tmp_path / "file", *FLAGS))
    assert stop.value.code == 2
    assert "file is a file, expected a folder for the results" in capsys.readouterr().err


def test_a_cell_that_cannot_be_computed_stands_in_the_table_with_its_reason(quick):
    _, text = quick
    assert "Not computed: finetuned" in text
    assert "fewer than the 60 to refine on" in text


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
    with pytest.raises(SystemExit) as stop:
        main("", "table2", SETTINGS, typed(speech, tmp_path / "out", *flags))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_where_nothing_can_be_computed_the_reason_is_the_error(speech, tmp_path, capsys):
    arguments = typed(speech, tmp_path / "out", *FLAGS, "--finetune-samples", "5000")
    with pytest.raises(SystemExit) as stop:
        main("", "finetuning", [FINETUNED], arguments)
    assert stop.value.code == 2
    reason = "fold 1: 47 training utterances of synthetic_en, fewer than the 5000 to refine on"
    assert f"finetuned synthetic_en valence: {reason} (--finetune-samples)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
