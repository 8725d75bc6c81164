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

import argparse
import json
import os
import shlex
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

from experiments import environment, protocol  # noqa: E402
from ser_jax import flags  # noqa: E402
from ser_jax.cli import guarded  # noqa: E402
from ser_jax.errors import UserError  # noqa: E402
from ser_jax.whole import new_file  # noqa: E402

ACTED = "--corpora ravdess emodb"
CLI = "import sys; from ser_jax.cli import main; sys.exit(main())"
PICTURES = ("learning_curve.png", "attention.png")


class Options(NamedTuple):
    """Where prepared corpora, results and databases as released lie; the last may be None."""

    data_dir: Path | None
    out: Path
    sources: Path | None


class Measurement(NamedTuple):
    """What is run, and what its results say.

    Attributes:
      commands: as anybody would type them; flags that say where things lie are added.
      gather: from its folder to values.
      resumes: whether its commands go on from what is there, and say in protocol.json when they did what.
    """

    commands: tuple[str, ...]
    gather: Callable[[Path], dict[str, Any]]
    resumes: bool = False


def _table2(flags: str, gather: Callable[[Path], dict[str, Any]]) -> Measurement:
    return Measurement((f"python -m experiments.table2 {ACTED} {flags}",), gather, True)


MEASUREMENTS = {
    "demo": Measurement(("make demo",), gathering.demo),
    "acted": Measurement(
        tuple(
            f"python -m experiments.{script} {ACTED}"
            for script in (
                "table2", "learning_curve", "english_1308", "related", "attention_over_time", "speech_onset",
            )
        ),
        gathering.acted,
        True,
    ),
    "standardize-none": _table2("--standardize none", gathering.standardize),
    "standardize-train": _table2("--standardize train", gathering.standardize),
    "standardize-speaker": _table2("--standardize speaker", gathering.standardize),
    "bfloat16": _table2("--precision bfloat16", gathering.bfloat16),
    "tuning": Measurement((f"python -m experiments.tuning --seeds 1 {ACTED}",), gathering.tuning, True),
    "recognizer": Measurement((f"ser-jax train {ACTED}",), benchmarks.recognizer),
    "audit": Measurement(("ser-jax audit ravdess", "ser-jax audit emodb"), benchmarks.audit),
    "throughput": Measurement(("python -m experiments.throughput",), benchmarks.throughput),
    "recognition": Measurement(("python -m experiments.recognition",), benchmarks.recognition),
    "preparation": Measurement(("python -m experiments.preparation",), benchmarks.preparation),
    "bounds": Measurement(("python -m experiments.bounds",), benchmarks.bounds),
}  # fmt: skip


class MeasureError(UserError):
    """A measurement that could not be made."""


def measure(name: str, options: Options) -> dict[str, Any]:
    """Runs what is missing of one measurement.

    Returns: its entry of docs/measured.json.
    Raises: UserError where a command fails, or its results lack something.
    """
    one, folder, note = MEASUREMENTS[name], options.out / name, options.out / f"{name}.json"
    if not note.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        before, started = time.perf_counter(), datetime.now(UTC)
        for command in one.commands:
            run(name, command, options)
        if not one.resumes:
            where = environment.described()
            told = {"date": started.strftime("%Y-%m-%d"), "commit": protocol.commit()}
            told |= {key: where[key] for key in ("device", "cores", "jax")}
            told |= {"torch": where["torch"]} if name == "throughput" else {}
            with new_file(note) as stream:
                stream.write(json.dumps(told | {"seconds": round(time.perf_counter() - before, 1)}).encode())
    told = gathering.sessions(folder) if one.resumes else json.loads(note.read_text())
    values = one.gather(folder)
    seconds = told.pop("seconds", None)
    if name == "demo":
        values["seconds"] = seconds
    return {"commands": list(one.commands), **told, "values": gathering.rounded(values)}


def run(name: str, command: str, options: Options) -> None:
    """Runs a command of a measurement, with flags that say where things lie; what it prints is shown."""
    folder = options.out.absolute() / name
    program, *words = command.split()
    place = ["--data-dir", str(options.data_dir.absolute())] if options.data_dir and ACTED in command else []
    into, environ = None, os.environ | {"PYTHONPATH": str(ROOT)}
    if program == "make":
        bin_dir = f"BIN={Path(sys.executable).parent}"
        line = ["make", "--old-file", ".venv/installed", *words, f"DEMO={folder}", bin_dir]
    elif words[0] == "audit":
        folder.mkdir(parents=True, exist_ok=True)
        source = options.sources.absolute() / words[1]
        into = folder / f"{words[1]}.json"
        line = [sys.executable, "-c", CLI, *words, "--source", str(source), "--json"]
    elif program == "ser-jax":
        folder.mkdir(parents=True, exist_ok=True)
        line = [sys.executable, "-c", CLI, *words, *place, "--out", str(folder / "model")]
    elif MEASUREMENTS[name].resumes and "speech_onset" not in command:
        line = [sys.executable, *words, *place, "--out", str(folder)]
    else:
        folder.mkdir(parents=True, exist_ok=True)
        file = "onset.json" if "speech_onset" in command else "report.json"
        line = [sys.executable, *words, *place, "--json", str(folder / file)]
    print(f"\n{name}: {command}", flush=True)
    done = subprocess.run(line, cwd=ROOT, env=environ, stdout=None if into is None else subprocess.PIPE)
    if done.returncode:
        raise MeasureError(f"{shlex.join(line)} ended with status {done.returncode}, expected 0")
    if into is not None:
        with new_file(into) as stream:
            stream.write(done.stdout)


def keep(found: dict[str, Any], file: Path) -> None:
    """Writes measured.json, in the order of the measurements."""
    ordered = {name: found[name] for name in MEASUREMENTS if name in found}
    with new_file(file) as stream:
        stream.write((json.dumps(ordered, indent=1, allow_nan=False) + "\n").encode())


def main(arguments: list[str] | None = None) -> int:
    """Measures with the flags given, and writes what was found."""
    parser = argparse.ArgumentParser(
        prog="python docs/measure.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
            except (UserError, OSError, ValueError, KeyError) as error:
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr, flush=True)
        keep(found, file)
        for picture in PICTURES if "acted" in wanted and "acted" not in failed else ():
            with new_file(ROOT / "docs" / picture) as stream:
                stream.write((options.out / "acted" / picture).read_bytes())
        for change in places.write(ROOT):
            print(places.told(change))
        if failed:
            print(f"not measured, and left as they were: {', '.join(failed)}", file=sys.stderr)
        return 1 if failed else 0

    return guarded("docs/measure.py", work, "interrupted; the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
