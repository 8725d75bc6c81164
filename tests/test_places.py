"""Figures stand in marked places, and places say what docs/measured.json says."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))

import measure  # noqa: E402
import places  # noqa: E402
from figures import benchmarks, gathering  # noqa: E402

from experiments import bounds, preparation, recognition  # noqa: E402
from ser_jax.benchmark.monitor import Process  # noqa: E402

PAGES = places.pages()
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SMALL = {"speed": {"values": {"seconds": 150.0, "runs": 5, "name": "x"}}}


def rewritten(text, found):
    return places.rewritten(text, found, places.values(found))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_places_say_what_was_measured(page):
    text = page.read_text()
    assert rewritten(text, places.measured()) == (text, [])


def test_every_value_stands_somewhere():
    found = places.measured()
    known = places.values(found)
    for page in PAGES:
        places.rewritten(page.read_text(), found, known)
    assert not {*places.leaves({name: one["values"] for name, one in found.items()})} - known.used


def test_every_measurement_says_how_it_was_made():
    for name, one in places.measured().items():
        assert one["commands"] == [command.typed for command in measure.MEASUREMENTS[name].commands]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", one["date"])
        assert one["device"]
        assert re.fullmatch(r"[0-9a-f]{40}\+?", one["commit"] or ""), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_deviates_stands_in_a_place(page):
    """And no comment stands where readers would see it."""
    outside = places.BLOCK.sub("", page.read_text())
    assert not [line for line in outside.splitlines() if re.match(r"\|.*\d ± \d", line)]
    assert not [block for block in FENCED.findall(outside) if "<!-- =" in block]


def test_a_number_that_changed_is_noticed_and_written():
    page = "It took 3<!-- = speed.seconds /60 .1f --> min, of 5<!-- = speed.runs .0f --> runs.\n"
    after, changes = rewritten(page, SMALL)
    assert after == "It took 2.5<!-- = speed.seconds /60 .1f --> min, of 5<!-- = speed.runs .0f --> runs.\n"
    assert changes == [("speed.seconds", "3", "2.5")]
    assert rewritten(after, SMALL) == (after, [])


@pytest.mark.parametrize(
    ("value", "factor", "form", "shown"),
    [
        (1234.5, None, ",.0f", "1,234"),
        (-14.82, "*-1", ".1f", "14.8"),
        (0.891, "*100", ".0f", "89"),
        (2.15e11, "/1e9", ".0f", "215"),
        (-0.04, None, ".1f", "0.0"),
        (3, None, ".0f", "3"),
    ],
)
def test_numbers_are_shown_as_asked(value, factor, form, shown):
    assert places.formatted(value, factor, form) == shown


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("1<!-- = speed.hours .0f -->", "measured.json has no speed.hours, which a place asks for"),
        ("1<!-- = speed.name .0f -->", "speed.name is no number"),
        ("1<!-- = speed.runs.all .0f -->", "speed.runs.all is within a single value"),
        ("five<!-- = speed.runs .0f --> runs", "'five<!-- = speed.runs .0f --> runs' is no place"),
        ("5 <!-- = speed.runs .0f -->", "is no place"),
        ("5<!-- = speed.runs -->", "is no place"),
        ("<!-- figures: speed -->\n<!-- end -->", "no table is called speed, expected one of demo.front"),
        ("<!-- figures: bounds -->\n| |\n", "'<!-- figures: bounds -->' is no place"),
        ("| |\n<!-- end -->", "'<!-- end -->' is no place"),
    ],
)
def test_what_is_no_place_is_refused(page, sentence):
    with pytest.raises(places.PlaceError, match=re.escape(sentence)):
        rewritten(page, SMALL)


def stored(folder, report):
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(dataclasses.asdict(report)))
    return folder


def test_what_benchmarks_wrote_is_read(tmp_path):
    process = Process(20.0, 419.0, 300.0)
    said = recognition.Report("cpu", 2, 0.1, [0.01, 0.02, 0.03], [2.0], [3.0, 1.0, 2.0], 5.0, 420.0)
    found = benchmarks.recognition(stored(tmp_path / "recognition", said))
    assert (found["utterance"], found["start_alone"], found["calls"], found["starts"]) == (0.02, 2.0, 3, 1)
    said = preparation.Report(
        "cpu", 2, "3.11", 100, {}, {1: process, 2: process}, [], 364.0, [5.0, 0.1], [process, process]
    )
    found = benchmarks.preparation(stored(tmp_path / "preparation", said))
    assert found["prepare"]["two"] == {"seconds": 20.0, "memory": 419.0}
    assert found["load"]["second"] == {"seconds": 0.1, "memory": 419.0}
    said = bounds.Report("cpu", 2, (100, 100), {stage.name: process for stage in bounds.BOUNDS})
    found = benchmarks.bounds(stored(tmp_path / "bounds", said))
    assert found["report"] == {"bound": 60, "seconds": 20.0, "peak": 419.0, "anonymous": 300.0}


def test_shares_are_those_of_all_runs():
    shares = [[0.1, 0.9], [0.3, 0.7]]
    one = {name: shares for name in ("shares", "among")} | {"expected": [0.5, 0.5]}
    one |= {name: [0.2, 0.4] for name in ("padding_weight", "padding_wins", "decided", "decided_among")}
    found = gathering._attention({"a, training": one, "a, test": one})
    assert list(found) == ["a"]
    assert found["a"]["all"]["segment_2"] == pytest.approx({"mean": 80, "deviation": 20 / np.sqrt(2)})
    assert found["a"]["chance"]["segment_1"] == 50


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The pages and what was measured in a folder of their own, which the tools take for theirs."""
    for page in [*PAGES, ROOT / "docs" / places.MEASURED]:
        own = tmp_path / page.relative_to(ROOT)
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_bytes(page.read_bytes())
    monkeypatch.setattr(measure, "ROOT", tmp_path)
    return tmp_path


def test_a_measurement_that_fails_leaves_the_others(copied, monkeypatch, capfd):
    """What it measured before stays, it is named, and the status is 1; what was measured is written."""

    def run(name, command, options):
        folder = options.out / name
        said = recognition.Report("cpu", 2, 0.1, [0.0089] * 3, [2.0], [2.0], 5.0, 420.0)
        if name == "bounds":
            raise measure.MeasureError("no disk")
        (folder / "report.json").write_text(json.dumps(dataclasses.asdict(said)))

    monkeypatch.setattr(measure, "run", run)
    before = places.measured(copied)
    out = ["--out", str(copied / "out")]
    assert measure.main(["--only", "bounds", "recognition", *out]) == 1
    printed, told = capfd.readouterr()
    assert "bounds: no disk" in told
    assert "not measured, and left as they were: bounds" in told
    assert "recognition: written anew" in printed
    after = places.measured(copied)
    assert {name for name in after if after[name] != before[name]} == {"recognition"}
    assert after["recognition"]["values"]["utterance"] == 0.0089
    assert "8.9 ms" in (copied / "docs" / "speed.md").read_text()
    monkeypatch.setattr(measure, "run", None)  # what is there is not measured again
    assert measure.main(["--only", "recognition", *out]) == 0
