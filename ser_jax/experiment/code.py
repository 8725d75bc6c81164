"""A digest of the code that results depend on, which changes neither with sentences nor with layout."""

import ast
import functools
import hashlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ser_jax

ROOT = "ser_jax.experiment.run"
NEUTRAL = {  # imported by it, but no result depends on them: where things lie, what computes, how it ends
    "ser_jax", "ser_jax.checkpoint", "ser_jax.data", "ser_jax.data.audio",
    "ser_jax.data.store", "ser_jax.devices", "ser_jax.errors", "ser_jax.io", "ser_jax.shutdown",
    "ser_jax.experiment", "ser_jax.experiment.code", "ser_jax.experiment.lock",
    "ser_jax.experiment.provenance", "ser_jax.experiment.results", "ser_jax.experiment.resume",
}  # fmt: skip


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of the syntax trees of the package's modules that results depend on."""
    return _digest(_known()[name].read_text(encoding="utf-8") for name in modules())


def own_digest(values: Iterable[Any]) -> str:
    """Return the same of the modules that define functions or the classes of values; "" if all are ours."""
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
    """Return the names of the modules that `ROOT` imports, directly or not, apart from `NEUTRAL` ones."""
    found: set[str] = set()
    waiting = [ROOT]
    while waiting:
        name = waiting.pop()
        if name not in found | NEUTRAL:
            found.add(name)
            waiting += _imports(name)
    return tuple(sorted(found))


@functools.cache
def _known() -> dict[str, Path]:
    """Return the package's modules by name."""
    root = Path(ser_jax.__file__).parent
    names = {file: file.relative_to(root.parent).with_suffix("").parts for file in root.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): file for file, parts in names.items()}


def _imports(name: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(_known()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & _known().keys()


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
