"""`ser-jax predict`: predictions for recordings as text, JSON or CSV."""

import csv
import glob
import io
import json
import os
import re
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from ser_jax.data.catalog import SUFFIXES
from ser_jax.errors import UserError, beside, one_line
from ser_jax.recognizer import streaming
from ser_jax.recognizer.hearing import Heard
from ser_jax.recognizer.recognition import Recognition, Window, in_words
from ser_jax.recognizer.recognizer import Recognizer

STANDARD_INPUT = "-"
FOREIGN = (".m4a", ".mp4", ".aac", ".webm", ".opus", ".wma", ".amr", ".3gp")  # sound that is not read
LONGEST = 200  # bytes of a picture's name before its number and ending; file systems take 255 of all
_DEEP = re.compile(r"(?:^|(?<={0}))\*\*(?:{0}+|$)".format(rf"[/{re.escape(os.sep)}]"))  # ** as a folder


class PredictionError(UserError):
    """Recordings that cannot be found, or a folder that cannot be written to."""


def files(given: list[str]) -> list[str]:
    """Return the recordings, in order: folders and patterns are expanded, files left as they are.

    A folder, and ** in a pattern, stand for everything below, except behind links to other folders and hidden
    files. A file that a pattern finds under several names is taken once, under the shortest. A folder or
    pattern without recordings stays as it is, and is named when its turn comes.

    Args:
      given: files, folders, patterns, or "-" for standard input.
    Raises: PredictionError if standard input is meant twice.
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
    """Return the recordings in a folder; print how many files of sound it holds that cannot be read."""
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
    """Yield as `glob.iglob`, but let ** enter no link to a folder, which may lead back."""
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
    """Predict recordings and print the results; a bad one is named and the others are still predicted.

    Names in CSV are as they are, so that files can be opened by them, with two exceptions: a name that begins
    like a formula, =1+1.wav, is written as ./=1+1.wav, the same file, which spreadsheets do not evaluate; and
    on a terminal, characters that it would act upon are escaped as in text.

    Args:
      recognizer: the model.
      files: as `files` gives them.
      form: "text", "json" or "csv".
      hop: as of a `Recognizer`'s call.
      plots: a folder for pictures; made if need be.
    Returns: the exit status, 1 if a recording could not be used or its picture could not be written.
    Raises: HopError; PredictionError if there can be no folder for pictures.
    """
    recognizer.check(hop)
    pictures = None if plots is None else _Pictures(plots, files)
    bad: list[str] = []
    waiting: deque[tuple[str, Heard]] = deque()
    if form == "csv":
        columns = [f"{t}_{what}" for t in recognizer.targets for what in ("class", "probability", "spread")]
        print(_csv(["file", "part", "start", "end", *columns]))
    opening = "["  # of the list of JSON, then what stands between its objects
    with tqdm(total=len(files), unit=" files", disable=True if len(files) == 1 else None) as bar:
        for recognition in recognizer.recognise(_read(recognizer, files, waiting, bad, bar), hop):
            name, heard = waiting.popleft()
            with tqdm.external_write_mode(sys.stdout):
                shown = _shown(form, recognizer.targets, name, recognition)
                print(f"{opening}\n{shown}" if form == "json" else shown, end="" if form == "json" else "\n")
                opening = ","
            if pictures is not None:
                try:
                    pictures.draw(name, heard, recognition)
                except PredictionError as error:
                    bad.append(name)
                    _complain(bar, str(error))
            bar.update()
    if form == "json":
        print("\n]" if opening == "," else "[]")
    if pictures is not None:
        print(f"ser-jax: {pictures}", file=sys.stderr)
    return 1 if bad else 0


def _read(
    recognizer: Recognizer, files: list[str], waiting: deque[tuple[str, Heard]], bad: list[str], bar: tqdm
) -> Iterator[Heard]:
    """Yield usable recordings and add them to `waiting`; name the others and add them to `bad`."""
    for name in files:
        try:
            if name == STANDARD_INPUT:
                heard = streaming.hear(sys.stdin.buffer, recognizer.filters)
            else:
                heard = recognizer.hear(_checked(name))
        except UserError as error:
            bad.append(name)
            _complain(bar, f"standard input: {error}" if name == STANDARD_INPUT else str(error))
            bar.update()
            continue
        waiting.append((name, heard))
        yield heard


def _checked(name: str) -> str:
    """Return a name that stands for one recording; raise PredictionError if it does not."""
    if Path(name).is_dir():
        raise PredictionError(f"{name}: no recording in it, expected {', '.join(SUFFIXES)}")
    if glob.has_magic(name) and not Path(name).exists():
        raise PredictionError(f"{name}: no file matches, expected recordings")
    if hint := beside(Path(name)):
        raise PredictionError(f"{name}: no such audio file{hint}")
    return name


def _complain(bar: tqdm, sentence: str) -> None:
    bar.clear()
    print(f"ser-jax: {one_line(sentence)}", file=sys.stderr)


def _shown(form: str, targets: Sequence[str], name: str, recognition: Recognition) -> str:
    """Return what is printed of a named recording: all of it, and its windows."""
    if form == "json":
        return json.dumps(recognition.as_dict(name))
    windows = recognition.windows
    if form == "csv":
        if name != STANDARD_INPUT and name.startswith(("=", "+", "-", "@", "\t", "\r")):
            name = os.path.join(os.curdir, name)  # noqa: PTH118  Path takes the dot away
        name = one_line(name) if sys.stdout.isatty() else name
        whole = Window(0.0, recognition.seconds, recognition.targets)
        rows = []
        for part, one in (("all", whole), *(("window", window) for window in windows)):
            row = [name, part, f"{one.start:.3f}", f"{one.end:.3f}"]
            for found in (one.targets[target] for target in targets):
                row += [found.label, f"{found.probability:.6f}", f"{found.spread:.6f}"]
            rows.append(_csv(row))
        return "\n".join(rows)

    def estimates(part: Recognition | Window) -> str:
        return "   ".join(in_words(target, part.targets[target]) for target in targets)

    lines = [f"{one_line(name)}   {recognition.seconds:.2f} s   {estimates(recognition)}"]
    for one in windows if len(windows) > 1 else ():
        lines.append(f"  {one.start:7.1f} to {one.end:7.1f} s   {estimates(one)}")
    return "\n".join(lines)


def _csv(row: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(row)  # with \n alone it quotes no \r in a name
    return line.getvalue()[:-2]


class _Pictures:
    """A folder of pictures, one per recording; for equal names, their folders' names come first."""

    def __init__(self, folder: Path, files: list[str]):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PredictionError(f"{folder}: {error.strerror}, expected a folder for pictures") from error
        self._folder, self._written = folder, 0
        self._files = Counter(Path(name).stem for name in files)
        self._taken: set[str] = set()

    def __str__(self) -> str:
        several = "" if self._written == 1 else "s"
        return f"{one_line(str(self._folder))}: {self._written} picture{several} written"

    def draw(self, name: str, heard: Heard, recognition: Recognition) -> None:
        """Draw a recording; raise PredictionError if the picture cannot be written."""
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
            drawing.draw(picture, name, heard, recognition)
            self._written += 1
        except OSError as error:
            reason = error.strerror or error
            raise PredictionError(
                f"{name}: its picture {picture} cannot be written ({reason}), expected a place for a file"
            ) from error
