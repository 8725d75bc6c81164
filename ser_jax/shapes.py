"""Types of arrays with their shapes, as in `Float[Array, "B T F"]`, by jaxtyping.

Without jaxtyping, as on an accelerator's bare image, they mean nothing; only tests check them.
"""

try:
    from jaxtyping import Array, Bool, Float, Float32, Float64, Int, Int32, Key, Shaped
except ImportError:

    class _Unchecked:
        def __class_getitem__(cls, _: object) -> type:
            return cls

    Array = Bool = Float = Float32 = Float64 = Int = Int32 = Key = Shaped = _Unchecked  # type: ignore

__all__ = ["Array", "Bool", "Float", "Float32", "Float64", "Int", "Int32", "Key", "Shaped"]
