"""Recognisers with random weights, and servers of them in a thread of this process."""

import contextlib
import http.client
import http.server
import socket
import threading
import time
from types import SimpleNamespace

import httpx
import jax
import numpy as np

from ser_jax import model
from ser_jax.data.standardize import Scaler
from ser_jax.features.logmel import LogMel
from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import Recognizer, TaskModel, Trained, server
from ser_jax.recognizer.trained import Temperature
from ser_jax.tasks import TASKS

CORPUS = {"name": "made_up", "synthetic": True, "languages": ["de", "fr"], "training": {"utterances": 12345}}
FACTS = {"name": "random", "synthetic": True, "corpora": [CORPUS]}


def recognizer(*tasks, seeds=2, facts=FACTS, network=AttentiveCNN, **sizes):
    """Return a recogniser of untrained networks."""
    models, rng = {}, np.random.default_rng(0)

    def draw(leaf):
        return rng.normal(0, 0.07, (seeds, *leaf.shape)).astype(np.float32)

    for task in (TASKS[name] for name in tasks):
        own = network(outputs=task.outputs, **sizes)
        params = jax.tree.map(draw, model.shapes(own))
        models[task.name] = TaskModel(task, own, params, Temperature(1.0) if task.class_names else None)
    scaler = Scaler(np.full(26, -40, np.float32), np.full(26, 1 / 15, np.float32))
    return Recognizer(Trained(LogMel(), scaler, models, facts))


def speech(seconds, rate=16_000):
    """Return noise whose level changes with every syllable: [n] float64."""
    rng = np.random.default_rng(0)
    level = np.repeat(10 ** rng.uniform(-3, -0.5, round(seconds * 5) + 1), rate // 5)[: round(seconds * rate)]
    return level * rng.uniform(-1, 1, len(level))


def until(condition, seconds=20):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@contextlib.contextmanager
def running(recognizer, megabytes=64, names=()):
    """Run a server; yield its address, its port, its queue, and the uvicorn server."""
    app = server.application(recognizer, server.host_names("127.0.0.1", "127.0.0.1", names), megabytes)
    uvicorn = server.server(app)
    with server.listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: uvicorn.started)
            port = listener.getsockname()[1]
            yield SimpleNamespace(address=f"http://127.0.0.1:{port}", port=port, queue=app.state.queue)
        finally:
            uvicorn.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


@contextlib.contextmanager
def reverse_proxy(target, prefix, keeps_host):
    """Run a reverse proxy that passes requests on without their path's prefix; yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def pass_on(self):
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name != "Host" or keeps_host}
            url = target + self.path.removeprefix(prefix)
            response = httpx.request(self.command, url, headers=headers, content=content, trust_env=False)
            self.send_response(response.status_code)
            for name in ("Content-Type", "Content-Length", "Content-Security-Policy"):
                if name in response.headers:
                    self.send_header(name, response.headers[name])
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST = pass_on

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}{prefix}"
        finally:
            proxy.shutdown()
            thread.join()


def post(port, content, length=None, path="/predict"):
    """Send a recording of some length, or its beginning; return the open connection."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    length = len(content) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection


def answer(connection):
    """Return the status and the text of the response, and close the connection."""
    with connection, http.client.HTTPResponse(connection) as response:
        response.begin()
        return response.status, response.read().decode()
