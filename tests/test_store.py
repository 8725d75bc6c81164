"""Prepared corpora on disk: where they are looked for, and how damaged or foreign ones are refused."""

import json

import five_recordings
import pytest
from five_recordings import prepare

from ser_jax import data
from ser_jax.data import store
from ser_jax.errors import UserError
from ser_jax.features import LogMel, Waveform

DAMAGED = r"2\.0\.0: cannot be read \(.*\); delete this folder and prepare it again"


@pytest.fixture
def speech(tmp_path):
    return five_recordings.written(tmp_path / "speech")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A prepared corpus, which tests restore; its folder."""
    place = tmp_path_factory.mktemp("prepared")
    return prepare(five_recordings.written(place / "speech"), place / "root")


def load(folder, features=LogMel()):  # noqa: B008
    return data.load("tiny", folder.parents[2], features)


def test_an_unknown_corpus_is_named_with_its_neighbours(speech, tmp_path):
    root = tmp_path / "root"
    with pytest.raises(
        data.UnknownCorpusError,
        match=r"no corpus 'tiny' in .*root, found no such folder; prepare it with: ser-jax prepare DATABASE "
        r"--source SOURCE --name tiny --data-dir /.*root$",
    ):
        data.load("tiny", root)
    prepare(speech, root)
    with pytest.raises(
        data.UnknownCorpusError, match=r"no corpus 'tny' in .*, found tiny; did you mean 'tiny'\?$"
    ):
        data.load("tny", root)


@pytest.mark.parametrize(
    ("features", "found", "flags"),
    [
        (Waveform(), "waveform", "--features waveform"),
        (Waveform(seconds=0.5), "waveform-[0-9a-f]{8}", r"--features waveform --features.seconds 0\.5"),
        (LogMel(seconds=2.0), "logmel-[0-9a-f]{8}", r"--features logmel --features.seconds 2\.0"),
    ],
)
def test_a_corpus_without_these_features_is_named_with_the_command(corpus, features, found, flags):
    command = f"ser-jax prepare manifest --source SOURCE --name tiny {flags} --data-dir {corpus.parents[2]}"
    sentence = rf"no corpus 'tiny-{found}' in .*, found tiny; prepare it with: {command}$"
    with pytest.raises(data.UnknownCorpusError, match=sentence):
        load(corpus, features)


def test_every_front_end_has_its_own_corpus(speech, tmp_path):
    root, frontend = tmp_path / "root", Waveform(seconds=0.5)
    folder = prepare(speech, root, features=frontend)
    assert len(data.facts("tiny", root)) == 5
    with pytest.raises(data.UnknownCorpusError, match=r"no corpus 'tiny' in .*, found tiny-waveform-.*;"):
        data.load("tiny", root)
    prepare(speech, root)
    waves, logmels = load(folder, frontend), load(folder)
    assert (waves.features.shape, logmels.features.shape) == ((5, 8000, 1), (5, 750, 26))
    assert waves.frames.tolist() == [8000, 400, 8000, 4800, 8000]
    assert waves.id.tolist() == logmels.id.tolist()
    assert waves.fingerprint != logmels.fingerprint
    assert len({tuple(corpus.frontend.items()) for corpus in (waves, logmels)}) == 2


@pytest.fixture
def restored(corpus):
    """The corpus's folder, whose files are as before afterwards."""
    before = {file: file.read_bytes() for file in corpus.iterdir()}
    yield corpus
    for file in set(corpus.iterdir()) - before.keys():
        file.unlink()
    for file, content in before.items():
        file.write_bytes(content)


@pytest.mark.parametrize("content", ["", "{}", "[]", None])
@pytest.mark.parametrize("name", ["metadata.json", "dataset_info.json"])
def test_a_damaged_description_is_named(restored, name, content):
    if content is None:
        (restored / name).write_bytes((restored / name).read_bytes()[:-40])
    else:
        (restored / name).write_text(content)
    with pytest.raises(data.DamagedCorpusError, match=DAMAGED):
        load(restored)
    with pytest.raises(data.DamagedCorpusError, match=DAMAGED):
        store.check(restored)


def test_a_corpus_of_an_earlier_format_is_named(speech, tmp_path):
    folder = prepare(speech, tmp_path / "root")
    folder.rename(folder.with_name("1.0.0"))
    sentence = r"1\.0\.0: cannot be read \(its format is 1\.0\.0, expected 2\.0\.0\); delete this folder"
    for reading in (lambda: load(folder), lambda: prepare(speech, tmp_path / "root")):
        with pytest.raises(data.DamagedCorpusError, match=sentence):
            reading()


def test_what_cannot_be_read_for_another_reason_is_not_called_damaged(corpus, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "_source", refuse)
    with pytest.raises(data.DamagedCorpusError, match=r"2\.0\.0: cannot be read \(Permission denied\)$"):
        store.check(corpus)


def test_half_a_corpus_is_not_taken_for_prepared(speech, tmp_path):
    folder = prepare(speech, tmp_path / "root")
    (folder / "dataset_info.json").unlink()
    with pytest.raises(UserError, match=r"2\.0\.0: not a complete corpus \(no dataset_info.json\); delete"):
        prepare(speech, tmp_path / "root")


FOREIGN = {  # what test_hostile_files.py does not try
    "dataset_info.json": [lambda it: it["splits"][0].update(shardLengths=["6"])],
    "metadata.json": [
        lambda it: it["frontend"].update({"class": "evil:Frontend"}),
        lambda it: it["frontend"].update(dims=25),
        lambda it: it["frontend"].update(frames="750"),
        lambda it: it.update(frontend="evil"),
        lambda it: it.update(scales={"arousal": [1]}),
        lambda it: it.pop("frontend"),
    ],
}


@pytest.mark.parametrize(
    ("name", "change"), [(name, change) for name, changes in FOREIGN.items() for change in changes]
)
def test_a_corpus_that_declares_other_features_than_it_describes_is_refused(restored, name, change):
    content = json.loads((restored / name).read_text())
    change(content)
    (restored / name).write_text(json.dumps(content))
    with pytest.raises(data.DamagedCorpusError, match=DAMAGED):
        load(restored)
