"""Atomic files and folders, folder locks, input files that may not be what they should be; a table."""

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ser_jax.errors import UserError, beside

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module, or None

# What file systems without locks answer; EBADF if locking a folder needs a descriptor for writing.
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
PARTIAL = ".partial"


class LockedError(OSError):
    """A folder that is locked already, by another process or by this one."""


@contextlib.contextmanager
def atomic_file(out: Path | str, synced: bool = False) -> Iterator[BinaryIO]:
    """Open a stream whose content replaces `out` when the context ends without an error.

    Args:
      out: a path in an existing folder. Links, devices and pipes are written through, not replaced.
      synced: make the file and its name survive a power failure.
    Raises: OSError, whose `filename` may be that of the partial file; ValueError if `out` is no file name.
    """
    out = Path(out)
    if out.is_symlink() or (out.exists() and not (out.is_file() or out.is_dir())):
        with out.open("wb") as stream:
            yield stream
        return
    partial = out.with_name(f".{out.name[:40]}.{secrets.token_hex(8)}{PARTIAL}")  # names have a limit
    with atomic_replace(out, partial, synced), partial.open("xb") as stream:
        yield stream


@contextlib.contextmanager
def atomic_replace(out: Path, partial: Path, synced: bool = False) -> Iterator[None]:
    """Rename `partial` to `out` when the context ends without an error; remove `partial` otherwise."""
    try:
        yield
        if synced:
            sync(partial)
        partial.replace(out)
        if synced:
            sync(out.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_json(out: Path | str, content: object, synced: bool = False) -> None:
    """Write JSON as `atomic_file` does.

    Raises: OSError; ValueError if `content` holds what JSON cannot express, such as NaN.
    """
    with atomic_file(out, synced) as stream:
        stream.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def remove_partial_files(folder: Path) -> None:
    """Remove what killed processes left of `atomic_file` in a folder that nobody else writes to."""
    for file in folder.glob(f".*{PARTIAL}"):
        file.unlink(missing_ok=True)


def sync(place: Path) -> None:
    """Flush a file's content, or a folder's names, to the disk."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_folder(out: Path | str, error: type[Exception]) -> Iterator[Path]:
    """Create a folder that becomes `out` when the context ends without an error.

    Args:
      out: a path that does not exist yet, or an empty folder; parents are created.
      error: raised with one sentence if `out` is not empty or cannot be written.
    """
    out = Path(os.path.realpath(out))
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise error(f"{out}: exists and is not empty, expected a new or an empty folder")
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    absent = [place for place in partial.parents if not place.exists()]
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except BaseException as reason:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            for place in absent:
                place.rmdir()
        if isinstance(reason, OSError):
            raise error(
                f"{out}: cannot be written ({reason.strerror or reason}), expected a folder to write to"
            ) from reason
        raise


def move_aside(place: Path) -> Path:
    """Rename a damaged file or folder to a free name with the suffix ".damaged", and return its new path."""
    suffixes = (".damaged" + (f"-{number}" if number else "") for number in range(1000))
    aside = next(other for suffix in suffixes if not (other := place.with_name(place.name + suffix)).exists())
    return place.rename(aside)


def read_bytes(file: Path, error: type[UserError], expected: str) -> bytes:
    """Return the content of a regular file; opening a FIFO would wait for its writer forever.

    Args:
      error: raised if the file is missing, not regular or cannot be read.
      expected: what the file should be, for the error's sentence.
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
def lock_folder(folder: Path) -> Iterator[bool]:
    """Lock an existing folder until the block ends or the process dies.

    The lock is on the folder itself: no file is left, and a renamed folder stays locked. It is advisory, and
    most network file systems apply it on one machine only.

    Yields: whether the folder is locked; False on Windows and on file systems without locks.
    Raises: LockedError at once if the folder is locked already; OSError if there is no such folder.
    """
    if fcntl is None:
        yield False
        return
    while True:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            locked = _lock(descriptor, folder)
            if os.path.samestat(os.fstat(descriptor), folder.stat()):  # not replaced in the meantime
                yield locked
                return
        finally:
            with contextlib.suppress(OSError):  # closing alone would leave it locked by forked children
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LockedError(f"{folder}: another process is at work in this folder") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Return fields, the head first, as a Markdown table with columns of even width."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)) + " |"
        for line in [lines[0], rule, *lines[1:]]
    )
