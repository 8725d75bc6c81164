"""Results folders that are damaged: one sentence that names the file, and no table of what is left."""

import dataclasses
import json

import pytest
from predicted_by_hand import CORPORA, LABEL, claimed, keep, said

from experiments import keeping, predictions, protocol, report, verify
from experiments.predictions import Cell, ResultsError
from experiments.results import Results

DEEP = "[" * 100_000


@pytest.fixture
def out(tmp_path):
    claimed(tmp_path / "out")
    keep(tmp_path / "out", CORPORA)
    return tmp_path / "out"


def ended(command, out, capsys):
    """Exit status and the last line on standard error."""
    with pytest.raises(SystemExit) as stop:
        command([str(out)])
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return stop.value.code, error.strip().splitlines()[-1]


def cells(out):
    return sorted((out / "predictions").iterdir())


DAMAGES = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "text": lambda content: b"not what it was",
    "nested": lambda content: DEEP.encode(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["protocol.json", "predictions", "missing.json", "attention.json"])
def test_a_damaged_file_is_named(out, capsys, name, damage):
    (out / "missing.json").write_text("[]")
    (out / "attention.json").write_text("{}")
    file = cells(out)[0] if name == "predictions" else out / name
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    before = sorted(path.name for path in out.iterdir())
    status, line = ended(report.main, out, capsys)
    assert status == 2
    assert str(file) in line
    assert "delete it" in line or "restore it" in line
    if name != "attention.json":
        assert sorted(path.name for path in out.iterdir()) == before


def changed(out, change):
    document = json.loads((out / "protocol.json").read_text())
    change(document)
    (out / "protocol.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"fold_hashes": {}},
        {"fold_hashes": {}, "corpora": [{"name": "x"}]},
        {"fold_hashes": {}, "corpora": 3},
    ],
)
@pytest.mark.parametrize("command", [report.main, verify.main])
def test_a_hollow_protocol_is_refused_though_its_hash_is_right(out, capsys, content, command):
    changed(out, lambda document: document.update(protocol=content, hash=protocol.sha256(content)))
    status, line = ended(command, out, capsys)
    assert status == 2
    assert "protocol.json is not a protocol, " in line


def test_a_damaged_training_file_is_named(out, capsys):
    file = out / "training" / "monolingual-de-de.npz"
    file.parent.mkdir()
    file.write_bytes(b"PK")
    status, line = ended(report.main, out, capsys)
    assert status == 2
    assert f"{file} is not a training file" in line


def test_a_table_that_is_gone_differs(out, capsys):
    with pytest.raises(SystemExit) as stop:
        report.main([str(out)])
    assert stop.value.code == 0
    (out / "results.md").unlink()
    with pytest.raises(SystemExit) as stop:
        verify.main([str(out)])
    assert stop.value.code == 1
    assert "results.md: LOST" in capsys.readouterr().out


def test_what_is_no_results_folder_is_named(tmp_path, capsys):
    for place in (tmp_path / "nowhere", tmp_path, "/dev/null"):
        for command in (report.main, verify.main):
            status, line = ended(command, place, capsys)
            assert status == 2
            assert "expected" in line, line
    assert keeping.read_missing(tmp_path) == {}


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


@pytest.mark.parametrize("name", ["copy", "monolingual-de-de-arousal (copy)", "monolingual-de-fr-arousal"])
def test_a_file_that_is_no_cell_is_named(out, name):
    (out / "predictions" / f"{name}.npz").touch()
    with pytest.raises(
        ResultsError, match=r"is no cell of de and en, expected SETTING-TRAIN-TEST-TARGET.npz"
    ):
        Results(out).rows(["monolingual"])


def test_predictions_of_unequal_lengths_are_named(out):
    short = dataclasses.replace(said(), label=LABEL[:7])
    predictions.write(out, Cell("monolingual", "de", "de", "arousal"), short)
    with pytest.raises(ResultsError, match=r"monolingual-de-de-arousal.npz .*its arrays differ in length"):
        Results(out).rows(["monolingual"])


@pytest.mark.parametrize(
    "tables",
    [
        {"../../outside": {"settings": ["monolingual"], "cells": []}},
        {"/tmp/outside": {"settings": ["monolingual"], "cells": []}},
        {"table2": {"settings": ["monolingual"], "cells": ["../x-a-a-arousal"]}},
        {"table2": {"settings": ["monolingual"], "cells": ["monolingual-a-arousal"]}},
    ],
)
def test_names_that_would_lead_out_of_the_folder_are_refused(out, tables):
    document = json.loads((out / "protocol.json").read_text()) | {"tables": tables}
    (out / "protocol.json").write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=r"its tables have names that no experiment gives"):
        Results(out).rows(["monolingual"])


def test_a_protocol_that_was_changed_by_hand_is_refused(out):
    document = json.loads((out / "protocol.json").read_text())
    document["protocol"]["epochs"] = 51
    (out / "protocol.json").write_text(json.dumps(document))
    with pytest.raises(
        ResultsError, match=r"it was changed since it was written, its hash is of something else; restore"
    ):
        Results(out).rows(["monolingual"])
