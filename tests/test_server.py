"""The server: what it answers, whom it answers, and what it does under load."""

import base64
import contextlib
import dataclasses
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

import httpx
import jsonschema
import numpy as np
import pytest
import soundfile
from openapi_spec_validator import validate
from recognisers import FACTS, recogniser, speech
from servers import answer, post, reverse_proxy, running, until

from ser_jax import cli
from ser_jax.data.formats import SUFFIXES
from ser_jax.features import logmel
from ser_jax.recognizer import Recognizer, read_recording, server


@pytest.fixture(scope="module")
def small(hastily):
    """A recogniser that answers at once."""
    small = recogniser(tasks=("dimensions", "emotion"), seeds=2, channels=8)
    small.compile()
    return small


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A file of two windows."""
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    soundfile.write(path, speech(9), 16_000)
    return path


@pytest.fixture(scope="module")
def spool(tmp_path_factory):
    """The folder of temporary files."""
    folder = tmp_path_factory.mktemp("spool")
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    yield folder
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def serving(small, spool):
    """A server for recordings of at most one megabyte."""
    with running(small, megabytes=1) as started:
        yield started


@pytest.fixture(scope="module")
def client(serving):
    with httpx.Client(base_url=serving.address, trust_env=False, timeout=30) as opened:
        yield opened


def wav(size):
    """A WAV file whose header promises `size` bytes of samples."""
    head = b"RIFF" + b"\xff" * 4 + b"WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data"
    return head + size.to_bytes(4, "little")


def test_predictions_are_those_of_the_library(client, small, recording, tmp_path):
    response = client.post("/predict", params={"name": "a b.wav"}, content=recording.read_bytes())
    assert response.status_code == 200
    assert response.json() == small(recording).as_dict("a b.wav")
    response = client.post("/predict?hop=0.9", content=recording.read_bytes())
    assert response.json() == small(recording, hop=0.9).as_dict("recording")
    soundfile.write(tmp_path / "a.mp3", speech(2, 44_100), 44_100)
    response = client.post("/predict", content=(tmp_path / "a.mp3").read_bytes())
    assert response.json() == small(tmp_path / "a.mp3").as_dict("recording")
    response = client.post("/visualize", content=recording.read_bytes()).json()
    assert response["prediction"] == small(recording).as_dict("recording")
    assert response["drawing"] == server.drawing(read_recording(recording).samples)


@pytest.mark.parametrize(("seconds", "width"), [(0.025, 1), (15.015, 1), (15.025, 2), (31, 3)])
def test_a_drawing_shows_extremes_and_levels_in_few_columns(seconds, width):
    samples = speech(seconds).astype(np.float32)
    drawing, level = server.drawing(samples), logmel(samples)
    starts = np.arange(0, len(level), width)
    assert drawing["seconds"] == width * 0.01
    assert len(starts) <= 1500
    covered = samples[: len(starts) * width * 160]
    assert np.allclose(drawing["minima"], np.minimum.reduceat(covered, starts * 160), atol=1e-4)
    assert np.allclose(drawing["maxima"], np.maximum.reduceat(covered, starts * 160), atol=1e-4)
    mean = np.stack([level[start : start + width].mean(axis=0) for start in starts])
    shades = np.frombuffer(base64.b64decode(drawing["spectrogram"]), np.uint8).reshape(mean.shape)
    assert np.abs(shades - 255 * np.clip(1 + (mean - mean.max()) / 70, 0, 1)).max() < 0.51


def test_the_model_is_described_in_json_whatever_its_facts(client, small):
    assert client.get("/model").json() == {
        "synthetic": True,
        "tasks": {
            "emotion": ["anger", "happiness", "neutral", "sadness"],
            "dimensions": ["arousal", "valence", "dominance"],
        },
        "bytes": 1_000_000,
        "suffixes": list(SUFFIXES),
        "facts": {**FACTS, "seeds": 2},
    }
    odd = dataclasses.replace(small.model, facts={"loss": float("nan"), "name": "\ud800</script>"})
    text = server.json_response(server.describe_model(Recognizer(odd), 1)).body
    facts = json.loads(text, parse_constant=lambda name: pytest.fail(name))["facts"]
    assert facts == {"loss": None, "name": "\ud800</script>"}


def test_the_openapi_document_is_valid_and_describes_the_answers(client, recording):
    document = client.get("/openapi.json").json()
    validate(document)
    answered = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    described = {**answered["schema"], "components": document["components"]}
    response = client.post("/predict", content=recording.read_bytes())
    jsonschema.validate(response.json(), described, cls=jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"file": "a"}, described, cls=jsonschema.Draft202012Validator)


def test_bad_files_are_refused_in_a_sentence_and_the_next_is_answered(client, recording, spool):
    for content, sentence in (
        (b"", r"a\.wav: .*expected"),
        (b"x<script>alert(1)</script>" * 50, r"a\.wav: not readable as audio .*expected WAV, AIFF"),
        (wav(0x7FFFFFF0) + bytes(100), r"a\.wav: .*expected"),
        (wav(20) + bytes(20), r"a\.wav: .*expected at least one frame"),
    ):
        response = client.post("/visualize", params={"name": "a.wav"}, content=content)
        assert (response.status_code, response.headers["Content-Type"][:10]) == (422, "text/plain")
        assert re.match(sentence, response.text)
        assert str(spool) not in response.text
    assert client.post("/predict", content=recording.read_bytes()).status_code == 200
    assert list(spool.iterdir()) == []


def test_long_recordings_in_small_files_are_refused(client, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.flac", np.zeros(3700 * 1000, np.int16), 1000)
    response = client.post("/predict", content=(tmp_path / "a.flac").read_bytes())
    sentence = "recording: 61.7 minutes of sound at a hop of 3.6 s, expected at most 60 minutes"
    assert (response.status_code, response.text) == (422, sentence)
    monkeypatch.setattr(server, "WINDOWS", 4)
    soundfile.write(tmp_path / "b.wav", speech(14.4), 16_000)
    content = (tmp_path / "b.wav").read_bytes()
    assert client.post("/predict?hop=2.7", content=content).status_code == 422
    assert client.post("/predict", content=content).status_code == 200


def test_a_wrong_hop_is_refused_before_the_recording_is_read(client):
    for hop, sentence in (
        ("1", "a hop of 1 s, expected a multiple of 0.9 s, at most 7.2 s"),
        ("nan", "a hop of nan s, expected a multiple of 0.9 s, at most 7.2 s"),
        ("much", "hop 'much', expected a number of seconds"),
    ):
        response = client.post(f"/predict?hop={hop}", content=b"")
        assert (response.status_code, response.text) == (400, sentence)


def test_an_error_of_the_server_stops_nothing(small, recording, monkeypatch, capfd):
    content = recording.read_bytes()
    with running(small) as started:
        with monkeypatch.context() as broken:
            broken.setattr(server, "drawing", lambda samples: 1 / 0)
            found = answer(post(started.port, content, path="/visualize"))
        assert found == (500, "Internal Server Error")
        assert answer(post(started.port, content, path="/visualize"))[0] == 200
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_only_known_host_names_are_answered(client):
    for host in ("localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:8000"):
        assert client.get("/model", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[::", ""):
        for method, path in (("GET", "/"), ("POST", "/predict")):
            response = client.request(method, path, headers={"Host": host})
            assert (response.status_code, response.text) == (400, "Invalid host header")


def test_host_names_are_those_given_and_those_of_the_interfaces():
    assert server.host_names("127.1", "127.0.0.1") == {"localhost", "127.0.0.1", "[::1]", "127.1"}
    assert "ser.example.org" in server.host_names("::1", "::1", ["ser.example.org"])
    assert {socket.gethostname(), "127.0.0.1"} < server.host_names("", "0.0.0.0")
    for wrong in ("https://ser.example.org/", "ser.example.org:80", "a*.org", "", "a b"):
        with pytest.raises(server.ServerError, match=r"expected a host name such as ser\.example\.org"):
            server.host_names("127.0.0.1", "127.0.0.1", [wrong])


def test_pages_of_other_sites_cannot_send_recordings_and_the_own_page_can(client, serving, recording):
    names = ("http://evil.example", "null", "http://127.0.0.1.evil.example", "http://[")
    sites = ("cross-site", "same-site")
    for headers in [{"Origin": name} for name in names] + [{"Sec-Fetch-Site": site} for site in sites]:
        response = client.post("/predict", content=recording.read_bytes(), headers=headers)
        sentence = "cross-site request, expected one from the server's own page"
        assert (response.status_code, response.text) == (403, sentence)
    for headers in ({"Origin": serving.address}, {"Sec-Fetch-Site": "same-origin"}):
        response = client.post("/predict", content=recording.read_bytes(), headers=headers)
        assert response.status_code == 200
        assert not [name for name in response.headers if name.startswith("access-control")]
    assert client.options("/predict", headers={"Origin": "http://evil.example"}).status_code == 405


def test_it_works_behind_a_reverse_proxy_under_the_name_it_is_given(small, recording):
    own = {"Host": "ser.example.org", "Origin": "https://ser.example.org"}
    with running(small, names=["ser.example.org"]) as started:
        for keeps_host in (True, False):
            with (
                reverse_proxy(started.address, "/ser", keeps_host) as address,
                httpx.Client(base_url=address, trust_env=False, headers=own) as client,
            ):
                assert client.get("/").status_code == 200
                assert client.get("/openapi.json").json()["servers"] == [{"url": "."}]
                response = client.post("/predict", content=recording.read_bytes())
                assert response.json() == small(recording).as_dict("recording")
                other = {"Origin": "https://evil.example"}
                assert client.post("/predict", content=b"", headers=other).status_code == 403
                response = client.get("/", headers={"Host": "evil.example"})
                assert response.status_code == (400 if keeps_host else 200)


def test_the_page_loads_nothing_and_never_treats_text_as_markup(client):
    page = resources.files("ser_jax.recognizer").joinpath("page.html").read_text("utf-8")
    response = client.get("/")
    assert (response.text, response.headers["Content-Type"]) == (page, "text/html; charset=utf-8")
    assert not re.findall(r"""\b[a-z]+://|["'(`=]//|@import|url\(|<iframe|<object|<embed|<base""", page)
    loaded = re.findall(r"""\b(?:src|href|action|poster|srcset)=["']?([^"' >]*)""", page)
    assert set(loaded) == {"data:,", "openapi.json"}
    markup = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|\son\w+=|style="
    assert not re.findall(markup, page)
    policy = response.headers["Content-Security-Policy"]
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert len(hashes := re.findall(r"'sha256-[\w+/=]{44}'", policy)) == 2
    assert set(" ".join(allowed.values()).split()) == {"'none'", "'self'", "blob:", "data:", *hashes}
    for other in (response, client.get("/docs"), client.get("/", headers={"Host": "evil"})):
        assert all(other.headers[name] == value for name, value in server.HEADERS.items())
        assert "server" not in other.headers


