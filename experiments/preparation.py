"""How long preparing and loading a corpus of IEMOCAP's size takes, and how much memory.

    python -m experiments.preparation                      # 10,000 utterances, by one worker and by two
    python -m experiments.preparation --utterances 500     # a first impression, in a minute

Writes white noise as WAV files (16 kHz, 16 bit) with a manifest, prepares it in a fresh process for each
number of workers, compares the datasets byte by byte, and loads the first one twice, in a fresh process each.
The lengths are quantiles of the log-normal distribution that has the mean and deviation of IEMOCAP's turns.
"""

import csv
import dataclasses
import hashlib
import json
import platform
import tempfile
from pathlib import Path

import numpy as np
import scipy.stats
import soundfile
from tqdm import tqdm

from experiments.markdown import aligned
from ser_jax import devices, flags
from ser_jax.benchmark.monitor import Process, monitor_code
from ser_jax.data.logmel import RATE, SECONDS
from ser_jax.data.workers import how_many
from ser_jax.errors import UserError
from ser_jax.experiment.provenance import processor
from ser_jax.io import write_json
from ser_jax.shutdown import run_script

MEAN, DEVIATION = 4.46, 3.07  # s, of IEMOCAP's turns
SHORTEST, LONGEST = 0.6, 35.0  # s
MOST = 1_000_000  # utterances; they take 300 GB
LONGER = 1373 / 10039  # share of IEMOCAP's turns that the network does not hear whole

PREPARE = """
import sys
from ser_jax import data

if __name__ == "__main__":
    source, root, workers = sys.argv[1:]
    print(data.prepare("manifest", source, name="noise", data_dir=root, workers=int(workers)))
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


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured, and where.

    Attributes:
      device: the processor.
      cores: how many of it may be used.
      python: its version.
      utterances: N.
      lengths: s, their "mean", "deviation", "shortest", "longest" and "sum"; and the share that is "longer"
        than 7.5 s.
      prepared: a process by number of workers.
      different: names of the files in which the datasets differ.
      megabytes: MB, of one dataset.
      loaded: s, of the first and the second `load`, what it imports included.
      loading: the processes that did it.
    """

    device: str
    cores: int
    python: str
    utterances: int
    lengths: dict[str, float]
    prepared: dict[int, Process]
    different: list[str]
    megabytes: float
    loaded: list[float]
    loading: list[Process]


def lengths(count: int) -> np.ndarray:
    """[N] s: quantiles of a log-normal distribution, cut at 0.6 s and 35 s, in random order.

    Mean and deviation are IEMOCAP's; 12.6 % are longer than 7.5 s, of IEMOCAP's turns 13.7 %.
    """
    variance = np.log1p((DEVIATION / MEAN) ** 2)
    turns = scipy.stats.lognorm(np.sqrt(variance), scale=MEAN * np.exp(-variance / 2))
    seconds = turns.ppf((np.arange(count) + 0.5) / count).clip(SHORTEST, LONGEST)
    return np.random.default_rng(0).permutation(seconds)


