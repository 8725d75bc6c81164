"""Class counts beside published ones, on a release of full size without any recording; speech onsets."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from corpora import noise_corpus

from experiments.class_distribution import class_distribution
from ser_jax import data
from ser_jax.experiment import start_function
from ser_jax.report.corpora import class_counts, onset_table

DIALOGS = (28, 30, 32, 30, 31)
TURNS = (1819, 1811, 2136, 2103, 2170)


def values(rng, *counted):
    """Each value as often as asked, in random order."""
    return rng.permutation(np.concatenate([np.full(count, value) for value, count in counted]))


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """IEMOCAP's label files with its published counts: 10,039 turns in 151 dialogs, 1,935 valences of 2.5.

    Both voices speak in every dialog; some valences are 5.5, some dominances 0.5.
    """
    root, rng = tmp_path_factory.mktemp("full") / "IEMOCAP_full_release", np.random.default_rng(0)
    activation = iter(values(rng, (2.5, 1500), (1.5, 1621), (3.0, 6918)))
    valence = iter(values(rng, (2.0, 3421), (2.5, 1935), (3.5, 4679), (5.5, 4)))
    emotion = iter(values(rng, ("xxx", 2507), ("neu", 7532)))
    for session, (dialogs, turns) in enumerate(zip(DIALOGS, TURNS, strict=True), start=1):
        folder = root / f"Session{session}/dialog/EmoEvaluation"
        folder.mkdir(parents=True)
        names = [f"Ses0{session}{'FM'[i % 2]}_impro{i + 20}" for i in range(dialogs)]
        for name, share in zip(names, np.array_split(np.arange(turns), dialogs), strict=True):
            lines = [
                f"[{k}.0 - {k}.9]\t{name}_{'FM'[k % 2]}{k:03d}\t{next(emotion)}"
                f"\t[{next(valence):.4f}, {next(activation):.4f}, {0.5 if k % 9 == 4 else 2.5:.4f}]\n"
                for k in range(len(share))
            ]
            (folder / f"{name}.txt").write_text("% header\n\n" + "".join(lines))
    return root


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        start_function(class_distribution, "", [str(argument) for argument in arguments])
    return ended.value.code, *capsys.readouterr()


@pytest.fixture(scope="module")
def kept(release):
    data.prepare("iemocap", release, data_dir=release.parent, labels_only=True)
    return release.parent


def test_a_full_release_is_equal_without_a_recording(kept, capsys):
    status, out, _ = run(capsys, "--data-dir", kept)
    assert status == 0
    assert "| valence negative | 3421  | 3421      | equal   |" in out
    assert "12 of 12 published counts are equal" in out
    facts = data.facts("iemocap", kept)
    assert sorted(set(facts.speaker)) == [f"0{session}{sex}" for session in range(1, 6) for sex in "FM"]
    assert {letter[-4] for letter, who in zip(facts.id, facts.speaker, strict=True) if who == "05M"} == {"M"}


def test_the_text_of_table_1_gives_other_counts(kept, capsys):
    _, out, _ = run(capsys, "--data-dir", kept, "--label-rule", "table1", "--json")
    (found,) = json.loads(out)
    assert (found["name"], found["labels_only"], found["synthetic"]) == ("iemocap", True, False)
    rows = {row["what"]: row for row in found["counts"]}
    assert (rows["valence negative"]["found"], rows["valence positive"]["found"]) == (5356, 4683)
    assert (rows["arousal low"]["found"], rows["arousal high"]["found"]) == (3121, 6918)


def test_one_turn_less_is_different(kept, tmp_path, capsys):
    labels = Path("iemocap/iemocap/labels.json")
    content = json.loads((kept / labels).read_text())
    content["utterances"].pop()
    (tmp_path / labels.parent).mkdir(parents=True)
    (tmp_path / labels).write_text(json.dumps(content))
    status, out, _ = run(capsys, "--data-dir", tmp_path)
    assert status == 1
    assert re.search(r"\| utterances +\| 10038 \| 10039 +\| different \|", out)


def test_recolas_counts_are_known():
    n = 1308
    arousal, valence = np.ones(n), np.ones(n)
    arousal[:520], valence[:241] = 0.0, -0.2
    names = {key: np.full(n, "") for key in ("session", "sex", "language", "emotion", "dialogue", "raters")}
    names |= {"id": np.arange(n).astype(str), "speaker": (np.arange(n) % 23).astype(str)}
    numbers = {"arousal": arousal, "valence": valence, "dominance": np.full(n, np.nan)}
    limits = {"arousal": 0.0, "valence": 0.0}
    facts = data.Facts(
        name="recola", database="recola", synthetic=False, thresholds=limits, **names, **numbers
    )
    assert [row["verdict"] for row in class_counts(facts, "footnote")] == ["equal"] * 6


def test_other_corpora_are_counted_only(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("path,speaker,arousal,valence,emotion\na.wav,a,low,positive,joy\n")
    data.prepare("manifest", tmp_path / "a.csv", name="mine", data_dir=tmp_path, labels_only=True)
    status, out, _ = run(capsys, "--data-dir", tmp_path, "--corpora", "mine", "--tasks", "all")
    assert status == 0
    assert re.search(r"\| all happiness +\| 0 ", out)
    assert re.search(r"\| emotion joy +\| 1 ", out)
    origin = (
        "name: mine, builder: manifest, synthetic: False, by emotion: False, labels only: True, left out: 0"
    )
    assert origin in out
    assert "published" not in out
    assert out.endswith("Counted only: the paper has no counts of this corpus.\n")


def test_speech_onset_of_every_corpus():
    """Silence of 0.3 s, speech of 1 s, silence of 0.2 s; and a corpus without speech."""
    level = np.repeat([-80.0, -20.0, -80.0], [30, 100, 20])
    corpus = noise_corpus(sessions=1, each=2)
    features = np.zeros_like(corpus.features)
    features[:, :150] = level[:, None]
    spoken = dataclasses.replace(corpus, features=features, frames=np.full(len(corpus), 150, np.int32))
    silent = dataclasses.replace(spoken, name="silent", synthetic=True, features=np.full_like(features, -100))
    lines = [line.split(" | ") for line in onset_table((spoken, silent)).splitlines()[2:4]]
    assert [field.strip(" |") for field in lines[0]][1:] == ["4", "0", *["0.30"] * 5, "0.00", "0.20", "60.00"]
    assert [field.strip(" |") for field in lines[1]] == ["silent (synthetic)", "4", "4", *["?"] * 8]
