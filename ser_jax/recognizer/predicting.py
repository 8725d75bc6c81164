"""`ser-jax predict`: recordings in, what is heard in them out, as text, JSON or CSV."""

import csv
import glob
import io
import json
import os
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ser_jax.data.audio import SUFFIXES
from ser_jax.errors import UserError, beside, one_line
from ser_jax.recognizer import pipe
from ser_jax.recognizer.hearing import Heard
from ser_jax.recognizer.recognition import Recognition, Window, in_words
from ser_jax.recognizer.recognizer import Recognizer

if TYPE_CHECKING:
    from tqdm import tqdm

STANDARD_INPUT = "-"
FOREIGN = (".m4a", ".mp4", ".aac", ".webm", ".opus", ".wma", ".amr", ".3gp")  # sound that is not read
LONGEST = 200  # bytes of a picture's name before its number and ending; file systems take 255 of all
_DEEP = re.compile(r"(?:^|(?<={0}))\*\*(?:{0}+|$)".format(rf"[/{re.escape(os.sep)}]"))  # ** as a folder


class PredictionError(UserError):
    """Recordings that cannot be found, or a place where nothing can be written."""


def files(given: list[str]) -> list[str]:
    """The recordings that are meant, in order: folders and patterns are looked up, files left as they are.

    A folder, and ** in a pattern, stand for whatever lies in it however deep, but not behind links to other
    folders, nor what is hidden. What a pattern finds under several names is taken once, under the shortest.
    What holds nothing stays as it is, and is named when its turn comes.

    Args:
      given: files, folders, patterns, or "-" for standard input.
    Raises: PredictionError where standard input is meant twice.
    """
    found: list[str] = []
    for one in given:
        if one == STANDARD_INPUT or Path(one).is_file():
            found.append(one)
        elif Path(one).is_dir():
            found += _within(Path(one)) or [one]
        elif glob.has_magic(one):
            paths = sorted(_matching(one), key=lambda path: (len(path), path), reverse=True)
            own = {os.path.realpath(path): path for path in paths if Path(path).is_file()}
            found += sorted(own.values()) or [one]
        else:
            found.append(one)
    if found.count(STANDARD_INPUT) > 1:
        raise PredictionError("standard input (-) is named twice, expected it once")
    return found


