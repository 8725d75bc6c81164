"""Bad input wherever a user can put some: one sentence, status 2, and nothing half-written."""

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import parsers
import pytest
import sources
from harmless import HARMLESS, READ
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes_of_experiments import ENVIRONMENT, SCRIPTS, TABLE2
from mistakes_placed import DAMAGES, PLACED
from mistakes_typed import BEAMS, DATA_DIRS, REQUESTS, USAGE
from mistakes_written import HEAD, WRITTEN
from refusals import by_text, check_sentence, check_usage, refused, said, script
from sources import ANNOTATION, MANIFEST, PEOPLE, TIMINGS, TURNS

from ser_jax import cli, data
from ser_jax.data import iemocap, manifest, recola
from ser_jax.errors import UserError

READ_TRACE = recola.read_trace


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return sources.lay(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _in_world(world, monkeypatch):
    """Every case begins in the same folder, and leaves it as it was."""
    monkeypatch.chdir(world)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr(recola, "read_trace", sources.once(READ_TRACE))
    before = sources.listing(world)
    yield
    after = sources.listing(world)
    if after != before:
        shutil.rmtree(world)
        world.mkdir()
        sources.lay(world)
    assert after == before, "something was written"


@pytest.mark.parametrize(("typed", "sentence"), by_text(USAGE))
def test_what_the_flags_do_not_take(capsys, typed, sentence):
    with pytest.raises(SystemExit) as end:
        cli.main(shlex.split(typed))
    assert end.value.code == 2
    check_usage(said(capsys), sentence, parsers.asked(typed))


@pytest.mark.parametrize(("typed", "sentence"), by_text(REQUESTS))
def test_what_cannot_be_done(capsys, typed, sentence):
    refused(capsys, typed, sentence)


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="Beam is an extra")
@pytest.mark.parametrize(("typed", "sentence"), by_text(BEAMS))
def test_what_beam_does_not_take(capsys, typed, sentence):
    refused(capsys, typed, sentence)


@pytest.mark.parametrize(("typed", "sentence"), by_text(TABLE2))
def test_what_an_experiments_flags_do_not_take(capsys, monkeypatch, typed, sentence):
    assert script("table2", typed, monkeypatch) == 2
    check_usage(said(capsys), sentence, "python -m experiments.table2")


@pytest.mark.parametrize(("name", "typed", "sentence"), by_text(SCRIPTS))
def test_what_a_script_cannot_do(capsys, monkeypatch, name, typed, sentence):
    assert script(name, typed, monkeypatch) == 2
    lines = said(capsys)
    if lines[0].startswith("usage"):
        check_usage(lines, sentence, f"python -m experiments.{name}")
    else:
        assert [lines[0].startswith(f"experiments.{name}: "), len(lines)] == [True, 1]
        check_sentence(lines[0], sentence)


@pytest.mark.parametrize(("variable", "value", "typed", "sentence"), by_text(ENVIRONMENT))
def test_what_the_environment_should_not_say_to_a_process(variable, value, typed, sentence):
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), variable: value}
    shell = [sys.executable, "-m", *shlex.split(f"experiments.{typed}")]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("experiments")
    check_sentence(line, sentence)


@pytest.mark.parametrize(("value", "typed", "sentence"), by_text(DATA_DIRS))
def test_a_data_directory_that_is_none(capsys, monkeypatch, value, typed, sentence):
    monkeypatch.setenv("TFDS_DATA_DIR", value)
    refused(capsys, typed, sentence)


@contextlib.contextmanager
def standing(file, text):
    """Puts text, bytes, or what is made of what stands there, into a file for a while."""
    path, before = Path(file), Path(file).read_bytes()
    content = text(before.decode()) if callable(text) else text
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        yield
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(("file", "text", "typed", "sentence"), by_text(WRITTEN))
def test_what_stands_wrong_in_a_file(capsys, file, text, typed, sentence):
    with standing(file, text):
        refused(capsys, f"{typed} --data-dir root/deep --workers 1", sentence)
        assert not Path("root").exists()


@pytest.mark.parametrize(("file", "text"), HARMLESS)
def test_what_is_odd_and_harmless(capsys, tmp_path, file, text):
    """Every fact of every utterance stays the same, except what single raters chose."""
    labels = []
    for name in ("clean", "odd"):
        with standing(file, text) if name == "odd" else contextlib.nullcontext():
            typed = f"{READ[file]} --labels-only --data-dir {tmp_path / name}"
            assert cli.main(typed.split()) == 0, capsys.readouterr().err
        [kept] = (tmp_path / name).glob("*/same/labels.json")
        labels.append(json.loads(kept.read_bytes()))
        for utterance in labels[-1]["utterances"]:
            del utterance["raters"]
    assert labels[0] == labels[1]


@pytest.mark.parametrize("change", [b"\xef\xbb\xbf", b"\r\n", b"\r"])
def test_an_odd_manifest_makes_the_same_features(change, tmp_path):
    text = MANIFEST.encode()
    with standing("speech/m.csv", change + text if change[0] > 32 else text.replace(b"\n", change)):
        data.prepare("manifest", "speech/m.csv", name="tiny", data_dir=tmp_path, workers=1)
    assert data.load("tiny", tmp_path).fingerprint == data.load("tiny", "data").fingerprint


@pytest.mark.parametrize(
    "lead", ["=1+1", "+x", "-x", "@x", "=cmd|' /C calc'!A0", "'x", "x;y", "none", "nan", "1e308"]
)
def test_what_a_spreadsheet_would_run_is_kept_as_written(lead, tmp_path):
    text = (
        f'{HEAD.strip()},emotion,session,language\na.wav,"{lead}",low,negative,"{lead}","{lead}","{lead}"\n'
    )
    with standing("speech/m.csv", text):
        data.prepare("manifest", "speech/m.csv", name="f", data_dir=tmp_path, workers=1)
    corpus = data.load("f", tmp_path)
    assert {corpus.speaker[0], corpus.emotion[0], corpus.session[0], corpus.language[0]} == {lead}


