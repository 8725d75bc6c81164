"""Measure time and memory of whole programs: an experiment on a large corpus, and a recogniser.

Every stage is measured in a new process, on noise.
"""

import contextlib
import csv
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import soundfile

from ser_jax.benchmark import BenchmarkError, iemocap_seconds
from ser_jax.devices import cores
from ser_jax.experiment import provenance
from ser_jax.io import markdown_table

INTERVAL = 0.02  # s between two measurements of the memory
RATE = 16_000  # Hz
RECORDING, SEGMENTS = 600, 2500  # s of a recording, and how many utterances are cut out of it
LEAST = 100  # utterances of a corpus, at least
MEMORY = 24.0  # GB (10^9 bytes) that no stage may exceed
BOUNDS = {  # s of the stages of an experiment on 100,000 utterances, several times what two cores need
    "prepare": 900, "load, first time": 180, "load, second time": 10, "train one epoch": 600, "report": 60,
    "verify": 60,
}  # fmt: skip
CALLS, STARTS = 100, 5  # of a warm recogniser, and of the program
HOUR = 3600  # s
LOAD = """
import sys, time
from ser_jax import data

start = time.perf_counter()
data.load("noise", sys.argv[1])
print(time.perf_counter() - start)
"""
PREDICT = """
import json, sys, time
import numpy as np
from ser_jax.recognizer import Recognizer

def timed(*sound):
    start = time.perf_counter()
    recognizer(*sound)
    return time.perf_counter() - start

recognizer, samples = Recognizer.load(sys.argv[1]), np.load(sys.argv[2])
timed(samples, 16000)
seconds = [timed(samples, 16000) for _ in range(int(sys.argv[3]))]
timed(sys.argv[4])
print(json.dumps([seconds, timed(sys.argv[5])]))
"""


@dataclasses.dataclass(frozen=True)
class Process:
    """Time and memory (MB, 10^6 bytes) of a process and its descendants.

    The memory is the largest sum of resident pages, shared ones counted for each process; 0 if the process
    ended before the first measurement.
    """

    seconds: float
    peak: float
    anonymous: float = 0.0  # without pages of mapped files (on Linux), which the system can take back


Stages = tuple[dict[str, Process], str]  # and how they were measured


def monitor(*arguments: object, one_core: bool = False) -> tuple[Process, str]:
    """Run Python with some arguments, on one core or all, and measure its time and memory.

    Returns: (measurement, the last line of its standard output); standard error is shown.
    Raises: BenchmarkError if the program fails.
    """
    measured, done = [(0, 0)], threading.Event()
    core = ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))] if one_core else []
    command = [*core, sys.executable, *map(str, arguments)]

    def measure() -> None:
        while not done.wait(INTERVAL):
            measured.append(_memory(process.pid))

    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        thread = threading.Thread(target=measure)
        thread.start()
        try:
            output = process.communicate()[0]
            seconds = time.perf_counter() - start
        finally:
            done.set()
            thread.join()
    if process.returncode:
        raise BenchmarkError(f"a process ended with status {process.returncode}, expected 0 (see above)")
    peak, anonymous = (max(each) / 1e6 for each in zip(*measured, strict=True))
    return Process(seconds, peak, anonymous), (output.splitlines() or [""])[-1]


def _memory(pid: int) -> tuple[int, int]:
    """Return the (resident, anonymous) bytes of a process and its descendants."""
    resident = anonymous = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):  # it has ended
                memory = each.memory_info()
                resident += memory.rss
                anonymous += memory.rss - getattr(memory, "shared", 0)
    return resident, anonymous


