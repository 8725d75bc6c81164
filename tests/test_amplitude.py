"""Amplitude at every entry: scaled by type or refused; offsets are removed, and odd channels named."""

import functools
import re

import numpy as np
import pytest
import recognisers
import soundfile

from ser_jax.data import audit, manifest, preparation
from ser_jax.errors import UserError
from ser_jax.features import RATE, Waveform
from ser_jax.recognizer import RecordingError, read_recording, server, stream

pytestmark = pytest.mark.usefixtures("hastily")
REFUSED = "have no full scale, expected -1 to 1: give int16, or divide by 32768"
SPEECH = 0.9 * np.sin(np.arange(8000) / 7)
TYPES = {  # to what samples of the type are divided by, and their middle; None if they are refused
    "float16": (1, 0), "float32": (1, 0), "float64": (1, 0), "longdouble": (1, 0),
    "int8": (2**7, 0), "uint8": (2**7, 2**7), "int16": (2**15, 0), "int32": (2**31, 0), ">i2": (2**15, 0),
    "int64": None, "uint16": None, "uint32": None, "uint64": None, "bool": None, "complex64": None,
    "object": None, "U5": None,
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_arrays_are_scaled_by_their_type_or_refused(name):
    kind, scale = np.dtype(name), TYPES[name]
    if scale is None:
        with pytest.raises(RecordingError, match=rf"^{kind.name} samples {REFUSED}$"):
            read_recording((100 * SPEECH + 100).astype(kind), RATE)
        return
    full, middle = scale
    samples = (SPEECH * full + middle).astype(kind)
    extremes = np.array([-full + middle, middle, middle + (full if kind.kind == "f" else full - 1)], kind)
    samples[:3] = extremes
    found = read_recording(samples, RATE).samples
    np.testing.assert_allclose(found[3:], SPEECH[3:], atol=max(1 / full, 1e-3) if full != 1 else 1e-3)
    np.testing.assert_allclose(found[:3], [-1, 0, 1 if kind.kind == "f" else 1 - 1 / full])


@pytest.mark.parametrize("peak", [300, 32767, 2**16 - 1])
def test_16_bits_in_32_are_refused_and_32_bits_and_silence_are_not(peak):
    samples = (SPEECH * peak / 0.9).astype(np.int32)
    with pytest.raises(
        RecordingError, match=rf"^int32 samples of up to {np.abs(samples).max():g} {REFUSED}$"
    ):
        read_recording(samples, RATE)
    np.testing.assert_allclose(read_recording(samples * 2**15, RATE).samples, samples / 2**16, rtol=1e-6)
    assert not read_recording(0 * samples, RATE).samples.any()


def test_lists_are_numbers_up_to_1():
    np.testing.assert_allclose(read_recording(SPEECH.tolist(), RATE).samples, SPEECH, atol=1e-6)
    with pytest.raises(RecordingError, match=f"^int64 samples {REFUSED}$"):
        read_recording((SPEECH * 32767).astype(int).tolist(), RATE)


@functools.cache
def small():
    return recognisers.recogniser(tasks=("arousal",), seeds=1, channels=4)


def by_array(path):
    return small()(*soundfile.read(path))


def by_file(path):
    return small()(path)


def by_stream(path):
    with path.open("rb") as file:
        return list(stream.pipe(small(), file))


def by_server(path):
    return server.respond(small(), path, small().default_hop, "a", False, lambda: None)


def the_utterance(path):
    table = path.with_suffix(".csv")
    table.write_text(f"path,speaker,arousal\n{path.name},a,low\n")
    return manifest.read(table).utterances[0]


def by_prepare(path):
    [found] = preparation.records([the_utterance(path)], Waveform())
    if isinstance(found, preparation.Flaw):
        assert found.finding == "unscaled"
        raise UserError(found.reason)
    return found


def by_audit(path):
    findings = audit.measure(the_utterance(path)).findings
    if found := dict(findings).get("unscaled"):
        assert len(findings) == 1
        raise UserError(found)


ENTRIES = (by_array, by_file, by_stream, by_server, by_prepare, by_audit)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("peak", [0.01, 1.0, 3.9, 4.1, 127.0, 32767.0, 2.0**31])
def test_floating_point_sound_is_accepted_up_to_4(tmp_path, entry, subtype, peak):
    soundfile.write(tmp_path / "a.wav", SPEECH * peak / SPEECH.max(), RATE, subtype=subtype)
    if peak < 4:
        entry(tmp_path / "a.wav")
        return
    place = re.escape(str(tmp_path / "a.wav"))
    found = rf"^({place}: )?float64 samples of up to \S+ {REFUSED}( \(asked for by a\.csv:2\))?$"
    with pytest.raises(UserError, match=found):
        entry(tmp_path / "a.wav")


@pytest.mark.parametrize("entry", [by_file, by_server, by_prepare, by_audit])
@pytest.mark.parametrize("peak", [300, 2**16 - 1, 2**17])
def test_16_bits_in_a_file_of_32_are_refused(tmp_path, entry, peak):
    samples = (SPEECH * peak / SPEECH.max()).astype(np.int32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="PCM_32")
    if peak >= 2**16:
        entry(tmp_path / "a.wav")
        return
    with pytest.raises(UserError, match=rf"int32 samples of up to {peak:g} {REFUSED}"):
        entry(tmp_path / "a.wav")


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_first_block_that_is_too_loud_is_refused(tmp_path, entry, monkeypatch):
    monkeypatch.setattr("ser_jax.data.audio.BLOCK", 1000)
    soundfile.write(tmp_path / "a.wav", np.append(SPEECH / 10, SPEECH * 32767), RATE, subtype="FLOAT")
    with pytest.raises(UserError, match=REFUSED):
        entry(tmp_path / "a.wav")


def test_the_audit_calls_it_unscaled_not_clipped(tmp_path):
    soundfile.write(tmp_path / "a.wav", SPEECH * 32767, RATE, subtype="FLOAT")
    the_utterance(tmp_path / "a.wav")
    found = audit.audit("manifest", tmp_path / "a.csv", 1)
    assert {line for line, one in found["findings"].items() if one["count"]} == {"unscaled", "one class"}
    assert found["refused"]
    assert "unscaled" in audit.table(found)


def voice(*gains, seconds=2.0, seed=0):
    """Return noise [n, C] of these gains in the channels."""
    samples = recognisers.speech(seconds, seed=seed)
    return np.outer(samples, gains)


OFFSET, DEAD, CANCELLING = (
    r"a constant offset of -?[\d.]+ of full scale, which is removed",
    r"no sound in channels? [\d, ]+ of \d, which makes the mean of the channels softer",
    r"channels of opposite polarity cancel each other, [\d.]+% of their power is left in their mean",
)
CHANNELS = {  # to samples and what is said of them
    "mono": (voice(1), {}),
    "stereo": (voice(1, 1), {}),
    "a softer channel": (voice(1, 0.05), {}),
    "different channels": (np.hstack([voice(1, seed=i) for i in range(8)]), {}),
    "silence": (np.zeros((32000, 2)), {}),
    "8 bits": (np.round(voice(1) * 128) / 128, {}),
    "opposite polarity": (voice(1, -1), {"cancelling": CANCELLING}),
    "nearly opposite polarity": (voice(1, -0.9), {"cancelling": CANCELLING}),
    "opposite polarity with an offset": (voice(1, -1) + 0.1, {"cancelling": CANCELLING, "offset": OFFSET}),
    "no left channel": (voice(0, 1), {"dead channel": DEAD}),
    "no right channel but an offset": (
        voice(1, 0) + np.array([0, 0.1]),
        {"dead channel": DEAD, "offset": OFFSET},
    ),
    "two channels without sound": (voice(1, 0.001, 0, 1), {"dead channel": DEAD}),
    "an offset": (voice(1) + 0.01, {"offset": OFFSET}),
    "a negative offset of both": (voice(1, 1) - 0.03, {"offset": OFFSET}),
    "8 bits of silence": (np.full((32000, 1), -1 / 128), {"offset": OFFSET}),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_offsets_and_odd_channels_are_named_at_every_entry(tmp_path, name, caplog, monkeypatch):
    monkeypatch.setattr("ser_jax.data.audio.BLOCK", 10_001)
    samples, said = CHANNELS[name]
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")

    def warnings():
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    for entry, where in ((by_file, path), (by_array, "samples"), (by_server, "a")):
        entry(path)
        found = warnings()
        assert len(found) == len(said)
        for sentence in said.values():
            assert any(re.fullmatch(f"{re.escape(str(where))}: {sentence}", one) for one in found)
    findings = dict(audit.measure(the_utterance(path)).findings)
    assert findings.keys() - {"silent"} == said.keys()
    for line, sentence in said.items():
        assert re.fullmatch(sentence, findings[line])
        assert audit.LINES[line][0] == "warning"


def by_file_window(path):
    return by_file(path).windows[0]


def by_live_window(path):
    return by_stream(path)[-1].window


@pytest.mark.parametrize("offset", [0.01, -0.03, 0.3])
def test_an_offset_changes_no_prediction(tmp_path, offset):
    """Of speech as quiet as pauses, in which it would fill the lowest band."""
    samples = voice(0.3)[:, 0]
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", samples + offset, RATE, subtype="FLOAT")
    for entry in (by_file_window, by_live_window):
        clean, moved = (entry(tmp_path / name).tasks["arousal"].values for name in ("a.wav", "b.wav"))
        assert moved == pytest.approx(clean, abs=1e-3)
    assert by_live_window(tmp_path / "b.wav") == by_file_window(tmp_path / "b.wav")
    clean, moved = (by_prepare(tmp_path / name)["features"] for name in ("a.wav", "b.wav"))
    np.testing.assert_allclose(moved, clean, atol=1e-3)
