"""A web page that recognises, and the same as JSON: FastAPI describes it, uvicorn speaks HTTP.

    GET /               the page, one file that loads nothing
    POST /recognize     a recording's bytes in, the object of `recognition.schema` out
    POST /hear          the same object, and the outline and the log-mel to draw it over
    GET /model          what the model is, and what it was trained on
    GET /openapi.json   all of this, for programs

`/hear` is an address of its own and no flag, so that `/recognize` has one form. One recording is recognised
at a time; others wait in the order in which they arrived whole. Ctrl-C and SIGTERM end all of it within a
window.
"""

import contextlib
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any

import ser_jax
from ser_jax.errors import UserError
from ser_jax.recognizer import answers, guard, turns

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn import Server

    from ser_jax.recognizer.recognizer import Recognizer


class ServingError(UserError):
    """A server that cannot start."""


def serve(
    recognizer: "Recognizer",
    host: str = "127.0.0.1",
    port: int = 8000,
    megabytes: int = 64,
    opens: bool = True,
) -> None:
    """Answers until Ctrl-C; says on standard error where.

    Args:
      recognizer: who answers.
      host: a name or an address of this machine; one that is not loopback lets others reach it.
      port: 0 for any that is free.
      megabytes: (10^6 bytes) that a recording may have.
      opens: whether to open the page in a browser.
    Raises: ServingError where nothing can be served there, or what serves is not installed.
    """
    with listening(host, port) as listener:
        bound, port = listener.getsockname()[:2]  # "0" and "127.1" are addresses, too
        own = server(application(recognizer, megabytes, (host, bound)))
        recognizer.compile()
        address = _address("localhost" if guard.is_everywhere(bound) else host, port)
        _say(f"{address} (Ctrl-C ends it)")
        if not guard.is_loopback(bound):
            _say(
                f"everyone on the network can reach {bound}: nobody is asked who they are, and what they "
                "send can be read on its way"
            )
        if opens:  # in a thread: a browser within the terminal would keep the server from answering it
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            own.run(sockets=[listener])


def application(
    recognizer: "Recognizer", megabytes: int = 64, names: tuple[str, ...] = ("127.0.0.1",)
) -> "FastAPI":
    """What answers; its `state.turns` are its `turns.Turns`.

    Args:
      recognizer, megabytes: as of `serve`.
      names: that the server has, and the address that it listens at.
    Raises: ServingError where FastAPI is not installed.
    """
    with _installed():
        from fastapi import FastAPI
    page = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    app = FastAPI(
        title="ser_jax",
        version=ser_jax.__version__,
        description="Arousal and valence of speech.",
        docs_url=None,  # these two would load scripts from elsewhere
        redoc_url=None,
    )
    headers = guard.headers(page)
    app.add_middleware(guard.Guard, names=names, headers=headers)
    app.state.turns = turns.Turns()
    _add_errors(app, headers)
    _add_routes(app, recognizer, page, megabytes * 1_000_000)
    described = app.openapi
    app.openapi = lambda: answers.with_schemas(described())  # type: ignore[method-assign]  # as FastAPI wants it
    return app


def _add_routes(app: "FastAPI", recognizer: "Recognizer", page: str, most: int) -> None:
    """What is answered; `most` bytes may a recording have."""
    from fastapi import Query, Request, Response

    Hop = Annotated[float | None, Query(description="s from one window to the next")]
    Name = Annotated[str, Query(max_length=255, description="of the recording, for the answer")]
    posted: dict[str, Any] = {"response_class": Response, "openapi_extra": answers.taking_sound()}

    async def answer(request: Request, hop: float | None, name: str, draws: bool) -> Response:
        try:
            recognizer.check(hop)
        except UserError as error:
            return answers.problem(400, str(error))
        return await app.state.turns.take(request, most, turns.Question(recognizer, hop, name, draws))

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return Response(page, media_type="text/html")

    @app.get("/model", response_class=Response, responses=answers.answering("Model"))
    async def model() -> Response:
        """What the model is, and what it was trained on."""
        return answers.of(answers.described(recognizer, most))

    @app.post("/recognize", responses=answers.answering("Recognition", answers.PROBLEMS), **posted)
    async def recognize(request: Request, hop: Hop = None, name: Name = "recording") -> Response:
        """Arousal and valence of a recording."""
        return await answer(request, hop, name, False)

    @app.post("/hear", responses=answers.answering("Hearing", answers.PROBLEMS), **posted)
    async def hear(request: Request, hop: Hop = None, name: Name = "recording") -> Response:
        """The same, and the sound to draw it over."""
        return await answer(request, hop, name, True)


def _add_errors(app: "FastAPI", headers: dict[str, str]) -> None:
    from fastapi import Request, Response
    from fastapi.exceptions import RequestValidationError

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = error.errors()[0]
        return answers.problem(400, f"{wrong['loc'][-1]}: {wrong['msg'].lower()}")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        # Outside of all middleware, which adds headers elsewhere.
        sentence = "the server has made a mistake; what it was stands in its log"
        return answers.problem(500, sentence, headers)


def server(app: "FastAPI") -> "Server":
    """A uvicorn server for an `application`; `run(sockets=[...])` starts it."""
    with _installed():
        import anyio
        from uvicorn import Config, Server

    class Ending(Server):
        """uvicorn would let recordings be recognised to the end."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.turns.end()
            with _quiet("uvicorn.error"):  # of clients that do not take their answers
                await super().shutdown(sockets)
                with anyio.move_on_after(1):  # SIGTERM ends the process next, whatever is left to tidy up
                    while self.server_state.tasks:
                        await anyio.sleep(0.01)

    return Ending(
        Config(
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
    """A socket that listens, closed in the end. Raises: ServingError."""
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


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ServingError(
            f'{error.name} is not installed, expected what serves: pip install "ser_jax[serve]"'
        ) from error


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _say(sentence: str) -> None:
    print(f"ser-jax: {sentence}", file=sys.stderr, flush=True)
