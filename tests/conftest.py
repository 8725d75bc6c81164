"""Settings every test runs under."""

import jax
from hypothesis import settings

jax.config.update("jax_numpy_rank_promotion", "raise")
settings.register_profile("ser_jax", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ser_jax")
