"""Recordings that were sent: received, waiting, recognised one after the other, and answered as JSON."""

import base64
import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import numpy as np
from fastapi import HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from ser_jax.data import audio
from ser_jax.errors import UserError
from ser_jax.features import logmel
from ser_jax.recognizer import hearing
from ser_jax.recognizer.recognizer import Recognizer

WAITING = 32  # recordings that are there whole, beside the one that is being recognised
RECEIVING = 128  # recordings that are not there whole yet
PATIENCE = 30.0  # s that a client may send nothing
SLOWEST = 10_000  # bytes/s from the beginning, after PATIENCE
LONGEST = 4 * 3600  # s; 64 MB of FLAC can hold months of silence
WINDOWS = 4000  # of a recording; LONGEST has as many where nobody asks for another hop
COLUMNS = 1500  # of a drawing, at most; no screen shows more
ENDING = "the server is ending, expected one that runs: try again in a while"
LATER = {"Retry-After": "5"}
OPEN = Path("/proc/self/fd")  # Linux: open files by their numbers, those without a name as well


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


NUMBERS = {"type": "array", "items": {"type": "number"}}
SCHEMAS = {  # of what is answered, beside recognitions
    "Problem": _object(detail={"type": "string", "description": "what was found, what was expected"}),
    "Sound": _object(
        step={"type": "number", "exclusiveMinimum": 0, "description": "s from one column to the next"},
        least={**NUMBERS, "description": "smallest sample of a column; the last may be shorter"},
        largest={**NUMBERS, "description": "its largest sample"},
        bands={"type": "integer", "minimum": 1, "description": "of the log-mel, the lowest first"},
        decibels={**NUMBERS, "minItems": 2, "maxItems": 2, "description": "what bytes 0 and 255 stand for"},
        logmel={
            "type": "string",
            "contentEncoding": "base64",
            "description": "a byte for every band of every column, column by column: the mean level",
        },
    ),
    "Hearing": _object(
        recognition={"$ref": "#/components/schemas/Recognition"}, sound={"$ref": "#/components/schemas/Sound"}
    ),
    "Model": _object(
        demonstration={"type": "boolean", "description": "trained on synthetic speech: no use for people"},
        targets={
            "type": "object",
            "description": "two classes each; probabilities are of the second",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
        seeds={"type": "integer", "description": "networks of each target"},
        bytes={"type": "integer", "description": "that a recording may have"},
        facts={"type": "object", "description": "what it was trained on and how"},
    ),
}


Respond = Callable[[Path, Callable[[], None]], Response | UserError]


def respond(
    recognizer: Recognizer, hop: float | None, name: str, draws: bool, path: Path, check: Callable[[], None]
) -> Response | UserError:
    """Return the response about a recording, or why there is none.

    Args:
      recognizer, hop: the model, and s from one window to the next.
      name: of the recording.
      draws: whether the answer has the sound, too.
      path: where it is.
      check: called block by block and window by window, to end it.
    """
    hop = recognizer.default_hop if hop is None else hop
    most = min(LONGEST, WINDOWS * hop)
    try:
        with audio.opened(path) as sound:
            if sound.seconds > most:
                place = f" at a hop of {hop:g} s" if most < LONGEST else ""
                found = f"{name}: {sound.seconds / 3600:.1f} hours of sound"
                return UserError(f"{found}, expected {most / 3600:.3g} at most{place}: cut it into parts")
            heard = hearing.from_sound(sound, recognizer.filters, check)
        recognition = next(recognizer.recognise([heard], hop, check)).as_dict(name)
    except UserError as error:
        return UserError(str(error).replace(str(path), name))
    return as_json({"recognition": recognition, "sound": drawing(heard)} if draws else recognition)


class Turns:
    """Recordings that are received, wait and are recognised, one at a time.

    Attributes:
      receiving: how many have not arrived whole, `RECEIVING` at most.
      inside: how many have, `WAITING` + 1 at most.
      turn: a limiter of one, which lets them through in the order in which they came to it.
    """

    def __init__(self) -> None:
        self.receiving = 0
        self.inside = 0
        self.turn = anyio.CapacityLimiter(1)
        self._scopes: set[anyio.CancelScope] = set()
        self._is_ending = False

    def end(self) -> None:
        """Give up all recordings and take no more; what is being recognised ends with its window."""
        self._is_ending = True
        for scope in self._scopes:
            scope.cancel()

    async def take(self, request: Request, most: int, respond: Respond) -> Response:
        """Receive a recording of `most` bytes at most, and answer when its turn has come.

        Raises: HTTPException.
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise _too_large(most)
        self._check_waiting()
        if self.receiving >= RECEIVING:
            raise _full(RECEIVING, "being received")
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            if self._is_ending:
                scope.cancel()
            try:
                with _kept() as (file, path):
                    await self._receive(request, file, most)
                    return await self._answer(request, partial(respond, path))
            except ClientDisconnect:
                return Response(status_code=499)
            except OSError as error:
                reason = error.strerror or error
                raise HTTPException(507, f"no room for the recording ({reason})") from error
            finally:
                self._scopes.discard(scope)
        raise HTTPException(503, ENDING, LATER)

    def _check_waiting(self) -> None:
        if self.inside > WAITING:
            raise _full(WAITING, "waiting")

    async def _receive(self, request: Request, file: IO[bytes], most: int) -> None:
        """Write the body to a file."""
        pieces, taken, begun = aiter(request.stream()), 0, anyio.current_time()
        self.receiving += 1
        try:
            while True:
                now = anyio.current_time()
                with anyio.fail_after(PATIENCE + min(0, begun + taken / SLOWEST - now)):
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                taken += len(piece)
                if taken > most:
                    raise _too_large(most)
                file.write(piece)
            file.flush()
        except TimeoutError as error:
            found = f"{taken} bytes were sent in {anyio.current_time() - begun:.1f} s"
            rate = f"{SLOWEST / 1000:g} kB a second and no pause of {PATIENCE:g} s"
            raise HTTPException(408, f"{found}, expected {rate}") from error
        finally:
            self.receiving -= 1

    async def _answer(self, request: Request, respond: Callable) -> Response:
        """Return the response; whoever leaves loses the place, and the work on it ends with its window."""
        self._check_waiting()  # others were sent faster
        found: Response | UserError = Response(status_code=499)

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        self.inside += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                check = anyio.from_thread.check_cancelled
                found = await anyio.to_thread.run_sync(respond, check, limiter=self.turn)
                group.cancel_scope.cancel()
        finally:
            self.inside -= 1
        if isinstance(found, UserError):
            raise HTTPException(422, str(found))
        return found


def as_json(content: Any) -> Response:
    """Return a response of JSON, compact; text that is not valid Unicode is escaped."""
    return Response(json.dumps(content, separators=(",", ":")), media_type="application/json")


def drawing(heard: hearing.Heard) -> dict[str, Any]:
    """Return the object `Sound` of the OpenAPI document, of no more than `COLUMNS` columns."""
    each = -(-len(heard.logmel) // COLUMNS)
    starts = np.arange(0, len(heard.logmel), each)
    columns = (heard.logmel[start : start + each] for start in starts)  # reduceat would copy all as float64
    mean = np.stack([column.mean(axis=0, dtype=np.float64) for column in columns])
    least, largest = float(mean.min()), max(float(mean.max()), float(mean.min()) + 1)
    grey = np.round((mean - least) / (largest - least) * 255).astype(np.uint8)
    low, high = heard.outline.T
    return {
        "step": round(each * logmel.HOP / logmel.RATE, 6),
        "least": np.minimum.reduceat(low, starts).astype(np.float64).round(4).tolist(),
        "largest": np.maximum.reduceat(high, starts).astype(np.float64).round(4).tolist(),
        "bands": grey.shape[1],
        "decibels": [round(least, 2), round(largest, 2)],
        "logmel": base64.b64encode(grey.tobytes()).decode(),
    }


@contextlib.contextmanager
def _kept() -> Iterator[tuple[IO[bytes], Path]]:
    """Yield a file to write and a path to read it by; if it can be nameless, whatever ends us deletes it."""
    if OPEN.is_dir():
        with tempfile.TemporaryFile() as file:
            yield file, OPEN / str(file.fileno())
    else:
        with tempfile.NamedTemporaryFile(prefix="ser_jax-") as named:
            yield named, Path(named.name)


def _full(count: int, how: str) -> HTTPException:
    return HTTPException(503, f"{count} recordings are {how}, expected fewer: try again in a while", LATER)


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"more than {most / 1e6:g} MB, expected a smaller recording")
