"""Servers of recognisers for tests, in a thread of this process."""

import contextlib
import threading
import time
from types import SimpleNamespace

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
