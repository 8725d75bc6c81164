"""A web page that recognises, and the same as JSON: FastAPI describes it, uvicorn speaks HTTP.

    GET /               the page, one file that loads nothing
    POST /recognize     a recording's bytes in, the object of `recognition.schema` out
    POST /hear          the same object, and the outline and the log-mel to draw it over
    GET /model          what the model is, and what it was trained on
    GET /openapi.json   all of this, for programs

`/hear` is an address of its own and no flag, so that `/recognize` has one form. One recording is recognised
at a time; others wait in the order in which they arrived whole. Ctrl-C and SIGTERM end all of it within a
window.

A page of another site can have its reader's browser send to this machine, and can give its own name this
machine's address (DNS rebinding). So requests under a name that is not the server's are refused, and so is
what another site's page sends.
"""

import base64
import contextlib
import hashlib
import ipaddress
import json
import logging
import os
import re
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from functools import partial
from importlib import resources
from typing import Annotated, Any

import anyio
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import ser_jax
from ser_jax.errors import UserError
from ser_jax.recognizer import turns
from ser_jax.recognizer.recognition import schema
from ser_jax.recognizer.recognizer import Recognizer
from ser_jax.recognizer.trained import TARGETS

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-store",
}
JSON = "application/json"
SCHEMAS = "#/components/schemas/"


class ServingError(UserError):
    """A server that cannot start."""


def serve(
    recognizer: Recognizer,
    host: str = "127.0.0.1",
    port: int = 8000,
    megabytes: int = 64,
    opens: bool = True,
) -> None:
    """Serve until Ctrl-C; print the address on standard error.

    Args:
      recognizer: the model.
      host: a name or an address of this machine; one that is not loopback lets others reach it.
      port: 0 for any that is free.
      megabytes: (10^6 bytes) that a recording may have.
      opens: whether to open the page in a browser.
    Raises: ServingError if nothing can be served there.
    """
    with listening(host, port) as listener:
        bound, port = listener.getsockname()[:2]  # "0" and "127.1" are addresses, too
        own = server(application(recognizer, megabytes, (host, bound)))
        recognizer.compile()
        place = ipaddress.ip_address(bound)
        name = "localhost" if place.is_unspecified else f"[{host}]" if ":" in host else host
        address = f"http://{name}:{port}/"
        _say(f"{address} (Ctrl-C ends it)")
        if not place.is_loopback:
            _say(
                f"everyone on the network can reach {bound}: nobody is asked who they are, and what they "
                "send can be read on its way"
            )
        if opens:  # in a thread: a browser within the terminal would keep the server from answering it
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            own.run(sockets=[listener])


def application(
    recognizer: Recognizer, megabytes: int = 64, names: tuple[str, ...] = ("127.0.0.1",)
) -> FastAPI:
    """Return the application; its `state.turns` are its `turns.Turns`.

    Args:
      recognizer, megabytes: as of `serve`.
      names: that the server has, and the address that it listens at.
    """
    page = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    app = FastAPI(
        title="ser_jax",
        version=ser_jax.__version__,
        description="Arousal and valence of speech.",
        docs_url=None,  # these two would load scripts from elsewhere
        redoc_url=None,
    )
    headers = {**HEADERS, "Content-Security-Policy": policy(page)}
    app.add_middleware(Guard, names=names, headers=headers)
    app.state.turns = turns.Turns()
    _add_routes(app, recognizer, page, megabytes * 1_000_000)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = error.errors()[0]
        return JSONResponse({"detail": f"{wrong['loc'][-1]}: {wrong['msg'].lower()}"}, 400)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        # Outside of all middleware, which adds headers elsewhere.
        sentence = "the server has made a mistake; what it was stands in its log"
        return JSONResponse({"detail": sentence}, 500, headers)

    described = app.openapi
    app.openapi = lambda: _with_schemas(described())  # type: ignore[method-assign]  # as FastAPI wants it
    return app


def _add_routes(app: FastAPI, recognizer: Recognizer, page: str, most: int) -> None:
    """Add what is answered; `most` bytes may a recording have."""
    Hop = Annotated[float | None, Query(description="s from one window to the next")]
    Name = Annotated[str, Query(max_length=255, description="of the recording, for the answer")]
    recording: dict[str, Any] = {
        "required": True,
        "description": "the bytes of a WAV, AIFF, FLAC, OGG or MP3 file, whatever they are called",
        "content": {"application/octet-stream": {}, "audio/*": {}},
    }
    posted: dict[str, Any] = {"response_class": Response, "openapi_extra": {"requestBody": recording}}

    async def answer(request: Request, hop: float | None, name: str, draws: bool) -> Response:
        try:
            recognizer.check(hop)
        except UserError as error:
            raise HTTPException(400, str(error)) from error
        return await app.state.turns.take(request, most, partial(turns.respond, recognizer, hop, name, draws))

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return Response(page, media_type="text/html")

    @app.get("/model", response_class=Response, responses=_answering("Model"))
    async def model() -> Response:
        """What the model is, and what it was trained on."""
        return turns.as_json(described(recognizer, most))

    @app.post("/recognize", responses=_answering("Recognition"), **posted)
    async def recognize(request: Request, hop: Hop = None, name: Name = "recording") -> Response:
        """Arousal and valence of a recording."""
        return await answer(request, hop, name, False)

    @app.post("/hear", responses=_answering("Hearing"), **posted)
    async def hear(request: Request, hop: Hop = None, name: Name = "recording") -> Response:
        """The same, and the sound to draw it over."""
        return await answer(request, hop, name, True)


