"""How fast a recogniser answers: one utterance, a fresh program, an hour of speech.

    python -m experiments.recognition                      # the model that comes with the package; a minute
    python -m experiments.recognition --model my-model     # another; the time depends on targets and seeds

Every measurement is of a fresh process that may use one core (the first start of a program also of one that
may use all), on noise whose level changes like speech's.
"""

import dataclasses
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from experiments.markdown import aligned
from ser_jax import devices, flags
from ser_jax.benchmark.monitor import Process, monitor_code
from ser_jax.data.logmel import RATE, SECONDS
from ser_jax.errors import UserError
from ser_jax.experiment import provenance
from ser_jax.io import write_json
from ser_jax.shutdown import run_script

CALLS = 100  # of a warm recogniser
STARTS = 5  # of the program
GOALS = {"utterance": 0.010, "start": 3.0, "hour": 10.0}  # s

# Each child keeps to one core before any library starts its threads.
ONE_CORE = "import os, sys; os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}); "
ANSWERS = """
import json, time
import numpy as np
from ser_jax.recognizer import Recognizer
recognizer, samples = Recognizer.load(sys.argv[1] or None), np.load(sys.argv[2])
recognizer(samples, 16000)
seconds = []
for _ in range(int(sys.argv[3])):
    start = time.perf_counter()
    recognizer(samples, 16000)
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""
HOUR = """
import time
from ser_jax.recognizer import Recognizer
recognizer = Recognizer.load(sys.argv[1] or None)
recognizer(sys.argv[3])
start = time.perf_counter()
recognizer(sys.argv[2])
print(time.perf_counter() - start)
"""
START = """
import sys
from ser_jax.cli import main
sys.exit(main(["predict", *(["--model", sys.argv[1]] if sys.argv[1] else []), sys.argv[2]]))
"""


class RecognitionError(UserError):
    """A machine on which this cannot be measured."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured, s.

    Attributes:
      device, cores, load: of the machine; the last minute's load before.
      utterance: every call of a warm recogniser, 7.5 s of samples to the answer, on one core.
      start, start_alone: every run of `ser-jax predict` on a file of 3 s, with all cores and with one.
      hour: from a WAV file of an hour to the answer, warm, on one core.
      memory: MB, resident at most, of the process that heard the hour.
    """

    device: str
    cores: int
    load: float | None
    utterance: list[float]
    start: list[float]
    start_alone: list[float]
    hour: float
    memory: float | None


def measure(folder: Path, model: str) -> Report:
    """Measures everything once.

    Args:
      folder: for recordings of noise.
      model: a recogniser's folder; "" for the demonstration.
    Raises: RecognitionError where a process cannot be kept to one core.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise RecognitionError("this system keeps no process to one core, expected Linux")
    load = provenance.load()
    np.save(folder / "utterance.npy", _speech(SECONDS))
    short, hour = _recording(folder / "short.wav", 3), _recording(folder / "hour.wav", 3600)
    utterance = json.loads(monitor_code(ONE_CORE + ANSWERS, model, folder / "utterance.npy", CALLS)[1])
    start, start_alone = [], []
    for _ in range(STARTS):
        start.append(monitor_code(START, model, short)[0].seconds)
        start_alone.append(monitor_code(ONE_CORE + START, model, short)[0].seconds)
    heard: Process
    heard, seconds = monitor_code(ONE_CORE + HOUR, model, hour, short)
    return Report(
        provenance.processor(),
        devices.cores(),
        load,
        utterance,
        start,
        start_alone,
        float(seconds),
        heard.peak,
    )


def _speech(seconds: float) -> np.ndarray:
    draw = np.random.default_rng(0)
    level = 10 ** draw.uniform(-3, -0.5, round(seconds * 5))
    return np.repeat(level, RATE // 5)[: round(seconds * RATE)] * draw.uniform(-1, 1, round(seconds * RATE))


def _recording(path: Path, seconds: int) -> Path:
    import soundfile

    soundfile.write(path, _speech(seconds), RATE)
    return path


def markdown(report: Report) -> str:
    """The report as a table and the sentence that says of what it is."""
    call, slow = np.percentile(report.utterance, [50, 95]) * 1000
    memory = "?" if report.memory is None else f"{report.memory:.0f} MB"
    utterance, start, hour = 1000 * GOALS["utterance"], GOALS["start"], GOALS["hour"]
    answer = "7.5 s of samples to the answer, warm, one core"
    table = [
        ["", "measured", "goal"],
        [answer, f"{call:.1f} ms (95 %: {slow:.1f} ms)", f"{utterance:.0f} ms"],
        ["`ser-jax predict` on 3 s, all cores", _middle(report.start), f"{start:.0f} s"],
        ["the same on one core", _middle(report.start_alone), f"{start:.0f} s"],
        ["an hour of speech in a file, one core", f"{report.hour:.1f} s, {memory}", f"{hour:.0f} s"],
    ]
    return (
        f"{aligned(table)}\n\n{report.device}, {report.cores} cores; medians of {len(report.utterance)} "
        f"calls and {len(report.start)} starts, the hour once."
    )


def _middle(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def main(arguments: list[str] | None = None) -> None:
    """Measures with the flags given and prints the table."""
    parser = flags.Parser(prog="python -m experiments.recognition", description=__doc__)
    parser.add_argument("--model", type=flags.folder, help="a folder that ser-jax train wrote")
    parser.add_argument("--json", type=flags.new_file, metavar="FILE", help="write the report there as well")
    options = parser.parse_args(arguments)

    def work() -> None:
        with tempfile.TemporaryDirectory() as temporary:
            model = "" if options.model is None else str(options.model.absolute())
            report = measure(Path(temporary), model)
        print(markdown(report))
        if provenance.busy(report.load):
            print(f"other work was felt (load {report.load} before)", file=sys.stderr)
        if options.json is not None:
            write_json(options.json, dataclasses.asdict(report))

    run_script("recognition", work)


if __name__ == "__main__":
    main()
