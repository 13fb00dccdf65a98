"""Settings of every test: 64 bits, no silent promotion of dtypes, fresh keys with a printed seed."""

import random

import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def getkey():
    """A function that returns a new random key at every call; the seed is shown when a test fails."""
    seed = random.Random().randint(0, 2**31 - 1)
    print(f"seed = {seed}")
    key = jax.random.key(seed)

    def next_key() -> jax.Array:
        nonlocal key
        key, subkey = jax.random.split(key)
        return subkey

    return next_key


@pytest.fixture
def unchecked_shapes():
    """Without jaxtyping's checks, which would be faster than the library's own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
