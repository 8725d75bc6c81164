"""Who waits for a server and who is sent away: large and slow senders, a full queue, clients that leave."""

import contextlib
import re
import select
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest
import servers
from senders import BEGUN, head_of, lie, raw, received

from ser_jax.recognizer import Recognizer, turns

pytest_plugins = ["servers"]


TOO_LARGE = {"detail": "more than 1 MB, expected a smaller recording"}


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

    def predict(self, features):
        self.heard += [len(one) for one in features]
        assert self.go.wait(30)
        return super().predict(features)


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
