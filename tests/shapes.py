"""Check the shapes and dtypes of arrays that functions take and return, while the tests run.

beartype checks the annotations that name a shape, as in Float[Array, "B K"]; mypy checks the others.
"""

from typing import get_args

from beartype import beartype
from jaxtyping import AbstractArray


def check(function):
    """Return a function that raises if an array does not match its annotation.

    Fields of dataclasses are not checked: those that are trees hold anything while JAX transforms them.
    """
    if function.__name__ == "__init__":
        return function
    named = function.__annotations__.items()
    function.__annotations__ = {name: annotation for name, annotation in named if _has_shape(annotation)}
    return beartype(function)


def _has_shape(annotation):
    if isinstance(annotation, type):
        return issubclass(annotation, AbstractArray) or any(map(_has_shape, get_args(annotation)))
    return any(map(_has_shape, get_args(annotation)))
