"""Recordings that were sent: received, waiting, recognised, one after the other."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ser_jax.data import audio
from ser_jax.errors import UserError
from ser_jax.recognizer import answers

if TYPE_CHECKING:
    from ser_jax.recognizer import Recognizer

WAITING = 32  # recordings, beside the one that is being recognised
PATIENCE = 30.0  # s that a client may take to send its next piece
LONGEST = 4 * 3600  # s; 64 MB of FLAC can hold months of silence
GONE = "the client has left"  # said to nobody


class Work(NamedTuple):
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

    def __call__(self, path: Path):
        """The response about a file."""
        try:
            with audio.opened(path) as sound:
                if sound.seconds > LONGEST:
                    hours = f"{sound.seconds / 3600:.1f} hours of sound"
                    return answers.problem(
                        422, f"{self.name}: {hours}, expected {LONGEST // 3600} at most: cut it into parts"
                    )
            heard = self.recognizer.hear(path)
            said = next(self.recognizer.recognise([heard], self.hop)).as_dict(self.name)
        except UserError as error:
            return answers.problem(422, str(error).replace(str(path), self.name))
        return answers.of({"recognition": said, "sound": answers.drawing(heard)} if self.draws else said)


class Turns:
    """Recordings that are received, wait and are recognised, one at a time.

    Attributes:
      inside: how many there are, `WAITING` + 1 at most.
      turn: an anyio.CapacityLimiter of one, which lets them through in the order in which they came to it.
    """

    def __init__(self):
        from anyio import CapacityLimiter

        self.inside = 0
        self.turn = CapacityLimiter(1)

    async def take(self, request, most: int, work: Work):
        """Receives a recording of `most` bytes at most, and answers when its turn has come."""
        from starlette.requests import ClientDisconnect

        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            return _too_large(most)
        if self.inside > WAITING:
            sentence = f"{WAITING} recordings are waiting, expected fewer: try again in a while"
            return answers.problem(503, sentence, {"Retry-After": "5"})
        self.inside += 1
        try:
            with tempfile.TemporaryDirectory(prefix="ser_jax-", ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "recording"
                return await _received(request, path, most) or await self._answer(request, path, work)
        except ClientDisconnect:
            return answers.problem(499, GONE)
        except OSError as error:
            return answers.problem(507, f"no room for the recording ({error.strerror or error})")
        finally:
            self.inside -= 1

    async def _answer(self, request, path: Path, work: Work):
        """The work's response; whoever leaves loses the place, unless the work has begun."""
        import anyio

        response = answers.problem(499, GONE)

        async def watch():
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            response = await anyio.to_thread.run_sync(work, path, limiter=self.turn)
            group.cancel_scope.cancel()
        return response


async def _received(request, path: Path, most: int):
    """Writes the body to a file; a response where that cannot be."""
    import anyio

    pieces, taken = aiter(request.stream()), 0
    with path.open("wb") as file:
        while True:
            try:
                with anyio.fail_after(PATIENCE):
                    piece = await anext(pieces, None)
            except TimeoutError:
                return answers.problem(408, f"nothing was sent for {PATIENCE:g} s, expected a recording")
            if piece is None:
                return None
            taken += len(piece)
            if taken > most:
                return _too_large(most)
            file.write(piece)


def _too_large(most: int):
    return answers.problem(413, f"more than {most / 1e6:g} MB, expected a smaller recording")
