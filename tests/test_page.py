"""A page holds what its folder holds, stands alone, and can be read wherever it is opened."""

import html
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import invented
import numpy as np
import pytest
from elements import Read

from ser_jax.errors import ResultsError
from ser_jax.experiment import results as predictions
from ser_jax.experiment import results as stored
from ser_jax.experiment import settings as known
from ser_jax.report import tables
from ser_jax.report.page import page
from ser_jax.report.results import Results
from ser_jax.tasks import TASKS

SVG = "http://www.w3.org/2000/svg"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return invented.everything(tmp_path_factory.mktemp("results"), tasks=("arousal",))


@pytest.fixture(scope="module")
def document(out):
    return page(Results(out))


@pytest.fixture(scope="module")
def read(document):
    return Read(document)


def test_it_is_a_whole_document_that_reaches_nothing_outside(document, read):
    assert document.startswith("<!doctype html>")
    assert read.all("html") == [{"lang": "en"}]
    assert len(read.all("title")) == len(read.all("h1")) == len(read.all("main")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.all("meta")
    assert set(re.findall(r"[a-z]+://[^\s\"'<>]*", document)) == {SVG}
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in read.elements}
    assert not re.search(r"url\((?!#)|@import|\bon\w+=", document)
    assert all(link["href"].startswith("#") for link in read.all("a") + read.all("use"))


def test_every_id_is_there_once_and_every_reference_leads_to_one(document, read):
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = re.findall(r"url\(#([^)]*)\)", document)
    referred += [link["href"][1:] for link in read.all("a") + read.all("use")]
    referred += [section["aria-labelledby"] for section in read.all("section")]
    assert set(referred) <= set(ids)


def test_every_figure_is_whole_and_says_what_it_shows(document):
    drawn = re.findall(r"<svg.*?</svg>", document, flags=re.DOTALL)
    assert len(drawn) > 20
    roots = [ET.fromstring(svg) for svg in drawn]
    assert all(root.get("role") == "img" and root.get("aria-label") for root in roots)
    assert "Scores of every run, de arousal" in [root.get("aria-label") for root in roots]
    assert not [svg for svg in drawn if "#000000" in svg], "drawn in an ink that a dark page swallows"


def test_every_table_names_its_columns_and_rows(read):
    assert {cell.get("scope") for cell in read.all("th")} == {"col", "row"}
    boxes = [box for box in read.all("div") if box.get("class") == "scroll"]
    assert len(boxes) == len(read.all("table")) == len(read.all("caption"))
    assert all(box["aria-label"] and box["tabindex"] == "0" for box in boxes)


def test_every_cell_of_the_folder_stands_in_it_with_its_numbers(out, read):
    results = Results(out)
    rows = results.rows(results.settings)
    assert len(rows) > 60
    for row in rows:
        [line] = tables.intervals(results, [row])[1:]
        assert all(field in read.text for field in line[1:]), row


def test_every_section_is_there_and_a_table_within_another_is_left_out(read):
    wanted = ["Table 2", "Learning curve", "Related", "Tuning", "English 1308", "In no table", "Attention"]
    for heading in [*wanted, "How it was computed"]:
        assert read.text.count(heading) >= 2, heading  # in the contents, and above the section
    assert read.text.count("Scores of every corpus on every corpus") == 1
    assert not re.search(r"^Monolingual$", read.text, re.MULTILINE)


def test_what_is_missing_and_how_it_was_computed_are_told(out, read):
    text = re.sub(r"\s+", " ", read.text)
    for part in (
        stored.read_document(out)["hash"],
        "Not computed: finetuned_400, en arousal: fold 1: 300, fewer than 400.",
        "started: 2026-03-01T10:00:00+00:00",
        "numpy: 2.4.0",
        "channels: 200",
        "fingerprint: de0de0",
        "monolingual de, crosslingual de>en",
        "16 test utterances, 16 test utterances",
    ):
        assert part in text, part


def small(out, names=("de", "en"), shown=("monolingual", "multilingual"), **facts):
    """A folder of one task of two corpora."""
    own = invented.config(names, ("arousal",))
    invented.claim(out, own, tables={"table2": list(shown)}, **facts)
    for setting in [*known.monolingual(own), *known.multilingual(own)]:
        if setting.name in shown:
            invented.keep(out, setting, 0.8, training=setting.name == "monolingual")
    return out


def test_names_and_reasons_are_text_and_never_markup(tmp_path):
    evil = "<script>alert('x')&"
    small(tmp_path, (evil, "en"), ("multilingual",))
    [setting] = known.monolingual(invented.config(("en",), ("arousal",)))
    (tmp_path / "attention.json").write_text(json.dumps(invented.attention([evil])))
    stored.note_missing(tmp_path, [invented.missing(setting, f'{evil} `<b>` "no"')])
    document = page(Results(tmp_path))
    assert not re.search(r"<script|<b>|<fast>", document)
    read = Read(document)
    assert f'{evil} `<b>` "no"' in read.text
    assert "A processor <fast>" in read.text
    labels = [svg["aria-label"] for svg in read.all("svg")]
    assert f"Scores of every run, {evil} arousal" in labels
    assert f"How often each segment has the largest weight, {evil}, all segments" in labels


def test_a_folder_of_one_table_has_no_sections_of_others(tmp_path):
    document = page(Results(small(tmp_path)))
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", document)
    assert headings == ["Table 2", "How it was computed"]
    assert "Synthetic" not in document
    kept = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(kept | {"tables": {}}))
    assert "In no table" in page(Results(tmp_path))


