"""Files of labels, before anybody knows that they are text."""

from pathlib import Path

from ser_jax.errors import UserError, beside


def content(file: Path, kind: type[UserError], expected: str) -> bytes:
    """A file's bytes.

    Args:
      kind: of the error.
      expected: what it should be, for the error.
    Raises: `kind` where it is no regular file (a FIFO would wait for its writer forever) or cannot be read.
    """
    try:
        absent = None if file.exists() else f"no such file{beside(file)}"
        found = "is a folder" if file.is_dir() else absent or "not a regular file"
        if file.is_file():
            return file.read_bytes()
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
    raise kind(f"{file}: {found}, expected {expected}")
