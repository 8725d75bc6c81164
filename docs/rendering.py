"""What Sphinx does not know of this project: its docstrings, its links into code, its commands' help.

Docstrings say "Returns: text" on one line, show code and formulas by indenting them, and write shapes in
brackets and products with asterisks; reStructuredText wants fields, double colons and escapes.
"""

import contextlib
import importlib
import inspect
import io
import os
import posixpath
import re
from collections.abc import Iterator
from unittest import mock

import jax
from docutils import nodes
from sphinx.ext import autosummary
from sphinx.util.docutils import SphinxDirective

SAID = re.compile(r"(Returns|Raises|Yields|References): (.+)")
SECTION = re.compile(r"(Args|Attributes|Examples?):$")
SPECIAL = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")
ENDED = re.compile(r"(?<=\w)`(?=\w)")  # `code`s
NAMING = ("ser_jax", "ser_jax.recognizer")  # what is described where it is made
MODULES_WITH_GRADIENTS = ("ser_jax.convolution",)
LINK = re.compile(r"\[([^\]]+)\]\(([^()\s#]+)\.py(?:#([\w.]+))?\)")


def prose(line: str) -> str:
    """A line of text, with what reStructuredText would take for markup escaped; `code` stays."""
    parts = line.split("`")
    parts[::2] = [SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
    return ENDED.sub(r"`\\ ", "`".join(parts))


def converted(lines: list[str]) -> Iterator[str]:
    """A docstring as napoleon reads it: what is said on one line as a field, what is indented literally."""
    literal = section = field = False
    blank = True
    for line in lines:
        indented = line.startswith(" ")
        if not indented and line:
            if field:
                yield ""
            literal, section, field = False, bool(SECTION.match(line)), False
            if said := SAID.match(line):
                field = True
                yield from ("", f":{said[1]}: {prose(said[2])}")
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
    """Fields of a named tuple say nothing new beside its Attributes; packages name what others describe."""
    if app.env.current_document.autodoc_module in NAMING:
        return True
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def code_links(app, docname, content) -> None:
    """[text](../ser_jax/model.py#attend), a link to the file elsewhere, leads to its docstring here."""

    def reference(link: re.Match) -> str:
        text, path, name = link.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(docname), path))
        if path.split("/")[0] not in ("ser_jax", "experiments"):
            return link[0]
        module = path.replace("/", ".").removesuffix(".__init__")
        return f"{{any}}`{text.strip('`')} <{module}{'.' * bool(name)}{name or ''}>`"

    content[0] = LINK.sub(reference, content[0])


class Help(SphinxDirective):
    """What a command says to --help: `ser-jax train`, or a script of experiments."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        program, *words = self.arguments[0].split()
        printed = io.StringIO()
        environment = {"COLUMNS": "100", "NO_COLOR": "1", "TFDS_DATA_DIR": ""}
        main = _main(program)
        with (
            mock.patch.dict(os.environ, environment),
            contextlib.redirect_stdout(printed),
            contextlib.suppress(SystemExit),
        ):
            main([*words, "--help"])
        return [nodes.literal_block(printed.getvalue(), printed.getvalue(), language="none")]


def _main(program: str):
    if program == "ser-jax":
        return importlib.import_module("ser_jax.cli").main
    script = importlib.import_module(program)
    if hasattr(script, "main") and script.main.__module__ == program:
        return script.main
    options = importlib.import_module("experiments.options")
    return lambda words: options.parse(script.__doc__, program.removeprefix("experiments."), words)


def without_gradients() -> None:
    """A function with a gradient of its own is an object that autodoc takes for data."""
    for name in MODULES_WITH_GRADIENTS:
        module = importlib.import_module(name)
        for own, value in vars(module).copy().items():
            if isinstance(value, jax.custom_vjp):
                setattr(module, own, inspect.unwrap(value))


def setup(app) -> dict:
    without_gradients()
    autosummary.WELL_KNOWN_ABBREVIATIONS += ("Sec.", "Secs.", "Figs.", "eqs.")  # where no sentence ends
    app.add_directive("help", Help)
    app.connect("source-read", code_links)
    app.connect("autodoc-process-docstring", docstring, priority=400)  # before napoleon, at 500
    app.connect("autodoc-skip-member", skipped)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