def test_an_empty_folder_has_a_page(tmp_path):
    invented.claim(tmp_path, invented.config(("de", "en")), tables={"table2": ["monolingual"]})
    assert "Emotion from speech: de, en" in Read(page(Results(tmp_path))).text
    with pytest.raises(ResultsError, match=r"no .*config\.json.*; expected a folder that an experiment has"):
        page(Results(tmp_path / "other"))


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    small(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    assert page(Results(tmp_path / "one")) == page(Results(tmp_path / "other"))


def test_synthetic_speech_is_told_first(tmp_path):
    document = page(Results(small(tmp_path, synthetic=True)))
    assert document.index("Synthetic speech (de, en): no person spoke it") < document.index("<nav")
    assert "<title>Emotion from speech: de (synthetic), en (synthetic)</title>" in document


def test_a_page_of_twelve_corpora_is_made(tmp_path):
    names = tuple(f"corpus_{i}" for i in range(12))
    own = invented.config(names, ("arousal",), seeds=1)
    invented.claim(tmp_path, own, tables={"table2": ["monolingual", "crosslingual"]})
    for setting in [*known.monolingual(own), *known.crosslingual(own)[:2]]:
        invented.keep(tmp_path, setting, 0.7)
    assert "crosslingual from corpus_1" in page(Results(tmp_path))


def certain(out, speakers=16, tasks=("valence",)):
    """One setting is always right, the other about half of the utterances of every speaker."""
    own = invented.config(("de",), tasks, seeds=1)
    invented.claim(out, own, tables={"table2": ["monolingual", "multilingual"]})
    n = 4 * speakers
    label, who = np.arange(n) % 2, np.repeat(np.arange(speakers), 4).astype(str)
    facts = {"utterance": np.arange(n).astype(str), "speaker": who, "session": who, "fold": 0 * label}
    for setting, right in (("monolingual", np.arange(n) // 2 % 2), ("multilingual", label)):
        outputs = np.stack([1 - right, right], axis=-1)[None].astype(np.float32)
        for task in tasks:
            found = predictions.make_predictions(
                TASKS[task], name=setting, train=("de",), test=("de",), labels=label, seed=np.zeros(1, int),
                outputs=outputs, **facts,
            )  # fmt: skip
            predictions.write_predictions(out, found)
    return Read(page(Results(out))).text


def test_what_differs_is_marked(tmp_path):
    assert re.search(r"multilingual\s*monolingual\s*\+50.0\s*< 0.001\s*< 0.001 \*", certain(tmp_path))


def test_what_few_speakers_cannot_show_is_told(tmp_path):
    text = certain(tmp_path, speakers=5)
    assert " *" not in text.partition("Differences between settings")[2].partition("Differences of")[0]
    assert "The 5 speakers of de allow no p below 0.0625" in text


def test_p_is_corrected_for_its_column_alone(tmp_path):
    """Six speakers allow p = 0.031: enough for one comparison of each task, not for both at once."""
    text = certain(tmp_path, 6, ("arousal", "valence"))
    assert text.count("0.031 *") == 2
    assert "allow no p below" not in text


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """
const found = {};
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => channels(colour).slice(0, 3).map((c) => c / 255)
  .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element, view) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = view.getComputedStyle(e).backgroundColor, alpha = channels(colour)[3];
    if (alpha === undefined || alpha > 0) return colour;
  }
};
addEventListener('load', () => {
  for (const frame of document.querySelectorAll('iframe')) {
    const view = frame.contentWindow, inside = frame.contentDocument, root = inside.documentElement;
    let contrast = 99, letters = 99;
    for (const details of inside.querySelectorAll('details')) details.open = true;
    for (const e of inside.querySelectorAll('p, li, a, th, td, h1, h2, h3, caption, code, summary, text')) {
      if (!e.textContent.trim() || e.style.fill) continue;  // numbers on a heat map have their own ink
      const style = view.getComputedStyle(e), ink = e.tagName === 'text' ? style.fill : style.color;
      const both = [luminance(ink), luminance(ground(e, view))].sort((a, b) => b - a);
      contrast = Math.min(contrast, (both[0] + 0.05) / (both[1] + 0.05));
      if (e.tagName === 'text') {
        const scale = e.ownerSVGElement.getScreenCTM().a;
        letters = Math.min(letters, scale * parseFloat(style.fontSize));
      }
    }
    const figures = [...inside.querySelectorAll('figure')].map((e) => e.getBoundingClientRect());
    found[frame.width] = {
      over: root.scrollWidth - view.innerWidth, contrast, letters,
      paper: view.getComputedStyle(inside.body).color,
      figures: Math.max(...figures.map((box) => box.right)) - view.innerWidth,
      boxes: [...inside.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length,
    };
  }
  document.body.textContent = JSON.stringify(found);
});
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_can_be_read_on_a_phone_and_on_a_screen(tmp_path, document, scheme):
    frames = "".join(
        f'<iframe width="{width}" height="800" style="border:0" srcdoc="{html.escape(document)}"></iframe>'
        for width in (360, 1200)
    )
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(f"<!doctype html><body>{frames}<script>{MEASURE}</script></body>")
    # 0 is dark, 1 is light (Blink's enum PreferredColorScheme)
    asked = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,1000", asked]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *options, wrapper.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(re.search(r"<body>(.*)</body>", done.stdout, flags=re.DOTALL)[1])
    for width, seen in found.items():
        assert seen["over"] <= 0, width
        assert seen["figures"] <= 0, width
        assert seen["contrast"] >= 4.5, width
        assert seen["letters"] >= 9.5, width
        shade = int(re.search(r"\d+", seen["paper"])[0])
        assert shade > 200 if scheme == "dark" else shade < 60
    assert found["360"]["boxes"] > 3  # tables scroll in their own boxes
    assert found["1200"]["boxes"] <= 1
