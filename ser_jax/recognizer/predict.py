"""`ser-jax predict`: predictions for files as text, JSON or CSV, and pictures of them."""

import csv
import glob
import io
import json
import os
import sys
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from ser_jax.data.catalog import SUFFIXES
from ser_jax.errors import UserError, beside, one_line
from ser_jax.recognizer import stream
from ser_jax.recognizer.prediction import Prediction, Window, describe
from ser_jax.recognizer.recognizer import Recognizer
from ser_jax.recognizer.recording import Recording, read_recording

STANDARD_INPUT = "-"
UNREADABLE = {".m4a", ".mp4", ".aac", ".webm", ".opus", ".wma", ".amr", ".3gp"}


class PredictionError(UserError):
    """Recordings that do not exist, or a folder or picture that cannot be written."""


def find_files(given: list[str]) -> list[str]:
    """Return the recordings that are meant, in order: folders and patterns are expanded.

    A folder, and ** in a pattern, stand for all that is below, except hidden files and what is behind links
    to folders. A folder or pattern without recordings is kept, to be named when its turn comes.

    Raises: PredictionError if standard input, "-", is given twice.
    """
    found: list[str] = []
    for name in given:
        if name != STANDARD_INPUT and Path(name).is_dir():
            by_suffix = [(path.suffix.lower(), str(path)) for path in _visible(Path(name), "**/*")]
            found += [path for suffix, path in by_suffix if suffix in SUFFIXES] or [name]
            if skipped := [suffix for suffix, _ in by_suffix if suffix in UNREADABLE]:
                _report(
                    f"{name}: {len(skipped)} files skipped ({', '.join(sorted(set(skipped)))}), expected "
                    f"{', '.join(SUFFIXES)}: ffmpeg -i speech{skipped[0]} speech.wav makes one"
                )
        elif glob.has_magic(name) and not Path(name).exists():
            root = Path(name).anchor
            paths = _visible(Path(root), str(Path(name).relative_to(root)))
            found += [str(path) for path in paths] or [name]
        else:
            found.append(name)
    if found.count(STANDARD_INPUT) > 1:
        raise PredictionError("standard input (-) is named twice, expected it once")
    return found


