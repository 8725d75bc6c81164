"""One rule for amplitude at every entry: scaled by type, or refused in a sentence."""

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
    found = preparation.record(the_utterance(path), Waveform())
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
