"""The table of formats: what each is read by, in folders as by name; what is not sound; FFmpeg's codings."""

import re
import shutil
import sys

import numpy as np
import pytest
import soundfile
from encoding import CODINGS, FFMPEG, encode, film
from scipy import signal
from test_audio import RATE, RATES, sweep

from ser_jax.data import manifest
from ser_jax.data.audio import BLOCK, AudioError, check, opened, read
from ser_jax.data.formats import FORMATS
from ser_jax.recognizer import RecordingError, read_recording
from ser_jax.recognizer.predict import find_files


def sound(path, name):
    """Write two seconds in a format of the table."""
    if name in FFMPEG:
        encode(path, *FFMPEG[name], sweep(2, RATE))
    else:
        soundfile.write(path, sweep(2, RATE), RATES.get(name, RATE), format=name)
    return path


def compare(found, expected):
    """Return by how many samples the first is late, and their difference, relative to their level."""
    lag = np.argmax(signal.correlate(found, expected, method="fft")) - (len(expected) - 1)
    count = min(len(found), len(expected)) - 2000
    difference = np.roll(found, -lag)[1000:count] - expected[1000:count]
    return lag, np.sqrt((difference**2).mean() / (expected**2).mean())


def without_ffmpeg(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
def test_what_a_name_is_read_as_is_found_in_a_folder_with_or_without_the_extra(tmp_path, monkeypatch, row):
    folder = tmp_path / "folder"
    folder.mkdir()
    first = sound(tmp_path / "a", row.name)
    for suffix in row.suffixes.split():
        for number, name in enumerate((suffix, suffix.upper())):
            shutil.copy(first, folder / f"{number}{name}")
    found = find_files([str(folder)])
    assert found == sorted(map(str, folder.iterdir()))
    assert len(found) == 2 * len(row.suffixes.split())
    samples, seconds = read(first)
    assert seconds >= 1.98
    for path in found:
        np.testing.assert_array_equal(read(path)[0], samples)
    without_ffmpeg(monkeypatch)
    if row.libsndfile:
        np.testing.assert_array_equal(read(found[0])[0], samples)
    else:
        named = rf'is {row.name}, expected WAV.*; other formats need pip install "ser_jax\[formats\]"'
        with pytest.raises(AudioError, match=named):
            read(found[0])


@pytest.mark.parametrize(("name", "muxer", "encoder", "rate"), CODINGS, ids=lambda value: str(value))
def test_codings_of_ffmpeg_come_close_and_have_segments(tmp_path, name, muxer, encoder, rate):
    path = tmp_path / "a"
    encode(path, muxer, encoder, rate, sweep(2, RATE))
    with opened(path) as sound:
        assert sound.encoding.split()[0] == name
        assert max(block.size for block in sound.blocks()) <= BLOCK
    found, seconds = read(path)
    assert 1.98 <= seconds <= 2.12  # encoders fill their last block; WMA's first is lost
    assert len(found) == round(seconds * RATE)
    lag, error = compare(found, sweep(2, RATE))
    assert -800 < lag < 1300  # what encoders, and FFmpeg's decoder of WMA, shift
    assert error < (0.3 if "amr" in encoder else 0.09)
    part, seconds = read(path, 0.5, 1.5)
    assert (len(part), seconds) == (RATE, 1)
    lag, error = compare(part, found[RATE // 2 : 3 * RATE // 2])
    assert abs(lag) <= 20  # WebM's times are in milliseconds
    assert error < 0.1


def test_of_a_film_the_sound_is_read(tmp_path):
    film(tmp_path / "a.mp4", sweep(2, RATE))
    lag, error = compare(read(tmp_path / "a.mp4")[0], sweep(2, RATE))
    assert (lag, error < 0.09) == (0, True)
    film(tmp_path / "b.mp4")
    with pytest.raises(AudioError, match=r"b\.mp4: not readable as audio \(it holds no sound\)"):
        read(tmp_path / "b.mp4")


def test_a_coding_that_libsndfile_lacks_names_the_extra(tmp_path, monkeypatch):
    encode(tmp_path / "a.wav", "wav", "g722", 16000, sweep(2, RATE))
    without_ffmpeg(monkeypatch)
    with pytest.raises(
        AudioError, match=r"a\.wav: not readable as audio \(.+\), expected WAV.*ser_jax\[formats\]"
    ):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["MP4", "WebM", "WMA", "TTA", "FLV"])
def test_a_truncated_file_is_named(tmp_path, name, keep):
    path = sound(tmp_path / "a", name)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(AudioError, match=r"a: not readable as audio \(.+\), expected WAV"):
        read(path)


STRANGERS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "is a Git LFS pointer.*git lfs pull",
    b"<!DOCTYPE html><html>": "is a web page",
    b"\xef\xbb\xbf\n<HTML lang=en>": "is a web page",
    b"<?xml version='1.0'?><Error>": "is a web page",
    b"<!-- saved -->\n<html>": "is a web page",
    b"<head><title>404": "is a web page",
    b"PK\3\4\x14\0": "is an archive, expected a recording: unpack it first",
    b"\x1f\x8b\x08\0": "is an archive",
    b"BZh91AY&SY": "is an archive",
    b"\xfd7zXZ\0": "is an archive",
    b"speech.wav".ljust(257, b"\0") + b"ustar\0": "is an archive",
    b"--1234\r\nContent-Disposition: form-data\r\n\r\nRIFF": ".*form.*curl --data-binary @speech.wav",
    b"RIFF$}WAVEfmt \x10\x01\x01": ".*form.*curl --data-binary",  # curl -d drops zeros and line breaks
    b'{"audio": "UklGRg=="}': "is JSON",
    b"[0.1, 0.2]": "is JSON",
    b"https://example.org/a.wav\n": "is a URL.*download it first",
    b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n": r"not readable as audio \(it begins with b'#EXTM3U",
    b"ffconcat version 1.0\nfile /etc/passwd\n": r"not readable as audio \(it begins with b'ffconcat",
    b"": r"not readable as audio \(it is empty\)",
}


@pytest.mark.parametrize(("content", "sentence"), STRANGERS.items(), ids=range(len(STRANGERS)))
def test_what_is_no_sound_is_named(tmp_path, content, sentence):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=rf"a\.wav: {sentence}") as caught:
        read(tmp_path / "a.wav")
    assert caught.value.finding == "undecodable"


@pytest.mark.parametrize(
    "url", ["https://a.org/a.wav", "http://a.org/[a]/b.wav?token=1", "S3://a/b", "file:///a"]
)
def test_a_url_is_named(url):
    assert find_files([url]) == [url]
    with pytest.raises(
        AudioError, match="is a URL, expected a recording: download it first, as curl -LO does"
    ):
        check(url)
    with pytest.raises(RecordingError, match=re.escape(f"{url}: is a URL, expected a recording")):
        read_recording(url)


def test_a_manifest_tells_what_it_leaves_out(tmp_path):
    for name in ("a.wav", "b.WEBA", "c.txt"):
        (tmp_path / name).touch()
    table = "path,speaker,sex,language,arousal\na.wav,s,female,de,high\n"
    (tmp_path / "manifest.csv").write_text(table)
    [left] = manifest.read(tmp_path / "manifest.csv").unlabelled
    assert re.search(r"b\.WEBA$", left)