def write_noise(folder: Path, seconds: np.ndarray, seed: int = 1) -> Path:
    """Write recordings of white noise to a new folder, and a manifest of utterances of these lengths [N].

    Returns: the manifest. Two speakers share a session, and each has utterances of all classes.
    """
    draw, recordings = np.random.default_rng(seed), -(-len(seconds) // SEGMENTS)
    speakers = max(20, len(seconds) // 100)
    (folder / "audio").mkdir(parents=True)
    for i in range(recordings):
        samples = draw.integers(-8000, 8000, RECORDING * RATE, dtype=np.int16)
        soundfile.write(folder / f"audio/{i:05d}.wav", samples, RATE)
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "start", "end", "speaker", "session", "sex", "arousal", "valence"])
        for i, length in enumerate(seconds):
            start, (turn, speaker) = draw.uniform(0, RECORDING - length), divmod(i, speakers)
            classes = ["low", "high"][turn % 2], ["negative", "positive"][turn // 2 % 2]
            times, sex = (f"{start:.4f}", f"{start + length:.4f}"), ["female", "male"][speaker % 2]
            table.writerow([f"audio/{i % recordings:05d}.wav", *times, speaker, speaker // 2, sex, *classes])
    return folder / "manifest.csv"


def measure_experiment(folder: Path, utterances: int) -> Stages:
    """Prepare and load a corpus, train `experiments.crosslingual` for an epoch, report and verify.

    Of two corpora, the second has a hundredth of the utterances.

    Returns: (the stages, how they were measured).
    Raises: BenchmarkError if a stage fails.
    """
    data, out = folder / "data", folder / "results"
    stages: dict[str, Process] = {}
    counts = {"noise": utterances, "other": max(LEAST, utterances // 100)}
    for seed, (name, count) in enumerate(counts.items()):
        manifest = write_noise(folder / name, iemocap_seconds(count), seed)
        prepare = ["prepare", "manifest", "--source", manifest, "--name", name, "--data-dir", data]
        stages.setdefault("prepare", monitor("-m", "ser_jax", *prepare)[0])
    for name in ("load, first time", "load, second time"):
        process, output = monitor("-c", LOAD, data)
        stages[name] = dataclasses.replace(process, seconds=float(output))
    train = ["--corpora", *counts, "--data-dir", data, "--out", out, "--seeds", 1, "--epochs", 1]
    stages["train one epoch"] = monitor("-m", "experiments.crosslingual", *train)[0]
    for name in ("report", "verify"):
        stages[name] = monitor("-m", f"experiments.{name}", out)[0]
    return stages, f"n = {utterances:,} utterances"


def exceeded(stages: dict[str, Process]) -> list[str]:
    """Return a sentence for every stage that exceeds one of `BOUNDS`, or `MEMORY`."""
    found = []
    for name, stage in stages.items():
        if stage.seconds > BOUNDS.get(name, math.inf):
            found.append(f"{name}: {stage.seconds:.0f} s, expected {BOUNDS[name]} s at most")
        if stage.peak > 1000 * MEMORY:
            found.append(f"{name}: {stage.peak / 1000:.1f} GB, expected {MEMORY:.0f} GB at most")
    return found


def measure_recognition(folder: Path, model: str) -> Stages:
    """Measure a recogniser: 7.5 s of samples and a file of an hour, warm, and `ser-jax predict` on 3 s.

    Returns: (the stages, how they were measured).
    """
    samples, short, hour = folder / "utterance.npy", folder / "short.wav", folder / "hour.wav"
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, HOUR * RATE)
    np.save(samples, noise[: round(7.5 * RATE)])
    soundfile.write(short, noise[: 3 * RATE], RATE)
    soundfile.write(hour, noise, RATE)
    warm, output = monitor("-c", PREDICT, model, samples, CALLS, short, hour, one_core=True)
    calls, long = json.loads(output)
    stages = {"7.5 s of samples, warm, one core": dataclasses.replace(warm, seconds=statistics.median(calls))}
    predict = ["-m", "ser_jax", "predict", "--model", model, short]
    for name, one_core in (("all cores", False), ("one core", True)):
        starts = [monitor(*predict, one_core=one_core)[0] for _ in range(STARTS)]
        median = statistics.median_low(process.seconds for process in starts)
        stages[f"`ser-jax predict` on 3 s, {name}"] = dataclasses.replace(starts[0], seconds=median)
    stages["a file of an hour, warm, one core"] = dataclasses.replace(warm, seconds=long)
    return stages, f"medians of n = {CALLS} calls and {STARTS} starts, the hour once"


def markdown(stages: dict[str, Process], measured: str) -> str:
    """Return stages as a table, and a sentence on how they were measured."""
    head = ("", "time, s", "at most, s", "peak memory, MB", "without mapped files, MB")
    rows: list[tuple[str, ...]] = [head]
    for name, stage in stages.items():
        sizes = (f"{size:,.0f}" if size else "?" for size in (stage.peak, stage.anonymous))
        rows.append((name, f"{stage.seconds:.3g}", str(BOUNDS.get(name, "")), *sizes))
    return (
        f"{markdown_table(rows)}\n\n{provenance.processor()}, {cores()} cores, load average "
        f"{provenance.load()}; {measured}. New processes, files in the page cache; memory is that of all "
        "processes together."
    )


def publish(measure: Callable[[Path], Stages]) -> int:
    """Measure in a temporary folder and print the table; return 1 if a bound was exceeded."""
    with tempfile.TemporaryDirectory() as folder:
        stages, measured = measure(Path(folder))
    print(markdown(stages, measured))
    for sentence in (found := exceeded(stages)):
        print(sentence, file=sys.stderr)
    return 1 if found else 0
