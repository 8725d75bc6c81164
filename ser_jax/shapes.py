"""Name types of arrays with their shapes, as in `Float[Array, "B T F"]`, by jaxtyping.

Without jaxtyping, as on an accelerator's bare image, they mean nothing; only tests check them.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Array", "Bool", "Float", "Float16", "Float32", "Float64", "Int", "Int32", "Key", "Shaped"]

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Float16, Float32, Float64, Int, Int32, Key, Shaped
else:

    class _Unchecked:
        def __class_getitem__(cls, _: Any) -> type:
            return cls

    def __getattr__(name: str) -> Any:
        """Return a type when it is first imported, since `Array` and `Key` import JAX."""
        if name not in __all__:
            raise AttributeError(name)
        try:
            import jaxtyping
        except ImportError:
            return _Unchecked
        return getattr(jaxtyping, name)
