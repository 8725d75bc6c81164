"""Recordings that were sent: received, waiting, recognised, one after the other."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ser_jax.data import audio
from ser_jax.errors import UserError
from ser_jax.recognizer import answers, hearing

if TYPE_CHECKING:
    from anyio import CancelScope
    from starlette.requests import Request
    from starlette.responses import Response

    from ser_jax.recognizer.recognizer import Recognizer

WAITING = 32  # recordings that are there whole, beside the one that is being recognised
RECEIVING = 128  # recordings that are not there whole yet
PATIENCE = 30.0  # s that a client may send nothing
SLOWEST = 10_000  # bytes/s from the beginning, after PATIENCE
LONGEST = 4 * 3600  # s; 64 MB of FLAC can hold months of silence
WINDOWS = 4000  # of a recording; LONGEST has as many where nobody asks for another hop
GONE = "the client has left"  # said to nobody
ENDING = "the server is ending, expected one that runs: try again in a while"
LATER = {"Retry-After": "5"}
OPEN = Path("/proc/self/fd")  # Linux: open files by their numbers, those without a name as well


class Question(NamedTuple):
    """What is asked of a recording.

    Attributes:
      recognizer: who is asked.
      hop: s, see `Recognizer`.
      name: of the recording.
      draws: whether the answer has the sound, too.
    """

    recognizer: "Recognizer"
    hop: float | None
    name: str
    draws: bool

    def response(self, path: Path, check: Callable[[], None]) -> "Response":
        """The response about a file; `check` is called block by block and window by window, to end it."""
        try:
            with audio.opened(path) as sound:
                if refusal := self._too_long(sound.seconds):
                    return answers.problem(422, refusal)
                heard = hearing.from_sound(sound, self.recognizer.filters, check)
            said = next(self.recognizer.recognise([heard], self.hop, check)).as_dict(self.name)
        except UserError as error:
            return answers.problem(422, str(error).replace(str(path), self.name))
        return answers.of({"recognition": said, "sound": answers.drawing(heard)} if self.draws else said)

    def _too_long(self, seconds: float) -> str | None:
        hop = self.recognizer.default_hop if self.hop is None else self.hop
        most = min(LONGEST, WINDOWS * hop)
        if seconds <= most:
            return None
        where = f" at a hop of {hop:g} s" if most < LONGEST else ""
        found = f"{self.name}: {seconds / 3600:.1f} hours of sound"
        return f"{found}, expected {most / 3600:.3g} at most{where}: cut it into parts"


class Turns:
    """Recordings that are received, wait and are recognised, one at a time.

    Attributes:
      receiving: how many have not arrived whole, `RECEIVING` at most.
      inside: how many have, `WAITING` + 1 at most.
      turn: an anyio.CapacityLimiter of one, which lets them through in the order in which they came to it.
    """

    def __init__(self) -> None:
        from anyio import CapacityLimiter

        self.receiving = 0
        self.inside = 0
        self.turn = CapacityLimiter(1)
        self._scopes: set[CancelScope] = set()
        self._is_ending = False

    def end(self) -> None:
        """Gives up all recordings and takes no more; what is being recognised ends with its window."""
        self._is_ending = True
        for scope in self._scopes:
            scope.cancel()

    async def take(self, request: "Request", most: int, question: Question) -> "Response":
        """Receives a recording of `most` bytes at most, and answers when its turn has come."""
        import anyio
        from starlette.requests import ClientDisconnect

        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            return _too_large(most)
        if refusal := self._refusal():
            return refusal
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                with _kept() as (file, path):
                    return await self._receive(request, file, most) or await self._answer(
                        request, path, question
                    )
            except ClientDisconnect:
                return answers.problem(499, GONE)
            except OSError as error:
                return answers.problem(507, f"no room for the recording ({error.strerror or error})")
            finally:
                self._scopes.discard(scope)
        return answers.problem(503, ENDING, LATER)

    def _refusal(self) -> "Response | None":
        if self._is_ending:
            return answers.problem(503, ENDING, LATER)
        if self.inside > WAITING:
            return _full(WAITING, "waiting")
        if self.receiving >= RECEIVING:
            return _full(RECEIVING, "being received")
        return None

    async def _receive(self, request: "Request", file: BinaryIO, most: int) -> "Response | None":
        """Writes the body to a file; a response where that cannot be."""
        import anyio

        pieces, taken, begun = aiter(request.stream()), 0, anyio.current_time()
        self.receiving += 1
        try:
            while True:
                now = anyio.current_time()
                try:
                    with anyio.fail_after(PATIENCE + min(0, begun + taken / SLOWEST - now)):
                        piece = await anext(pieces, None)
                except TimeoutError:
                    return _too_slow(taken, anyio.current_time() - begun)
                if piece is None:
                    file.flush()
                    return None
                taken += len(piece)
                if taken > most:
                    return _too_large(most)
                file.write(piece)
        finally:
            self.receiving -= 1

    async def _answer(self, request: "Request", path: Path, question: Question) -> "Response":
        """The response; whoever leaves loses the place, and the work on it ends with its window."""
        import anyio

        if self.inside > WAITING:  # others were sent faster
            return _full(WAITING, "waiting")
        response = answers.problem(499, GONE)

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        self.inside += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                check = anyio.from_thread.check_cancelled
                response = await anyio.to_thread.run_sync(question.response, path, check, limiter=self.turn)
                group.cancel_scope.cancel()
        finally:
            self.inside -= 1
        return response


@contextlib.contextmanager
def _kept() -> Iterator[tuple[BinaryIO, Path]]:
    """A file to write and a path to read it by; where it can be nameless, whatever ends us deletes it."""
    if OPEN.is_dir():
        with tempfile.TemporaryFile() as file:
            yield file, OPEN / str(file.fileno())
        return
    with tempfile.TemporaryDirectory(prefix="ser_jax-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "recording"
        with path.open("wb") as file:
            yield file, path


def _full(count: int, how: str) -> "Response":
    return answers.problem(503, f"{count} recordings are {how}, expected fewer: try again in a while", LATER)


def _too_large(most: int) -> "Response":
    return answers.problem(413, f"more than {most / 1e6:g} MB, expected a smaller recording")


def _too_slow(taken: int, seconds: float) -> "Response":
    rate = f"{SLOWEST / 1000:g} kB a second and no pause of {PATIENCE:g} s"
    return answers.problem(408, f"{taken} bytes were sent in {seconds:.1f} s, expected {rate}")
