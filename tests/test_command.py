"""The command line of experiments, and the whole way from synthesised speech to Table 2."""

import csv
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pair import PAIR, TREES, prepare, shared
from reading import ran

from ser_jax import data
from ser_jax.experiment.command import parse
from ser_jax.experiment.config import Config, ConfigError, describe
from ser_jax.features import LogMel, Waveform
from ser_jax.features.egemaps import EGeMAPS
from ser_jax.features.whisper import Whisper
from ser_jax.model import Probe
from ser_jax.tasks import TASKS, Binary, Joint, Regression

FEW = ["--seeds", "1", "--folds", "2", "--epochs", "1"]
FLAGS = ["--seeds", "1", "--folds", "3", "--epochs", "20", "--finetune-samples", "30", "--finetune-epochs",
         "3"]  # fmt: skip
LINEAR = ["--model", "probe", "--train.learning-rate", "0.03"]


def parsed(typed):
    return parse("", "table2", typed.split())[0]


def at(config, place):
    for part in place.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize(
    ("typed", "place", "value"),
    [
        ("--out o", "out", Path("o")),
        ("--seeds 3", "protocol.seeds", 3),
        ("--protocol.standardize speaker", "protocol.standardize", "speaker"),
        ("--protocol.label-rule table1", "tasks", (Binary("arousal", "table1"), Binary("valence", "table1"))),
        ("--adapted corpus speaker", "protocol.adapted", ("corpus", "speaker")),
        ("--baselines level --protocol.trim 30", "protocol.trim", 30.0),
        ("--model.mask-attention --model.padding edge", "model.mask_attention", True),
        ("--precision bfloat16", "model.precision", "bfloat16"),
        ("--compute.coordinator auto --compute.hosts 3 --compute.host 2", "compute.host", 2),
        ("--tasks=emotion", "tasks", (TASKS["emotion"],)),
        ("--tasks all --task.class-names anger fear", "tasks.0.class_names", ("anger", "fear")),
        ("--tasks arousal+dimensions arousal", "tasks",
         (Joint((TASKS["arousal"], TASKS["dimensions"])), TASKS["arousal"])),
        ("--tasks emotion+valence --task.weights 2 1", "tasks",
         (Joint((TASKS["emotion"], TASKS["valence"]), (2.0, 1.0)),)),
        ("--tasks dimensions --task.dimensions dominance", "tasks", (Regression(("dominance",)),)),
        ("--features waveform --features.seconds 3", "features", Waveform(seconds=3.0)),
        ("--model probe --model.dropout 0.5", "model", Probe(dropout=0.5)),
        ("--train.optimizer adamw --train.weight-decay 0.1", "train.weight_decay", 0.1),
        ("--train.augment gain --train.augment.decibels 3", "train.augment.decibels", 3.0),
        ("--train.objective adversarial --train.objective.strength 3", "train.objective.strength", 3.0),
    ],
)  # fmt: skip
def test_every_field_has_a_flag(typed, place, value):
    found = parsed(typed)
    first, _, rest = place.partition(".0.")
    found = at(at(found, first)[0], rest) if rest else at(found, place)
    assert found == value


def test_the_defaults_are_those_of_the_configuration():
    found, accept = parse("", "table2", [])
    assert found == Config(out=Path("results/table2"))
    assert not accept
    assert parse("", "table2", ["--accept-changed-code"])[1]


def test_a_stored_configuration_is_repeated(tmp_path):
    """With other flags beside it; an example repeats one of classes of its own."""
    typed = "--corpora a b --tasks emotion --train.augment gain --train.augment.decibels 4"
    first = parsed(f"{typed} --epochs 7 --seeds 3 --model probe")
    stored = tmp_path / "config.json"
    stored.write_text(json.dumps({"config": describe(first)}))
    again = parsed(f"--config {stored}")
    assert again == first
    other = parsed(f"--config {stored} --epochs 8 --tasks arousal --out x")
    assert (other.train.epochs, other.train.augment, other.out) == (8, first.train.augment, Path("x"))
    assert other.tasks == (TASKS["arousal"],)


