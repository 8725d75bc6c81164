"""Results that would run code or inject markup are refused or escaped."""

import dataclasses

import invented
import numpy as np
import pytest
from predicted_by_hand import claimed, keep, predicted
from test_hostile_files import bomb

from ser_jax.errors import ResultsError
from ser_jax.experiment.results import read_predictions, write_predictions
from ser_jax.report import page
from ser_jax.report.results import Results


@pytest.mark.parametrize("name", ["utterance", "outputs", "seed", "facts"])
def test_predictions_that_hold_objects_are_refused(tmp_path, name):
    path = keep(claimed(tmp_path)) / "predictions" / f"{predicted().slug}.npz"
    with np.load(path) as arrays:
        held = dict(arrays) | {name: bomb(tmp_path / "boom")}
    np.savez(path, allow_pickle=True, **held)
    with pytest.raises(ResultsError, match="is not a predictions file"):
        read_predictions(path)
    assert not (tmp_path / "boom").exists()


def test_names_of_people_and_utterances_are_no_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    found = predicted()
    names = np.char.add(evil, found.utterance), np.char.add(evil, found.speaker)
    write_predictions(
        keep(claimed(tmp_path)), dataclasses.replace(found, utterance=names[0], speaker=names[1])
    )
    assert invented.NAMES[0] in page(Results(tmp_path))
    assert "<script" not in page(Results(tmp_path))
