"""Prepared corpora on disk: where they are looked for; damaged, foreign and hostile files are refused."""

import contextlib
import io
import json
import sys
import zipfile
from pathlib import Path

import five_recordings
import numpy as np
import pytest
from five_recordings import prepare

from ser_jax import data
from ser_jax.data import store
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
    """The corpus's folder, whose files are as before afterwards, without a cache."""
    before = {file: file.read_bytes() for file in corpus.iterdir()}
    yield corpus
    for file in {*corpus.iterdir(), *corpus.parent.glob("cache-*")} - before.keys():
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


def edited(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("dataset_info.json", lambda it: it["splits"][0].update(shardLengths=["6"])),
        ("metadata.json", lambda it: it["frontend"].update({"class": "evil:Frontend"})),
        ("metadata.json", lambda it: it["frontend"].update(dims=25)),
        ("metadata.json", lambda it: it["frontend"].update(frames="750")),
        ("metadata.json", lambda it: it.update(frontend="evil")),
        ("metadata.json", lambda it: it.update(scales={"arousal": [1]})),
        ("metadata.json", lambda it: it.pop("frontend")),
    ],
)
def test_a_corpus_that_declares_other_features_than_it_describes_is_refused(restored, name, change):
    edited(restored / name, change)
    with pytest.raises(data.DamagedCorpusError, match=DAMAGED):
        load(restored)


class Bomb:
    """An object whose unpickling leaves a trace: it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


def bomb(folder):
    return np.array([Bomb(folder)], dtype=object)


FOREIGN = {
    "features.json": [
        lambda it: it["featuresDict"]["features"]["id"].update(pythonClassName="evil.Feature"),
        lambda it: it.update(pythonClassName="evil.Feature"),
        lambda it: it.update(type="evil.Feature", content={}),
        lambda it: it["featuresDict"]["features"].update(more={"pythonClassName": "evil.Feature"}),
    ],
    "dataset_info.json": [
        lambda it: it.update(features={"pythonClassName": "evil.Feature"}),
        lambda it: it["splits"][0].update(filepathTemplate="/etc/passwd"),
        lambda it: it.update(name="../../manifest"),
        lambda it: it.update(moduleName="evil"),
        lambda it: it.update(fileFormat="tfrecord"),
        lambda it: it["splits"].append(it["splits"][0]),
    ],
}


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module that can be imported, and leaves a trace where it is."""
    place = tmp_path / "evil"
    place.mkdir()
    (place / "evil.py").write_text(f"import pathlib\npathlib.Path({str(place / 'boom')!r}).mkdir()\n")
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return place / "boom"


@pytest.mark.parametrize("file", FOREIGN)
def test_what_a_corpus_names_is_neither_imported_nor_opened(restored, evil, file):
    path = restored / file
    before, expected = path.read_text(), load(restored).fingerprint
    for change in FOREIGN[file]:
        edited(path, change)
        with contextlib.suppress(data.DamagedCorpusError):
            assert load(restored).fingerprint == expected
        assert not evil.exists()
        path.write_text(before)
    assert len(load(restored)) == 5


def cached(folder):
    """The files of a corpus's cache, without their suffix, and its columns."""
    place = next(folder.parent.glob("cache-*.npz")).with_suffix("")
    with np.load(f"{place}.npz", allow_pickle=False) as arrays:
        return place, dict(arrays)


def rewrite(place, arrays):
    np.savez(f"{place}.npz", **{name: values for name, values in arrays.items() if values is not None})


def marked(arrays):
    """Arrays that tell that they are read: somebody speaks who does not in the dataset."""
    return arrays | {"speaker": np.array(["somebody"] * len(arrays["id"]))}


def test_a_cache_is_mapped_only_if_its_columns_fit(restored, tmp_path):
    true = load(restored)
    place, arrays = cached(restored)
    rewrite(place, marked(arrays))
    assert set(load(restored).speaker) == {"somebody"}  # so the cache is read if it is sound
    boom, n = tmp_path / "boom", len(true)
    for changed in (
        {"id": bomb(boom)},
        {"digest": bomb(boom)},
        {"frames": np.full(n, 751, np.int32)},
        {"frames": np.full(n, -1, np.int32)},
        {"frames": np.ones(n)},
        {"arousal": np.ones(n - 1)},
        {"arousal": np.float64(1)},
        {"seconds": None},
        {"speaker": np.arange(n)},
        {"id": true.id[::-1]},
    ):
        rewrite(place, marked(arrays) | changed)
        again = load(restored)
        assert again.fingerprint == true.fingerprint, changed
        assert again.features.tobytes() == true.features.tobytes()
        assert not boom.exists()


@pytest.mark.parametrize("size", [10**13, 10**30])
def test_a_cache_that_promises_more_than_it_holds_is_written_again(restored, size):
    true, header = load(restored), io.BytesIO()
    place, arrays = cached(restored)
    facts = {"descr": "<f8", "fortran_order": False, "shape": (size,)}
    np.lib.format.write_array_header_1_0(header, facts)
    rewrite(place, marked(arrays) | {"seconds": None})
    with zipfile.ZipFile(f"{place}.npz", "a") as archive:
        archive.writestr("seconds.npy", header.getvalue())
    assert load(restored).fingerprint == true.fingerprint
