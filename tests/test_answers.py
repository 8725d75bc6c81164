"""What a server answers: to a recording, to a bad one, about its model and about itself."""

import base64
import dataclasses
import json
import re

import httpx
import jsonschema
import numpy as np
import pytest
import recognisers
import servers
import soundfile
from openapi_spec_validator import validate
from senders import lie
from ser_jax.recognizer.hearing import Heard

from ser_jax.recognizer import Recognizer, schema, serving, turns

pytest_plugins = ["servers"]


def test_a_recording_is_answered_as_the_library_answers(client, recogniser, recording):
    answer = client.post("/recognize", params={"name": "a b.wav"}, content=recording.read_bytes())
    assert answer.status_code == 200
    jsonschema.validate(answer.json(), schema(), cls=jsonschema.Draft202012Validator)
    assert answer.json() == recogniser(recording).as_dict("a b.wav")


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3", "aiff"])
def test_every_format_is_heard_whatever_it_is_called(client, tmp_path, ending):
    soundfile.write(tmp_path / f"a.{ending}", recognisers.speech(2, 44_100), 44_100)
    answer = client.post("/recognize", content=(tmp_path / f"a.{ending}").read_bytes())
    assert answer.status_code == 200
    assert answer.json()["file"] == "recording"
    assert answer.json()["seconds"] == pytest.approx(2, abs=0.1)


def test_windows_lie_as_asked(client, recording):
    def starts(**query):
        answer = client.post("/recognize", params=query, content=recording.read_bytes())
        return [window["start"] for window in answer.json()["windows"]]

    assert starts() == [0, 3.6]
    assert starts(hop=0.9) == [0, 0.9, 1.8]


def test_hearing_adds_the_sound_to_the_same_recognition(client, recogniser, recording):
    content = recording.read_bytes()
    answer = client.post("/hear", content=content).json()
    assert answer["recognition"] == client.post("/recognize", content=content).json()
    heard, sound = recogniser.hear(recording), answer["sound"]
    grey = np.frombuffer(base64.b64decode(sound["logmel"]), np.uint8).reshape(-1, sound["bands"])
    least, largest = sound["decibels"]
    level = least + grey / 255 * (largest - least)
    assert sound["step"] == 0.01
    assert np.abs(level - heard.logmel).max() <= (largest - least) / 255
    assert np.allclose(np.stack([sound["least"], sound["largest"]], axis=1), heard.outline, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 1499, 1500, 1501, 3001, 360_000])
def test_a_drawing_keeps_extremes_and_mean_in_few_columns(frames):
    rng = np.random.default_rng(frames)
    low = rng.uniform(-1, 0, frames).astype(np.float32)
    levels = rng.uniform(-90, 0, (frames, 26)).astype(np.float32)
    drawn = turns.drawing(Heard(frames / 100, levels, np.stack([low, -low], axis=1)))
    columns = len(drawn["least"])
    assert columns <= 1500
    assert (columns - 1) * drawn["step"] < frames / 100 <= columns * drawn["step"] + 1e-9
    assert min(drawn["least"]) == -max(drawn["largest"]) == pytest.approx(low.min(), abs=1e-4)
    grey = np.frombuffer(base64.b64decode(drawn["logmel"]), np.uint8).reshape(columns, 26)
    least, largest = drawn["decibels"]
    weight = np.full(columns, round(drawn["step"] * 100))
    weight[-1] = frames - weight[:-1].sum()
    mean = np.average(least + grey / 255.0 * (largest - least), axis=0, weights=weight)
    assert np.abs(mean - levels.mean(axis=0)).max() < 0.5


def test_the_model_says_what_it_was_trained_on(client):
    assert client.get("/model").json() == {
        "demonstration": True,
        "targets": {"arousal": ["low", "high"], "valence": ["negative", "positive"]},
        "seeds": 5,
        "bytes": 1_000_000,
        "facts": {**recognisers.FACTS, "seeds": 5},
    }


def test_facts_that_are_no_json_or_no_text_do_no_harm(recogniser):
    facts = {**recogniser.model.facts, "loss": float("nan"), "name": "\ud800</script>"}
    said = serving.described(Recognizer(dataclasses.replace(recogniser.model, facts=facts)), 1)
    assert said["facts"]["loss"] is None
    assert json.loads(turns.as_json(said).body)["facts"]["name"] == "\ud800</script>"


def test_the_document_is_openapi_and_refers_to_one_schema(client):
    document = client.get("/openapi.json").json()
    validate(document)
    schemas = document["components"]["schemas"]
    ok = document["paths"]["/recognize"]["post"]["responses"]["200"]["content"]["application/json"]
    assert ok["schema"] == {"$ref": "#/components/schemas/Recognition"}
    told = json.dumps({**schemas["Recognition"], "$defs": {"estimate": schemas["estimate"]}}, sort_keys=True)
    own = {key: value for key, value in schema().items() if key != "$schema"}
    assert told.replace("#/components/schemas/", "#/$defs/") == json.dumps(own, sort_keys=True)
    assert set(document["paths"]) == {"/model", "/recognize", "/hear"}


