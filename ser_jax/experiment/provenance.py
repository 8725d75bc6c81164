"""Describe where results come from: the code they depend on, the machine, the versions, the commit."""

import ast
import functools
import hashlib
import inspect
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ser_jax
from ser_jax.devices import cores

VERSIONS = (
    "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "safetensors", "librosa", "soundfile", "torch",
)  # fmt: skip
ROOT = "ser_jax.experiment.run"
NEUTRAL = {  # imported by it, but no result depends on them: where things are, what computes, how it ends
    "ser_jax", "ser_jax.checkpoint", "ser_jax.data", "ser_jax.data.audio",
    "ser_jax.data.store", "ser_jax.devices", "ser_jax.errors", "ser_jax.io", "ser_jax.shutdown",
    "ser_jax.experiment", "ser_jax.experiment.provenance",
}  # fmt: skip


def describe_environment() -> dict[str, str | int | None]:
    """Return the device that JAX computes on, the processor's cores and the versions in use."""
    import jax

    device = jax.devices()[0]
    return {
        "backend": jax.default_backend(),
        "device": processor() if device.platform == "cpu" else device.device_kind,
        "cores": cores(),
        "python": platform.python_version(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        **{name: _version(name) for name in VERSIONS},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load() -> float:
    """Return the mean number of processes that ran or waited in the last minute."""
    return round(os.getloadavg()[0], 2)


def commit() -> str | None:
    """Return the commit of the source, with "+" if Python files were changed; None outside a checkout."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of the syntax trees of the modules that results depend on.

    Comments, docstrings, error messages and layout do not change it.
    """
    return _digest(_known()[name].read_text(encoding="utf-8") for name in modules())


def own_digest(values: Iterable[Any]) -> str:
    """Return the same of the user's modules that define functions or the classes of values; "" if none."""
    names = {getattr(value, "__module__", "ser_jax") for value in values}
    own = sorted(name for name in names if name.partition(".")[0] != "ser_jax")
    return _digest(map(_own_source, own)) if own else ""


def _own_source(name: str) -> str:
    try:
        return inspect.getsource(sys.modules[name])
    except (OSError, TypeError):  # typed into a console
        return ""


@functools.cache
def modules() -> tuple[str, ...]:
    """Return the names of the modules that `ROOT` imports, directly or not, except `NEUTRAL` ones."""
    found: set[str] = set()
    waiting = {ROOT}
    while waiting := (waiting & _known().keys()) - NEUTRAL - found:
        found |= waiting
        trees = (ast.parse(_known()[name].read_text(encoding="utf-8")) for name in waiting)
        nodes = [node for tree in trees for node in ast.walk(tree)]
        waiting = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return tuple(sorted(found))


@functools.cache
def _known() -> dict[str, Path]:
    """Return the package's modules by name."""
    root = Path(ser_jax.__file__).parent
    names = {file: file.relative_to(root.parent).with_suffix("").parts for file in root.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): file for file, parts in names.items()}


def _digest(sources: Iterable[str]) -> str:
    total = hashlib.sha256()
    for text in sources:
        total.update(ast.dump(_Bare().visit(ast.parse(text))).encode())
    return total.hexdigest()


class _Bare(ast.NodeTransformer):
    """Remove docstrings and other strings that stand alone, and what is raised."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if alone else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()
