"""Sphinx configuration: README.md, docs/, the data README and the docstrings as pages (`make docs`)."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from ser_jax import __version__  # noqa: E402

project = "ser_jax"
version = release = __version__
copyright = "the authors of ser_jax, Apache-2.0"
extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon",
    "sphinx.ext.viewcode", "rendering",
]  # fmt: skip

# The repository itself is the source, so that a link between its files is the same link between pages.
root_doc = "docs/index"
include_patterns = [
    "docs/**.md", "docs/reference/modules/*.rst", "*.md", "ser_jax/data/README.md",
    "ser_jax/recognizer/*/README.md",
]  # fmt: skip
exclude_patterns = [
    ".*",
    "*.egg-info",
    "build",
    "data",
    "dist",
    "docs/measured",
    "results",
    "shared",
    "tests",
    "**/__pycache__",
]

myst_heading_anchors = 3
highlight_language = "none"  # a block without a language is a command line
default_role = "py:obj"  # `name` in a docstring is a link if it names something of this package

autosummary_generate = True
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_mock_imports = ["torch"]
viewcode_follow_imported_members = False  # names are described in the module that defines them
napoleon_numpy_docstring = False
napoleon_use_param = False  # "config, training: static" is one entry of a list
napoleon_custom_sections = [("Attributes", "params_style")]  # in the order of the docstring
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"ser_jax {__version__}"
html_show_sphinx = False
html_copy_source = False