@pytest.mark.parametrize(("path", "name"), [("/model", "Model"), ("/hear", "Hearing")])
def test_answers_are_what_the_document_says(client, recording, path, name):
    document = client.get("/openapi.json").json()
    answer = client.get(path) if path == "/model" else client.post(path, content=recording.read_bytes())
    jsonschema.validate(
        answer.json(),
        {"$ref": f"#/components/schemas/{name}", "components": document["components"]},
        cls=jsonschema.Draft202012Validator,
    )


BAD = {
    "nothing": (b"", r"a\.wav: .*expected"),
    "text": (b"<script>alert(1)</script>" * 50, r"a\.wav: not readable as audio .*expected WAV, AIFF"),
    "half a header": (b"RIFF\0\0\0\0WAVE", r"a\.wav: .*expected"),
    "a header that lies": (lie(b"\xf0\xff\xff\x7f") + bytes(100), r"a\.wav: .*expected"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, r"a\.wav: not readable as audio"),
    "too short": (lie(b"\x14\0\0\0") + bytes(20), r"a\.wav: .*expected at least one frame"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_one_sentence_and_stops_nothing(client, recording, spool, what):
    content, sentence = BAD[what]
    for path in ("/recognize", "/hear"):
        answer = client.post(path, params={"name": "a.wav"}, content=content)
        assert answer.status_code == 422
        assert answer.json().keys() == {"detail"}
        assert re.search(sentence, answer.json()["detail"])
        assert str(spool) not in answer.text
    assert client.post("/recognize", content=recording.read_bytes()).status_code == 200
    assert list(spool.iterdir()) == []


def test_what_is_not_finite_is_refused(client, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(4000, np.nan), 16_000, subtype="FLOAT")
    answer = client.post("/recognize", content=(tmp_path / "a.wav").read_bytes())
    assert answer.status_code == 422
    assert answer.json()["detail"] == "recording: holds samples that are not finite numbers"


def test_months_of_silence_in_a_small_file_are_refused(client, tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "LONGEST", 3600)
    soundfile.write(tmp_path / "a.flac", np.zeros(3700 * 1000, np.int16), 1000)
    answer = client.post("/recognize", content=(tmp_path / "a.flac").read_bytes())
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "recording: 1.0 hours of sound, expected 1 at most: cut it into parts",
    )


def test_a_smaller_hop_is_for_shorter_recordings(client, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.flac", np.zeros(3700 * 1000, np.int16), 1000)
    content = (tmp_path / "a.flac").read_bytes()
    answer = client.post("/recognize?hop=0.9", content=content)
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "recording: 1.0 hours of sound, expected 1 at most at a hop of 0.9 s: cut it into parts",
    )
    monkeypatch.setattr(turns, "WINDOWS", 4)
    soundfile.write(tmp_path / "b.wav", recognisers.speech(14.4), 16_000)
    content = (tmp_path / "b.wav").read_bytes()
    assert client.post("/recognize?hop=2.7", content=content).status_code == 422
    answer = client.post("/recognize", content=content)
    assert answer.status_code == 200
    assert len(answer.json()["windows"]) <= 4


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("hop=1", r"a hop of 1 s, expected a multiple of 0\.9 s"),
        ("hop=0", "a hop of 0 s, expected a multiple"),
        ("hop=nan", "a hop of nan s, expected a multiple"),
        ("hop=much", "hop: input should be a valid number"),
        (f"name={'a' * 256}", "name: string should have at most 255 characters"),
    ],
)
def test_a_wrong_question_is_answered_before_anything_is_heard(client, query, sentence):
    answer = client.post(f"/recognize?{query}", content=b"")
    assert answer.status_code == 400
    assert re.match(sentence, answer.json()["detail"])


def test_a_mistake_of_the_server_is_a_sentence_and_stops_nothing(recogniser, recording, monkeypatch, caplog):
    with servers.running(recogniser) as running:
        with monkeypatch.context() as wrong:
            wrong.setattr(turns, "drawing", lambda heard: 1 / 0)
            answer = httpx.post(f"{running.address}/hear", content=recording.read_bytes(), trust_env=False)
        assert answer.status_code == 500
        assert answer.json()["detail"].startswith("the server has made a mistake")
        assert (
            serving.HEADERS.items() <= {name.title(): value for name, value in answer.headers.items()}.items()
        )
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        servers.until(lambda: "division by zero" in caplog.text)
        answer = httpx.post(f"{running.address}/hear", content=recording.read_bytes(), trust_env=False)
        assert answer.status_code == 200
