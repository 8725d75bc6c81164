"""A Sphinx extension for this project's docstrings and links.

Docstrings write "Returns: text" on one line, indent code and formulas, and use brackets and asterisks for
shapes and products; reStructuredText needs fields, double colons and escapes. Links into the code become
links to the reference.
"""

import importlib
import inspect
import posixpath
import re
from collections.abc import Iterator

import jax
from sphinx.ext import autosummary

FIELD = re.compile(r"(Returns|Raises|Yields|References?): (.+)")
SECTION = re.compile(r"(Args|Attributes|Examples?):$")
SPECIAL = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")
PLURAL = re.compile(r"(?<=\w)`(?=\w)")  # `code`s
NAMING = ("ser_jax", "ser_jax.recognizer")  # their names are described in the modules that define them
MODULES_WITH_GRADIENTS = ("ser_jax.convolution",)
LINK = re.compile(r"\[([^\]]+)\]\(([^()\s#]+)\.py(?:#([\w.]+))?\)")


def prose(line: str) -> str:
    """Escape what reStructuredText would take for markup, except `code`."""
    parts = line.split("`")
    parts[::2] = [SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
    return PLURAL.sub(r"`\\ ", "`".join(parts))


def converted(lines: list[str]) -> Iterator[str]:
    """Convert a docstring for napoleon: one-line sections to fields, indented blocks to literal ones."""
    literal = section = field = False
    blank = True
    for line in lines:
        indented = line.startswith(" ")
        if not indented and line:
            if field:
                yield ""
            literal, section, field = False, bool(SECTION.match(line)), False
            if found := FIELD.match(line):
                field = True
                yield from ("", f":{found[1]}: {prose(found[2])}")
                blank = False
                continue
            if line.startswith(">>>"):
                literal = True
        elif indented and blank and not section and not literal:
            literal = True
            yield from ("::", "")
        yield line if literal else ("    " if field else "") + prose(line)
        blank = not line
    yield ""


def docstring(app, what, name, obj, options, lines) -> None:
    lines[:] = converted(list(lines))


def skipped(app, what, name, obj, skip, options) -> bool | None:
    """Skip fields of named tuples, which their Attributes describe, and names that other modules describe."""
    if app.env.current_document.autodoc_module in NAMING:
        return True
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def code_links(app, docname, content) -> None:
    """Turn links to files of the code, [text](../ser_jax/model.py#attend), into links to their docstrings."""

    def reference(link: re.Match) -> str:
        text, path, name = link.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(docname), path))
        if path.split("/")[0] not in ("ser_jax", "experiments"):
            return link[0]
        module = path.replace("/", ".").removesuffix(".__init__")
        return f"{{any}}`{text.strip('`')} <{module}{'.' * bool(name)}{name or ''}>`"

    content[0] = LINK.sub(reference, content[0])


def without_gradients() -> None:
    """Unwrap functions with a gradient of their own, which autodoc takes for data."""
    for name in MODULES_WITH_GRADIENTS:
        module = importlib.import_module(name)
        for own, value in vars(module).copy().items():
            if isinstance(value, jax.custom_vjp):
                setattr(module, own, inspect.unwrap(value))


def setup(app) -> dict:
    without_gradients()
    autosummary.WELL_KNOWN_ABBREVIATIONS += ("Sec.", "Secs.", "Figs.", "eqs.")  # these end no sentence
    app.connect("source-read", code_links)
    app.connect("autodoc-process-docstring", docstring, priority=400)  # before napoleon, at 500
    app.connect("autodoc-skip-member", skipped)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