def test_uploads_over_the_limit_are_refused(client, serving, recording, spool):
    refusal = (413, "more than 1 MB, expected a smaller recording")
    assert answer(post(serving.port, b"", length=1_000_001)) == refusal  # before any byte
    response = client.post("/predict", content=(bytes(100_000) for _ in range(11)))  # without a length
    assert (response.status_code, response.text) == refusal
    content = recording.read_bytes()
    assert client.post("/predict", content=iter([content[:9999], content[9999:]])).status_code == 200
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("size", [800_000, 0])
def test_an_upload_that_stops_or_trickles_is_given_up(serving, monkeypatch, size):
    monkeypatch.setattr(server, "PATIENCE", 0.3)
    begun = time.monotonic()
    connection = post(serving.port, bytes(size), length=900_000)
    while not select.select([connection], [], [], 0.02)[0]:
        if not size:
            connection.sendall(b"a")
        assert time.monotonic() - begun < 10
    status, text = answer(connection)
    assert status == 408
    assert re.fullmatch(
        r"\d+ bytes were sent in [\d.]+ s, expected 10 kB a second and no pause of 0\.3 s", text
    )


def test_slow_uploads_keep_nobody_out_but_too_many_connections_do(small, recording, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", server.QUEUE + 10)
    with running(small) as started, contextlib.ExitStack() as stack:
        for _ in range(server.QUEUE + 8):
            stack.enter_context(post(started.port, b"RIFF", length=900_000))
        assert answer(post(started.port, recording.read_bytes()))[0] == 200
        for _ in range(2):
            stack.enter_context(post(started.port, b"RIFF", length=900_000))
        assert answer(post(started.port, recording.read_bytes()))[0] == 503


def test_a_full_disk_is_reported(client, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    response = client.post("/predict", content=b"")
    sentence = "no space for the recording (No such file or directory)"
    assert (response.status_code, response.text) == (507, sentence)


class Slow(Recognizer):
    """A recogniser that waits before each window until it is released, and notes the recordings' lengths."""

    def __init__(self, model):
        super().__init__(model)
        self.release, self.lengths = threading.Event(), []

    def predict(self, recordings, hop=None, check=None):
        recordings = list(recordings)

        def wait():
            check()
            self.lengths.append(len(recordings[0].samples))
            assert self.release.wait(30)

        return super().predict(recordings, hop, wait)


@pytest.fixture
def slow(spool, small):
    recognizer = Slow(small.model)
    with running(recognizer) as started:
        started.recognizer = recognizer
        try:
            yield started
        finally:
            recognizer.release.set()


def fill(started, lengths):
    """Send recordings of these lengths; return their connections when the first is being predicted."""
    connections = []
    for length in lengths:
        connections.append(post(started.port, wav(2 * length) + bytes(2 * length)))
        until(lambda: started.queue.length == len(connections))
    until(lambda: started.recognizer.lengths == [lengths[0]])
    return connections


def test_a_full_queue_refuses_more(slow, monkeypatch):
    monkeypatch.setattr(server, "QUEUE", 2)
    late = wav(2000) + bytes(2000)
    upload = post(slow.port, late[:-1], length=len(late))
    connections = fill(slow, [1000, 1001, 1002])
    with httpx.Client(base_url=slow.address, trust_env=False) as client:
        response = client.post("/predict", content=late)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert response.text == "2 recordings are waiting, expected fewer: try again later"
        upload.sendall(late[-1:])  # begun when there was a place
        assert answer(upload)[0] == 503
        slow.recognizer.release.set()
        assert [answer(connection)[0] for connection in connections] == [200] * 3
        assert client.post("/predict", content=late).status_code == 200


@pytest.mark.parametrize("kind", ["unnamed", "named"])
def test_recordings_are_predicted_in_order_except_those_whose_clients_leave(slow, spool, monkeypatch, kind):
    if kind == "named":  # as on systems without /proc
        monkeypatch.setattr("ser_jax.recognizer.recording.DESCRIPTORS", spool / "none")
    upload = post(slow.port, b"RIFF", length=900_000)
    connections = fill(slow, [144_000, *range(1001, 1010)])  # the first has two windows
    until(lambda: len(list(spool.iterdir())) == (11 if kind == "named" else 0))
    with httpx.Client(base_url=slow.address, trust_env=False) as client:
        assert client.get("/").status_code == client.get("/model").status_code == 200  # meanwhile
    assert slow.recognizer.lengths == [144_000]
    for left in (upload, connections.pop(4), connections.pop(0)):
        left.close()
    until(lambda: slow.queue.length == 8)
    slow.recognizer.release.set()
    assert [answer(connection)[0] for connection in connections] == [200] * 8
    assert slow.recognizer.lengths == [144_000, 1001, 1002, 1003, *range(1005, 1010)]  # one window of two
    until(lambda: slow.queue.length == 0 and list(spool.iterdir()) == [])


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [("no.such.host.invalid", 0, "expected an address of this machine and a free port"),
     ("203.0.113.7", 0, "ssign requested"), ("a" * 300, 0, "cannot be served"),
     ("127.0.0.1", None, "in use")],
)  # fmt: skip
def test_an_address_that_cannot_be_served_is_refused(small, serving, host, port, reason):
    with pytest.raises(server.ServerError, match=reason):
        server.serve(small, host, serving.port if port is None else port, 64, (), False)


def test_a_missing_library_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "ser_jax.recognizer.server")
    monkeypatch.delattr("ser_jax.recognizer.server")
    assert cli.main(["serve", "--no-browser"]) == 2
    expected = 'uvicorn is not installed, expected the server: pip install "ser_jax[serve]"'
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("127.1", "127.1"), ("0.0.0.0", "localhost")]
)
def test_the_address_is_printed_and_opened(small, monkeypatch, capsys, host, shown):
    opened = []
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    server.serve(small, host, 0, 64, (), True)
    until(lambda: opened)
    assert re.fullmatch(rf"http://{re.escape(shown)}:\d+/", opened[0])
    first, *more = capsys.readouterr().err.splitlines()
    assert first == f"ser-jax: serving at {opened[0]}, press Ctrl-C to stop"
    warning = "ser-jax: anyone who can reach 0.0.0.0 can use it, without a password and without encryption"
    assert more == ([warning] if host == "0.0.0.0" else [])


