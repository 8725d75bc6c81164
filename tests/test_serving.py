"""The server over HTTP: what it answers, what it refuses, and that nothing stops it."""

import base64
import contextlib
import dataclasses
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib import resources
from pathlib import Path

import httpx
import jsonschema
import numpy as np
import pytest
import recognisers
import servers
import soundfile
from openapi_spec_validator import validate

from ser_jax.model import ModelConfig
from ser_jax.recognizer import Recognizer, answers, folder, guard, schema, serving, turns
from ser_jax.recognizer.hearing import Heard

SMALL = ModelConfig(channels=8)


@pytest.fixture(scope="module")
def recogniser():
    return recognisers.recogniser(sizes=SMALL)


@pytest.fixture(scope="module")
def spool(tmp_path_factory):
    """The folder for temporary files."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("spool"))
    yield Path(tempfile.tempdir)
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def server(recogniser, spool):
    with servers.running(recogniser, megabytes=1) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.address, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    soundfile.write(path, recognisers.speech(9), 16_000)
    return path


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
    drawn = answers.drawing(Heard(frames / 100, levels, np.stack([low, -low], axis=1)))
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
    said = answers.described(Recognizer(dataclasses.replace(recogniser.model, facts=facts)), 1)
    assert said["facts"]["loss"] is None
    assert json.loads(answers.of(said).body)["facts"]["name"] == "\ud800</script>"


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


def lie(size):
    """A WAV whose header promises `size` bytes of samples."""
    return b"RIFF" + b"\xff" * 4 + b"WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data" + size


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


TOO_LARGE = {"detail": "more than 1 MB, expected a smaller recording"}


def raw(port, *pieces):
    """An open connection after a request's beginning."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    for piece in pieces:
        connection.sendall(piece)
    return connection


def received(connection):
    """Status and content of the answer."""
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        return answer.status, json.load(answer)


def test_a_length_over_the_limit_is_refused_unread(server, spool):
    head = b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000001\r\n\r\n"
    with raw(server.port, head) as connection:  # and not a byte of it
        status, content = received(connection)
    assert (status, content) == (413, TOO_LARGE)
    assert server.turns.receiving == server.turns.inside == 0


def test_what_names_no_length_is_counted(client, recording, spool):
    answer = client.post("/recognize", content=(bytes(100_000) for _ in range(11)))
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE)
    assert list(spool.iterdir()) == []
    whole = recording.read_bytes()
    assert client.post("/recognize", content=iter([whole[:9999], whole[9999:]])).status_code == 200


BEGUN = b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\nRIFF"


def test_who_sends_nothing_more_loses_the_place(server, spool, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.05)
    with raw(server.port, BEGUN, bytes(800_000)) as connection:  # fast so far
        status, content = received(connection)
    assert status == 408
    assert re.fullmatch(
        r"800004 bytes were sent in [\d.]+ s, expected 10 kB a second and no pause of 0\.05 s",
        content["detail"],
    )
    assert server.turns.receiving == 0


def test_who_sends_byte_after_byte_loses_the_place(server, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.5)
    begun = time.monotonic()
    with raw(server.port, BEGUN) as connection:
        while not select.select([connection], [], [], 0.02)[0]:
            connection.sendall(b"a")
            assert time.monotonic() - begun < 10
        assert received(connection)[0] == 408
    assert time.monotonic() - begun >= 0.4


def test_slow_senders_keep_nobody_out(server, recording):
    with contextlib.ExitStack() as stack:
        for _ in range(turns.WAITING + 8):
            stack.enter_context(raw(server.port, BEGUN))
        servers.until(lambda: server.turns.receiving == turns.WAITING + 8)
        answer = httpx.post(f"{server.address}/recognize", content=recording.read_bytes(), trust_env=False)
        assert answer.status_code == 200
    servers.until(lambda: server.turns.receiving == 0)


def test_too_many_senders_are_told_so(server, monkeypatch):
    monkeypatch.setattr(turns, "RECEIVING", 1)
    with raw(server.port, BEGUN):
        servers.until(lambda: server.turns.receiving == 1)
        answer = httpx.post(f"{server.address}/recognize", content=b"a", trust_env=False)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json()["detail"].startswith("1 recordings are being received, expected fewer")
    servers.until(lambda: server.turns.receiving == 0)