def described(recognizer: Recognizer, most: int) -> dict[str, Any]:
    """Return the object `Model` of the OpenAPI document; `most` bytes may a recording have."""
    facts = json.dumps(recognizer.model.facts)
    return {
        "demonstration": recognizer.is_demonstration,
        "targets": {target: TARGETS[target].class_names for target in recognizer.targets},
        "seeds": recognizer.model.facts["seeds"],
        "bytes": most,
        "facts": json.loads(facts, parse_constant=lambda name: None),  # NaN is no JSON
    }


class Guard:
    """ASGI middleware that refuses strangers and adds headers.

    Args:
      app: what answers.
      names: of the server. If one stands for all addresses of the machine, any address is taken for one
        of them, and of names the machine's own.
      headers: of every answer.
    """

    def __init__(self, app: ASGIApp, names: tuple[str, ...], headers: dict[str, str]):
        self._app, self._headers = app, headers
        self._names = LOOPBACK | {name.lower() for name in names}
        self._any_address = any((place := _address(name)) and place.is_unspecified for name in names)
        if self._any_address:
            own = socket.gethostname().lower()
            self._names |= {own, f"{own.partition('.')[0]}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let `app` do it, as ASGI has it."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        sentence = self._refusal(scope["method"], Headers(scope=scope))
        app = JSONResponse({"detail": sentence}, 403) if sentence else self._app
        return await app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name = URL(f"http://{host}").hostname or ""
        except ValueError:
            name = ""
        if name not in self._names and not (self._any_address and _address(name)):
            return f"asked for as {host!r}, expected a name that this server was started with"
        if method in ("GET", "HEAD") or origin is None:
            return None
        if origin.lower().partition("://")[2] != host.lower():
            return f"sent by a page of {origin!r}, expected the server's own page"
        return None


def policy(page: str) -> str:
    """Return the Content-Security-Policy of a page that loads nothing and runs its own script and style.

    Scripts from `blob:` are what a browser's AudioWorklet is made of in a page that is a single file.
    """

    def own(tag: str) -> str:
        content = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (hashlib.sha256(text.encode()).digest() for text in content)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {own('script')} blob:; style-src {own('style')}; "
        "connect-src 'self'; media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def server(app: FastAPI) -> uvicorn.Server:
    """Return a uvicorn server for an `application`; `run(sockets=[...])` starts it."""

    class Ending(uvicorn.Server):
        """uvicorn would let recordings be recognised to the end."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.turns.end()
            logger = logging.getLogger("uvicorn.error")  # of clients that do not take their answers
            before, logger.disabled = logger.disabled, True
            try:
                await super().shutdown(sockets)
                with anyio.move_on_after(1):  # SIGTERM ends the process next, whatever is left to tidy up
                    while self.server_state.tasks:
                        await anyio.sleep(0.01)
            finally:
                logger.disabled = before

    return Ending(
        uvicorn.Config(
            app,
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # nobody stands before it who could be believed
            timeout_graceful_shutdown=3,
        )
    )


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens, closed in the end. Raises: ServingError."""
    try:
        if not 0 <= port <= 65535:
            raise OverflowError("ports end at 65535")
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(place[:2], family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno:
            why = os.strerror(error.errno)
        raise ServingError(
            f"{host}, port {port}: nothing can be served there ({why}), expected an address of this "
            "machine and a free port"
        ) from error
    with listener:
        yield listener


def _answering(name: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an operation that answers with the schema `name`, or with a problem."""
    every: dict[int | str, tuple[str, str]] = {200: ("OK", name), "default": ("refused", "Problem")}
    return {
        status: {"description": text, "content": {JSON: {"schema": {"$ref": SCHEMAS + answer}}}}
        for status, (text, answer) in every.items()
    }


def _with_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """Add to an OpenAPI document what its answers refer to; of a recognition, that is `schema()`."""
    text = json.dumps({key: value for key, value in schema().items() if key != "$schema"})
    recognition = json.loads(text.replace("#/$defs/", SCHEMAS))
    own = {**turns.SCHEMAS, **recognition.pop("$defs"), "Recognition": recognition}
    document.setdefault("components", {})["schemas"] = own
    return document


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _say(sentence: str) -> None:
    print(f"ser-jax: {sentence}", file=sys.stderr, flush=True)
