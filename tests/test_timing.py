"""The clock of the benchmark: things take turns, and a rate is of what was done."""

import math
from types import SimpleNamespace

import pytest

from experiments import timing
from experiments.timing import FEWEST, Peak, Timing, by_turns, product, ratio, triad

pytestmark = pytest.mark.usefixtures("hastily")


def test_things_take_turns_after_two_calls_to_warm_up():
    calls = []
    things = {name: lambda name=name: calls.append(name) or 1.0 for name in "abc"}
    timings = by_turns(things, 4, 60)
    assert "".join(calls) == "aabbcc" + "abc" * 4
    assert [len(timing.seconds) for timing in timings.values()] == [4, 4, 4]


def test_time_ends_the_rounds_but_some_are_made():
    assert len(by_turns({"a": lambda: 1.0}, 100, 0)["a"].seconds) == FEWEST
    assert len(by_turns({"a": lambda: 1.0}, 100, 60)["a"].seconds) == 100


@pytest.fixture
def now(monkeypatch):
    """A clock, [s], that only the work moves."""
    clock = [0.0]
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    return clock


def test_a_rate_is_units_a_second_and_compilation_stands_apart(now):
    """1/64 s for a unit, and half a second more the first time."""

    def work():
        now[0] += 3 / 64 + 0.5 * (not now[0])
        return 3.0

    found = by_turns({"a": work}, 5, 60)["a"]
    assert found.rate == found.best == 64
    assert found.compilation == 0.5


def test_the_median_is_of_ratios_within_a_round():
    """A machine that is ten times slower in one round slows both."""
    fast, slow = Timing(0, 0, [1, 10, 1], [30, 30, 30]), Timing(0, 0, [1, 10, 1], [10, 10, 10])
    assert ratio(fast, slow) == 3
    assert math.isnan(ratio(fast, Timing.absent("no compiler")))


def test_what_may_fail_is_left_out_with_its_reason():
    def fail():
        raise RuntimeError("no C++ compiler\nmore of it")

    timings = by_turns({"a": fail, "b": lambda: 1.0}, 3, 0, lambda name: name == "a")
    assert timings["a"].failed == "RuntimeError: no C++ compiler"
    assert timings["a"].seconds == []
    assert math.isnan(timings["a"].rate)
    assert len(timings["b"].seconds) == 3
    with pytest.raises(RuntimeError, match="no C\\+\\+ compiler"):
        by_turns({"a": fail}, 3, 0)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_peaks_count_what_they_do(precision):
    assert product(8, precision, 0)() == 8 * 8 * (8 + 8)
    assert triad(2, 0)() == triad(1, 0)() * 2


def test_a_peak_is_the_fastest_moment(now):
    """1/8 s for a unit, except once, then 1/64 s."""

    def work():
        now[0] += 1 / 8 if now[0] else 1 / 64

    peak = Peak(work, 1, 0.3)
    assert peak() == 4  # begun after 0, 1/64, 9/64 and 17/64 s
    assert peak.rate == 64
    assert peak() == 3
    assert peak.rate == 64
