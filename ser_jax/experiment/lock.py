"""The run lock: one process at a time works in a results folder."""

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from ser_jax.errors import ResultsError
from ser_jax.io import LockedError, lock_folder, remove_partial_files, write_json


@contextlib.contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Lock the results folder `out`, created if need be, until the block ends or the process dies.

    The system's lock on the folder decides, and `running.json` names its owner. On a file system without
    locks the file decides, as long as the process it names lives.

    Raises: ResultsError if another process works in `out`, or `out` cannot be a folder.
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
            locked = stack.enter_context(lock_folder(out))
        except LockedError:
            raise _in_use(note) from None
        owner = _read(note)
        here, process = owner.get("host") == platform.node(), owner.get("process")
        ended = here and not (isinstance(process, int) and psutil.pid_exists(process))
        if owner and not locked and not ended:  # a process of another host may live
            raise _in_use(note)
        if owner:
            print(f"process {process} was ended here; going on from what it stored", file=sys.stderr)
        remove_partial_files(out)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(note, {"process": os.getpid(), "host": platform.node(), "since": since})
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def _read(note: Path) -> dict[str, Any]:
    """Return the owner of the lock; empty if the file is missing or damaged."""
    try:
        found = json.loads(note.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _in_use(note: Path) -> ResultsError:
    owner = _read(note)
    who = f"process {owner.get('process', '?')} on {owner.get('host', '?')}" if owner else "another process"
    since = f" since {owner['since']}" if "since" in owner else ""
    return ResultsError(
        f"{note.parent} is in use by {who}{since}, expected one process at a time; wait for it, end it, or "
        f"choose another --out (if it is long gone, delete {note})"
    )
