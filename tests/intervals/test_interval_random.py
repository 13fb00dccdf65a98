"""Random numbers from exact keys are exact arrays inside of an enclosed function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interval_checks import as_interval
from jax import lax

from sobolev_pruning.intervals import inclusion


def of_split_keys(key, x):
    first, second = jax.random.split(key)
    return x * jax.random.uniform(first, (5,)) - jax.random.uniform(second, (5,))


def of_keys_as_carry(key, x):
    def step(carry, _):
        x, key = carry
        key, sub = jax.random.split(key)
        return (x + jax.random.uniform(sub, (5,)), key), None

    return lax.scan(step, (x, key), length=3)[0][0]


FUNCTIONS = {
    "uniform": lambda key, x: x + jax.random.uniform(key, (5,), minval=-2.0, maxval=3.0),
    "split": of_split_keys,
    "fold_in": lambda key, x: x + jax.random.uniform(jax.random.fold_in(key, 3), (5,)),
    "bernoulli": lambda key, x: jnp.where(jax.random.bernoulli(key, 0.3, (5,)), x, 2 * x),
    "permutation": lambda key, x: x[jax.random.permutation(key, 5)],
    "permutation of values": jax.random.permutation,
    "randint": lambda key, x: x[jax.random.randint(key, (3,), 0, 5)],
    "exponential": lambda key, x: x * jax.random.exponential(key, (5,)),
    "key made inside": lambda key, x: x + jax.random.uniform(jax.random.key(3), (5,)),
    "key of another generator": lambda key, x: x + jax.random.uniform(jax.random.key(3, impl="rbg"), (5,)),
    "scan over keys": lambda key, x: lax.scan(
        lambda c, k: (c + jax.random.uniform(k, (5,)), None), x, jax.random.split(key, 4)
    )[0],
    "key in the carry": of_keys_as_carry,
}


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey], ids=["key", "raw"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_numbers_are_drawn(name, make):
    f, key = FUNCTIONS[name], make(7)
    x = np.linspace(-1, 1, 5)
    out = inclusion(f)(key, as_interval(x - 1e-3, x + 1e-3))
    # What is drawn is the same number, up to the rounding that the radius has room for.
    value = np.asarray(f(key, jnp.asarray(x)))
    assert np.all(np.asarray(out.lower) <= value)
    assert np.all(value <= np.asarray(out.upper))
    assert float(out.width.max()) < 1e-2
    other = np.asarray(f(make(8), jnp.asarray(x)))
    inside = np.all((np.asarray(out.lower) <= other) & (other <= np.asarray(out.upper)))
    assert inside == name.startswith("key ") * ("carry" not in name)
