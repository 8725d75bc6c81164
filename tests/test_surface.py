"""What stands in the source of every public function, and what users may rely on: `ser_jax` itself."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import ser_jax

ROOT = Path(__file__).parents[1]
ARRAY = re.compile(r"\b(ndarray|Array|ArrayLike|Gathered)\b")  # as annotations name them
SHAPE = re.compile(r"\[[^\[\]\n]*\]|\bas of `\w+`")


class Symbol(NamedTuple):
    """A module, class or function as it stands in a file."""

    name: str
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    public: bool
    lines: list[str]

    @property
    def doc(self):
        return ast.get_docstring(self.node) or ""

    @property
    def source(self):
        """The docstring, and comments beside the fields of a class."""
        fields = self.node.body if isinstance(self.node, ast.ClassDef) else []
        return "\n".join(
            [self.doc, *(self.lines[one.end_lineno - 1] for one in fields if isinstance(one, ast.AnnAssign))]
        )

    @property
    def is_function(self):
        return isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef)


def within(name, node, public, lines):
    """A symbol and all in it; private is what is called so, and all that a function holds."""
    yield Symbol(name, node, public, lines)
    inner = public and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            shown = not child.name.startswith("_") or child.name == "__call__"
            yield from within(f"{name}.{child.name}", child, inner and shown, lines)
        elif isinstance(child, ast.stmt):
            yield from list(within(name, child, inner, lines))[1:]


@cache
def symbols():
    found = []
    for path in sorted((ROOT / "ser_jax").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        is_public = not any(part.startswith("_") for part in name.split("."))
        found += within(name, ast.parse(text := path.read_text()), is_public, text.splitlines())
    return found


def public():
    return [symbol for symbol in symbols() if symbol.public]


def parameters(node):
    known = node.args
    every = [*known.posonlyargs, *known.args, known.vararg, *known.kwonlyargs, known.kwarg]
    return [one for one in every if one is not None and one.arg not in ("self", "cls")]


def has_arrays(symbol):
    """Whether a function takes or returns arrays, or a class holds any, by its annotations."""
    if symbol.is_function:
        kinds = [one.annotation for one in parameters(symbol.node) if one.arg != "key"] + [
            symbol.node.returns
        ]
    else:
        fields = [one for one in getattr(symbol.node, "body", []) if isinstance(one, ast.AnnAssign)]
        kinds = [one.annotation for one in fields if not one.target.id.startswith("_")]
    shown = [ast.unparse(kind) for kind in kinds if kind is not None]
    return any(ARRAY.search(kind) and not kind.startswith("dict") for kind in shown)


def test_whatever_is_public_has_a_docstring():
    assert not [symbol.name for symbol in public() if not symbol.doc]


def test_every_parameter_and_result_has_a_type():
    untyped = [
        f"{symbol.name}: {one.arg}"
        for symbol in symbols()
        if symbol.is_function
        for one in parameters(symbol.node)
        if one.annotation is None
    ]
    results = [
        s.name for s in symbols() if s.is_function and s.node.returns is None and "__init__" not in s.name
    ]
    assert not untyped + results


def test_docstrings_give_the_shapes_of_arrays():
    """Their own, or those of the class, module or interface that they belong to."""
    docs, named = {symbol.name: symbol.source for symbol in public()}, {}
    for symbol in public():
        named.setdefault(symbol.name.rpartition(".")[2], []).append(symbol.doc)

    def texts(name):
        above, _, own = name.rpartition(".")
        return [docs[name], docs[above], docs.get(above.rpartition(".")[0], ""), *named[own]]

    arrays = [symbol.name for symbol in public() if has_arrays(symbol)]
    assert len(arrays) > 150
    assert [name for name in arrays if not SHAPE.search(" ".join(texts(name)))] == []


def documented_names():
    page = ser_jax.__doc__.partition("The public interface")[2]
    return {
        name for line in re.findall(r"^    (\S.*?)   ", page, re.M) for name in re.split(r", ", line.strip())
    }


def test_the_front_page_lists_every_name_and_no_other():
    assert documented_names() == set(ser_jax.__all__)
    assert ser_jax.__all__ == sorted(ser_jax.__all__)
    assert dir(ser_jax) == sorted([*ser_jax.__all__, "__version__"])


def test_a_type_checker_sees_the_same_names():
    [block] = [node for node in ast.parse(inspect.getsource(ser_jax)).body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert set(seen) == set(ser_jax.__all__)
    for name, home in seen.items():
        own = getattr(importlib.import_module(home), name)
        assert getattr(ser_jax, name) is own


@pytest.mark.parametrize("name", ser_jax.__all__)
def test_every_name_is_documented_and_hides_no_module(name):
    assert inspect.getdoc(getattr(ser_jax, name))
    hidden = (ROOT / "ser_jax" / name).with_suffix(".py").exists() or (ROOT / "ser_jax" / name).is_dir()
    assert hidden == inspect.ismodule(getattr(ser_jax, name))


def test_the_star_brings_the_names_alone():
    found = {}
    exec("from ser_jax import *", found)
    assert set(found) - {"__builtins__"} == set(ser_jax.__all__)


def test_a_name_that_is_not_there_is_missed_in_the_usual_words():
    with pytest.raises(AttributeError, match=r"^module 'ser_jax' has no attribute 'nonsense'$"):
        _ = ser_jax.nonsense


def test_importing_it_imports_nothing():
    code = "import sys; before = set(sys.modules); import ser_jax; print(*(set(sys.modules) - before))"
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    ours = {name for name in found if name.startswith("ser_jax")}
    assert ours == {"ser_jax"}
    assert {name.partition(".")[0] for name in found} - ours <= sys.stdlib_module_names


def snippets():
    """The README's Python, those of it that use the package."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    return [block for block in blocks if "ser_jax" in block]


def used(code):
    """What of ours a piece of code uses: names it imports, and attributes of modules it imports."""
    tree, names = ast.parse(code), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("ser_jax"):
            home = importlib.import_module(node.module)
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                known = whole in {symbol.name for symbol in symbols() if isinstance(symbol.node, ast.Module)}
                found = importlib.import_module(whole) if known else getattr(home, alias.name)
                names[alias.asname or alias.name] = found
    modules = {name: found for name, found in names.items() if inspect.ismodule(found)}
    attributes = {
        f"{node.value.id}.{node.attr}": getattr(modules[node.value.id], node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    }
    return attributes | {name: found for name, found in names.items() if name not in modules}


def test_the_readme_needs_no_other_names():
    relied_on = [getattr(ser_jax, name) for name in ser_jax.__all__]
    found = [used(code) for code in snippets()]
    assert found
    assert all(found)
    assert not [
        name for one in found for name, thing in one.items() if not any(thing is own for own in relied_on)
    ]
