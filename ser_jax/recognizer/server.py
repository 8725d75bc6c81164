"""Serve a recogniser: a web page, and an HTTP interface for programs.

    GET  /               the page, one file that loads nothing else
    POST /predict        the bytes of a recording in, the JSON of `ser-jax predict --json` out
    POST /visualize      the same for the page, with a waveform and a spectrogram to draw
    GET  /model          the tasks and the training corpora of the model
    GET  /openapi.json   a description of /predict

Recordings are predicted one at a time, in the order of arrival. Errors are one sentence of plain text. Ctrl-C
and SIGTERM stop the server within a few seconds.

A page of another site can make a browser send requests to this machine, under any host name that resolves to
it (DNS rebinding). Therefore requests for unknown host names and requests sent by pages of other sites are
rejected.
"""

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import json
import re
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import URL
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

import ser_jax
from ser_jax.data import audio
from ser_jax.data.formats import SUFFIXES
from ser_jax.errors import UserError
from ser_jax.recognizer.recognizer import Recognizer, schema
from ser_jax.recognizer.recording import Check, overview, read_recording, temporary_file
from ser_jax.shapes import Float32

CONNECTIONS = 256  # open at once; more are answered with status 503
QUEUE = 32  # uploaded recordings that wait for their turn
PATIENCE = 30.0  # s without data after which an upload is given up
SLOWEST = 10_000  # bytes/s of an upload on average, after PATIENCE
LONGEST = 3600.0  # s of a recording; 64 MB of FLAC can hold months of silence
WINDOWS = 4000  # of a recording, so that a small hop is for shorter ones
GRACE = 3  # s that requests in progress are given when the server stops
COLUMNS = 1500  # of a drawing; no screen shows more

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HOST_NAME = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*|[0-9a-f:]*:[0-9a-f:.]*", re.IGNORECASE)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-store",
}


class ServerError(UserError):
    """A server that cannot start."""


def serve(
    recognizer: Recognizer, host: str, port: int, megabytes: int, names: Collection[str], opens: bool
) -> None:
    """Serve until Ctrl-C, or until a notebook's cell is interrupted; print the address on standard error.

    Args:
      host, port: address to listen on; other machines can connect unless it is loopback; port 0 is any free
        port.
      megabytes: the largest recording, in units of 10^6 bytes.
      names: further host names to answer to, as in `host_names`.
      opens: whether to open the page in a browser.
    Raises: ServerError if nothing can be served there.
    """
    with listen(host, port) as listener:
        address, port = listener.getsockname()[:2]
        app = application(recognizer, host_names(host, address, names), megabytes)
        recognizer.compile()
        listens = ipaddress.ip_address(address)
        url = f"http://{'localhost' if listens.is_unspecified else _bracketed(host)}:{port}/"
        print(f"ser-jax: serving at {url}, press Ctrl-C to stop", file=sys.stderr, flush=True)
        if not listens.is_loopback:
            warning = f"anyone who can reach {address} can use it, without a password and without encryption"
            print(f"ser-jax: {warning}", file=sys.stderr, flush=True)
        if opens:  # in a thread, because a browser in the terminal blocks until it is closed
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            _run(server(app), listener)


