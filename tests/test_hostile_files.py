"""Files that would run code, lie or lead elsewhere are refused unread, as SECURITY.md promises."""

import contextlib
import io
import json
import sys
import zipfile
from pathlib import Path

import five_recordings
import numpy as np
import pytest

from ser_jax import data


class Bomb:
    """An object whose unpickling leaves a trace: it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


def bomb(folder):
    return np.array([Bomb(folder)], dtype=object)


@pytest.fixture
def folder(tmp_path):
    """A prepared corpus of five recordings."""
    return five_recordings.prepare(five_recordings.written(tmp_path / "speech"), tmp_path / "root")


def load(folder):
    return data.load("tiny", folder.parents[2])


def edited(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


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
def test_what_a_corpus_names_is_neither_imported_nor_opened(folder, evil, file):
    path = folder / file
    before, expected = path.read_text(), load(folder).fingerprint
    for change in FOREIGN[file]:
        edited(path, change)
        with contextlib.suppress(data.DamagedCorpusError):
            assert load(folder).fingerprint == expected
        assert not evil.exists()
        path.write_text(before)
    assert len(load(folder)) == 5


def cached(folder):
    """The files of a corpus's cache, without their suffix, and its columns."""
    place = next(folder.parent.glob("cache-*.npz")).with_suffix("")
    with np.load(f"{place}.npz", allow_pickle=False) as arrays:
        return place, dict(arrays)


def rewrite(place, arrays, save=np.savez, **options):
    present = {name: values for name, values in arrays.items() if values is not None}
    save(f"{place}.npz", **present, **options)


def marked(arrays):
    """Arrays that tell that they are read: somebody speaks who does not in the dataset."""
    return arrays | {"speaker": np.array(["somebody"] * len(arrays["id"]))}


def test_a_cache_is_mapped_only_if_its_columns_fit(folder, tmp_path):
    true = load(folder)
    place, arrays = cached(folder)
    rewrite(place, marked(arrays))
    assert set(load(folder).speaker) == {"somebody"}  # so the cache is read if it is sound
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
        rewrite(place, marked(arrays) | changed, allow_pickle=True)
        again = load(folder)
        assert again.fingerprint == true.fingerprint, changed
        assert again.features.tobytes() == true.features.tobytes()
        assert not boom.exists()


@pytest.mark.parametrize("size", [10**13, 10**30])
def test_a_cache_that_promises_more_than_it_holds_is_written_again(folder, size):
    true, header = load(folder), io.BytesIO()
    place, arrays = cached(folder)
    facts = {"descr": "<f8", "fortran_order": False, "shape": (size,)}
    np.lib.format.write_array_header_1_0(header, facts)
    rewrite(place, marked(arrays) | {"seconds": None})
    with zipfile.ZipFile(f"{place}.npz", "a") as archive:
        archive.writestr("seconds.npy", header.getvalue())
    assert load(folder).fingerprint == true.fingerprint
