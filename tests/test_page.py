"""A page holds what its folder holds, stands alone, and can be read wherever it is opened."""

import html
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import invented
import pytest
from elements import Read

from experiments import keeping, page, protocol, tables
from experiments.predictions import Cell
from experiments.results import Results

SVG = "http://www.w3.org/2000/svg"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return invented.everything(tmp_path_factory.mktemp("results"), targets=("arousal",))


@pytest.fixture(scope="module")
def document(out):
    return page.of(Results(out))


@pytest.fixture(scope="module")
def read(document):
    return Read(document)


def test_it_is_a_whole_document(document, read):
    assert document.startswith("<!doctype html>")
    assert read.all("html") == [{"lang": "en"}]
    assert len(read.all("title")) == len(read.all("h1")) == len(read.all("main")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.all("meta")


def test_it_reaches_nothing_outside_and_runs_nothing(document, read):
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
    labels = [root.get("aria-label") for root in roots]
    assert "UAR of every run by setting, de arousal" in labels
    assert not [svg for svg in drawn if "#000000" in svg], "drawn in an ink that a dark page swallows"


def test_every_table_names_its_columns_and_rows(read):
    assert {cell.get("scope") for cell in read.all("th")} == {"col", "row"}
    boxes = [box for box in read.all("div") if box.get("class") == "scroll"]
    assert len(boxes) == len(read.all("table")) == len(read.all("caption"))
    assert all(box["aria-label"] and box["tabindex"] == "0" for box in boxes)


def test_every_cell_of_the_folder_stands_in_it_with_its_numbers(out, read):
    names = {file.name.split("-")[0] for file in (out / "predictions").iterdir()}
    results = Results(out)
    rows = results.rows(sorted(names))
    assert len(rows) > 60
    for row in rows:
        [line] = tables.intervals(results, [row])[1:]
        assert all(field in read.text for field in line[1:]), row


def test_every_section_has_something_to_say(read):
    wanted = [*page.TITLES.values(), "Every corpus on every corpus", "Where the attention lies"]
    wanted += ["Beside the tables", "How training went", "The corpora", "How it was computed"]
    wanted += ["What could not be computed"]
    absent = ("monolingual", "multilingual", "crosslingual", "finetuning", "results")
    for heading in set(wanted) - {page.TITLES[name] for name in absent}:
        assert read.text.count(heading) >= 2, heading  # in the contents, and above the section


def test_a_table_within_another_is_not_told_twice(read):
    assert page.TITLES["monolingual"] not in read.text


def test_what_is_missing_is_named_with_its_reason(read):
    assert read.text.count("fold 1: 300, fewer than 400") == 1
    assert "finetuned_400" in read.text


def test_names_and_reasons_are_text_and_never_markup(tmp_path):
    evil = "<script>alert('x')&"
    invented.claim(tmp_path, [invented.corpus(evil), invented.corpus("en")], {"table2": ["monolingual"]})
    for name in (evil, "en"):
        invented.keep(tmp_path, Cell("monolingual", name, name, "arousal"), 0.8)
    invented.keep_training(tmp_path, "monolingual", evil)
    (tmp_path / "attention.json").write_text(json.dumps(invented.attention([evil])))
    keeping.note_missing(tmp_path, {Cell("monolingual", evil, evil, "valence"): f'{evil} `<b>` "no"'})
    document = page.of(Results(tmp_path))
    assert not re.search(r"<script|<b>|<fast>", document)
    read = Read(document)
    assert f'{evil} <b> "no"' in read.text
    assert "A processor <fast>" in read.text
    assert f"UAR of every run by setting, {evil} arousal" in [svg["aria-label"] for svg in read.all("svg")]


def test_a_corpus_is_described_by_its_largest_cell(document):
    card = re.search(r"What was trained and tested on</caption>(.*?)</table>", document)[1]
    fields = re.findall(r"<td>(.*?)</td>", re.search(r'<th scope="row">de</th>(.*?)</tr>', card)[1])
    assert fields[:5] == ["manifest", "recorded", "80", "10", "27 low, 53 high"]
    assert fields[-1] == "<code>de0de0de0de0</code>"


def test_how_it_was_computed_is_told(out, read):
    for known in (
        protocol.document(out)["hash"],
        "2026-03-01 10:00:00 UTC",
        "0:01:15",
        "python 3.11.9, jax 0.10.2, numpy 2.4.0",
        "0123456789ab+",
        "model: channels",
        "monolingual de, crosslingual de>en",
    ):
        assert known in read.text


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
