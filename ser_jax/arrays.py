"""Types of arrays and of trees of arrays in signatures."""

from typing import Any, Protocol, TypeAlias

import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray  # on a device or on the host
Tree: TypeAlias = Any  # of arrays, as `jax.tree` walks it; docstrings give the shapes


class Gathered(Protocol):
    """Features [N, T, F] on the host, which may be larger than the memory: only rows are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, T, F)."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Return the rows [...] as an array [..., T, F]."""


def leaves_by_path(tree: Tree) -> dict[str, Any]:
    """Return the leaves of a tree by their path, as in "classifier.bias"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
