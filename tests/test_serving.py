"""A server from its start to its end: where it is, what it says of that, and how a signal ends it."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
import servers
import soundfile
from senders import BEGUN, head_of, raw, received

from ser_jax import cli
from ser_jax.recognizer import serving, trained, turns

pytest_plugins = ["servers"]


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
def test_what_is_not_installed_is_named(monkeypatch, capsys, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "ser_jax.recognizer.serving")
    assert cli.main(["serve", "--no-browser"]) == 2
    assert f'{missing} is not installed, expected what serves: pip install "ser_jax[serve]"' in (
        capsys.readouterr().err
    )


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
    trained.write(place, recogniser.model)
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