def _run(web: uvicorn.Server, listener: socket.socket) -> None:
    """Run a server until it is stopped; in a thread if this one has an event loop, as notebooks have."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        web.run(sockets=[listener])
        return
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(web.run, sockets=[listener]).result()
        finally:
            web.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises: ServerError."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        found = f"cannot be served ({getattr(error, 'strerror', None) or error})"
        expected = "expected an address of this machine and a free port"
        raise ServerError(f"{host}, port {port}: {found}, {expected}") from error


def host_names(host: str, address: str, names: Collection[str] = ()) -> set[str]:
    """Return the host names that a server answers to.

    Args:
      host, address: address it listens on. If it is every interface, the machine's own name and addresses are
        among the host names.
      names: further ones, for example behind a reverse proxy; "*.example.org" stands for all subdomains, "*"
        for any name.
    Raises: ServerError if one of them is not a host name.
    """
    if wrong := [name for name in names if not HOST_NAME.fullmatch(name)]:
        raise ServerError(f"name {wrong[0]!r}, expected a host name such as ser.example.org")
    known = {*LOOPBACK, host, address, *names}
    if ipaddress.ip_address(address).is_unspecified:
        machine = socket.gethostname()
        addresses = (each for interface in psutil.net_if_addrs().values() for each in interface)
        internet = (each for each in addresses if each.family in (socket.AF_INET, socket.AF_INET6))
        known |= {machine, f"{machine}.local", *(each.address.partition("%")[0] for each in internet)}
    return set(map(_bracketed, known))


def _bracketed(host: str) -> str:
    """Return a host as URLs spell it."""
    return f"[{host}]" if ":" in host else host


def application(recognizer: Recognizer, hosts: Collection[str], megabytes: int) -> Starlette:
    """Return the ASGI application, which answers to `hosts`; its `state.queue` is its `Queue`."""
    page = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    policy, limit, queue = content_security_policy(page), megabytes * 1_000_000, Queue()

    async def predict(request: Request) -> Response:
        if not is_same_site(request, hosts):
            raise HTTPException(403, "cross-site request, expected one from the server's own page")
        name, text = (request.query_params.get(key) for key in ("name", "hop"))
        name = "recording" if name is None else name
        try:
            hop = recognizer.check_hop(None if text is None else float(text))
        except ValueError as error:
            raise HTTPException(400, f"hop {text!r}, expected a number of seconds") from error
        except UserError as error:
            raise HTTPException(400, str(error)) from error
        draws = request.url.path.endswith("/visualize")
        try:
            with temporary_file() as (file, path):
                queue.refuse_if_full()
                await receive(request, file, limit)
                return await queue.run(request, partial(respond, recognizer, path, hop, name, draws))
        except UserError as error:
            raise HTTPException(422, str(error).replace(str(path), name)) from error
        except ClientDisconnect:
            return Response(status_code=499)
        except OSError as error:
            raise HTTPException(507, f"no space for the recording ({error.strerror or error})") from error
        except asyncio.CancelledError:  # uvicorn's, after GRACE
            raise HTTPException(503, "the server is stopping, try again later") from None

    app = Starlette(
        routes=[
            Route("/", HTMLResponse(page, headers={"Content-Security-Policy": policy}), methods=["GET"]),
            Route("/model", json_response(describe_model(recognizer, limit)), methods=["GET"]),
            Route("/openapi.json", json_response(openapi()), methods=["GET"]),
            Route("/predict", predict, methods=["POST"]),
            Route("/visualize", predict, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
    )
    app.state.queue = queue
    return app


def server(app: Starlette) -> uvicorn.Server:
    """Return a uvicorn server for an `application`; `run(sockets=[...])` starts it."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            ws="none",
            log_level="warning",
            server_header=False,
            headers=list(HEADERS.items()),
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE,
        )
    )


class Queue:
    """A queue of recordings, predicted one at a time in a thread.

    Attributes:
      length: recordings in it, including the one being predicted; at most `QUEUE` + 1.
    """

    def __init__(self) -> None:
        self.length = 0
        self._worker = ThreadPoolExecutor(1)

    def refuse_if_full(self) -> None:
        """Raise an HTTPException if the queue is full."""
        if self.length > QUEUE:
            sentence = f"{QUEUE} recordings are waiting, expected fewer: try again later"
            raise HTTPException(503, sentence, {"Retry-After": "5"})

    async def run(self, request: Request, work: Callable[[Check], Response]) -> Response:
        """Return the result of `work(check)`, where `check` raises ClientDisconnect once the client has left.

        Raises: HTTPException if the queue is full; ClientDisconnect; what `work` raises.
        """
        self.refuse_if_full()  # again, since other uploads were faster
        left = threading.Event()

        def check() -> None:
            if left.is_set():
                raise ClientDisconnect

        async def disconnected() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        self.length += 1
        result = asyncio.get_running_loop().run_in_executor(self._worker, work, check)
        watch = asyncio.create_task(disconnected())
        either: set[asyncio.Future[Any]] = {result, watch}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise ClientDisconnect
            return result.result()
        finally:
            self.length -= 1
            left.set()
            result.cancel()
            watch.cancel()


async def receive(request: Request, file: IO[bytes], limit: int) -> None:
    """Write the body of a request to a file.

    Raises: HTTPException if it has more than `limit` bytes or arrives too slowly; ClientDisconnect.
    """
    too_large = HTTPException(413, f"more than {limit / 1e6:g} MB, expected a smaller recording")
    if int(request.headers.get("Content-Length", 0)) > limit:
        raise too_large
    size, clock = 0, asyncio.get_running_loop().time
    start = clock()
    try:
        async with asyncio.timeout(PATIENCE) as timeout:
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise too_large
                file.write(chunk)
                timeout.reschedule(min(clock(), start + size / SLOWEST) + PATIENCE)
    except TimeoutError as error:
        found = f"{size} bytes were sent in {clock() - start:.1f} s"
        expected = f"{SLOWEST / 1000:g} kB a second and no pause of {PATIENCE:g} s"
        raise HTTPException(408, f"{found}, expected {expected}") from error
    file.flush()


