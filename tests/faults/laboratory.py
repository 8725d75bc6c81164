"""Child processes that run one experiment, whatever is done to them.

Every child is forked from this process, which has imported everything and computed nothing, so that it costs
no start of Python.
"""

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}  # a process with threads is not forked
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
from matplotlib.figure import Figure
from pair import noise

from ser_jax import checkpoint, model, report  # noqa: F401  imported before the forks
from ser_jax.experiment import provenance, run
from ser_jax.experiment.command import main
from ser_jax.experiment.config import digest
from ser_jax.experiment.settings import finetuned
from ser_jax.features import LogMel

FLAGS = [
    *("--corpora", "one", "two", "--tasks", "arousal", "--seeds", "1", "--folds", "2", "--epochs", "3"),
    *("--finetune-samples", "10", "--finetune-epochs", "2", "--model", "probe"),
    *("--features.seconds", "0.6"),
    *("--compute.runs-at-once", "1", "--compute.devices", "1", "--compute.save-epochs", "1"),
]
SPARED = {"config.json", "report.html"}  # they tell when it was computed
PATIENCE = 300  # s
FIRST = "crosslingual-one-two-arousal"


class Ended(NamedTuple):
    """How a child ended: its exit status, less than 0 by a signal, and its standard error."""

    status: int
    said: str


class Laboratory:
    """Corpora, a cache of compiled programs, and children that run one experiment on them."""

    def __init__(self, folder: Path):
        self.folder, corpora = folder, noise("one", "two", frontend=LogMel(seconds=0.6))
        run.load = lambda name, *_: corpora[name]
        provenance.code_digest()  # remembered by all children
        Figure.savefig = lambda figure, file, **how: file.write(b"<svg/>")  # type: ignore[method-assign]
        self.wanted: dict[str, str] = {}
        self.wanted = self.ends_well("reference")
        before = time.monotonic()
        self.ends_well("again")
        self.seconds = time.monotonic() - before  # of an experiment whose programs are compiled

    def start(self, name: str, disturbed: Callable[[], Any] = lambda: None) -> int:
        """Start a child that runs the experiment into the folder `name`, after it has called `disturbed`."""
        log = self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        if child := os.fork():
            return child
        status: Any = 70
        try:
            os.setsid()
            for stream in (1, 2):
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            jax.config.update("jax_compilation_cache_dir", str(self.folder / "programs"))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
            disturbed()
            main("", "finetuning", finetuned, [*FLAGS, "--out", str(self.folder / name)])
        except SystemExit as end:
            status = end.code
            if status == 0:  # the child restores the models, since Orbax has threads
                (self.folder / f"{name}.json").write_text(json.dumps(digests(self.folder / name / "models")))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def said(self, name: str) -> str:
        """Return the output so far of the child that runs the experiment into the folder `name`."""
        log = self.folder / f"{name}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def wait(self, child: int, name: str) -> Ended:
        """Wait for the end of the child that runs the experiment into the folder `name`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return Ended(os.waitstatus_to_exitcode(status), self.said(name))
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise TimeoutError(f"{name}: not done after {PATIENCE} s")

    def ends_well(self, name: str) -> dict[str, str]:
        """Run it to the same end as the undisturbed experiment; return what it leaves."""
        ended = self.wait(self.start(name), name)
        assert ended.status == 0, ended
        found = self.outcome(name)
        wanted = self.wanted or found
        differing = {key for key in found.keys() | wanted if found.get(key) != wanted.get(key)}
        assert not differing, f"{name}: other {', '.join(sorted(differing))}"
        return found

    def outcome(self, name: str) -> dict[str, str]:
        """Return digests of everything that an experiment leaves and that does not tell when."""
        out = self.folder / name
        found = {
            str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(out.rglob("*"))
            if file.is_file() and "models" not in file.parts and file.name not in SPARED
        }
        document = json.loads((out / "config.json").read_text())
        found["config"] = digest({key: document[key] for key in document if key != "sessions"})
        return found | json.loads((self.folder / f"{name}.json").read_text())


def digests(models: Path) -> dict[str, str]:
    """Return digests of the models' arrays."""
    shapes, found = model.shapes(model.Probe(frames=60)), {}
    for place in models.iterdir():
        runs = 1 if place.name.startswith("crosslingual") else 2
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((runs, *leaf.shape), leaf.dtype), shapes)  # noqa: B023
        arrays = jax.tree.leaves(checkpoint.restore(place, like))
        found[f"models/{place.name}"] = hashlib.sha256(b"".join(map(bytes, arrays))).hexdigest()
    return found
