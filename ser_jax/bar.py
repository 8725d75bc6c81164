"""A progress bar that appears with the first step, so that errors before it stand alone."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm


@contextlib.contextmanager
def late_bar(**options: Any) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (steps, total) that advances a bar of `tqdm` with these options."""
    with tqdm(mininterval=0.5, delay=1e-9, **options) as bar:

        def count(steps: int, total: int) -> None:
            bar.total = total
            bar.update(steps)

        yield count