def test_a_full_disk_is_a_sentence(client, recording, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    answer = client.post("/recognize", content=recording.read_bytes())
    assert answer.status_code == 507
    assert answer.json() == {"detail": "no room for the recording (No such file or directory)"}


class Held(Recognizer):
    """A recogniser that waits with each window until it is let go, and notes their frames."""

    def __init__(self, model):
        super().__init__(model)
        self.go, self.heard = threading.Event(), []

    def say(self, features):
        self.heard += [len(one) for one in features]
        assert self.go.wait(30)
        return super().say(features)


@pytest.fixture(params=["nameless", "named"])
def kept(request, monkeypatch):
    """Where recordings are kept: as this system has it, and as one without /proc would."""
    if request.param == "named":
        monkeypatch.setattr(turns, "OPEN", Path("no such folder"))
    return request.param


@pytest.fixture
def held(spool, recogniser):
    waits = Held(recogniser.model)
    with servers.running(waits) as running:
        running.recogniser = waits
        try:
            yield running
        finally:
            waits.go.set()


def sized(i):
    """A recording that is known by its frames, 4 + i."""
    size = 2 * (1000 + 160 * i)
    return lie(size.to_bytes(4, "little")) + bytes(size)


def head_of(content):
    return f"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode()


def posted(server, content):
    return raw(server.port, head_of(content), content)


def sent(server, i):
    return posted(server, sized(i))


def waiting(server):
    return server.turns.turn.statistics().tasks_waiting


def fill(server, count):
    """That many recordings sent, the first of which is being recognised."""
    connections = []
    for i in range(count):
        connections.append(sent(server, i))
        servers.until(lambda i=i: len(server.recogniser.heard) == 1 and waiting(server) == i)
    return connections


def test_many_at_once_are_answered_in_order_and_the_page_meanwhile(kept, held, spool):
    connections = fill(held, 20)
    begun = time.monotonic()
    with httpx.Client(base_url=held.address, trust_env=False) as client:
        assert client.get("/model").status_code == client.get("/").status_code == 200
    assert time.monotonic() - begun < 5
    assert len(held.recogniser.heard) == 1
    assert len(list(spool.iterdir())) == (20 if kept == "named" or not turns.OPEN.is_dir() else 0)
    held.recogniser.go.set()
    for connection in connections:
        with connection:
            assert received(connection)[0] == 200
    assert held.recogniser.heard == [4 + i for i in range(20)]
    servers.until(lambda: held.turns.inside == 0)
    assert list(spool.iterdir()) == []


def test_a_full_queue_says_when_to_come_back(held, monkeypatch):
    monkeypatch.setattr(turns, "WAITING", 2)
    connections = fill(held, 3)
    with httpx.Client(base_url=held.address, trust_env=False) as client:
        answer = client.post("/recognize", content=sized(9))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.json()["detail"].startswith("2 recordings are waiting, expected fewer")
        assert waiting(held) == 2
        held.recogniser.go.set()
        for connection in connections:
            with connection:
                received(connection)
        servers.until(lambda: held.turns.inside == 0)
        assert client.post("/recognize", content=sized(9)).status_code == 200


def test_who_is_whole_too_late_is_told_so(held, monkeypatch):
    monkeypatch.setattr(turns, "WAITING", 2)
    content = sized(9)
    with raw(held.port, head_of(content), content[:-1]) as slow:
        servers.until(lambda: held.turns.receiving == 1)
        connections = fill(held, 3)
        slow.sendall(content[-1:])
        status, answer = received(slow)
        assert status == 503
        assert answer["detail"].startswith("2 recordings are waiting, expected fewer")
    held.recogniser.go.set()
    for connection in connections:
        with connection:
            assert received(connection)[0] == 200


def test_who_leaves_frees_the_place_and_is_not_heard(held, spool):
    connections = fill(held, 4)
    connections[2].close()
    servers.until(lambda: waiting(held) == 2)
    connections[0].close()  # being heard: to the end of its window
    held.recogniser.go.set()
    for i in (1, 3):
        with connections[i] as connection:
            assert received(connection)[0] == 200
    assert held.recogniser.heard == [4 + i for i in (0, 1, 3)]
    servers.until(lambda: held.turns.inside == 0 and not list(spool.iterdir()))


def test_of_a_recording_whose_client_has_left_no_further_window_is_heard(held, recording):
    connection = posted(held, recording.read_bytes())  # of two windows
    servers.until(lambda: held.recogniser.heard)
    turn = held.turns.turn.statistics
    connection.close()
    time.sleep(0.2)
    assert turn().borrowed_tokens == 1  # its place is free when its window has been heard
    held.recogniser.go.set()
    servers.until(lambda: turn().borrowed_tokens == 0)
    assert len(held.recogniser.heard) == 1


def test_who_leaves_while_sending_frees_the_place(kept, server, spool):
    connection = raw(server.port, BEGUN)
    servers.until(lambda: server.turns.receiving == 1)
    connection.close()
    servers.until(lambda: server.turns.receiving == 0 and not list(spool.iterdir()))


def test_the_end_of_a_server_is_the_end_of_all_recordings(kept, recogniser, recording, spool, caplog):
    waits = Held(recogniser.model)
    with servers.running(waits) as running:
        connections = [posted(running, recording.read_bytes())]  # of two windows
        servers.until(lambda: waits.heard)
        connections += [sent(running, 0), sent(running, 1), raw(running.port, BEGUN)]
        servers.until(lambda: running.turns.receiving == 1 and waiting(running) == 2)
        running.own.should_exit = True
        for connection in connections[1:]:
            with connection:
                assert received(connection) == (503, {"detail": turns.ENDING})
        waits.go.set()
        with connections[0] as connection:
            assert received(connection) == (503, {"detail": turns.ENDING})
    assert len(waits.heard) == 1
    assert list(spool.iterdir()) == []
    assert not caplog.records


def test_a_mistake_of_the_server_is_a_sentence_and_stops_nothing(recogniser, recording, monkeypatch, caplog):
    with servers.running(recogniser) as running:
        with monkeypatch.context() as wrong:
            wrong.setattr(answers, "drawing", lambda heard: 1 / 0)
            answer = httpx.post(f"{running.address}/hear", content=recording.read_bytes(), trust_env=False)
        assert answer.status_code == 500
        assert answer.json()["detail"].startswith("the server has made a mistake")
        assert (
            guard.HEADERS.items() <= {name.title(): value for name, value in answer.headers.items()}.items()
        )
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        servers.until(lambda: "division by zero" in caplog.text)
        answer = httpx.post(f"{running.address}/hear", content=recording.read_bytes(), trust_env=False)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "192.168.0.9", "[::", ""]
)
def test_it_answers_to_its_own_names_only(client, host):
    for answer in (client.get("/", headers={"Host": host}), client.post("/hear", headers={"Host": host})):
        assert answer.status_code == 403
        assert answer.json() == {
            "detail": f"asked for as {host!r}, expected a name that this server was started with"
        }


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:8000"])
def test_loopback_names_are_its_own_under_any_port(client, host):
    assert client.get("/model", headers={"Host": host}).status_code == 200


