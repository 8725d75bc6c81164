"""The summary of what transfers is that of the stored predictions."""

import dataclasses

import invented
import numpy as np
import pytest

from ser_jax.experiment import settings as known
from ser_jax.report import Results, tables, transfer
from ser_jax.report.transfer import FAMILIES, family
from ser_jax.statistics import interval

NAMES = ("de", "fr", "en", "zh")
RIGHT = {"de": 0.9, "fr": 0.6, "en": 0.8, "zh": 0.5}  # by the corpus trained on


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out, own = tmp_path_factory.mktemp("transfer"), invented.config(NAMES, ("arousal",))
    invented.claim(out, own)
    for setting in known.crosslingual(own):
        invented.keep(out, setting, RIGHT[setting.train[0]])
    for setting in known.other_corpora(own):
        invented.keep(out, setting, 0.95)
    transfer.analyse(dataclasses.replace(own, out=out))
    return out


def read(text, title):
    """Return the cells of the table below a title."""
    _, _, rest = text.partition(f"**{title}**\n\n")
    head, _, *lines = rest.partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, *lines)]


def test_the_matrix_is_ordered_by_family_and_has_the_means(out):
    head, *lines = read((out / "matrix.md").read_text(), "arousal")
    assert head[1:] == ["de (Germanic)", "en (Germanic)", "fr (Romance)", "zh (Sinitic)", "mean"]
    pooled = {(row.train, row.test): row for row in Results(out).rows(["crosslingual", "other_corpora"])}
    order = ["de", "en", "fr", "zh"]
    for one, line in zip(order, lines, strict=False):
        scores = [pooled.get(((one,), (other,))) for other in order]
        for cell, row in zip(line[1:5], scores, strict=True):
            text = "-" if row is None else f"{row.pooled:.1f}"
            assert cell == (f"**{text}**" if row is not None and row.low > 50 else text)
        assert float(line[5]) == pytest.approx(np.mean([row.pooled for row in scores if row]), abs=0.06)
    assert [line[0] for line in lines] == [*order, "mean", "other corpora"]
    for i, other in enumerate(order, 1):
        own = [row.pooled for (train, test), row in pooled.items() if test == (other,) and len(train) == 1]
        assert float(lines[4][i]) == pytest.approx(np.mean(own), abs=0.06)


def test_means_within_and_across_families_have_intervals(out):
    results = Results(out)
    _, within, across = read((out / "matrix.md").read_text(), "arousal, by family")
    assert (within[1], across[1]) == ("2", "4")  # only de and en have pairs of both kinds
    cells = {(cell.train[0], cell.test[0]): cell for cell in results.cells.values() if len(cell.train) == 1}
    each = [cells["de", "en"], cells["en", "de"]]
    score = np.mean([tables.pooled_score(cell) for cell in each])
    value, low, high = (float(part.strip("[],")) for part in within[2].split())
    assert value == pytest.approx(score, abs=0.06)
    assert low < value < high
    alone = [interval("UAR", cell.labels, cell.predictions, cell.cluster) for cell in each]
    assert high - low < 100 * max(np.ptp(one) for one in alone)


def test_the_best_corpora_to_train_on_are_named_and_compared(out):
    text = (out / "matrix.md").read_text()
    _, *lines = read(text, "arousal, best corpora to train on")
    assert [line[:2] for line in lines] == [["de", "en"], ["en", "de"], ["fr", "de"], ["zh", "de"]]
    assert [line[3] for line in lines] == ["fr", "fr", "en", "en"]
    assert all("*" in line[5] for line in lines[:2])
    assert "of 12 pairs are above chance." in text
    assert "Trained on all other corpora: 4 of 4 corpora are above chance (de, en, fr, zh)." in text


def test_every_language_has_one_family():
    codes = " ".join(FAMILIES.values()).split()
    assert len(codes) == len(set(codes))
    assert [family([code]) for code in ("en", "ur", "ko", "unknown")] == [
        "Germanic", "Indo-Iranian", "Koreanic", "unknown",
    ]  # fmt: skip
