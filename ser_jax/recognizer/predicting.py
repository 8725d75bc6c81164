"""`ser-jax predict`: recordings in, what is heard in them out, as text, JSON or CSV."""

import csv
import glob
import json
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from ser_jax.data.audio import SUFFIXES
from ser_jax.errors import UserError, one_line
from ser_jax.recognizer import Heard, Recognition, Recognizer, Window, pipe
from ser_jax.recognizer.recognition import in_words

STANDARD_INPUT = "-"


class PredictionError(UserError):
    """Recordings that cannot be found, or a place where nothing can be written."""


def files(given: list[str]) -> list[str]:
    """The recordings that are meant, in order: folders and patterns are looked up, files left as they are.

    Args:
      given: files, folders, patterns, or "-" for standard input.
    Raises: PredictionError where a folder or a pattern holds no recording, or standard input is meant twice.
    """
    found: list[str] = []
    for one in given:
        if one == STANDARD_INPUT or Path(one).is_file():
            found.append(one)
        elif Path(one).is_dir():
            own = sorted(
                str(path)
                for path in Path(one).rglob("*")
                if path.suffix.lower() in SUFFIXES and path.is_file()
            )
            if not own:
                raise PredictionError(f"{one}: no recording in it, expected {', '.join(SUFFIXES)}")
            found += own
        elif glob.has_magic(one):
            paths = glob.iglob(one, recursive=True)  # noqa: PTH207  Path's takes no absolute patterns
            own = sorted(path for path in paths if Path(path).is_file())
            if not own:
                raise PredictionError(f"{one}: no file matches, expected recordings")
            found += own
        else:
            found.append(one)  # a file that is not there is named when its turn comes
    if found.count(STANDARD_INPUT) > 1:
        raise PredictionError("standard input (-) is named twice, expected it once")
    return found


def predict(
    recognizer: Recognizer, files: list[str], form: str, hop: float | None = None, plots: Path | None = None
) -> int:
    """Prints what is heard in recordings; a bad one is named and the others are still done.

    Args:
      recognizer: the model.
      files: as `files` gives them.
      form: "text", "json" or "csv".
      hop: as of a `Recognizer`'s call.
      plots: a folder for pictures; made if need be.
    Returns: the exit status, 1 where a recording could not be used.
    Raises: HopError, PredictionError.
    """
    from tqdm import tqdm

    recognizer.check(hop)
    pictures = None if plots is None else _Pictures(plots)
    printed = {"text": _Text, "json": _Json, "csv": _Csv}[form](recognizer)
    bad: list[str] = []
    waiting: deque[tuple[str, Heard]] = deque()
    with tqdm(total=len(files), unit=" files", disable=True if len(files) == 1 else None) as bar:
        printed.begin()
        for said in recognizer.recognise(_heard(recognizer, files, waiting, bad, bar), hop):
            name, heard = waiting.popleft()
            with tqdm.external_write_mode(sys.stdout):
                printed.add(name, said)
            if pictures is not None:
                pictures.draw(name, heard, said)
            bar.update()
        printed.end()
    return 1 if bad else 0


def _heard(recognizer: Recognizer, files, waiting, bad: list[str], bar) -> Iterator[Heard]:
    """What can be heard, also added to `waiting`; what cannot is named and added to `bad`."""
    for name in files:
        try:
            if name == STANDARD_INPUT:
                heard = pipe.listen(sys.stdin.buffer, recognizer.filters)
            else:
                heard = recognizer.hear(name)
        except UserError as error:
            bad.append(name)
            bar.clear()
            place = "standard input: " if name == STANDARD_INPUT else ""
            print(f"ser-jax: {place}{one_line(str(error))}", file=sys.stderr)
            bar.update()
            continue
        waiting.append((name, heard))
        yield heard


class _Text:
    """A line for each recording, and one for each window where there are several."""

    def __init__(self, recognizer: Recognizer):
        self._targets = recognizer.targets

    def begin(self) -> None:
        pass

    def add(self, name: str, said: Recognition) -> None:
        print(f"{one_line(name)}   {said.seconds:.2f} s   {self._estimates(said)}")
        if len(said.windows) > 1:
            for window in said.windows:
                print(f"  {window.start:7.1f} to {window.end:7.1f} s   {self._estimates(window)}")

    def end(self) -> None:
        pass

    def _estimates(self, said: Recognition | Window) -> str:
        return "   ".join(in_words(target, said.targets[target]) for target in self._targets)


class _Json:
    """A list, an object a line."""

    def __init__(self, _):
        self._opening = "["

    def begin(self) -> None:
        pass

    def add(self, name: str, said: Recognition) -> None:
        print(f"{self._opening}\n{json.dumps(said.as_dict(name))}", end="")
        self._opening = ","

    def end(self) -> None:
        print("\n]" if self._opening == "," else "[]")


class _Csv:
    """A line for each recording, part "all", and one for each of its windows."""

    def __init__(self, recognizer: Recognizer):
        self._targets = recognizer.targets
        self._writer = csv.writer(sys.stdout, lineterminator="\n")

    def begin(self) -> None:
        columns = [f"{t}_{what}" for t in self._targets for what in ("class", "probability", "spread")]
        self._writer.writerow(["file", "part", "start", "end", *columns])

    def add(self, name: str, said: Recognition) -> None:
        self._row(name, "all", 0.0, said.seconds, said)
        for window in said.windows:
            self._row(name, "window", window.start, window.end, window)

    def end(self) -> None:
        pass

    def _row(self, name: str, part: str, start: float, end: float, said: Recognition | Window) -> None:
        own = [said.targets[target] for target in self._targets]
        cells = [cell for one in own for cell in (one.label, f"{one.probability:.6f}", f"{one.spread:.6f}")]
        self._writer.writerow([name, part, f"{start:.3f}", f"{end:.3f}", *cells])


class _Pictures:
    """A folder of pictures, one for each recording."""

    def __init__(self, folder: Path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PredictionError(f"{folder}: {error.strerror}, expected a folder for pictures") from error
        self._folder, self._taken = folder, set()

    def draw(self, name: str, heard: Heard, said: Recognition) -> None:
        from ser_jax.recognizer import drawing

        stem = "standard-input" if name == STANDARD_INPUT else Path(name).stem
        stems = (stem if i == 1 else f"{stem}-{i}" for i in range(1, len(self._taken) + 2))
        stem = next(one for one in stems if one not in self._taken)
        self._taken.add(stem)
        drawing.draw(self._folder / f"{stem}.png", name, heard, said)
