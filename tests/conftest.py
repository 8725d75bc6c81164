"""Settings every test runs under."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# What is made once in a session, for all workers and the processes that tests start.
if "SER_JAX_SHARED" not in os.environ:
    os.environ["SER_JAX_SHARED"] = tempfile.mkdtemp(prefix="shared-")
    atexit.register(shutil.rmtree, os.environ["SER_JAX_SHARED"], ignore_errors=True)
# Programs are compiled once. Workers do not share them: JAX does not write these files atomically.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{os.environ['SER_JAX_SHARED']}/programs")
if "PYTEST_XDIST_WORKER" in os.environ:
    own = Path(os.environ["JAX_COMPILATION_CACHE_DIR"]) / os.environ["PYTEST_XDIST_WORKER"]
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(own)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
from jaxtyping import install_import_hook

install_import_hook("ser_jax", "shapes.check")  # before anything imports ser_jax

# A process in the background may ignore Ctrl-C, which tests send to programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Failed assertions in modules that tests share are explained as in the tests themselves.
pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("*.py")))
jax.config.update("jax_numpy_rank_promotion", "raise")
settings.register_profile("ser_jax", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ser_jax")


def _optimise(programs):
    jax.config.update("jax_disable_most_optimizations", not programs)
    jax.clear_caches()  # it does not distinguish how programs were compiled


@pytest.fixture(scope="module")
def hastily():
    """Compile in half the time, to slower programs, which pays off if they run a few steps."""
    _optimise(False)
    yield
    _optimise(True)


@pytest.fixture
def optimised(hastily):
    """Compile as users do, in one test of a module that uses `hastily`."""
    _optimise(True)
    yield
    _optimise(False)


@pytest.fixture(scope="module")
def undrawn():
    """Save empty figures: drawing them takes half the time of a small experiment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda figure, file, **how: file.write(b"<svg/>"))
        yield


LONGEST = (
    "test_documentation.py", "test_faults.py", "test_command.py", "test_engine.py", "test_run.py",
    "test_benchmark.py", "test_train.py", "test_examples.py", "test_training_recogniser.py", "test_resume.py",
    "test_export.py", "test_model.py", "test_augment.py", "test_packaging.py", "test_server.py",
    "test_server_page.py", "test_predict.py", "test_page.py", "test_documentation_built.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Start with the files that take longest, so that workers end together."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))
