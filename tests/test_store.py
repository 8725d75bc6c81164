"""Prepared corpora on disk: where they are looked for, and what is said of damaged ones."""

import five_recordings
import pytest
from five_recordings import prepare

from ser_jax import data
from ser_jax.errors import UserError


@pytest.fixture
def speech(tmp_path):
    return five_recordings.written(tmp_path / "speech")


def test_an_unknown_corpus_is_named_with_its_neighbours(speech, tmp_path):
    root = tmp_path / "root"
    with pytest.raises(
        data.UnknownCorpusError,
        match=r"no corpus 'tiny' in .*root, found no such folder; prepare it with: ser-jax",
    ):
        data.load("tiny", root)
    prepare(speech, root)
    with pytest.raises(
        data.UnknownCorpusError, match=r"no corpus 'tny' in .*, found tiny; did you mean 'tiny'\?$"
    ):
        data.load("tny", root)


def test_the_data_dir_may_come_from_the_environment(speech, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "root"))
    prepare(speech, None)
    assert len(data.load("tiny")) == 5


def test_a_damaged_corpus_is_named(speech, tmp_path):
    folder = prepare(speech, tmp_path / "root")
    for shard in folder.glob("*array_record*"):
        shard.unlink()
    with pytest.raises(
        UserError, match=r"1\.0\.0: cannot be read .* delete this folder and prepare it again"
    ):
        data.load("tiny", tmp_path / "root")


@pytest.mark.parametrize("content", ["", "{}", "[]"])
@pytest.mark.parametrize("file", ["metadata.json", "dataset_info.json", "features.json"])
def test_an_emptied_file_of_a_corpus_is_named(speech, tmp_path, file, content):
    folder = prepare(speech, tmp_path / "root")
    (folder / file).write_text(content)
    damaged = pytest.raises(data.DamagedCorpusError, match=r"1\.0\.0: cannot be read .* prepare it again")
    with damaged:
        data.load("tiny", tmp_path / "root")
    with damaged:
        prepare(speech, tmp_path / "root")


def test_a_damaged_corpus_is_not_taken_for_prepared(speech, tmp_path):
    folder = prepare(speech, tmp_path / "root")
    shard = next(folder.glob("*array_record*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(data.DamagedCorpusError, match="delete this folder and prepare it again"):
        prepare(speech, tmp_path / "root")
    shard.write_bytes(whole)
    assert prepare(speech, tmp_path / "root") == folder
    (folder / "dataset_info.json").unlink()
    with pytest.raises(UserError, match=r"1\.0\.0: not a whole corpus \(no dataset_info.json\); delete"):
        prepare(speech, tmp_path / "root")
