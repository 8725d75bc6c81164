"""A folder for one process at a time."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module, or None where the system has none

# What file systems without locks answer; EBADF where locking a folder would take a descriptor for writing.
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EBADF}


class HeldError(OSError):
    """A folder that another process holds, or this one a second time."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Locks an existing folder until the block ends or the process dies, however it dies.

    The lock is on the folder itself: no file is left, and a folder that is renamed stays locked. It keeps out
    only those who ask, and on most network file systems only those on the same machine.

    Yields: whether it is locked; False on Windows, and on a file system that has no locks.
    Raises: HeldError, at once; other OSErrors where there is no such folder.
    """
    if fcntl is None:
        yield False
        return
    while True:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            locked = _lock(descriptor, folder)
            if os.path.samestat(os.fstat(descriptor), folder.stat()):  # else another took its place meanwhile
                yield locked
                return
        finally:
            with contextlib.suppress(OSError):  # closing alone would leave it locked by children forked since
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise HeldError(f"{folder}: another process is at work in this folder") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True