def write_noise(folder: Path, seconds: np.ndarray) -> Path:
    """Writes recordings of these lengths, by ten speakers in five sessions; returns their manifest."""
    draw = np.random.default_rng(1)
    (folder / "audio").mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "speaker", "session", "sex", "arousal", "valence"])
        for i, length in enumerate(tqdm(seconds, desc="writing noise", unit=" utt", mininterval=0.5)):
            name, speaker = f"audio/{i:05d}.wav", i % 10
            samples = draw.integers(-8000, 8000, round(length * RATE), dtype=np.int16)
            soundfile.write(folder / name, samples, RATE, subtype="PCM_16")
            words = ["low", "high"][i // 10 % 2], ["negative", "positive"][i // 20 % 2]
            table.writerow([name, speaker, speaker // 2, ["female", "male"][speaker % 2], *words])
    return folder / "manifest.csv"


def different(folders: list[Path]) -> list[str]:
    """Names of files that some of the folders do not have, or have with other bytes; sorted."""
    names = {file.relative_to(folder) for folder in folders for file in folder.rglob("*") if file.is_file()}
    return sorted(
        str(name)
        for name in names
        if not all((folder / name).is_file() for folder in folders)
        or len({hashlib.sha256((folder / name).read_bytes()).digest() for folder in folders}) > 1
    )


def check_new(folder: Path) -> None:
    """Raises: PreparationError where there is something in the place of a new folder."""
    if folder.exists() and not folder.is_dir():
        raise PreparationError(f"{folder} is a file, expected a new folder")
    if folder.exists() and any(folder.iterdir()):
        raise PreparationError(f"{folder} is not empty, expected a new folder")


def measure(folder: Path, utterances: int, workers: list[int]) -> Report:
    """Writes, prepares and loads in `folder`.

    Raises: PreparationError where something cannot be measured, or what is loaded is not what was prepared.
    """
    if utterances < 1 or min(workers) < 1:
        raise PreparationError(f"{utterances} utterances, workers {workers}, expected at least 1 of each")
    if utterances > MOST:
        raise PreparationError(f"{utterances} utterances, expected {MOST:,} at most")
    for count in workers:
        how_many(count)
    check_new(folder)
    seconds = lengths(utterances)
    manifest = write_noise(folder / "noise", seconds)
    roots = {count: folder / f"data-{count}" for count in dict.fromkeys(workers)}
    prepared = {count: monitor_code(PREPARE, manifest, root, count) for count, root in roots.items()}
    datasets = [Path(folder) for _, folder in prepared.values()]
    different_files = different(datasets)
    size = sum(file.stat().st_size for file in datasets[0].iterdir()) / 1e6
    loading = [monitor_code(LOAD, roots[workers[0]]) for _ in range(2)]
    said = [json.loads(output) for _, output in loading]
    if said[0][1:] != said[1][1:] or said[0][1] != utterances:
        raise PreparationError(
            f"loaded {said[0][1:]}, then {said[1][1:]}, expected {utterances} twice the same"
        )
    return Report(
        device=processor(),
        cores=devices.cores(),
        python=platform.python_version(),
        utterances=utterances,
        lengths={
            "mean": float(seconds.mean()),
            "deviation": float(seconds.std()),
            "shortest": float(seconds.min()),
            "longest": float(seconds.max()),
            "sum": float(seconds.sum()),
            "longer": float((seconds > SECONDS).mean()),
        },
        prepared={count: process for count, (process, _) in prepared.items()},
        different=different_files,
        megabytes=size,
        loaded=[one[0] for one in said],
        loading=[process for process, _ in loading],
    )


def markdown(report: Report) -> str:
    """The report as a table and the sentences that say of what it is."""
    n, length = report.utterances, report.lengths

    def memory(process: Process) -> str:
        return "?" if process.peak is None else f"{process.peak:,.0f} MB"

    rows = [("", "time", "utterances/s", "peak memory")]
    for count, process in report.prepared.items():
        name = f"prepare, {count} worker{'s' if count > 1 else ''}"
        rows.append((name, f"{process.seconds:.1f} s", f"{n / process.seconds:.0f}", memory(process)))
    for name, seconds, process in zip(("first", "second"), report.loaded, report.loading, strict=True):
        rows.append((f"load, {name} time", f"{seconds:.2f} s", f"{n / seconds:,.0f}", memory(process)))
    names = " and ".join(map(str, report.prepared))
    verdict = f"differ in {', '.join(report.different)}" if report.different else "are the same to the byte"
    return "\n".join(
        [
            aligned(rows),
            "",
            f"{report.device}, {report.cores} cores, Python {report.python}; n = {n:,} utterances of noise, "
            f"{length['sum'] / 3600:.1f} h: {length['mean']:.2f} ± {length['deviation']:.2f} s, "
            f"{length['shortest']:.1f} to {length['longest']:.1f} s, {length['longer']:.1%} longer than "
            f"{SECONDS} s (IEMOCAP: {MEAN} ± {DEVIATION} s, {LONGER:.1%}).",
            "One measurement each, files in the page cache; preparing counts from the start of the process "
            "to its end, loading `load` alone. Memory: resident, of all processes together, shared pages "
            f"counted for each. A dataset has {report.megabytes:,.0f} MB; "
            + (f"those of {names} workers {verdict}." if len(report.prepared) > 1 else "one was prepared."),
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Measures with the flags given and prints the table."""
    parser = flags.Parser(prog="python -m experiments.preparation", description=__doc__)
    add = parser.add_argument
    size = flags.whole(1, MOST)
    add(
        "--utterances",
        type=size,
        default=10_000,
        metavar="N",
        help="of noise (default: 10,000; 3 GB of disk)",
    )
    add(
        "--workers",
        type=flags.whole(1),
        nargs="+",
        default=[1, 2],
        metavar="W",
        help="processes (default: 1 2)",
    )
    add("--keep", type=flags.path, metavar="DIR", help="work in this new folder and leave everything there")
    add("--json", type=flags.new_file, metavar="FILE", help="write the report there as well")
    options = parser.parse_args(arguments)

    def work() -> None:
        with tempfile.TemporaryDirectory() as temporary:
            report = measure(options.keep or Path(temporary), options.utterances, options.workers)
        print(markdown(report))
        if options.json is not None:
            write_json(options.json, dataclasses.asdict(report))

    run_script("preparation", work)


if __name__ == "__main__":
    main()
