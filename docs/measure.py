"""Measures every figure of README.md and docs/ and writes them into their places.

    make figures FLAGS="--data-dir data"                        # hours, on two cores
    make figures FLAGS="--data-dir data --only throughput bounds"

Runs what is missing below --out, each measurement in a folder of its name, and takes up what is there:
experiments go on from it, other measurements are made again once their note, NAME.json, is deleted. Then
writes docs/measured.json, docs/learning_curve.png and docs/attention.png, and all marked places. One that
fails is named, the others are written, and the status is 1.

`ravdess` and `emodb` are to be prepared in --data-dir. The audit of their recordings is measured where
--sources says in which folder the databases lie.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import places  # noqa: E402
from figures import benchmarks, gathering  # noqa: E402

from ser_jax import flags  # noqa: E402
from ser_jax.errors import UserError  # noqa: E402
from ser_jax.experiment import provenance  # noqa: E402
from ser_jax.io import atomic_file, write_json  # noqa: E402
from ser_jax.shutdown import run_cli  # noqa: E402

ACTED = "--corpora ravdess emodb"
PROGRAMS = {  # as they are called here: by this Python, and with no installation
    "make": ["make", "--old-file", ".venv/installed", f"BIN={Path(sys.executable).parent}"],
    "python": [sys.executable],
    "ser-jax": [sys.executable, "-m", "ser_jax"],
}
PICTURES = ("learning_curve.png", "attention.png")


class MeasureError(UserError):
    """A measurement that could not be made."""


class Options(NamedTuple):
    """Where prepared corpora, results and databases as released lie; the first and last may be None."""

    data_dir: Path | None
    out: Path
    sources: Path | None


class Command(NamedTuple):
    """One step of a measurement.

    Attributes:
      typed: as anybody would type it.
      places: (folder of the measurement, options) -> the flags that say where things lie here.
      printed: the file of the folder that keeps what it prints; None where that is only shown.
    """

    typed: str
    places: Callable[[Path, Options], list[str]]
    printed: str | None = None


class Measurement(NamedTuple):
    """What is run, and what its results say.

    Attributes:
      commands: one after the other.
      gather: from its folder to values.
      resumes: whether its commands go on from what is there, and say in protocol.json when they did what.
    """

    commands: tuple[Command, ...]
    gather: Callable[[Path], dict[str, Any]]
    resumes: bool = False


def _data(options: Options) -> list[str]:
    return [] if options.data_dir is None else ["--data-dir", str(options.data_dir.absolute())]


def _experiment(typed: str) -> Command:
    """A script that goes on from what its folder holds."""
    return Command(
        f"python -m experiments.{typed}", lambda folder, options: [*_data(options), "--out", str(folder)]
    )


def _benchmark(name: str) -> Command:
    """A script that writes its numbers as JSON."""
    return Command(
        f"python -m experiments.{name}", lambda folder, options: ["--json", str(folder / "report.json")]
    )


def _audit(database: str) -> Command:
    def places(folder: Path, options: Options) -> list[str]:
        if options.sources is None:
            raise MeasureError("no --sources, expected the folder that holds ravdess and emodb as released")
        return ["--source", str(options.sources.absolute() / database), "--json"]

    return Command(f"ser-jax audit {database}", places, printed=f"{database}.json")


def _table2(flags: str, gather: Callable[[Path], dict[str, Any]]) -> Measurement:
    return Measurement((_experiment(f"table2 {ACTED} {flags}"),), gather, True)


TRAINED = ("table2", "learning_curve", "english_1308", "related", "attention_over_time")
ONSET = Command(
    f"python -m experiments.speech_onset {ACTED}",
    lambda folder, options: [*_data(options), "--json", str(folder / "onset.json")],
)
RECOGNISER = Command(
    f"ser-jax train {ACTED}", lambda folder, options: [*_data(options), "--out", str(folder / "model")]
)
MEASUREMENTS = {
    "demo": Measurement((Command("make demo", lambda folder, options: [f"DEMO={folder}"]),), gathering.demo),
    "acted": Measurement(
        (*(_experiment(f"{script} {ACTED}") for script in TRAINED), ONSET), gathering.acted, True
    ),
    "standardize-none": _table2("--standardize none", gathering.standardize),
    "standardize-train": _table2("--standardize train", gathering.standardize),
    "standardize-speaker": _table2("--standardize speaker", gathering.standardize),
    "bfloat16": _table2("--precision bfloat16", gathering.bfloat16),
    "tuning": Measurement((_experiment(f"tuning --seeds 1 {ACTED}"),), gathering.tuning, True),
    "recognizer": Measurement((RECOGNISER,), benchmarks.recognizer),
    "audit": Measurement((_audit("ravdess"), _audit("emodb")), benchmarks.audit),
    "throughput": Measurement((_benchmark("throughput"),), benchmarks.throughput),
    "recognition": Measurement((_benchmark("recognition"),), benchmarks.recognition),
    "preparation": Measurement((_benchmark("preparation"),), benchmarks.preparation),
    "bounds": Measurement((_benchmark("bounds"),), benchmarks.bounds),
}


def measure(name: str, options: Options) -> dict[str, Any]:
    """Runs what is missing of one measurement.

    Returns: its entry of docs/measured.json.
    Raises: MeasureError where a command fails; what `gather` raises where its results lack something;
      ValueError where a value is no number.
    """
    one, folder, note = MEASUREMENTS[name], options.out / name, options.out / f"{name}.json"
    if not note.exists():
        if not one.resumes:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        before, started = time.perf_counter(), datetime.now(UTC)
        for command in one.commands:
            run(name, command, options)
        if not one.resumes:
            where = provenance.describe_environment()
            told = {"date": started.strftime("%Y-%m-%d"), "commit": provenance.commit()}
            told |= {key: where[key] for key in ("device", "cores", "jax")}
            told |= {"torch": where["torch"]} if name == "throughput" else {}
            write_json(note, told | {"seconds": round(time.perf_counter() - before, 1)})
    told = gathering.sessions(folder) if one.resumes else json.loads(note.read_text())
    values = one.gather(folder)
    seconds = told.pop("seconds", None)
    if name == "demo":
        values["seconds"] = seconds
    entry = {"commands": [command.typed for command in one.commands], **told}
    entry["values"] = gathering.rounded(values)
    json.dumps(entry, allow_nan=False)
    return entry


def run(name: str, command: Command, options: Options) -> None:
    """Runs a command of a measurement, with flags that say where things lie; what it prints is shown."""
    folder = options.out.absolute() / name
    program, *words = command.typed.split()
    line = [*PROGRAMS[program], *words, *command.places(folder, options)]
    kept = None if command.printed is None else folder / command.printed
    print(f"\n{name}: {command.typed}", flush=True)
    done = subprocess.run(
        line,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=None if kept is None else subprocess.PIPE,
    )
    if done.returncode:
        raise MeasureError(f"{shlex.join(line)} ended with status {done.returncode}, expected 0")
    if kept is not None:
        with atomic_file(kept) as stream:
            stream.write(done.stdout)


def keep(found: dict[str, Any], file: Path) -> None:
    """Writes measured.json, in the order of the measurements."""
    ordered = {name: found[name] for name in MEASUREMENTS if name in found}
    write_json(file, ordered)


def main(arguments: list[str] | None = None) -> int:
    """Measures with the flags given, and writes what was found."""
    parser = flags.Parser(prog="python docs/measure.py", description=__doc__)
    add = parser.add_argument
    add("--data-dir", type=flags.folder, metavar="DIR", help="where ravdess and emodb were prepared")
    add(
        "--out",
        type=flags.folder,
        default=Path("results/figures"),
        metavar="DIR",
        help="(default: %(default)s)",
    )
    add("--sources", type=flags.folder, metavar="DIR", help="holds ravdess and emodb, as they were released")
    names = list(MEASUREMENTS)
    add("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)} (default: all)")
    asked = parser.parse_args(arguments)
    options = Options(asked.data_dir, asked.out, asked.sources)

    def work() -> int:
        file = ROOT / "docs" / places.MEASURED
        found = places.measured(ROOT) if file.exists() else {}
        wanted, failed = asked.only or names, []
        if "audit" in wanted and options.sources is None and not (options.out / "audit.json").exists():
            print("audit: stays as it was measured before; --sources measures it", flush=True)
            wanted = [name for name in wanted if name != "audit"]
        for name in wanted:
            try:
                found[name] = measure(name, options)
            except (UserError, OSError, ArithmeticError, LookupError, TypeError, ValueError) as error:
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr, flush=True)
        keep(found, file)
        for picture in PICTURES if "acted" in wanted and "acted" not in failed else ():
            with atomic_file(ROOT / "docs" / picture) as stream:
                stream.write((options.out / "acted" / picture).read_bytes())
        for change in places.write(ROOT):
            print(places.told(change))
        if failed:
            print(f"not measured, and left as they were: {', '.join(failed)}", file=sys.stderr)
        return 1 if failed else 0

    return run_cli("docs/measure.py", work, "interrupted; the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
