"""Write files and folders atomically, lock folders, and lay out Markdown tables."""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ser_jax.errors import UserError, beside

PARTIAL = ".partial"


@contextlib.contextmanager
def atomic_file(out: Path | str, synced: bool = False) -> Iterator[BinaryIO]:
    """Open a stream whose content replaces the file `out` when the context ends without an error.

    The target of a link is replaced. If `synced`, the content is flushed to disk first, for power failures.
    """
    out = Path(os.path.realpath(out))
    partial = out.with_name(f".{out.name[:40]}.{secrets.token_hex(8)}{PARTIAL}")  # names have a limit
    try:
        with partial.open("xb") as stream:
            yield stream
        if synced:
            sync(partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def write_json(out: Path | str, content: object, synced: bool = False) -> None:
    """Write JSON as `atomic_file` does; ValueError for what JSON cannot express, such as NaN."""
    with atomic_file(out, synced) as stream:
        stream.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def sync(place: Path) -> None:
    """Flush a file's content, or a folder's names, to the disk."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_folder(out: Path | str, error: type[Exception]) -> Iterator[Path]:
    """Create a folder that becomes `out`, with its parents, when the context ends without an error.

    Raises: `error` with one sentence if `out` exists and is not an empty folder, or cannot be written.
    """
    out = Path(os.path.realpath(out))
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise error(f"{out}: exists and is not empty, expected a new or an empty folder")
    base = next(parent for parent in out.parents if parent.exists())
    partial = base / f".{out.name}{PARTIAL}-{os.getpid()}"
    try:
        partial.mkdir()
        yield partial
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(out)  # replaces an empty folder
    except OSError as reason:
        found = f"cannot be written ({reason.strerror or reason})"
        raise error(f"{out}: {found}, expected a folder to write to") from reason
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_aside(place: Path) -> Path:
    """Rename a damaged file or folder to a free name with the suffix ".damaged", and return its new path."""
    names = (f"{place.name}.damaged" + (f"-{number}" if number else "") for number in range(1000))
    return place.rename(next(free for name in names if not (free := place.with_name(name)).exists()))


def read_bytes(file: Path, error: type[UserError], expected: str) -> bytes:
    """Return the content of a regular file, else raise `error`, whose sentence ends with what was `expected`.

    Opening a FIFO would wait for its writer forever.
    """
    try:
        if file.is_file():
            return file.read_bytes()
        absent = f"no such file{beside(file)}"
        found = "is a folder" if file.is_dir() else "not a regular file" if file.exists() else absent
    except OSError as reason:
        found = f"cannot be read ({reason.strerror})"
    raise error(f"{file}: {found}, expected {expected}")


@contextlib.contextmanager
def lock_folder(folder: Path, busy: Callable[[], UserError]) -> Iterator[None]:
    """Lock an existing folder until the block ends or the process dies; raise `busy()` if it is locked.

    The lock is advisory, leaves no file behind, and is absent on file systems without locks.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                raise busy() from error
        yield
    finally:
        os.close(descriptor)


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of fields, the head first, as a Markdown table with columns of even width."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)) + " |"
        for line in [lines[0], rule, *lines[1:]]
    )
