"""A progress bar that is there from the first steps on: what is refused before is said alone."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm


@contextlib.contextmanager
def late_bar(**options: Any) -> Iterator[Callable[[int, int], None]]:
    """Gives what counts some more steps of so many in all, on a bar of `tqdm` with these options."""
    shown: list[tqdm] = []

    def count(steps: int, total: int) -> None:
        if not shown:
            shown.append(tqdm(total=total, mininterval=0.5, **options))
        shown[0].update(steps)

    try:
        yield count
    finally:
        for bar in shown:
            bar.close()
