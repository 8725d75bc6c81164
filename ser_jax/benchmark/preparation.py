"""Time and memory of preparing and loading noise, and of an experiment on a corpus of 100,000 utterances.

Every measurement is of a new process. Lengths are quantiles of the log-normal distribution with the mean and
standard deviation of IEMOCAP's turns.
"""

import csv
import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import soundfile
from tqdm import tqdm

from ser_jax.benchmark.monitor import Process, monitor, monitor_code
from ser_jax.data.preparation import worker_count
from ser_jax.devices import cores
from ser_jax.errors import UserError
from ser_jax.experiment.provenance import processor
from ser_jax.features.logmel import RATE
from ser_jax.io import markdown_table

MEAN, DEVIATION = 4.46, 3.07  # s, of IEMOCAP's turns
SHORTEST, LONGEST = 0.6, 35.0  # s
MOST = 1_000_000  # utterances; they take 300 GB
LEAST = 100  # utterances of each corpus of the scaling test
RECORDING, SEGMENTS = 600, 2500  # s of a recording, and utterances cut out of it; they may overlap
NAMES = "noise", "other"  # corpora of the scaling test; the second is a hundredth as large
MEMORY = 24.0  # GB (10^9 bytes) that no stage may exceed
BOUNDS = {  # s of each stage, several times what two cores need
    "prepare": 900,
    "load, first time": 180,
    "load, second time": 10,
    "train one epoch": 600,
    "report": 60,
    "verify": 60,
}
PREPARE = """
import sys
from ser_jax import data

if __name__ == "__main__":
    source, name, root, workers = sys.argv[1:]
    print(data.prepare("manifest", source, name=name, data_dir=root, workers=int(workers)))
"""
LOAD = """
import json, sys, time
from ser_jax import data

start = time.perf_counter()
corpus = data.load("noise", sys.argv[1])
print(json.dumps([time.perf_counter() - start, len(corpus), corpus.fingerprint]))
"""


class PreparationError(UserError):
    """A measurement that cannot be made, or that found what must not be."""


def lengths(count: int) -> np.ndarray:
    """Return lengths [N] s in random order, cut at 0.6 s and 35 s; 12.6 % are longer than 7.5 s."""
    variance = np.log1p((DEVIATION / MEAN) ** 2)
    turns = scipy.stats.lognorm(np.sqrt(variance), scale=MEAN * np.exp(-variance / 2))
    seconds = turns.ppf((np.arange(count) + 0.5) / count).clip(SHORTEST, LONGEST)
    return np.random.default_rng(0).permutation(seconds)