@pytest.fixture
def odd(world):
    """A case that makes odd things in the world, which is as new afterwards."""
    kept = world.with_name("kept")
    shutil.copytree(world, kept)
    yield
    shutil.rmtree(world)
    kept.rename(world)
    os.chdir(world)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes in folders")
@pytest.mark.parametrize(("make", "typed", "sentence"), by_text(PLACED))
def test_what_lies_wrong_in_a_folder(odd, world, capsys, make, typed, sentence):
    make()
    before = sources.listing(world)
    refused(capsys, typed, sentence)
    assert sources.listing(world) == before


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("file", ["metadata.json", "tiny.array_record"])
@pytest.mark.parametrize("typed", ["describe tiny", "prepare manifest --source speech/m.csv --name tiny"])
def test_a_damaged_corpus_is_named_with_what_to_do(odd, world, capsys, how, file, typed):
    folder = world / "data/manifest/tiny/2.0.0"
    path = next(folder.glob("*.array_record*")) if "record" in file else folder / file
    DAMAGES[how](path)
    before = sources.listing(world)
    sentence = "tiny/2.0.0: cannot be read ("
    refused(capsys, f"{typed} --data-dir data", sentence)
    assert sources.listing(world) == before


def test_odd_names_and_loops_change_nothing(odd, capsys, tmp_path):
    """Folders that lead into themselves, or whose names are no text and of several lines."""
    Path("emodb/up").symlink_to("..")
    Path("emodb/self").symlink_to("self")
    inner = Path(os.fsdecode(b"emodb/w\xffa\nv\x1b[31m"))
    inner.mkdir()
    for file in Path("emodb").glob("*.wav"):
        file.rename(inner / file.name)
    assert (
        cli.main(["prepare", "emodb", "--source", "emodb", "--data-dir", str(tmp_path), "--workers", "1"])
        == 0
    )
    assert data.load("emodb", tmp_path).id.tolist() == ["03a01Fa", "03a01Nc", "08a01Fd"]
    capsys.readouterr()
    assert cli.main(["audit", "emodb", "--source", "emodb", "--workers", "1"]) == 0
    assert r"emodb/w\udcffa\nv\x1b[31m/03a01Nc.wav" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize(
    "typed", ["audit emodb --source locked", "prepare manifest --source speech/m.csv --data-dir locked"]
)
def test_a_folder_that_may_not_be_used(capsys, typed, world):
    (world / "locked").mkdir(0)
    try:
        assert cli.main(typed.split()) == 2
        assert "Permission denied" in capsys.readouterr().err
    finally:
        (world / "locked").rmdir()


def plain(catalog):
    """Facts without the places that they were found at, and without what may be cut off behind a turn."""
    dropped = ("place", "raters")
    return [tuple(v for k, v in vars(one).items() if k not in dropped) for one in catalog.utterances]


def test_iemocaps_labels_cut_anywhere():
    """What is left is read as it was or refused by name; nothing is made up, nothing else is raised."""
    whole, read, named = Path(TURNS).read_bytes(), [], []
    facts = plain(iemocap.read("IEMOCAP"))
    with standing(TURNS, whole):
        for end in range(len(whole)):
            Path(TURNS).write_bytes(whole[:end])
            try:
                left = plain(iemocap.read("IEMOCAP"))
            except UserError as error:
                named.append(TURNS in str(error))
            else:
                assert left == facts[: len(left)]
                read.append(len(left))
    assert set(read) == {1, 2, 3}
    assert all(named)


@pytest.mark.parametrize("file", [f"{ANNOTATION}/arousal/P16.csv", f"{TIMINGS}/P16.csv", PEOPLE])
def test_recolas_tables_cut_anywhere(file, caplog):
    """An annotation is whole or refused; of turns and people what is left is what was there, or is said."""
    whole, facts, named = Path(file).read_bytes(), plain(recola.read("RECOLA")), []
    draw = np.random.default_rng(0)
    ends = range(len(whole)) if len(whole) < 1000 else sorted(draw.integers(0, len(whole) - 8, 25))
    with standing(file, whole):
        for end in ends:
            Path(file).write_bytes(whole[:end])
            caplog.clear()
            try:
                left = plain(recola.read("RECOLA"))
            except UserError as error:
                named.append(file in str(error) or "RECOLA: " in str(error))
            else:
                assert len(whole) < 1000
                ids = [utterance[0] for utterance in left]
                assert ids == [fact[0] for fact in facts][: len(ids)]
                if file == PEOPLE:
                    assert left == facts or "unknown" in caplog.text
    assert all(named)


FILES = {
    "speech/m.csv": lambda: manifest.read("speech/m.csv").utterances,
    TURNS: lambda: iemocap.read("IEMOCAP").utterances,
    f"{TIMINGS}/P16.csv": lambda: recola.read_turns(Path(f"{TIMINGS}/P16.csv")),
    PEOPLE: lambda: recola.read_people(Path(PEOPLE)),
}


@pytest.mark.parametrize("file", FILES)
@settings(max_examples=100)
@given(places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_bytes_are_read_or_refused(file, places):
    """Whatever stands in a file of labels, what cannot be read ends as one sentence."""
    damaged = bytearray(Path(file).read_bytes())
    for place, byte in places:
        damaged[place % len(damaged)] = byte
    with standing(file, bytes(damaged)), contextlib.suppress(UserError):
        assert FILES[file]() is not None
