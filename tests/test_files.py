"""Files as people have them: behind links, and with names spelt otherwise; for every reader."""

import os
import shutil
import unicodedata

import pytest

from ser_jax.data import databases
from ser_jax.data.catalog import DatabaseError
from ser_jax.data.files import finder, walk

TURN = "[0.0 - 1.0]\tSes01F_impro01_F000\tneu\t[2.5, 3.5, 1.5]\n"
ANNOTATIONS = "file,a1_A,gt_emotion\nDK_001_A_1.wav,4.0,A\n"
TRACE = "time;FM1;FM2;FM3;FF1;FF2;FF3\n" + "".join(f"{k * 0.04:.2f}" + ";0" * 6 + "\n" for k in range(7501))
# Each database: where it is read from, and what it holds; the last is the recording.
HELD = {
    "emodb": ("", {"wav/03a01Fa.wav": ""}),
    "emotale": ("", {"annotations.csv": ANNOTATIONS, "audio/DK_001_A_1.wav": ""}),
    "iemocap": ("", {
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": TURN,
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav": "",
    }),
    "recola": ("", {
        "RECOLA-Annotation/emotional_behaviour/arousal/P16.csv": TRACE,
        "RECOLA-Annotation/emotional_behaviour/valence/P16.csv": TRACE,
        "RECOLA-Audio_timings/P16.csv": "start;stop\n0;1\n",
        "RECOLA-Audio-recordings/P16.wav": "",
    }),
    "manifest": ("m.csv", {"m.csv": "path,speaker,emotion\nwav/één.wav,a,calm\n", "wav/één.wav": ""}),
}  # fmt: skip


def lay(folder, database, change=str):
    """Write a database's files, all but the source under changed names; return it and the recording."""
    source, files = HELD[database]
    for name, text in files.items():
        file = folder / (name if name == source else change(name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / source, file


@pytest.mark.parametrize("database", HELD)
def test_folders_that_are_links_are_followed_and_loops_are_not(database, tmp_path):
    lay(tmp_path / "far", database)
    near = tmp_path / "near"
    near.mkdir()
    for child in (tmp_path / "far").iterdir():
        (near / child.name).symlink_to(child)
        if child.is_dir():
            (child / "up").symlink_to("..")
            (child / "self").symlink_to(".")
    (near / "up").symlink_to("..")
    (utterance,) = databases.read(database, near / HELD[database][0]).utterances
    assert utterance.path == near / list(HELD[database][1])[-1]
    assert utterance.path.is_file()


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda name: unicodedata.normalize("NFD", name)])
@pytest.mark.parametrize("database", ["iemocap", "recola", "manifest", "emotale"])
def test_names_that_are_looked_up_may_differ_in_case_and_in_unicodes_form(database, change, tmp_path):
    source, recording = lay(tmp_path, database, change)
    catalog = databases.read(database, source)
    assert ([each.path for each in catalog.utterances], catalog.unlabelled) == ([recording], ())


def test_every_spelling_of_a_path_in_a_manifest_is_one_recording(tmp_path):
    source, recording = lay(tmp_path, "manifest")
    spellings = [r"wav\één.wav", "WAV/ÉÉN.wav", "./wav//één.WAV", unicodedata.normalize("NFD", "wav/één.wav")]
    for spelling in spellings:
        source.write_text(f"path,speaker,emotion\n{spelling},a,calm\n")
        (utterance,) = databases.read("manifest", source).utterances
        assert (utterance.id, os.path.normpath(utterance.path)) == (spelling, str(recording))
    source.write_text("path,speaker,emotion\n" + "".join(f"{each},a,calm\n" for each in spellings))
    with pytest.raises(DatabaseError, match=r"m.csv:3: .* is already in .*m.csv:2, expected it once"):
        databases.read("manifest", source)


@pytest.mark.parametrize("path", [r"..\x.wav", r"wav\..\..\x.wav", "wav/../../x.wav"])
def test_no_slash_leads_out_of_a_manifests_folder(path, tmp_path):
    source, _ = lay(tmp_path, "manifest")
    source.write_text(f"path,speaker,emotion\n{path},a,calm\n")
    with pytest.raises(DatabaseError, match="leads out of the manifest's folder"):
        databases.read("manifest", source)


def test_what_is_there_as_written_is_meant_and_of_two_others_none(tmp_path):
    find = finder(tmp_path)
    for name in ("a.wav", "A.wav", r"b\a.wav", "B/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find("a.wav") == tmp_path / "a.wav"
    assert find(r"b\a.wav") == tmp_path / r"b\a.wav"
    assert find("b/C.WAV") == tmp_path / "B/c.wav"
    for name in ("A.WAV", "B/d.wav", "a.wav/c.wav"):
        assert find(name) == tmp_path / name


def test_a_walk_goes_through_all_files_in_the_order_of_their_paths(tmp_path):
    for name in ("b/2.wav", "b/1.wav", "a.wav", "b.wav", ".hidden/1.wav", "b/._1.wav", "c/d/e.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "again").symlink_to("b")
    (tmp_path / "gone.wav").symlink_to("nowhere")
    (tmp_path / "x").symlink_to("x")
    (tmp_path / "c/d/up").symlink_to(tmp_path / "c")
    (tmp_path / "b/across").symlink_to(tmp_path / "c")
    (tmp_path / "c/across").symlink_to(tmp_path / "b")
    names = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path)]
    assert names == [
        "a.wav", "again/1.wav", "again/2.wav", "again/across/d/e.wav", "b/1.wav", "b/2.wav",
        "b/across/d/e.wav", "b.wav", "c/across/1.wav", "c/across/2.wav", "c/d/e.wav", "gone.wav", "x",
    ]  # fmt: skip
    shutil.rmtree(tmp_path / "c")
    assert list(walk(tmp_path / "c")) == []
