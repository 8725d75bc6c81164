"""Servers of recognisers for tests, in a thread of this process."""

import contextlib
import tempfile
import threading
import time
from types import SimpleNamespace

import httpx
import recognisers
import soundfile

from ser_jax.model import ModelConfig
from ser_jax.recognizer import serving


def until(holds, seconds=20):
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def small():
    """A recogniser that answers at once."""
    return recognisers.recogniser(sizes=ModelConfig(channels=8))


def recorded(folder):
    """A recording of two windows."""
    soundfile.write(folder / "speech.wav", recognisers.speech(9), 16_000)
    return folder / "speech.wav"


def asking(server):
    """A client of such a server."""
    return httpx.Client(base_url=server.address, trust_env=False, timeout=30)


@contextlib.contextmanager
def spooling(folder):
    """Has temporary files lie in a folder."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    yield folder
    tempfile.tempdir = before


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
