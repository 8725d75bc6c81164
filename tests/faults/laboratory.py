"""Children that run one experiment, whatever is done to them.

Every child is forked from this process, which has imported everything and computed nothing, so that it costs
no start of Python.
"""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}  # a process with threads is not forked

import jax

from experiments import figures, page, protocol  # noqa: F401  imported before the forks
from experiments.finetuning import FINETUNED
from experiments.main import main as experiment
from ser_jax import model
from ser_jax.checkpoint import Series, digest, restore
from ser_jax.cli import main as ser_jax
from ser_jax.data import audio, beam, preparation  # noqa: F401
from ser_jax.model import ModelConfig

PAIR = ("synthetic_en", "synthetic_fr")
FLAGS = [
    *("--corpora", *PAIR, "--targets", "arousal", "--seeds", "1", "--folds", "2", "--epochs", "5"),
    *(
        "--finetune-samples",
        "15",
        "--finetune-epochs",
        "2",
        "--runs-at-once",
        "1",
        "--devices",
        "1",
        "--save-epochs",
        "1",
    ),
]
SPARED = {"protocol.json", "report.html"}  # they say when it was computed
PATIENCE = 300  # s
STACK = "unfinished/crosslingual-synthetic_en-synthetic_fr/host-0/stack-0"


def parameters(runs: int) -> Any:
    """The shapes of the stacked parameters of some runs."""
    own = model.shapes(ModelConfig())
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((runs, *leaf.shape), leaf.dtype), own)


class Ended(NamedTuple):
    """How a child ended: its exit status, less than 0 by a signal, and what it said on standard error."""

    status: int
    said: str


class Laboratory:
    """Speech, a cache of compiled programs, and children that run one experiment on them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._data = folder / "data"
        trees = str(folder / "trees")
        self.do(lambda: ser_jax(["synthesize", trees, "--utterances", "92"]))
        for name, builder, tree in zip(
            PAIR, ("iemocap", "recola"), ("IEMOCAP_full_release", "RECOLA"), strict=True
        ):
            flags = ["--source", f"{trees}/{tree}", "--name", name, "--data-dir", str(self._data)]
            self.do(lambda: ser_jax(["prepare", builder, *flags, "--workers", "1"]))  # noqa: B023
        self.run("reference")
        self.wanted = self.outcome("reference")
        self.seconds = self._timed()

    def _timed(self) -> float:
        """s that an experiment takes whose programs are compiled; it must end as the first one did."""
        before = time.monotonic()
        self.run("again")
        seconds = time.monotonic() - before
        self.same("again")
        return seconds

    def do(self, work: Callable[[], int]) -> None:
        """Has a child do it."""
        ended = self.wait(self.fork(work, self.folder / "preparing.log"), self.folder / "preparing.log")
        assert ended.status == 0, ended.said

    def fork(self, work: Callable[[], int], log: Path) -> int:
        """A child that does it and ends with what it returns; what it says goes to `log`."""
        child = os.fork()
        if child:
            return child
        status = 70
        try:
            os.setsid()
            to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(to, 1)
            os.dup2(to, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            jax.config.update("jax_compilation_cache_dir", str(self.folder / "programs"))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
            status = work()
        except SystemExit as end:
            status = end.code
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status if isinstance(status, int) else 71)

    def start(self, name: str, *flags: str, disturbed: Callable[[], Any] = lambda: None) -> int:
        """Starts the experiment into the folder `name`; `disturbed` is called in the child first."""

        def work() -> int:
            disturbed()
            out = ["--data-dir", str(self._data), "--out", str(self.folder / name)]
            experiment("", "finetuning", [FINETUNED], [*FLAGS, *out, *flags])
            return 0

        self.log(name).unlink(missing_ok=True)
        return self.fork(work, self.log(name))

    def log(self, name: str) -> Path:
        """Where a child's output goes."""
        return self.folder / f"{Path(name).name}.log"

    def said(self, name: str) -> str:
        """What the child that runs the experiment into the folder `name` has said so far."""
        log = self.log(name)
        return log.read_text(errors="replace") if log.exists() else ""

    def wait(self, child: int, log: Path) -> Ended:
        """How a child ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return Ended(os.waitstatus_to_exitcode(status), log.read_text(errors="replace"))
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise TimeoutError(f"{log}: not done after {PATIENCE} s")

    def ended(self, name: str, *flags: str, disturbed: Callable[[], Any] = lambda: None) -> Ended:
        """Runs the experiment into the folder `name`, to whatever end."""
        return self.wait(self.start(name, *flags, disturbed=disturbed), self.log(name))

    def run(self, name: str, *flags: str) -> Ended:
        """Runs the experiment to its end."""
        ended = self.ended(name, *flags)
        assert ended.status == 0, ended
        return ended

    def outcome(self, name: str) -> dict[str, str]:
        """SHA-256 of all that an experiment leaves and that does not say when it was made."""
        out = self.folder / name
        found = {
            str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(out.rglob("*"))
            if file.is_file() and "models" not in file.parts and file.name not in SPARED
        }
        document = json.loads((out / "protocol.json").read_text())
        found["protocol"] = protocol.sha256({key: document[key] for key in document if key != "sessions"})
        return found | self._parameters(out / "models")

    def _parameters(self, models: Path) -> dict[str, str]:
        """Of the arrays as they are read, by a child: Orbax has threads."""
        said = self.folder / "parameters"

        def work() -> int:
            places = {place: 1 if place.name.startswith("crosslingual") else 2 for place in models.iterdir()}
            digests = {
                f"models/{place.name}": digest(restore(place, parameters(runs)))
                for place, runs in places.items()
            }
            said.write_text(json.dumps(digests))
            return 0

        self.do(work)
        return json.loads(said.read_text())

    def same(self, name: str) -> None:
        """Whether an experiment ended as the undisturbed one."""
        found = self.outcome(name)
        differing = {
            key for key in found.keys() | self.wanted.keys() if found.get(key) != self.wanted.get(key)
        }
        assert not differing, f"{name}: other {', '.join(sorted(differing))}"


def refused(ended: Ended, *sentences: str) -> None:
    """Status 2, and one sentence that says all of this."""
    assert ended.status == 2, ended
    assert "Traceback" not in ended.said, ended.said
    last = ended.said.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("experiments.finetuning: "), ended.said
    for sentence in sentences:
        assert sentence in last, (sentence, last)


def ends_well(lab: Laboratory, name: str) -> Ended:
    """It goes on to the same end."""
    ended = lab.run(name)
    lab.same(name)
    return ended


def until(there: Callable[[], bool]) -> None:
    """Waits for it."""
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def begun(lab: Laboratory, name: str, after: int) -> Path:
    """An experiment that was killed once its first stack had been saved so often; the stack's folder."""

    def disturbed() -> None:
        own = Series.save

        def save(self, number, tree):
            if number > after and "stack-0" in str(self._folder):
                self.close()  # the ones before are finished
                os.kill(os.getpid(), signal.SIGKILL)
            own(self, number, tree)

        Series.save = save

    assert lab.ended(name, disturbed=disturbed).status == -signal.SIGKILL
    place = lab.folder / name / STACK
    assert sorted(one.name for one in place.iterdir()) == [str(after - 1), str(after)]
    return place