def _visible(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match a pattern, without those whose path has a hidden part."""
    known = {*folder.parts, *Path(pattern).parts}
    if Path(pattern).name == "**":
        pattern = f"{pattern}/*"
    paths = (path for path in sorted(folder.glob(pattern)) if path.is_file())
    return [path for path in paths if not any(p[0] == "." and p not in known for p in path.parts)]


def predict_files(
    recognizer: Recognizer, files: list[str], form: str, hop: float | None = None, plots: Path | None = None
) -> int:
    """Predict recordings and print the results; one that cannot be used is named and the rest goes on.

    In CSV, names are printed so that the files can be opened by them, with two exceptions: a name that begins
    like a formula, as in =1+1.wav, is printed as ./=1+1.wav, which spreadsheets do not evaluate; and on a
    terminal, control characters are escaped, as in text.

    Args:
      form: "text", "json" or "csv".
      hop: as in a call of the recogniser.
      plots: a folder for pictures, named after the recordings; names that occur again are numbered.
    Returns: the exit status, 1 if a recording could not be used or a picture not be written.
    Raises: HopError; PredictionError if the folder cannot be created.
    """
    recognizer.check_hop(hop)
    if plots is not None:
        from ser_jax.recognizer import plot

        try:
            plots.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PredictionError(f"{plots}: {error.strerror}, expected a folder for pictures") from error
    pictures, stems = 0, Counter[str]()
    bad: list[str] = []
    waiting: deque[tuple[str, Recording]] = deque()
    if form == "csv":
        columns = ["file", "part", "start", "end"]
        for task, own in recognizer.model.tasks.items():
            columns += [f"{task}_class"] if own.task.class_names else []
            for name in own.names:
                columns += [f"{task}_{name}", f"{task}_{name}_spread"]
        print(_csv(columns))
    separator = "["  # of JSON
    with tqdm(total=len(files), unit=" files", disable=True if len(files) == 1 else None) as bar:
        for prediction in recognizer.predict(_read(files, waiting, bad, bar), hop):
            name, recording = waiting.popleft()
            with tqdm.external_write_mode(sys.stdout):
                if form == "json":
                    print(f"{separator}\n{json.dumps(prediction.as_dict(name))}", end="")
                    separator = ","
                else:
                    print((_as_csv if form == "csv" else _as_text)(name, prediction))
            if plots is not None:
                stem = "standard-input" if name == STANDARD_INPUT else Path(name).stem
                stems[stem] += 1
                picture = plots / f"{stem}{f'-{stems[stem]}' if stems[stem] > 1 else ''}.png"
                try:
                    plot.draw(picture, name, recording, prediction)
                    pictures += 1
                except OSError as error:
                    bad.append(name)
                    _report(f"{name}: {picture}: {error.strerror or error}, expected a place for a picture")
            bar.update()
    if form == "json":
        print("\n]" if separator == "," else "[]")
    if plots is not None:
        _report(f"{plots}: {pictures} picture{'' if pictures == 1 else 's'} written")
    return 1 if bad else 0


def _read(
    files: list[str], waiting: deque[tuple[str, Recording]], bad: list[str], bar: tqdm
) -> Iterator[Recording]:
    """Yield recordings, added to `waiting`; name those that cannot be used and add them to `bad`."""
    for name in files:
        try:
            recording = _read_file(name)
        except UserError as error:
            bad.append(name)
            bar.clear()
            _report(f"standard input: {error}" if name == STANDARD_INPUT else str(error))
            bar.update()
            continue
        waiting.append((name, recording))
        yield recording


def _read_file(name: str) -> Recording:
    if name == STANDARD_INPUT:
        return stream.read(sys.stdin.buffer)
    if Path(name).is_dir():
        raise PredictionError(f"{name}: no recording in it, expected {', '.join(SUFFIXES)}")
    if glob.has_magic(name) and not Path(name).exists():
        raise PredictionError(f"{name}: no file matches, expected recordings")
    if hint := beside(Path(name)):
        raise PredictionError(f"{name}: no such audio file{hint}")
    return read_recording(name)


def _report(sentence: str) -> None:
    print(f"ser-jax: {one_line(sentence)}", file=sys.stderr)


def _as_text(name: str, prediction: Prediction) -> str:
    def estimates(part: Prediction | Window) -> str:
        return "   ".join(describe(task, estimate) for task, estimate in part.tasks.items())

    lines = [f"{one_line(name)}   {prediction.seconds:.2f} s   {estimates(prediction)}"]
    for window in prediction.windows if len(prediction.windows) > 1 else ():
        lines.append(f"  {window.start:7.1f} to {window.end:7.1f} s   {estimates(window)}")
    return "\n".join(lines)


def _as_csv(name: str, prediction: Prediction) -> str:
    if name != STANDARD_INPUT and name.startswith(("=", "+", "-", "@", "\t", "\r")):
        name = os.path.join(os.curdir, name)  # noqa: PTH118  Path drops the dot
    name = one_line(name) if sys.stdout.isatty() else name
    whole, lines = Window(0.0, prediction.seconds, prediction.tasks), []
    for part, window in (("all", whole), *(("window", window) for window in prediction.windows)):
        row = [name, part, f"{window.start:.3f}", f"{window.end:.3f}"]
        for estimate in window.tasks.values():
            row += [] if estimate.label is None else [estimate.label]
            for key, value in estimate.values.items():
                row += [f"{value:.6f}", f"{estimate.spread[key]:.6f}"]
        lines.append(_csv(row))
    return "\n".join(lines)


def _csv(row: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(row)  # with \n alone, \r in a name would not be quoted
    return line.getvalue()[:-2]
