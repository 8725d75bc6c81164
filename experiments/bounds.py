"""Time and memory that a corpus of 100,000 utterances takes, stage by stage, and whether that is too much.

    python -m experiments.bounds                       # two cores: 9 min, 9 GB of disk
    python -m experiments.bounds --utterances 5000     # a first impression, in a minute

Cuts white noise into utterances of IEMOCAP's lengths, prepares them, loads them twice, trains one epoch of
`experiments.crosslingual` between them and a hundredth as many others, and makes and verifies the report,
each in a fresh process. Ends with status 1 where a stage takes more time than `BOUNDS` or more memory than
`MEMORY` allows.

What they took is in docs/speed.md.
"""

import csv
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from experiments.markdown import aligned
from experiments.preparation import LOAD, MOST, PreparationError, check_new, lengths
from ser_jax import devices, flags
from ser_jax.benchmark.monitor import Process, monitor, monitor_code
from ser_jax.data.logmel import RATE
from ser_jax.experiment.provenance import processor
from ser_jax.io import write_json
from ser_jax.shutdown import run_script

UTTERANCES = 100_000
MEMORY = 24.0  # GB (10^9 bytes) that no stage may exceed
RECORDING = 600  # s; utterances are segments of such recordings, and may overlap
CUT = 2500  # segments a recording
SAID = 100  # utterances a speaker
NAMES = ("noise", "other")  # the corpora; the second is a hundredth as large, but of `LEAST` at least
LEAST = 100
CLI = "import sys; from ser_jax.cli import main\nif __name__ == '__main__': sys.exit(main())"
EXPERIMENT = ("--seeds", "1", "--epochs", "1")


class Stage(NamedTuple):
    """What is run in a process of its own, and how long it may take, s: some times what two cores need."""

    name: str
    seconds: float


BOUNDS = (
    Stage("prepare", 900),
    Stage("load, first time", 180),
    Stage("load, second time", 10),
    Stage("train one epoch", 600),
    Stage("report", 60),
    Stage("verify", 60),
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured, and where.

    Attributes:
      device: the processor.
      cores: how many of it may be used.
      utterances: of both corpora.
      stages: a process by name.
    """

    device: str
    cores: int
    utterances: tuple[int, ...]
    stages: dict[str, Process]


def write_segments(folder: Path, count: int, seed: int) -> Path:
    """Writes noise and a manifest that cuts `count` utterances out of it; returns the manifest.

    Speakers meet in pairs, and say about `SAID` utterances of all four kinds; there are twenty at least.
    """
    draw = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True)
    recordings, speakers = -(-count // CUT), max(20, count // SAID)
    for i in range(recordings):
        samples = draw.integers(-8000, 8000, RECORDING * RATE, dtype=np.int16)
        soundfile.write(folder / f"audio/{i:03d}.wav", samples, RATE, subtype="PCM_16")
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "start", "end", "speaker", "session", "sex", "arousal", "valence"])
        for i, seconds in enumerate(lengths(count)):
            start, speaker, kind = draw.uniform(0, RECORDING - seconds), i % speakers, i // speakers
            times = f"{start:.4f}", f"{start + seconds:.4f}"
            person = f"{speaker:04d}", f"{speaker // 2:04d}", ["female", "male"][speaker % 2]
            words = ["low", "high"][kind % 2], ["negative", "positive"][kind // 2 % 2]
            table.writerow([f"audio/{i % recordings:03d}.wav", *times, *person, *words])
    return folder / "manifest.csv"


def measure(folder: Path, utterances: int) -> Report:
    """Makes corpora in `folder` and goes the whole road with them.

    Raises: PreparationError where a stage fails, or what is loaded is not what was prepared.
    """
    if not LEAST <= utterances <= MOST:
        raise PreparationError(f"{utterances} utterances, expected {LEAST} to {MOST:,}")
    check_new(folder)
    data, out = folder / "data", folder / "results"
    counts = dict(zip(NAMES, (utterances, max(LEAST, utterances // 100)), strict=True))
    sources = {name: write_segments(folder / name, counts[name], i) for i, name in enumerate(NAMES)}

    def prepare(name: str) -> Process:
        words: list[str | Path] = [
            "prepare",
            "manifest",
            "--source",
            sources[name],
            "--name",
            name,
            "--data-dir",
            data,
        ]
        return monitor_code(CLI, *words)[0]

    def load() -> Process:
        process, said = monitor_code(LOAD, data)
        if (found := json.loads(said)[1]) != utterances:
            raise PreparationError(f"loaded {found} utterances, expected {utterances}")
        return process

    def experiment(module: str, *words: object) -> Process:
        return monitor([sys.executable, "-m", f"experiments.{module}", *map(str, words)])[0]

    prepare(NAMES[1])
    found = [
        prepare(NAMES[0]),
        load(),
        load(),
        experiment("crosslingual", "--corpora", *NAMES, "--data-dir", data, "--out", out, *EXPERIMENT),
        experiment("report", out),
        experiment("verify", out),
    ]
    stages = {stage.name: process for stage, process in zip(BOUNDS, found, strict=True)}
    return Report(processor(), devices.cores(), tuple(counts.values()), stages)


def broken(report: Report) -> list[str]:
    """What took more than it may, in words."""
    wrong = []
    for name, seconds in BOUNDS:
        process = report.stages[name]
        if process.seconds > seconds:
            wrong.append(f"{name}: {process.seconds:.0f} s, expected {seconds:.0f} s at most")
        peak = (process.peak or 0) / 1000
        if peak > MEMORY:
            wrong.append(f"{name}: {peak:.1f} GB, expected {MEMORY:.0f} GB at most")
    return wrong


def markdown(report: Report) -> str:
    """The report as a table and the sentences that say of what it is."""

    def memory(megabytes: float | None) -> str:
        return "?" if megabytes is None else f"{megabytes / 1000:.2f} GB"

    rows = [("", "time", "at most", "peak memory", "without mapped files")]
    for name, seconds in BOUNDS:
        one = report.stages[name]
        rows.append((name, f"{one.seconds:.1f} s", f"{seconds} s", memory(one.peak), memory(one.anonymous)))
    sizes = " and ".join(f"{count:,}" for count in report.utterances)
    return "\n".join(
        [
            aligned(rows),
            "",
            f"{report.device}, {report.cores} cores; {sizes} utterances of noise, one epoch of "
            "`experiments.crosslingual`, one seed. One measurement each, from the start of a process to its "
            f"end. Memory: resident, of all processes together, expected {MEMORY:.0f} GB at most; pages of "
            "mapped files are among it, which the system takes back when it needs them.",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Measures with the flags given and prints the table; ends with status 1 where a bound is broken."""
    parser = flags.Parser(prog="python -m experiments.bounds", description=__doc__)
    add = parser.add_argument
    size = flags.whole(LEAST, MOST)
    add("--utterances", type=size, default=UTTERANCES, metavar="N", help="of noise (default: 100,000)")
    add("--keep", type=flags.path, metavar="DIR", help="work in this new folder and leave everything there")
    add("--json", type=flags.new_file, metavar="FILE", help="write the report there as well")
    options = parser.parse_args(arguments)

    def work() -> int:
        with tempfile.TemporaryDirectory() as temporary:
            report = measure(options.keep or Path(temporary), options.utterances)
        print(markdown(report))
        if options.json is not None:
            write_json(options.json, dataclasses.asdict(report))
        wrong = broken(report)
        for sentence in wrong:
            print(sentence, file=sys.stderr)
        return 1 if wrong else 0

    run_script("bounds", work)


if __name__ == "__main__":
    main()
