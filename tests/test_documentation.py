"""Every block of README.md and of docs/ does what it says; its commands are run on little synthetic speech.

A comment above a block, which readers do not see, says what else is to be done with it:

    test: --epochs 1 --seeds 1     flags to add to those of its commands that have them
    test: parse                    its commands need a licence, a network, hardware or time: only parsed
    test: parse train arecord      the same for the commands with one of these words
    test: status 1                 exit status of its last command
    test: prints EXPRESSION        what must be found in its output
    test: output                   it is output of the block before, whatever the numbers
    test: keys COMMAND             it is like the JSON that the command prints
    test: file PATH                it is this file
"""

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest
import recognisers
import releases
import soundfile
from reading import ROOT, SCRIPTS, blocks, check, do_all, start

from ser_jax.cli import main as ser_jax
from ser_jax.data.synthetic import read_truth
from ser_jax.recognizer import demonstration

TUTORIAL = ROOT / "docs" / "tutorial.md"
WRITTEN = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "measured"]
PAGES = [ROOT / "README.md", *WRITTEN, ROOT / "ser_jax" / "data" / "README.md"]
TREES = {
    "iemocap": "IEMOCAP_full_release",
    "recola": "RECOLA",
    "emodb": "emodb",
    "ravdess": "ravdess",
    "cafe": "CaFE_48k",
}
PREPARED = ("emodb", "ravdess")
pytestmark = pytest.mark.usefixtures("hastily")


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """The tutorial's folder, after its last block; the other pages use its speech and corpora."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TFDS_DATA_DIR", "nowhere")
        do_all(TUTORIAL, folder, patch)
    return folder


@pytest.fixture(scope="module")
def databases(tutorial, tmp_path_factory):
    """A folder of databases as released, and `data`, with some of them prepared."""
    folder = tmp_path_factory.mktemp("databases")
    for database, tree in TREES.items():
        if (synthetic := tutorial / "first" / "speech" / tree).exists():
            (folder / tree).symlink_to(synthetic)
        else:
            releases.release(database, folder / tree)
        if database in PREPARED:
            place = ["--source", str(folder / tree), "--data-dir", str(folder / "data"), "--workers", "1"]
            assert ser_jax(["prepare", database, *place]) == 0
    return folder


def furnish(folder, page, tutorial, databases):
    """Put what a page supposes into a folder: recordings, a model, databases, prepared corpora."""
    first, text = tutorial / "first", page.read_text()
    prepared = [(first, "iemocap", "synthetic_en"), (first, "recola", "synthetic_fr")]
    prepared += [(databases, database, database) for database in PREPARED]
    for place, builder, name in prepared:
        (folder / "data" / builder).mkdir(parents=True, exist_ok=True)
        (folder / "data" / builder / name).symlink_to(place / "data" / builder / name)
    (folder / "results" / "demo").mkdir(parents=True)
    (folder / "results" / "demo" / "data").symlink_to(folder / "data")
    (folder / "results" / "demo" / "speech").symlink_to(first / "speech")
    for tree in TREES.values():
        (folder / tree).symlink_to(databases / tree)
    (folder / ".config/fish/completions").mkdir(parents=True)
    (folder / "examples").symlink_to(ROOT / "examples")
    if "--out my-model" not in text:
        (folder / "my-model").symlink_to(demonstration())
    (folder / "recordings").mkdir()
    for path in ("speech.wav", "speech.flac", "recordings/speech.wav"):
        soundfile.write(folder / path, recognisers.speech(9.0), 16_000)
    truth = read_truth(first / "speech")
    recordings = sorted((first / "speech" / "IEMOCAP_full_release").rglob("*.wav"))
    for number, path in enumerate(path for path in recordings if path.stem in truth):
        classes = truth[path.stem]
        speaker = folder / "my" / (path.stem[3:5] + path.stem.split("_")[-1][0])
        speaker.mkdir(parents=True, exist_ok=True)
        (speaker / f"{classes['arousal']}_{classes['valence']}_{number:03d}.wav").symlink_to(path)


def test_the_tutorial_does_what_it_says(tutorial):
    assert (tutorial / "first" / "results" / "report.html").exists()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != TUTORIAL and blocks(page)], ids=lambda page: page.stem
)
def test_a_page_does_what_it_says(page, tutorial, databases, tmp_path, monkeypatch):
    furnish(tmp_path, page, tutorial, databases)
    if page == ROOT / "README.md":
        for recording in ("anna/001.wav", "ben/001.flac"):
            (tmp_path / "my" / recording).parent.mkdir()
            shutil.copy(tmp_path / f"speech{Path(recording).suffix}", tmp_path / "my" / recording)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    do_all(page, tmp_path, monkeypatch)


def test_every_file_of_a_results_folder_is_in_the_reference(tutorial):
    out, known = tutorial / "first" / "results", set()
    for row in (ROOT / "docs" / "reference" / "results_folder.md").read_text().splitlines():
        path = ""
        for name in re.findall(r"`([^`]+)`", row.partition(" | ")[0]) if row.startswith("| `") else ():
            path = path.rpartition(".")[0] + name if name.startswith(".") else name
            pattern = re.sub("SETTING|TRAIN|TEST|TASK", "[a-z0-9_+]+", re.escape(path))
            known.add(pattern.replace("<script>", "[a-z0-9_]+") + (".*" if path.endswith("/") else ""))
    there = [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()]
    assert len(there) > 15
    assert not [path for path in there if not any(re.fullmatch(one, path) for one in known)]


NAMED = re.compile(r"`((?:ser-jax|python -m|make) [^`]*|experiments\.[\w.]+[^`]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_named_in_a_sentence_exist(page, monkeypatch):
    """Find each command with its flags; a word in capitals, like MODE, stands for a value."""
    monkeypatch.setenv("COLUMNS", "200")
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for line in dict.fromkeys(NAMED.findall(text)):
        program, *rest = line.split()
        if program == "make":
            check(line)
            continue
        if program == "ser-jax":
            names = [word for word in rest if not word.startswith("-")]
            call = ["ser-jax", *names[: 2 if names[0] in ("prepare", "audit") else 1], "--help"]
        else:
            name = program if program.startswith("experiments.") else rest[1]
            assert name.removeprefix("experiments.") in SCRIPTS, f"{page}: {line}: no such script"
            call = ["python", "-m", name, "--help"]
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
            assert start(call) == 0, line
        for flag in re.findall(r"--[a-z][\w.-]*", line):
            assert flag in out.getvalue(), f"{page}: {line}"