def _within(folder: Path) -> list[str]:
    """The recordings in a folder; says how many files of sound it holds that cannot be read."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    paths = [path for path in paths if not path.name.startswith(".")]  # ._a.wav is a Mac's note on a.wav
    foreign = sorted(path.suffix.lower() for path in paths if path.suffix.lower() in FOREIGN)
    if foreign:
        kinds = ", ".join(sorted(set(foreign)))
        print(
            f"ser-jax: {one_line(str(folder))}: {len(foreign)} files passed over ({kinds}), expected "
            f"{', '.join(SUFFIXES)}: ffmpeg -i speech{foreign[0]} speech.wav makes one",
            file=sys.stderr,
        )
    return sorted(str(path) for path in paths if path.suffix.lower() in SUFFIXES)


def _matching(pattern: str) -> Iterator[str]:
    """As `glob.iglob`, but ** enters no link to a folder: it may lead back to where it stands."""
    if not (deep := _DEEP.search(pattern)):
        yield from glob.iglob(pattern)  # noqa: PTH207  Path's takes no absolute patterns
        return
    above, below = pattern[: deep.start()], pattern[deep.end() :] or "*"
    for top in glob.iglob(above) if above else [os.curdir]:  # noqa: PTH207
        for folder, inner, _ in os.walk(top):
            inner[:] = [name for name in inner if not name.startswith(".")]
            found = _matching(str(Path(glob.escape(folder)) / below))
            yield from (str(Path(path)) for path in found)


def predict(
    recognizer: Recognizer, files: list[str], form: str, hop: float | None = None, plots: Path | None = None
) -> int:
    """Prints what is heard in recordings; a bad one is named and the others are still done.

    CSV is data: names stand in it as they are, so that files can be opened by them. Two things are done: one
    that begins like a formula, =1+1.wav, is written as ./=1+1.wav, the same file, of which spreadsheets make
    no number; and on a terminal, what it would act upon is escaped as in text.

    Args:
      recognizer: the model.
      files: as `files` gives them.
      form: "text", "json" or "csv".
      hop: as of a `Recognizer`'s call.
      plots: a folder for pictures; made if need be.
    Returns: the exit status, 1 where a recording could not be used, or its picture not be written: that is
      named too, and the others are still done.
    Raises: HopError; PredictionError where there can be no folder for pictures.
    """
    from tqdm import tqdm

    recognizer.check(hop)
    pictures = None if plots is None else _Pictures(plots, files)
    forms: dict[str, Callable[[Recognizer], _Form]] = {"text": _Text, "json": _Json, "csv": _Csv}
    printed = forms[form](recognizer)
    bad: list[str] = []
    waiting: deque[tuple[str, Heard]] = deque()
    with tqdm(total=len(files), unit=" files", disable=True if len(files) == 1 else None) as bar:
        printed.begin()
        for said in recognizer.recognise(_heard(recognizer, files, waiting, bad, bar), hop):
            name, heard = waiting.popleft()
            with tqdm.external_write_mode(sys.stdout):
                printed.add(name, said)
            if pictures is not None:
                try:
                    pictures.draw(name, heard, said)
                except PredictionError as error:
                    bad.append(name)
                    _complain(bar, str(error))
            bar.update()
        printed.end()
    if pictures is not None:
        print(f"ser-jax: {pictures}", file=sys.stderr)
    return 1 if bad else 0


def _heard(
    recognizer: Recognizer, files: list[str], waiting: deque[tuple[str, Heard]], bad: list[str], bar: "tqdm"
) -> Iterator[Heard]:
    """What can be heard, also added to `waiting`; what cannot is named and added to `bad`."""
    for name in files:
        try:
            if name == STANDARD_INPUT:
                heard = pipe.hear(sys.stdin.buffer, recognizer.filters)
            else:
                heard = recognizer.hear(_there(name))
        except UserError as error:
            bad.append(name)
            _complain(bar, f"standard input: {error}" if name == STANDARD_INPUT else str(error))
            bar.update()
            continue
        waiting.append((name, heard))
        yield heard


def _there(name: str) -> str:
    """A name that stands for one recording, or a PredictionError that says why it stands for none."""
    if Path(name).is_dir():
        raise PredictionError(f"{name}: no recording in it, expected {', '.join(SUFFIXES)}")
    if glob.has_magic(name) and not Path(name).exists():
        raise PredictionError(f"{name}: no file matches, expected recordings")
    if hint := beside(Path(name)):
        raise PredictionError(f"{name}: no such audio file{hint}")
    return name


def _complain(bar: "tqdm", sentence: str) -> None:
    bar.clear()
    print(f"ser-jax: {one_line(sentence)}", file=sys.stderr)


class _Form(Protocol):
    def begin(self) -> None: ...

    def add(self, name: str, said: Recognition) -> None: ...

    def end(self) -> None: ...


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

    def __init__(self, _: Recognizer):
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
        self._is_read_by_people = sys.stdout.isatty()

    def begin(self) -> None:
        columns = [f"{t}_{what}" for t in self._targets for what in ("class", "probability", "spread")]
        self._print(["file", "part", "start", "end", *columns])

    def add(self, name: str, said: Recognition) -> None:
        self._row(name, "all", 0.0, said.seconds, said)
        for window in said.windows:
            self._row(name, "window", window.start, window.end, window)

    def end(self) -> None:
        pass

    def _row(self, name: str, part: str, start: float, end: float, said: Recognition | Window) -> None:
        own = [said.targets[target] for target in self._targets]
        cells = [cell for one in own for cell in (one.label, f"{one.probability:.6f}", f"{one.spread:.6f}")]
        self._print([self._shown(name), part, f"{start:.3f}", f"{end:.3f}", *cells])

    def _print(self, cells: list[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)  # with \n alone it quotes no \r in a name
        print(line.getvalue()[:-2])

    def _shown(self, name: str) -> str:
        if name != STANDARD_INPUT and name.startswith(("=", "+", "-", "@", "\t", "\r")):
            name = os.path.join(os.curdir, name)  # noqa: PTH118  Path takes the dot away
        return one_line(name) if self._is_read_by_people else name


class _Pictures:
    """A folder of pictures, one for each recording; those of one name have their folders' names before it."""

    def __init__(self, folder: Path, files: list[str]):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PredictionError(f"{folder}: {error.strerror}, expected a folder for pictures") from error
        self._folder = folder
        self._files = Counter(Path(name).stem for name in files)
        self._taken: set[str] = set()
        self._written = 0

    def __str__(self) -> str:
        several = "" if self._written == 1 else "s"
        return f"{one_line(str(self._folder))}: {self._written} picture{several} written"

    def draw(self, name: str, heard: Heard, said: Recognition) -> None:
        """Raises PredictionError where it cannot be written."""
        from ser_jax.recognizer import drawing

        stem = "standard-input" if name == STANDARD_INPUT else Path(name).stem
        if self._files[stem] > 1 and (above := Path(name).parent.name):
            stem = f"{above}-{stem}"
        while len(os.fsencode(stem)) > LONGEST:
            stem = stem[:-1]
        stems = (stem if i == 1 else f"{stem}-{i}" for i in range(1, len(self._taken) + 2))
        stem = next(one for one in stems if one not in self._taken)
        self._taken.add(stem)
        picture = self._folder / f"{stem}.png"
        try:
            drawing.draw(picture, name, heard, said)
            self._written += 1
        except OSError as error:
            raise PredictionError(
                f"{name}: its picture {picture} cannot be written ({error.strerror or error}), expected a "
                "place for a file"
            ) from error
