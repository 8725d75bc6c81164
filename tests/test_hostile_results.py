"""Results that would run code or inject markup are refused or escaped."""

import dataclasses

import invented
import numpy as np
import pytest
from test_hostile_files import bomb

from experiments import page, predictions
from experiments.predictions import Cell, ResultsError
from experiments.results import Results


@pytest.mark.parametrize("name", ["utterance", "probability", "seed"])
def test_predictions_that_hold_objects_are_refused(tmp_path, name):
    cell = Cell("monolingual", "de", "de", "arousal")
    invented.keep(tmp_path, cell, 0.8)
    path = predictions.file(tmp_path, cell)
    with np.load(path) as arrays:
        held = dict(arrays) | {name: bomb(tmp_path / "boom")}
    np.savez(path, allow_pickle=True, **held)
    with pytest.raises(ResultsError, match="is not a predictions file"):
        predictions.read(tmp_path, cell)
    assert not (tmp_path / "boom").exists()


def test_names_of_people_and_utterances_are_no_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    invented.claim(tmp_path, [invented.corpus("de"), invented.corpus("en")], {"table2": ["monolingual"]})
    for name in ("de", "en"):
        cell = Cell("monolingual", name, name, "arousal")
        said = invented.said(0.8)
        said.utterance[:] = evil
        people = np.char.add(evil, said.speaker)
        predictions.write(tmp_path, cell, dataclasses.replace(said, speaker=people))
    assert "<script" not in page.of(Results(tmp_path))