KINDS = ("json:dumps", "ser_jax.augment:Gain", "gone:Kind", "")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "[" * 100_000, *(json.dumps({"config": {"class": kind}}) for kind in KINDS)]
)
def test_a_file_without_a_configuration_is_named(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    for place in (path, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match=r"--config .*expected|a stored .*expected"):
            parsed(f"--config {place}")


@pytest.fixture(scope="module")
def speech():
    return shared() / "data"


def typed(script, speech, out, *flags):
    where = ["--corpora", *PAIR, "--data-dir", speech, "--out", out]
    return ["python", "-m", f"experiments.{script}", *where, *flags]


@pytest.fixture(scope="module")
def table(speech, tmp_path_factory):
    """What `python -m experiments.table2` leaves behind and prints."""
    out = tmp_path_factory.mktemp("results") / "table2"
    return out, ran(typed("table2", speech, out, *FLAGS, *LINEAR))[0]


def scores(out):
    """The score of every cell of Table 2, by setting, tested corpus and task."""
    with (out / "table2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    return {(row["setting"], row["test"], row["task"]): float(row["score_mean"]) for row in rows}


def test_a_linear_network_shows_the_papers_pattern_on_the_synthetic_pair(table):
    """Arousal is learnt and transferred; valence is learnt within a language and lost across."""
    found = scores(table[0])
    for corpus in PAIR:
        for setting in ("monolingual", "multilingual", "crosslingual", "finetuned"):
            assert found[setting, corpus, "arousal"] > 70, (setting, corpus)
        for setting in ("monolingual", "multilingual"):
            assert found[setting, corpus, "valence"] > 70, (setting, corpus)
        assert 38 < found["crosslingual", corpus, "valence"] < 62


@pytest.mark.slow
def test_the_papers_network_shows_the_papers_pattern_on_the_pair_of_the_demonstration(tmp_path):
    """Under the strict protocol: arousal transfers, valence does not, and fine-tuning helps both."""
    prepare(tmp_path, utterances=240)
    ran(typed("table2", tmp_path / "data", tmp_path / "out", "--epochs", "10", "--seeds", "3"))
    found = scores(tmp_path / "out")
    for corpus in PAIR:
        assert found["crosslingual", corpus, "arousal"] >= 65
        assert 45 <= found["crosslingual", corpus, "valence"] <= 55
        for task in ("arousal", "valence"):
            assert found["finetuned", corpus, task] > found["crosslingual", corpus, task]


def test_what_was_printed_is_what_was_written(table, speech, undrawn):
    out, printed = table
    assert (out / "table2.md").read_text() == printed
    assert "Synthetic speech" in printed
    for name in ("table2.tex", "table2.png", "table2.svg", "report.html"):
        assert (out / name).stat().st_size > 500
    stored = ["--config", out / "config.json", "--data-dir", speech, "--out", out]
    for again in (
        typed("table2", speech, out, *FLAGS, *LINEAR),
        ["python", "-m", "experiments.table2", *stored],
    ):
        text, said = ran(again)
        assert "holds these results already" in said
        assert text == printed
    ran(["python", "-m", "experiments.verify", out])


@pytest.mark.usefixtures("hastily", "undrawn")
def test_another_experiment_shares_the_folder(speech, tmp_path):
    """Models that are there are analysed, not trained again; masked ones stand beside them."""
    flags = [*FEW, "--tasks", "arousal", "--model.channels", "4"]
    ran(typed("monolingual", speech, tmp_path, *flags))
    printed, _ = ran(typed("attention_over_time", speech, tmp_path, *flags))
    trained = json.loads((tmp_path / "config.json").read_text())["sessions"][-1]["computed"]
    assert trained == [f"monolingual_masked {name} arousal" for name in PAIR]
    found = json.loads((tmp_path / "attention.json").read_text())
    masks, parts = ("", ", masked"), ("training", "test")
    assert list(found) == [f"{name}, {part}{mask}" for mask in masks for name in PAIR for part in parts]
    for row, shares in found.items():
        assert f"| {row} " in printed
        assert (max(shares["padding_weight"]) < 1e-6) == row.endswith("masked")
    flags[flags.index("arousal")] = "arousal+valence"
    ran(typed("attention_over_time", speech, tmp_path / "at_once", *flags))
    assert list(json.loads((tmp_path / "at_once/attention.json").read_text())) == list(found)


@pytest.mark.usefixtures("hastily", "undrawn")
def test_two_hosts_write_what_one_does(speech, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = [*FEW, "--finetune-samples", "30", "--finetune-epochs", "1", "--tasks", "arousal"]
    flags += ["--model", "probe"]
    shared = ["--compute.coordinator", f"localhost:{port}", "--compute.hosts", "2", "--compute.host"]
    two = [sys.executable, *typed("finetuning", speech, tmp_path / "two", *flags, *shared)[1:]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    hastily = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    running = [subprocess.Popen([*two, host], env=hastily, **pipes) for host in "01"]
    ran(typed("finetuning", speech, tmp_path / "one", *flags))
    said = [program.communicate(timeout=300)[1].decode()[-3000:] for program in running]
    assert [program.returncode for program in running] == [0, 0], said
    for path in (tmp_path / "one" / "predictions").iterdir():
        wanted, found = np.load(path), np.load(tmp_path / "two" / "predictions" / path.name)
        np.testing.assert_allclose(found["outputs"], wanted["outputs"], atol=2e-3)


def test_defaults_of_an_experiment_are_replaced_by_flags_and_stored_configurations(tmp_path):
    defaults = "--corpora a b --tasks categories --folds 6 --model probe --model.dropout 0.25"

    def found(typed):
        return parse("", "emotions", typed.split(), 1, defaults)[0]

    plain = found("")
    assert (plain.corpora, plain.protocol.folds, plain.model) == (("a", "b"), 6, Probe(dropout=0.25))
    assert (plain.tasks, plain.out) == ((TASKS["categories"],), Path("results/emotions"))
    other = found("--corpora c --tasks all --model attentive_cnn")
    assert (other.corpora, other.tasks, other.model) == (("c",), (TASKS["all"],), Config().model)
    assert other.protocol.folds == 6
    (tmp_path / "config.json").write_text(json.dumps({"config": describe(Config(corpora=("d", "e")))}))
    assert found(f"--config {tmp_path / 'config.json'}") == Config(corpora=("d", "e"), out=plain.out)


@pytest.mark.usefixtures("hastily", "undrawn")
@pytest.mark.parametrize(
    ("script", "corpora", "shown"),
    [
        ("emotions", PAIR[:1], "| monolingual_speaker, synthetic_en categories |"),
        ("dimensions", PAIR, "| monolingual_speaker, synthetic_fr valence | FM1 |"),
    ],
)
def test_emotions_and_dimensions_have_rows_of_each_kind_of_statistics(
    speech, tmp_path, script, corpora, shown
):
    """All speakers but the tested ones train; other features than the script's."""
    out, where = tmp_path / script, ["--corpora", *corpora, "--data-dir", speech]
    words = ["python", "-m", f"experiments.{script}", *where, "--out", out, "--features", "logmel", *FEW]
    printed = re.sub(" +", " ", ran(words)[0])
    assert shown in printed
    assert "not computed" not in printed
    with (out / f"{script}.csv").open() as file:
        rows = list(csv.DictReader(file))
    strict, speaker = (len([row for row in rows if row["statistics"] == of]) for of in ("train", "speaker"))
    assert strict == speaker == len(corpora)
    assert all("Pearson" in row["others"] or "accuracy" in row["others"] for row in rows)
    for folds in json.loads((out / "config.json").read_text())["folds"].values():
        assert not any(fold["dev"] for fold in folds)
    assert any(out.glob(f"{script}_{'scatter' if script == 'dimensions' else 'confusions'}.png"))


@pytest.fixture(scope="module")
def front_ends(tmp_path_factory):
    """A folder of the pair prepared with log-mels, eGeMAPS and the packaged encoder."""
    folder = tmp_path_factory.mktemp("front_ends")
    for features in (LogMel(), EGeMAPS(), Whisper(layers=(0, 1, 2), stride=8)):
        for name, (database, tree) in zip(PAIR, TREES.items(), strict=True):
            source = shared() / "speech" / tree
            data.prepare(database, source, name=name, data_dir=folder, features=features, workers=1)
    return folder


@pytest.mark.usefixtures("hastily", "undrawn")
def test_the_table_of_a_fusion_is_that_of_its_predictions(front_ends, tmp_path):
    where = ["--corpora", *PAIR, "--data-dir", front_ends, "--out", tmp_path]
    printed = ran(["python", "-m", "experiments.fusion", *where, "--seeds", "1", "--epochs", "2"])[0]
    assert printed.strip() == (tmp_path / "fusion.md").read_text().strip()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if "]" in line]
    names = ["cnn_logmel", "probe_egemaps", "probe_whisper", "attentive_whisper", "fusion"]
    tested = [f"{name} {task}" for name in PAIR for task in ("arousal", "valence")]
    assert [(row[0], row[1]) for row in rows[1:]] == [(one, name) for one in tested for name in names]
    with (tmp_path / "cnn_logmel/cnn_logmel.csv").open() as file:
        cells = [row for row in csv.DictReader(file) if row["setting"] == "monolingual"]
    pooled = {f"{row['test']} {row['task']}": row["pooled"] for row in cells}
    for one, name, score, *_ in rows[1:]:
        if name == "cnn_logmel":
            assert score.split()[0] == f"{float(pooled[one]):.1f}"


@pytest.mark.usefixtures("hastily", "undrawn")
def test_features_shows_the_means_of_each_system(front_ends, tmp_path):
    """Of statistics of the packaged encoder; the means in brackets are those of one corpus."""
    where = ["--corpora", *PAIR, "--data-dir", front_ends, "--out", tmp_path / "out"]
    script = ["python", "-m", "experiments.features", *where, "--without", PAIR[1]]
    head, _, *lines = ran([*script, "--systems", "probe_whisper"])[0].strip().splitlines()
    assert [part.strip() for part in head.split("|")[2:-1]][1:3] == ["arousal", "valence"]
    with (tmp_path / "out/probe_whisper/probe_whisper.csv").open() as file:
        rows = list(csv.DictReader(file))
    modes = ("", "_corpus", "_speaker")
    settings = [name + mode for name in ("monolingual", "other_languages") for mode in modes]
    found = {}
    for line in lines:
        system, setting, *scores, _ = (part.strip() for part in line.split("|")[1:-1])
        assert system == "probe_whisper"
        found[setting] = scores
    assert sorted(found) == sorted(settings)
    for setting, scores in found.items():
        for task, shown in zip(("arousal", "valence"), scores, strict=True):
            cells = [row for row in rows if (row["setting"], row["task"]) == (setting, task)]
            own = {row["test"].split()[0]: float(row["score_mean"]) for row in cells}
            assert shown == f"{sum(own.values()) / 2:.1f} ({own[PAIR[0]]:.1f})"
    refused = ran([*script, "--systems", "svm"], status=2)[1]
    assert "svm" in refused
    assert "cnn_logmel" in refused
