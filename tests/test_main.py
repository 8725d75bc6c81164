"""The command line that all experiments share: its help, and how Ctrl-C ends it."""

import importlib

import pytest
from synthetic_pair import PAIR, SETTINGS

from experiments import harness
from experiments.main import main


def test_ctrl_c_ends_in_a_sentence_and_status_130(tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(harness, "run", interrupt)
    with pytest.raises(SystemExit) as stop:
        main("", "table2", SETTINGS, ["--corpora", *PAIR, "--out", str(tmp_path / "o")])
    assert stop.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err


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