def test_a_server_for_everyone_answers_to_addresses_and_to_the_name_it_was_given(recogniser):
    for given, others in (
        (("0.0.0.0",), ["192.168.0.9:80", "[fe80::1]", f"{socket.gethostname()}:80"]),
        (("0", "0.0.0.0"), ["192.168.0.9:80", "0"]),
        (("box.local", "192.168.0.9"), ["BOX.local:80", "192.168.0.9"]),
    ):
        with servers.running(recogniser, names=given) as running:
            for host, status in [*((other, 200) for other in others), ("evil.example", 403)]:
                answer = httpx.get(f"{running.address}/model", headers={"Host": host}, trust_env=False)
                assert answer.status_code == status


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example", "http://["],
)
def test_other_sites_cannot_send(client, recording, origin):
    answer = client.post("/recognize", content=recording.read_bytes(), headers={"Origin": origin})
    assert answer.status_code == 403
    assert answer.json() == {"detail": f"sent by a page of {origin!r}, expected the server's own page"}


def test_the_own_page_can_send_and_no_other_can_read(server, client, recording):
    answer = client.post("/recognize", content=recording.read_bytes(), headers={"Origin": server.address})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asked = client.options("/recognize", headers={"Origin": "http://evil.example"})
    assert asked.status_code == 403


def test_every_answer_says_what_a_browser_may_do(client):
    for answer in (client.get("/"), client.get("/nowhere"), client.get("/", headers={"Host": "evil"})):
        for name, value in guard.HEADERS.items():
            assert answer.headers[name] == value
        allowed = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
        assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
        assert allowed["connect-src"] == "'self'"
        assert set(" ".join(allowed.values()).split()) <= {
            "'none'", "'self'", "blob:", "data:", *re.findall(r"'sha256-[\w+/=]{44}'", str(allowed))
        }  # fmt: skip
        assert len(re.findall("'sha256-", str(allowed))) == 2
        assert "server" not in answer.headers