PROGRAM = """
from ser_jax.recognizer import Recognizer, server
server.GRACE = 1
def serve(): server.serve(Recognizer.load(), "127.0.0.1", 0, 64, (), False)
"""
NOTEBOOK = """
import asyncio
async def cell(): serve()
asyncio.new_event_loop().run_until_complete(cell())
"""


@pytest.mark.parametrize("place", ["serve()", NOTEBOOK])
def test_ctrl_c_stops_a_busy_server_within_seconds(tmp_path, place):
    soundfile.write(tmp_path / "a.flac", np.zeros(3600 * 1000, np.int16), 1000)  # many seconds of work
    content = (tmp_path / "a.flac").read_bytes()
    spool = tmp_path / "spool"
    spool.mkdir()
    command, environment = [sys.executable, "-c", PROGRAM + place], {**os.environ, "TMPDIR": str(spool)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", process.stderr.readline())[1])
            connections = [post(port, content), post(port, content), post(port, b"RIFF", length=900_000)]
            time.sleep(0.5)
            assert not select.select(connections, [], [], 0)[0]
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            for connection in connections:
                assert answer(connection) == (503, "the server is stopping, try again later")
            assert process.wait(20) == 0
            assert time.monotonic() - begun < 15  # far less than the work
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
    assert list(spool.iterdir()) == []
