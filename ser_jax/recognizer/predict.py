"""Predict files (`ser-jax predict`), and print predictions as text, JSON or CSV, or draw them."""

import csv
import glob
import io
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ser_jax.data.files import walk
from ser_jax.data.formats import EXPECTED, SUFFIXES, URL
from ser_jax.errors import UserError, beside, one_line
from ser_jax.recognizer.recognizer import Prediction, Recognizer, Window, describe_all
from ser_jax.recognizer.recording import Recording, RecordingError, read_recording

STANDARD_INPUT = "-"


def find_files(given: list[str]) -> list[str]:
    """Return the recordings in order, with folders and patterns expanded.

    A folder stands for all files below it, and so does ** in a pattern, which follows no links to folders;
    hidden files are left out. A folder or pattern without recordings is kept, to be reported in its turn.

    Raises: RecordingError if standard input, "-", is given twice.
    """
    found: list[str] = []
    for name in given:
        path, root = Path(name), Path(name).anchor
        if name != STANDARD_INPUT and path.is_dir():
            found += [str(file) for file in walk(path) if file.suffix.lower() in SUFFIXES] or [name]
        elif _is_pattern(name):
            found += [*map(str, _visible(Path(root), str(path.relative_to(root))))] or [name]
        else:
            found.append(name)
    if found.count(STANDARD_INPUT) > 1:
        raise RecordingError("standard input (-) is named twice, expected it once")
    return found


def _is_pattern(name: str) -> bool:
    return glob.has_magic(name) and not URL.match(name) and not Path(name).exists()


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
    """Predict recordings and print the results; report unusable ones and continue.

    Args:
      form: "text", "json" or "csv".
      hop: as in a call of the recogniser.
      plots: a folder for pictures, named after the recordings; names that occur again are numbered.
    Returns: the exit status, 1 if a recording could not be used or a picture not be written.
    Raises: HopError; OSError if the folder cannot be created.
    """
    recognizer.check_hop(hop)
    if plots is not None:
        from ser_jax.recognizer import plot

        plots.mkdir(parents=True, exist_ok=True)
    if form == "csv":
        columns = ["file", "part", "start", "end"]
        for task, own in recognizer.model.tasks.items():
            columns += [f"{task}_class"] if own.task.class_names else []
            for name in own.names:
                columns += [f"{task}_{name}", f"{task}_{name}_spread"]
        print(_csv(columns))
    pictures, stems, separator = 0, Counter[str](), "["  # of JSON
    bad: list[str] = []
    bar = tqdm(total=len(files), unit=" files", disable=True if len(files) == 1 else None)
    with bar, logging_redirect_tqdm():
        read, ahead = itertools.tee(_readable(files, bad, bar))  # the recogniser may read a batch ahead
        predictions = recognizer.predict((recording for _, recording in ahead), hop)
        for (name, recording), prediction in zip(read, predictions, strict=True):
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


def _readable(files: list[str], bad: list[str], bar: tqdm) -> Iterator[tuple[str, Recording]]:
    """Yield names and recordings; report those that cannot be used and add them to `bad`."""
    for name in files:
        try:
            recording = _read(name)
        except UserError as error:
            bad.append(name)
            bar.clear()
            _report(str(error))
            bar.update()
        else:
            yield name, recording


def _read(name: str) -> Recording:
    if name == STANDARD_INPUT:
        return read_recording(sys.stdin.buffer, name="standard input")
    if Path(name).is_dir():
        raise RecordingError(f"{name}: no recording in it, {EXPECTED}")
    if _is_pattern(name):
        raise RecordingError(f"{name}: no file matches, expected recordings")
    if hint := beside(Path(name)):
        raise RecordingError(f"{name}: no such audio file{hint}")
    return read_recording(name)


def _report(sentence: str) -> None:
    print(f"ser-jax: {one_line(sentence)}", file=sys.stderr)


def _as_text(name: str, prediction: Prediction) -> str:
    lines = [f"{one_line(name)}   {prediction.seconds:.2f} s   {describe_all(prediction)}"]
    for window in prediction.windows if len(prediction.windows) > 1 else ():
        lines.append(f"  {window.start:7.1f} to {window.end:7.1f} s   {describe_all(window)}")
    return "\n".join(lines)


def _as_csv(name: str, prediction: Prediction) -> str:
    """Return the lines of a recording and its windows.

    The file can be opened by its name as printed, except that control characters are escaped on a terminal. A
    name that begins like a formula, as in =1+1.wav, is printed as ./=1+1.wav, for spreadsheets.
    """
    if name != STANDARD_INPUT and name.startswith(("=", "+", "-", "@", "\t", "\r")):
        name = os.path.join(os.curdir, name)  # noqa: PTH118  Path drops the dot
    name = one_line(name) if sys.stdout.isatty() else name
    whole, lines = Window(0.0, prediction.seconds, prediction.tasks), []
    for part, window in (("all", whole), *(("window", window) for window in prediction.windows)):
        row = [name, part, f"{window.start:.3f}", f"{window.end:.3f}"]
        for estimate in window.tasks.values():
            row += [it] if (it := estimate.label or estimate.withheld) else []
            for key, value in estimate.values.items():
                row += [f"{value:.6f}", f"{estimate.spread[key]:.6f}"]
        lines.append(_csv(row))
    return "\n".join(lines)


def _csv(row: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(row)  # with \n alone, \r in a name would not be quoted
    return line.getvalue()[:-2]