def write_noise(folder: Path, seconds: np.ndarray, speakers: int, segments: int = 1, seed: int = 1) -> Path:
    """Write white noise (16 kHz, 16 bit) and a manifest of utterances [N] s; return the manifest.

    Speakers come in pairs, a pair a session, each with utterances of all classes. So many segments are cut
    out of one recording of `RECORDING` s; 1 for a recording of each one's length.
    """
    draw, recordings = np.random.default_rng(seed), -(-len(seconds) // segments)
    (folder / "audio").mkdir(parents=True)
    for i in tqdm(range(recordings), desc="writing noise", unit=" files", mininterval=0.5):
        length = round((seconds[i] if segments == 1 else RECORDING) * RATE)
        samples = draw.integers(-8000, 8000, length, dtype=np.int16)
        soundfile.write(folder / f"audio/{i:05d}.wav", samples, RATE, subtype="PCM_16")
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "start", "end", "speaker", "session", "sex", "arousal", "valence"])
        for i, length in enumerate(seconds):
            start = draw.uniform(0, RECORDING - length)
            times = ("", "") if segments == 1 else (f"{start:.4f}", f"{start + length:.4f}")
            speaker, kind = i % speakers, i // speakers
            classes = ["low", "high"][kind % 2], ["negative", "positive"][kind // 2 % 2]
            sex = ["female", "male"][speaker % 2]
            table.writerow([f"audio/{i % recordings:05d}.wav", *times, speaker, speaker // 2, sex, *classes])
    return folder / "manifest.csv"


def different(folders: list[Path]) -> list[str]:
    """Return the names of files that do not have the same bytes in all folders, sorted."""

    def digest(file: Path) -> str | None:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None

    names = {file.relative_to(folder) for folder in folders for file in folder.rglob("*") if file.is_file()}
    return sorted(str(name) for name in names if len({digest(folder / name) for folder in folders}) > 1)


def _check(folder: Path, utterances: int, least: int) -> None:
    if not least <= utterances <= MOST:
        raise PreparationError(f"--utterances {utterances}, expected {least} to {MOST:,}")
    if folder.is_file() or (folder.exists() and any(folder.iterdir())):
        raise PreparationError(f"--keep {folder}: found something there, expected a new folder")


def measure(folder: Path, utterances: int, workers: Sequence[int]) -> dict[str, Any]:
    """Write a corpus into a new folder, prepare it by each number of workers, and load it twice.

    Returns: a report as JSON. Its stages are of `monitor.Process`, loading with the seconds of `load` alone;
      different are the files in which the datasets differ, megabytes the size of one.
    Raises: PreparationError if something cannot be measured or was not loaded as it was prepared.
    """
    _check(folder, utterances, 1)
    for count in workers:
        worker_count(count)
    manifest = write_noise(folder / "noise", lengths(utterances), speakers=10)
    stages, datasets, loaded = {}, [], []
    for count in dict.fromkeys(workers):
        name = f"prepare, {count} worker{'' if count == 1 else 's'}"
        stages[name], path = monitor_code(PREPARE, manifest, "noise", folder / f"data-{count}", count)
        datasets.append(Path(path))
    for name in ("load, first time", "load, second time"):
        process, output = monitor_code(LOAD, folder / f"data-{workers[0]}")
        seconds, *found = json.loads(output)
        stages[name] = dataclasses.replace(process, seconds=seconds)
        loaded.append(found)
    if loaded[0] != loaded[1] or loaded[0][0] != utterances:
        raise PreparationError(f"loaded {loaded}, expected {utterances} utterances, the same twice")
    size = sum(file.stat().st_size for file in datasets[0].iterdir()) / 1e6
    return _report((utterances,), stages) | {"different": different(datasets), "megabytes": size}


def measure_scaling(folder: Path, utterances: int) -> dict[str, Any]:
    """Prepare and load a large corpus, train `experiments.crosslingual` with it, report and verify.

    Everything is written into a new folder. A second corpus is a hundredth as large, but of `LEAST` at least.

    Returns: a report as JSON, with the stages of `BOUNDS` and what they exceeded.
    Raises: PreparationError if something cannot be measured or was not loaded as it was prepared.
    """
    _check(folder, utterances, LEAST)
    data, out, counts = folder / "data", folder / "results", (utterances, max(LEAST, utterances // 100))

    def prepare(name: str, count: int, seed: int) -> Process:
        speakers = max(20, count // 100)
        manifest = write_noise(folder / name, lengths(count), speakers, SEGMENTS, seed)
        return monitor_code(PREPARE, manifest, name, data, cores())[0]

    def load() -> Process:
        process, output = monitor_code(LOAD, data)
        if (found := json.loads(output)[1]) != utterances:
            raise PreparationError(f"loaded {found} utterances, expected {utterances}")
        return process

    def experiment(name: str, *words: object) -> Process:
        return monitor([sys.executable, "-m", f"experiments.{name}", *map(str, words)])[0]

    large, _ = (prepare(*one, seed) for seed, one in enumerate(zip(NAMES, counts, strict=True)))
    flags = "--corpora", *NAMES, "--data-dir", data, "--out", out, "--seeds", 1, "--epochs", 1
    processes = (
        large, load(), load(), experiment("crosslingual", *flags), experiment("report", out),
        experiment("verify", out),
    )  # fmt: skip
    stages = dict(zip(BOUNDS, processes, strict=True))
    return _report(counts, stages) | {"bounds": BOUNDS, "exceeded": exceeded(stages)}


def _report(utterances: tuple[int, ...], stages: dict[str, Process]) -> dict[str, Any]:
    return {
        "device": processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "utterances": list(utterances),
        "hours": sum(float(lengths(count).sum()) for count in utterances) / 3600,
        "stages": {name: dataclasses.asdict(process) for name, process in stages.items()},
    }


def exceeded(stages: dict[str, Process]) -> list[str]:
    """Return a sentence for every one of `BOUNDS`, and for `MEMORY`, that a stage exceeds."""
    found = []
    for name, one in stages.items():
        if one.seconds > BOUNDS[name]:
            found.append(f"{name}: {one.seconds:.0f} s, expected {BOUNDS[name]} s at most")
        if (peak := (one.peak or 0) / 1000) > MEMORY:
            found.append(f"{name}: {peak:.1f} GB, expected {MEMORY:.0f} GB at most")
    return found


def markdown(report: dict[str, Any]) -> str:
    """Return a report as a table, and sentences on what was measured."""

    def memory(megabytes: float | None) -> str:
        return "?" if megabytes is None else f"{megabytes:,.0f} MB"

    n, bounds = report["utterances"], report.get("bounds", {})
    rows = [("", "time", "at most", "utterances/s", "peak memory", "without mapped files")]
    for name, one in report["stages"].items():
        bound, rate = f"{bounds[name]} s" if name in bounds else "", f"{n[0] / one['seconds']:,.0f}"
        sizes = memory(one["peak"]), memory(one["anonymous"])
        rows.append((name, f"{one['seconds']:.2f} s", bound, rate, *sizes))
    text = (
        f"{markdown_table(rows)}\n\n{report['device']}, {report['cores']} cores, Python {report['python']}; "
        f"n = {' and '.join(f'{count:,}' for count in n)} utterances of noise, {report['hours']:.1f} h.\nOne "
        "measurement of a new process each, files in the page cache. Memory: resident, of all processes "
        "together, shared pages counted for each; the system can take back pages of mapped files."
    )
    if bounds:
        return f"{text} At most {MEMORY:.0f} GB. Trained is `experiments.crosslingual` with one seed."
    names = ", ".join(report["different"])
    verdict = f"the datasets differ in {names}" if names else "all datasets are the same to the byte"
    return f"{text} Loading: `load` alone. A dataset has {report['megabytes']:,.0f} MB; {verdict}."
