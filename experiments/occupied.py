"""A results folder belongs to one process at a time."""

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.predictions import ResultsError, whole
from ser_jax import io


@contextlib.contextmanager
def occupied(out: Path) -> Iterator[None]:
    """Makes `out` this process's until the block ends, or the process does, however it ends.

    The system's lock on the folder decides, and `running.json` says whose it is. Where the file system has no
    locks, the note decides: it holds while the process it names lives.

    Args:
      out: the results folder; made if need be.
    Raises: ResultsError where another process is at work there, or `out` is no folder.
    """
    try:
        if out.exists() and not out.is_dir():
            raise ResultsError(f"{out} is a file, expected a folder for the results")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(
            f"{out} cannot be made ({error.strerror}), expected a folder for results; choose another --out"
        ) from None
    note = out / "running.json"
    with contextlib.ExitStack() as stack:
        try:
            locked = stack.enter_context(io.lock_folder(out))
        except io.LockedError:
            raise _refused(out, _read(note)) from None
        found = _read(note)
        if found and not locked and _may_live(found):
            raise _refused(out, found)
        if found:
            who = f"process {found.get('process')}"
            print(f"{who} was ended here; going on from what it stored", file=sys.stderr)
        me = {"process": os.getpid(), "host": platform.node(), "since": _now()}
        with whole(note) as file:
            file.write_text(json.dumps(me) + "\n")
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read(note: Path) -> dict[str, Any]:
    """What a note says; nothing where it is not there, or torn."""
    try:
        found = json.loads(note.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _may_live(found: dict[str, Any]) -> bool:
    """Of another host's process nothing is known."""
    if found.get("host") != platform.node():
        return True
    try:
        os.kill(int(found["process"]), 0)
    except (ProcessLookupError, KeyError, TypeError, ValueError):
        return False
    except PermissionError:
        pass
    return True


def _refused(out: Path, found: dict[str, Any]) -> ResultsError:
    who = f"process {found.get('process', '?')} on {found.get('host', '?')}" if found else "another process"
    since = f" since {found['since']}" if "since" in found else ""
    return ResultsError(
        f"{out} is in use by {who}{since}, expected one process at a time; wait for it, end it, or choose "
        f"another --out (if it is long gone, delete {out / 'running.json'})"
    )
