"""The command line of experiments that train: how Ctrl-C ends it."""

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
