"""Every block of README.md and of docs/ does what it says; its commands are run on little synthetic speech.

A comment above a block, which readers do not see, says what else is to be done with it:

    test: --epochs 1 --seeds 2     flags to add to its commands, of those that know them
    test: parse                    they need a licence, a network, hardware or time: parsers must take them
    test: parse train arecord      the same of the commands with one of these words
    test: status 1                 how its last command ends
    test: prints EXPRESSION        what must be found in what it prints
    test: output                   it is what the block before printed, whatever the numbers
    test: keys COMMAND             it is like the JSON that the command prints
    test: file PATH                it is this file
"""

import contextlib
import io
import re
import shutil
from pathlib import Path

import parsers
import pytest
import recognisers
import releases
import soundfile
from reading import ROOT, blocks, do_all, read, script

from ser_jax.cli import main as ser_jax
from ser_jax.data.synthetic import read_truth
from ser_jax.recognizer import demonstration

TUTORIAL = ROOT / "docs" / "tutorial.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "ser_jax" / "data" / "README.md"]
pytestmark = pytest.mark.usefixtures("hastily")


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """The tutorial's folder, read to its end; the other pages use its speech and corpora."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TFDS_DATA_DIR", "nowhere")
        do_all(TUTORIAL, folder, patch)
    return folder


TREES = {
    "iemocap": "IEMOCAP_full_release",
    "recola": "RECOLA",
    "emodb": "emodb",
    "ravdess": "ravdess",
    "cafe": "CaFE_48k",
}
PREPARED = ("emodb", "ravdess")


@pytest.fixture(scope="module")
def databases(tutorial, tmp_path_factory):
    """A folder of databases as released, and of `data`, where some of them are prepared."""
    folder = tmp_path_factory.mktemp("databases")
    for database, tree in TREES.items():
        if (spoken := tutorial / "first" / "speech" / tree).exists():
            (folder / tree).symlink_to(spoken)
        else:
            releases.release(database, folder / tree)
        if database in PREPARED:
            place = ["--source", str(folder / tree), "--data-dir", str(folder / "data"), "--workers", "1"]
            assert ser_jax(["prepare", database, *place]) == 0
    return folder


def furnished(folder, page, tutorial, databases):
    """What a page supposes is there: recordings, a model, databases, prepared corpora."""
    first, text = tutorial / "first", page.read_text()
    prepared = [(first, "iemocap", "synthetic_en"), (first, "recola", "synthetic_fr")]
    prepared += [(databases, database, database) for database in PREPARED]
    for place, builder, name in prepared:
        (folder / "data" / builder).mkdir(parents=True, exist_ok=True)
        (folder / "data" / builder / name).symlink_to(place / "data" / builder / name)
    (folder / "results").mkdir()
    (folder / "results" / "demo").mkdir()
    (folder / "results" / "demo" / "data").symlink_to(folder / "data")
    for tree in TREES.values():
        (folder / tree).symlink_to(databases / tree)
    for place in (".zsh", ".config/fish/completions"):
        (folder / place).mkdir(parents=True)
    (folder / "examples").symlink_to(ROOT / "examples")
    if "--out my-model" not in text:
        (folder / "my-model").symlink_to(demonstration())
    (folder / "recordings").mkdir()
    for path in ("speech.wav", "speech.flac", "recordings/speech.wav"):
        soundfile.write(folder / path, recognisers.speech(9.0), 16_000)
    truth = read_truth(first / "speech")
    recordings = sorted((first / "speech" / "IEMOCAP_full_release").rglob("*.wav"))
    said = [(path, truth[path.stem]) for path in recordings if path.stem in truth]
    for number, (path, classes) in enumerate(said):
        speaker = folder / "my" / (path.stem[3:5] + path.stem.split("_")[-1][0])
        speaker.mkdir(parents=True, exist_ok=True)
        (speaker / f"{classes['arousal']}_{classes['valence']}_{number:03d}.wav").symlink_to(path)


def test_the_tutorial_does_what_it_says(tutorial):
    assert (tutorial / "first" / "results" / "report.html").exists()


def files_of_a_results_folder():
    """Patterns of the paths that the reference names; `.csv` behind `a.md` is `a.csv`."""
    page, found = ROOT / "docs" / "reference" / "results_folder.md", []
    for row in page.read_text().splitlines():
        whole = ""
        for name in re.findall(r"`([^`]+)`", row.partition(" | ")[0]) if row.startswith("| `") else ():
            whole = whole.rpartition(".")[0] + name if name.startswith(".") else name
            pattern = re.sub("SETTING|TRAIN|TEST|TARGET", "[a-z0-9_+]+", re.escape(whole))
            found.append(pattern.replace("<script>", "[a-z0-9_]+") + (".*" if whole.endswith("/") else ""))
    return found


def test_every_file_of_a_results_folder_is_named_in_the_reference(tutorial):
    out, known = tutorial / "first" / "results", files_of_a_results_folder()
    there = [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()]
    assert len(known) > 15
    assert len(there) > 15
    assert not [path for path in there if not any(re.fullmatch(one, path) for one in known)]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != TUTORIAL and blocks(page)], ids=lambda page: page.stem
)
def test_a_page_does_what_it_says(page, tutorial, databases, tmp_path, monkeypatch):
    furnished(tmp_path, page, tutorial, databases)
    if page == ROOT / "README.md":
        for recording in ("anna/001.wav", "ben/001.flac"):
            (tmp_path / "my" / recording).parent.mkdir()
            shutil.copy(tmp_path / f"speech{Path(recording).suffix}", tmp_path / "my" / recording)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    do_all(page, tmp_path, monkeypatch)


NAMED = re.compile(r"`((?:ser-jax|python -m|make) [^`]*|experiments\.[\w.]+[^`]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_named_in_a_sentence_exist(page):
    """With the flags they are named with; what stands for something else, like MODE, is not looked at."""
    for line in NAMED.findall(re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)):
        program, *rest = line.split()
        if program == "make":
            read(line)
            continue
        if program == "ser-jax":
            known = [word for word in rest if not word.startswith("-")]
            with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as ended:
                ser_jax([*known[: 2 if known[0] in ("prepare", "audit") else 1], "--help"])
            assert ended.value.code == 0, line
        else:
            name = program if program.startswith("experiments.") else rest[1]
            if name.startswith("experiments."):
                assert name.removeprefix("experiments.") in parsers.SCRIPTS, f"{page}: {line}: no such script"
            with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as ended:
                script(name)(["--help"])
            assert ended.value.code == 0, line
        for flag in re.findall(r"--[a-z][\w-]*", line):
            assert flag in out.getvalue(), f"{page}: {line}"
