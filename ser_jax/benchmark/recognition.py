"""Latency of a recogniser: one utterance, the start of the program, an hour of speech.

Every measurement is of a new process that may use one core (the start of the program also of one that may use
all), on noise whose level changes like that of speech.
"""

import json
import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ser_jax.benchmark.monitor import monitor_code
from ser_jax.devices import cores
from ser_jax.errors import UserError
from ser_jax.experiment import provenance
from ser_jax.features.logmel import RATE, SECONDS
from ser_jax.io import markdown_table

CALLS, STARTS = 100, 5  # of a warm recogniser, and of the program
GOALS = {"utterance": 0.010, "start": 3.0, "hour": 10.0}  # s
# A process keeps to one core before any library starts its threads.
ONE_CORE = "import os, sys; os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}); "
WARM = """
import json, time
import numpy as np
from ser_jax.recognizer import Recognizer

def timed(*sound):
    start = time.perf_counter()
    recognizer(*sound)
    return time.perf_counter() - start

recognizer, samples = Recognizer.load(sys.argv[1] or None), np.load(sys.argv[2])
timed(samples, 16000)
seconds = [timed(samples, 16000) for _ in range(int(sys.argv[3]))]
timed(sys.argv[4])
print(json.dumps([seconds, timed(sys.argv[5])]))
"""
START = """
import sys
from ser_jax.cli import main
sys.exit(main(["predict", *(["--model", sys.argv[1]] if sys.argv[1] else []), sys.argv[2]]))
"""


class RecognitionError(UserError):
    """A system on which this cannot be measured."""


def measure(folder: Path, model: Path | None) -> dict[str, Any]:
    """Measure everything once.

    Args:
      folder: for recordings of noise.
      model: a recogniser's folder; None for the one of the package.
    Returns: a report as JSON. In s: utterance, every call of a warm recogniser on 7.5 s of samples, on one
      core; start and start_one_core, every run of `ser-jax predict` on a file of 3 s; hour, a WAV file of an
      hour, warm, on one core. memory: MB, the peak of the process that predicted both.
    Raises: RecognitionError if a process cannot be kept to one core.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise RecognitionError("this system keeps no process to one core, expected Linux")
    load, name = provenance.load(), "" if model is None else str(model.absolute())
    samples, short, hour = folder / "utterance.npy", folder / "short.wav", folder / "hour.wav"
    np.save(samples, _noise(SECONDS))
    for file, seconds in ((short, 3), (hour, 3600)):
        soundfile.write(file, _noise(seconds), RATE)
    process, output = monitor_code(ONE_CORE + WARM, name, samples, CALLS, short, hour)
    calls, warm = json.loads(output)
    starts = [
        [monitor_code(code, name, short)[0].seconds for code in (START, ONE_CORE + START)]
        for _ in range(STARTS)
    ]
    return {
        "device": provenance.processor(),
        "cores": cores(),
        "load": load,
        "utterance": calls,
        "start": [one for one, _ in starts],
        "start_one_core": [one for _, one in starts],
        "hour": warm,
        "memory": process.peak,
    }


def _noise(seconds: float) -> np.ndarray:
    draw, count = np.random.default_rng(0), round(seconds * RATE)
    level = 10 ** draw.uniform(-3, -0.5, round(seconds * 5) + 1)
    return np.repeat(level, RATE // 5)[:count] * draw.uniform(-1, 1, count)


def markdown(report: dict[str, Any]) -> str:
    """Return a report as a table, and a sentence on what was measured."""

    def median(seconds: list[float]) -> str:
        return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"

    call, slow = np.percentile(report["utterance"], [50, 95]) * 1000
    memory = "?" if report["memory"] is None else f"{report['memory']:.0f} MB"
    goal, start = f"{1000 * GOALS['utterance']:.0f} ms", f"{GOALS['start']:.0f} s"
    rows = [
        ("", "measured", "goal"),
        ("7.5 s of samples, warm, one core", f"{call:.1f} ms (95 %: {slow:.1f} ms)", goal),
        ("`ser-jax predict` on 3 s, all cores", median(report["start"]), start),
        ("the same on one core", median(report["start_one_core"]), start),
        (
            "an hour of speech in a file, one core",
            f"{report['hour']:.1f} s, {memory}",
            f"{GOALS['hour']:.0f} s",
        ),
    ]
    busy = " Other load distorts them." if provenance.busy(report["load"]) else ""
    return (
        f"{markdown_table(rows)}\n\n{report['device']}, {report['cores']} cores, "
        f"load average {report['load']}; medians of {len(report['utterance'])} calls "
        f"and {len(report['start'])} starts, the hour once.{busy}"
    )