def respond(recognizer: Recognizer, path: Path, hop: float, name: str, draws: bool, check: Check) -> Response:
    """Predict a recording, called `name`, and return the response, with a `drawing` if it `draws`.

    `check` is called between blocks and windows; its exceptions end the prediction.

    Raises: UserError if the recording is too long or cannot be read.
    """
    longest = min(LONGEST, WINDOWS * hop)
    with audio.opened(path) as sound:
        if sound.seconds > longest:
            found, most = (f"{number / 60:.3g} minutes" for number in (sound.seconds, longest))
            raise UserError(f"{name}: {found} of sound at a hop of {hop:g} s, expected at most {most}")
    recording = read_recording(path, check=check, name=name)
    prediction = next(recognizer.predict([recording], hop, check)).as_dict(name)
    if draws:
        return json_response({"prediction": prediction, "drawing": drawing(recording.samples)})
    return json_response(prediction)


def drawing(samples: Float32[np.ndarray, " n"]) -> dict[str, Any]:
    """Return the `overview` of samples as JSON.

    The spectrogram has a byte for each band of each column, 0 to 255 for 70 dB, in base64.
    """
    seconds, minima, maxima, level = overview(samples, COLUMNS)
    shade = np.clip(1 + (level - level.max()) / 70, 0, 1)
    return {
        "seconds": seconds,
        "minima": [round(value, 4) for value in minima.tolist()],
        "maxima": [round(value, 4) for value in maxima.tolist()],
        "bands": level.shape[1],
        "spectrogram": base64.b64encode(np.round(255 * shade).astype(np.uint8).tobytes()).decode(),
    }


def is_same_site(request: Request, hosts: Collection[str]) -> bool:
    """Return whether a request was not sent by another site's page, according to the browser's headers.

    `Sec-Fetch-Site` decides. Browsers omit it from unencrypted requests to other machines; then the host in
    `Origin` has to be the one that the request names, or one of `hosts` if a proxy has rewritten that.
    Programs send neither header.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None or origin is None:
        return site in ("same-origin", "none", None)
    with contextlib.suppress(ValueError):
        url = URL(origin.lower())
        return url.netloc == request.headers.get("Host", "").lower() or url.hostname in hosts
    return False


def describe_model(recognizer: Recognizer, limit: int) -> dict[str, Any]:
    """Return the description of the model for the page; a recording may have `limit` bytes."""
    facts = json.dumps(recognizer.model.facts)
    return {
        "synthetic": recognizer.is_synthetic,
        "tasks": {name: list(own.names) for name, own in recognizer.model.tasks.items()},
        "bytes": limit,
        "suffixes": SUFFIXES,
        "facts": json.loads(facts, parse_constant=lambda name: None),  # JSON has no NaN
    }


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of /predict."""
    own = "#/components/schemas/Prediction/$defs/"
    prediction = json.loads(json.dumps(schema()).replace("#/$defs/", own))
    reference = {"schema": {"$ref": "#/components/schemas/Prediction"}}

    def parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
        return {"name": name, "in": "query", "description": description, "schema": schema}

    predict = {
        "operationId": "predict",
        "summary": "Predict a recording.",
        "parameters": [
            parameter("name", "of the recording, for the prediction", type="string", default="recording"),
            parameter("hop", "seconds from one window to the next", type="number", exclusiveMinimum=0),
        ],
        "requestBody": {
            "required": True,
            "description": "the bytes of a WAV, AIFF, FLAC, OGG or MP3 file (extra `formats`: and others)",
            "content": {"application/octet-stream": {}, "audio/*": {}},
        },
        "responses": {
            "200": {"description": "success", "content": {"application/json": reference}},
            "default": {
                "description": "an error message of one sentence",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "ser_jax", "version": ser_jax.__version__, "summary": "Emotion in speech."},
        "servers": [{"url": "."}],  # relative to this document, as behind a proxy
        "paths": {"/predict": {"post": predict}},
        "components": {"schemas": {"Prediction": prediction}},
    }


def content_security_policy(page: str) -> str:
    """Return the policy of a page that loads nothing and runs only its own script and style.

    The AudioWorklet of the microphone is a script from `blob:`.
    """

    def hashes(tag: str) -> str:
        contents = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (hashlib.sha256(content.encode()).digest() for content in contents)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')} blob:; style-src {hashes('style')}; "
        "connect-src 'self'; media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def json_response(content: Any) -> Response:
    """Return a response of JSON in ASCII, which also holds text that is not valid Unicode."""
    return Response(json.dumps(content, separators=(",", ":")), media_type="application/json")
