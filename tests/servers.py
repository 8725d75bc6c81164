"""Servers of recognisers for tests, in a thread of this process; as fixtures, and to be started by a test."""

import contextlib
import tempfile
import threading
import time
from types import SimpleNamespace

import httpx
import pytest
import recognisers
import soundfile

from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import serving


def until(holds, seconds=20):
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@contextlib.contextmanager
def running(recognizer, megabytes=64, names=("127.0.0.1",)):
    """A server: its address, its port, and the turns of its application."""
    app = serving.application(recognizer, megabytes, names)
    own = serving.server(app)
    with serving.listening("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=own.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: own.started)
            port = listener.getsockname()[1]
            yield SimpleNamespace(
                address=f"http://127.0.0.1:{port}", port=port, turns=app.state.turns, app=app, own=own
            )
        finally:
            own.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def recogniser():
    """One that answers at once."""
    return recognisers.recogniser(sizes=AttentiveCNN(channels=8))


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Two windows."""
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    soundfile.write(path, recognisers.speech(9), 16_000)
    return path


@pytest.fixture(scope="module")
def spool(tmp_path_factory):
    """The folder that temporary files lie in."""
    folder = tmp_path_factory.mktemp("spool")
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    yield folder
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def server(recogniser, spool):
    """Of that recogniser, for recordings of one megabyte."""
    with running(recogniser, megabytes=1) as started:
        yield started


@pytest.fixture(scope="module")
def client(server):
    """Of that server."""
    with httpx.Client(base_url=server.address, trust_env=False, timeout=30) as asking:
        yield asking
