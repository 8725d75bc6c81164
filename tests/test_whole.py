"""Files that appear whole or not at all."""

import json
import math
import os

import pytest

from ser_jax.whole import new_file, new_json


@pytest.mark.parametrize("name", ["a", "x" * 255, "\u8bed" * 85])
def test_a_file_is_seen_when_it_is_whole(tmp_path, name):
    for content in (b"first", b"second"):
        before = [file.read_bytes() for file in tmp_path.iterdir()]
        with new_file(tmp_path / name) as stream:
            stream.write(content)
            assert [file.read_bytes() for file in tmp_path.iterdir() if file.name == name] == before
        assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(name, content)]
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / name) as stream:
        raise KeyboardInterrupt
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(name, b"second")]
    with pytest.raises(ValueError, match="empty name"), new_file("."):
        pass


def test_a_link_or_a_pipe_stays_what_it_is(tmp_path):
    (tmp_path / "file").write_text("before, and longer")
    (tmp_path / "link").symlink_to("file")
    new_json(tmp_path / "link", {"a": 1})
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "file").read_text()) == {"a": 1}
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    new_json(tmp_path / "pipe", [2])
    assert json.loads(os.read(reader, 100)) == [2]
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 3


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        new_json(tmp_path / "a.json", [math.nan])
    assert not list(tmp_path.iterdir())
