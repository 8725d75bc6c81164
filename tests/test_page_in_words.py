"""What a page says of a folder that holds little, of what differs, and of nothing."""

import json
import re
import shutil

import invented
import numpy as np
import pytest
from elements import Read

from experiments import page, predictions, protocol
from experiments.predictions import Cell, Predictions, ResultsError
from experiments.results import Results


def small(out, table=("monolingual", "multilingual"), **facts):
    """A folder of one target of two corpora."""
    invented.claim(out, [invented.corpus(name, **facts) for name in ("de", "en")], {"table2": list(table)})
    for setting in table:
        for name in ("de", "en"):
            train = name if setting == "monolingual" else "de+en"
            invented.keep(out, Cell(setting, train, name, "arousal"), 0.8)
    return out


def test_a_folder_of_one_table_has_no_sections_of_others(tmp_path):
    document = page.of(Results(small(tmp_path)))
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", document)
    assert headings == ["Table 2", "The corpora", "How it was computed"]
    assert "Synthetic" not in document


def test_a_folder_whose_tables_are_not_known_shows_all_it_has(tmp_path):
    small(tmp_path)
    kept = protocol.document(tmp_path)
    (tmp_path / "protocol.json").write_text(json.dumps(kept | {"tables": {}}))
    assert page.TITLES["results"] in page.of(Results(tmp_path))


def test_an_empty_folder_has_a_page(tmp_path):
    invented.claim(tmp_path, [invented.corpus("de"), invented.corpus("en")], {"table2": ["monolingual"]})
    assert "not known" in Read(page.of(Results(tmp_path))).text


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    small(tmp_path / "one")
    invented.keep_training(tmp_path / "one", "monolingual", "de")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    assert page.of(Results(tmp_path / "one")) == page.of(Results(tmp_path / "other"))


def test_synthetic_speech_is_said_first(tmp_path):
    document = page.of(Results(small(tmp_path, synthetic=True)))
    assert document.index("Synthetic speech (de, en): nobody spoke this") < document.index("<nav")
    assert "de (synthetic) arousal" in document


def certain(out, speakers=16, targets=("valence",)):
    """One setting is always right, the other about half of the utterances of every speaker."""
    invented.claim(out, [invented.corpus("de")], {"table2": ["monolingual", "multilingual"]}, seeds=1)
    n = 4 * speakers
    label = (np.arange(n) % 2).astype(np.int8)
    names, who = np.arange(n).astype(str), np.repeat(np.arange(speakers), 4).astype(str)
    for setting, said in (("monolingual", np.arange(n) // 2 % 2), ("multilingual", label)):
        probability = np.where(said, 0.9, 0.1).astype(np.float32)[None]
        kept = Predictions(names, who, 0 * label, label, np.array([0]), probability)
        for target in targets:
            predictions.write(out, Cell(setting, "de", "de", target), kept)
    return out


def test_what_differs_is_said_in_words(tmp_path):
    text = Read(page.of(Results(certain(tmp_path)))).text
    assert (
        "1 of 1 differences is larger than chance explains (p < 0.05, Holm), in points of pooled UAR:" in text
    )
    assert "de valence: multilingual above monolingual by 50.0" in text


def test_what_few_speakers_cannot_show_is_said(tmp_path):
    text = Read(page.of(Results(certain(tmp_path, speakers=5)))).text
    assert "None of 1 differences is larger than chance explains (p < 0.05, Holm)." in text
    assert "The 5 speakers of de allow no p below 0.0625" in text


def test_p_is_corrected_for_its_column_alone(tmp_path):
    """Six speakers allow p = 0.031: enough for one comparison of each target, not for both at once."""
    text = Read(page.of(Results(certain(tmp_path, 6, ("arousal", "valence"))))).text
    assert "2 of 2 differences are larger than chance explains (p < 0.05, Holm)" in text
    assert "corrected by Holm for those of the same column." in text
    assert "allow no p below" not in text


@pytest.mark.parametrize("content", ["no", "[]", '{"de": {"shares": [[1]]}}', '{"de": {"shares": "much"}}'])
def test_damaged_attention_is_named(tmp_path, content):
    (small(tmp_path) / "attention.json").write_text(content)
    with pytest.raises(ResultsError, match=r"attention\.json does not say where attention lies"):
        page.of(Results(tmp_path))


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"no .*protocol\.json; expected a folder that an experiment has"):
        page.of(Results(tmp_path))
