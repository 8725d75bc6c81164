"""Timing several things by turns in one process, so that whatever else the machine does meets all alike."""

import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

FEWEST = 3  # rounds, however long they take


Name = TypeVar("Name", bound=Hashable)


class Timing(NamedTuple):
    """What one thing took.

    Attributes:
      first: s, its first call, compilation included.
      first_units: how much that one did.
      seconds: s, each of the calls that followed a second, unmeasured one.
      units: how much each of these calls did.
      failed: why there are none; None where there are.
    """

    first: float
    first_units: float
    seconds: list[float]
    units: list[float]
    failed: str | None = None

    @classmethod
    def absent(cls, reason: str) -> "Timing":
        """Of what could not be timed."""
        return cls(float("nan"), 0, [], [], reason)

    @property
    def rates(self) -> np.ndarray:
        """Units a second, by round."""
        return np.array(self.units) / np.array(self.seconds)

    @property
    def rate(self) -> float:
        """The median; NaN where there is none."""
        return float(np.median(self.rates)) if self.seconds else float("nan")

    @property
    def best(self) -> float:
        """Of the fastest round, which other work disturbs least; NaN where there is none."""
        return float(np.max(self.rates)) if self.seconds else float("nan")

    @property
    def compilation(self) -> float:
        """s: what the first call took beyond what it takes later, NaN where there is no later one."""
        return max(self.first - self.first_units / self.rate, 0) if self.seconds else float("nan")


def by_turns(
    things: Mapping[Name, Callable[[], float]],
    rounds: int,
    limit: float,
    may_fail: Callable[[Name], bool] = lambda name: False,
) -> dict[Name, Timing]:
    """Calls everything twice to warm up, then all in rounds, one after another.

    Args:
      things: by name; each does its work, waits for the end of it, and returns how much that was.
      rounds: how many.
      limit: s; the round in which it is passed is the last one, but `FEWEST` are made.
      may_fail: whether a thing of this name may fail; it is then left out, with the reason.
    """
    timings = {name: _warm(thing, may_fail(name)) for name, thing in things.items()}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= FEWEST and time.perf_counter() - start > limit:
            break
        for name, thing in things.items():
            if timings[name].failed is None:
                before = time.perf_counter()
                units = thing()
                timings[name].seconds.append(time.perf_counter() - before)
                timings[name].units.append(units)
    return timings


def _warm(thing: Callable[[], float], may_fail: bool) -> Timing:
    start = time.perf_counter()
    try:
        units = thing()
        first = time.perf_counter() - start
        thing()
    except Exception as error:
        if not may_fail:
            raise
        reason = next(iter(str(error).splitlines()), "")
        return Timing.absent(f"{type(error).__name__}: {reason}"[:200])
    return Timing(first, units, [], [])


def ratio(above: Timing, below: Timing) -> float:
    """How many times the rate of `below` that of `above` is: the median over the rounds; else NaN."""
    both = min(len(above.seconds), len(below.seconds))
    return float(np.median(above.rates[:both] / below.rates[:both])) if both else float("nan")


class Peak:
    """The most that a machine was seen to do: work repeated for some time a call, by its fastest moment.

    Attributes:
      rate: units a second.
    """

    def __init__(self, work: Callable[[], None], units: float, seconds: float):
        """Work that does so many units and waits for the end of it, for so many s a call."""
        self._work, self._units, self._seconds = work, units, seconds
        self.rate = 0.0

    def __call__(self) -> float:
        """Works, and returns the units done."""
        start, done = time.perf_counter(), 0
        while not done or time.perf_counter() - start < self._seconds:
            before = time.perf_counter()
            self._work()
            self.rate = max(self.rate, self._units / (time.perf_counter() - before))
            done += 1
        return self._units * done


def product(size: int, precision: str, seconds: float) -> Peak:
    """A square product of matrices; its units are FLOP.

    Args:
      size: rows and columns.
      precision: "float32", "tf32" or "bfloat16", the last with sums in float32.
      seconds: s, a call.
    """
    kind = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    how = "highest" if precision == "float32" else "default"
    a, b = (jax.random.normal(jax.random.key(i), (size, size), kind) for i in range(2))
    multiply = jax.jit(partial(jnp.matmul, precision=how, preferred_element_type=jnp.float32))
    multiply(a, b).block_until_ready()
    return Peak(lambda: multiply(a, b).block_until_ready(), 2 * size**3, seconds)


def triad(megabytes: int, seconds: float) -> Peak:
    """a <- s a + b over arrays too large for any cache; its units are the bytes moved.

    Args:
      megabytes: MB (10^6 bytes), of each of the two arrays.
      seconds: s, a call.
    """
    count, passes = megabytes * 1_000_000 // 4, 4
    state = jnp.ones(count), jnp.full(count, 0.5)

    @partial(jax.jit, donate_argnums=0)
    def move(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, passes, lambda _, a: 0.5 * a + b, a)

    def work() -> None:
        nonlocal state
        state = move(*state).block_until_ready(), state[1]

    work()
    return Peak(work, 3 * 4 * count * passes, seconds)
