"""The page holds what its folder holds, stands alone, and can be read on phones and in the dark."""

import base64
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import invented
import pytest
from predicted_by_hand import claimed, keep
from test_figures import contrast

from ser_jax.errors import ResultsError
from ser_jax.experiment import results as stored
from ser_jax.experiment import settings as known
from ser_jax.report import Results, page, tables

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Read(HTMLParser):
    """A document's elements and words; a tag that is not closed where it should be is an error."""

    def __init__(self, document):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(document)
        self.close()
        self.text = "".join(self.words)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All parts that a page can have: two tables, a missing cell, attention."""
    out, own = tmp_path_factory.mktemp("results"), invented.config(("de", "en"), ("arousal",))
    shown = {"table2": ["monolingual", "finetuned"], "english_1308": ["monolingual"]}
    invented.claim(out, own, tables=shown)
    for setting in known.monolingual(own):
        invented.keep(out, setting, 0.8, training=True)
    stored.note_missing(out, [invented.missing(known.finetuned(own)[0], "fold 1: 30, fewer than 100")])
    (out / "attention.json").write_text(json.dumps(invented.attention(["de"])))
    return Results(out)


@pytest.fixture(scope="module")
def document(results):
    return page(results)


@pytest.fixture(scope="module")
def read(document):
    return Read(document)


def test_it_is_a_document_that_reaches_nothing_outside(document, read):
    assert document.startswith("<!doctype html>")
    assert read.all("html") == [{"lang": "en"}]
    assert len(read.all("title")) == len(read.all("h1")) == len(read.all("main")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.all("meta")
    assert "://" not in document
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in read.elements}
    assert not re.search(r"url\(|@import|\bon\w+=", document)


def test_every_reference_leads_to_an_id(read):
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in read.all("a")} == {f"#{name}" for name in ids}
    assert {section["aria-labelledby"] for section in read.all("section")} == set(ids)


def test_every_figure_is_an_image_that_says_what_it_shows(read):
    images = read.all("img")
    drawn = [base64.b64decode(one["src"].removeprefix("data:image/svg+xml;base64,")) for one in images]
    assert all(ET.fromstring(image).tag.endswith("svg") for image in drawn)
    labels = [image["alt"] for image in images]
    assert len(set(labels)) == 11
    assert "Scores of every run, de arousal" in labels
    assert "Networks, 2 outputs, softmax" in labels


def test_every_table_names_its_columns_and_rows(read):
    assert {cell.get("scope") for cell in read.all("th")} == {"col", "row"}
    boxes = [box for box in read.all("div") if box.get("class") == "scroll"]
    assert len(boxes) == len(read.all("table"))
    assert all(box["aria-label"] and box["tabindex"] == "0" for box in boxes)


def test_it_holds_every_number_of_the_folder_and_how_it_was_computed(results, read):
    for row in results.rows(results.settings):
        [line] = tables.intervals(results, [row])[1:]
        assert all(field in read.text for field in line), row
    text = re.sub(r"\s+", " ", read.text)
    for part in (
        "Table 2", "English 1308", "Attention", "How it was computed", results.document["hash"],
        "Not computed: finetuned, en arousal: fold 1: 30, fewer than 100.", "channels: 200", "numpy: 2.4.0",
        "started: 2026-03-01T10:00:00+00:00", "fingerprint: de0de0", "16 test utterances, 16 test utterances",
    ):  # fmt: skip
        assert part in text, part


def test_names_and_reasons_are_text_and_never_markup(tmp_path):
    evil = "<script>alert('x')&"
    own = invented.config((evil, "en"), ("arousal",))
    invented.claim(tmp_path, own, tables={"table2": ["monolingual"]})
    (tmp_path / "attention.json").write_text(json.dumps(invented.attention([evil])))
    first, second = known.monolingual(own)
    invented.keep(tmp_path, first, 0.8)
    stored.note_missing(tmp_path, [invented.missing(second, f'{evil} `<b>` "no"')])
    document = page(Results(tmp_path))
    assert not re.search(r"<script|<b>|<fast>", document)
    read = Read(document)
    assert f'{evil} `<b>` "no"' in read.text
    assert "A processor <fast>" in read.text
    assert f"Scores of every run, {evil} arousal" in [image["alt"] for image in read.all("img")]


def test_an_empty_folder_has_a_page(tmp_path):
    invented.claim(tmp_path, invented.config(("de", "en")), tables={"table2": ["monolingual"]})
    text = Read(page(Results(tmp_path))).text
    assert "Emotion from speech: de, en" in text
    with pytest.raises(ResultsError, match=r"no .*config\.json.*; expected a folder that an experiment has"):
        page(Results(tmp_path / "other"))


def test_synthetic_speech_is_named_first(tmp_path):
    corpora = [invented.corpus(name, synthetic=True) for name in ("de", "en")]
    document = page(Results(keep(claimed(tmp_path, corpora), corpora)))
    assert document.index("Synthetic speech, generated and not recorded: de, en.") < document.index("<nav")
    assert "<title>Emotion from speech: de (synthetic), en (synthetic)</title>" in document


def test_another_network_is_named(tmp_path):
    invented.claim(tmp_path, invented.config(("de",), ("arousal",)))
    results = Results(tmp_path)
    results.document["config"]["model"] = {"class": "own_network:GRU", "units": 64}
    assert re.search(r"Network\s+own_network:GRU", Read(page(results)).text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_ink_has_contrast_on_every_ground(document, scheme):
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", part))
        for part in re.findall(r":root \{(.*?)\}", document, re.DOTALL)
    )
    colours = light if scheme == "light" else dark
    for ink in ("ink", "faint", "link"):
        for ground in ("paper", "card"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["ink"], colours["warning"]) >= 4.5
