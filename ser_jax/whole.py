"""Files and folders that appear whole or not at all."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def new_file(out: Path | str, synced: bool = False) -> Iterator[BinaryIO]:
    """Gives a stream to write to, which becomes `out` where the context ends well.

    Args:
      out: is replaced where it is a file; the folder it lies in exists. A link, a device or a pipe stays what
        it is, and is written through at once.
      synced: whether it is whole or not there after a power failure, too.
    Raises: OSError, whose `filename` may be that of the stream; ValueError where `out` can be no file's name.
    """
    out = Path(out)
    if out.is_symlink() or (out.exists() and not (out.is_file() or out.is_dir())):
        with out.open("wb") as stream:
            yield stream
        return
    partial = out.with_name(f".{out.name[:40]}.{secrets.token_hex(8)}.partial")  # no longer than names may be
    with becoming(out, partial, synced), partial.open("xb") as stream:
        yield stream


def new_json(out: Path | str, content: object) -> None:
    """Writes JSON as `new_file` does; ValueError where it holds what JSON has no word for, as NaN."""
    with new_file(out) as stream:
        stream.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


@contextlib.contextmanager
def becoming(out: Path, partial: Path, synced: bool) -> Iterator[None]:
    """What is written to `partial` becomes `out` where the context ends well, and is gone where not."""
    try:
        yield
        if synced:
            sync(partial)
        partial.replace(out)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def sync(place: Path) -> None:
    """Brings a file's content to the disk, or a folder's names: the system leaves it to itself when."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_folder(out: Path | str, error: type[Exception]) -> Iterator[Path]:
    """Gives a folder to write into, which becomes `out` where the context ends well.

    Args:
      out: does not exist yet or is empty; folders above it are made.
      error: raised with one sentence where it holds something or cannot be written.
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
