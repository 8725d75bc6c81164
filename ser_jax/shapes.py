"""Types of arrays with their shapes, as in `Float[Array, "B T F"]`, by jaxtyping.

Without jaxtyping, as on an accelerator's bare image, they mean nothing; only tests check them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Float32, Float64, Int, Int32, Key, Shaped
else:
    try:
        from jaxtyping import Array, Bool, Float, Float32, Float64, Int, Int32, Key, Shaped
    except ImportError:

        class _Unchecked:
            def __class_getitem__(cls, _: Any) -> type:
                return cls

        Array = Bool = Float = Float32 = Float64 = Int = Int32 = Key = Shaped = _Unchecked

__all__ = ["Array", "Bool", "Float", "Float32", "Float64", "Int", "Int32", "Key", "Shaped"]
