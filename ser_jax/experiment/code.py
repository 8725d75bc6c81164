"""A digest of the code that results depend on, which does not change with comments, docstrings or layout."""

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Iterable
from pathlib import Path

import ser_jax

ROOTS = ("ser_jax.engine", "ser_jax.features", "ser_jax.probe", "ser_jax.experiment.settings")
NEUTRAL = {  # modules that these import and that change no result: where things lie, how errors are worded
    "ser_jax", "ser_jax.errors", "ser_jax.io", "ser_jax.devices", "ser_jax.data.store", "ser_jax.data.cache",
    "ser_jax.data", "ser_jax.data.audio",
}  # fmt: skip


def code_digest(own: Iterable[type] = ()) -> str:
    """Return the SHA-256 of the syntax trees of all modules that results depend on, without docstrings.

    Args:
      own: classes from outside the package, whose source counts as well.
    """
    total = hashlib.sha256()
    for text in [*map(_source, modules()), *(textwrap.dedent(inspect.getsource(one)) for one in own)]:
        total.update(_bare(text).encode())
    return total.hexdigest()


@functools.cache
def modules() -> tuple[str, ...]:
    """Return the names of the modules that `ROOTS` import, directly or not, apart from `NEUTRAL` ones."""
    found: set[str] = set()
    waiting = [*ROOTS, *(name for name in _known() if name.startswith("ser_jax.features."))]
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


def _source(name: str) -> str:
    return _known()[name].read_text(encoding="utf-8")


def _imports(name: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(_source(name))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & _known().keys()


def _bare(text: str) -> str:
    """Return the syntax tree of a source without docstrings, as text."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] if isinstance(first.value.value, str) else node.body
    return ast.dump(tree)