def test_the_page_names_no_address_and_takes_no_text_for_markup(client):
    page = resources.files("ser_jax.recognizer").joinpath("page.html").read_text("utf-8")
    assert client.get("/").text == page
    assert client.get("/").headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.findall(r"""\b[a-z]+://|["'(`=]//|@import|url\(|<iframe|<object|<embed|<base""", page)
    for loads in re.findall(r"""\b(?:src|href|action|poster|srcset)=["']?([^"' >]*)""", page):
        assert loads in ("data:,", "openapi.json"), loads
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|\son\w+=|style=", page
    )


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect", "/page.html", "/../page.html"])
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("host", "port", "why"),
    [
        ("no.such.host.invalid", 0, "expected an address of this machine and a free port"),
        ("203.0.113.7", 0, "Cannot assign|assign requested"),
        ("127.0.0.1", 70_000, "ports end at 65535"),
        ("a" * 300, 0, "nothing can be served there"),
    ],
)
def test_a_place_that_is_none_is_one_sentence(recogniser, host, port, why):
    with pytest.raises(serving.ServingError, match=why):
        serving.serve(recogniser, host, port, opens=False)


def test_a_port_in_use_is_one_sentence(recogniser, server):
    with pytest.raises(serving.ServingError) as error:
        serving.serve(recogniser, port=server.port, opens=False)
    assert str(error.value) == (
        f"127.0.0.1, port {server.port}: nothing can be served there (Address already in use), expected an "
        "address of this machine and a free port"
    )


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_what_is_not_installed_is_named(recogniser, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(serving.ServingError, match=r'expected what serves: pip install "ser_jax\[serve\]"'):
        serving.serve(recogniser, port=0, opens=False)


@pytest.fixture
def started(monkeypatch):
    """What `serve` does, without a server that runs."""
    import uvicorn

    opened = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr(serving.webbrowser, "open", opened.append)
    return opened


def test_the_page_is_opened_where_it_is(recogniser, started, capsys):
    serving.serve(recogniser, port=0)
    servers.until(lambda: started)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", started[0])
    assert capsys.readouterr().err == f"ser-jax: {started[0]} (Ctrl-C ends it)\n"


@pytest.mark.parametrize("host", ["127.1", "localhost", "2130706433"])
def test_this_machine_may_be_called_otherwise(recogniser, started, capsys, host):
    serving.serve(recogniser, host, 0, opens=False)
    said = capsys.readouterr().err
    assert re.fullmatch(rf"ser-jax: http://{host}:\d+/ \(Ctrl-C ends it\)\n", said)


@pytest.mark.parametrize("host", ["0.0.0.0", "0"])
def test_a_server_for_everyone_says_so(recogniser, started, capsys, host):
    serving.serve(recogniser, host, 0, opens=False)
    assert re.fullmatch(
        r"ser-jax: http://localhost:\d+/ \(Ctrl-C ends it\)\n"
        r"ser-jax: everyone on the network can reach 0\.0\.0\.0: nobody is asked who they are, .*\n",
        capsys.readouterr().err,
    )
    assert not started


PROGRAM = """
import sys
from ser_jax.recognizer import Recognizer, serving
serving.serve(Recognizer.load(sys.argv[1]), port=0, opens=False)
"""


@pytest.fixture(scope="module")
def model(recogniser, tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    folder.write(place, recogniser.model)
    return place


@contextlib.contextmanager
def program(model, spool):
    """A server that is a process of its own, and its port."""
    command = [sys.executable, "-c", PROGRAM, str(model)]
    own = {**os.environ, "TMPDIR": str(spool)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=own) as program:
        try:
            line = program.stderr.readline()
            yield program, int(re.fullmatch(r"ser-jax: http://127\.0\.0\.1:(\d+)/ \(Ctrl-C .*\n", line)[1])
        finally:
            program.kill()


def test_ctrl_c_ends_it_quietly(model, recording, tmp_path):
    with program(model, tmp_path) as (running, port):
        content = recording.read_bytes()
        answer = httpx.post(f"http://127.0.0.1:{port}/recognize", content=content, trust_env=False)
        assert answer.status_code == 200
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
        assert running.stderr.read() == ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_it_quietly_while_it_hears(model, tmp_path, number, status):
    spool = tmp_path / "spool"
    spool.mkdir()
    soundfile.write(tmp_path / "a.flac", np.zeros(4 * 3600 * 1000, np.int16), 1000)  # a minute's work
    content = (tmp_path / "a.flac").read_bytes()
    head = head_of(content)
    with program(model, spool) as (running, port):
        with raw(port, head, content) as first, raw(port, head, content) as second, raw(port, BEGUN) as third:
            time.sleep(1)
            assert not select.select([first, second, third], [], [], 0)[0]
            begun = time.monotonic()
            running.send_signal(number)
            for connection in (first, second, third):
                assert received(connection) == (503, {"detail": turns.ENDING})
            assert running.wait(20) == status
        assert time.monotonic() - begun < 5
        assert running.stderr.read() == ""
    assert list(spool.iterdir()) == []
