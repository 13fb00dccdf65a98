"""Rules of the incomplete gamma and beta functions, which take long to compile."""

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interval_checks import DTYPES, as_interval
from jax import lax
from test_interval_special import SLOW, check

from sobolev_pruning.intervals import inclusion


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("primitive", SLOW, ids=str)
def test_incomplete_functions_enclose_and_are_tight(primitive, dtype, monkeypatch):
    monkeypatch.setattr(flint.ctx, "prec", 200)
    check(primitive, dtype, 1)


def test_limits_are_exact():
    a, x = np.array([2.0, 0.0, 2.0, 0.5]), np.array([0.0, 3.0, np.inf, 0.0])
    f = jax.jit(inclusion(lambda a, x: (lax.igamma(a, x), lax.igammac(a, x))))
    p, q = f(as_interval(a, a), as_interval(x, x))
    assert p.lower.tolist() == p.upper.tolist() == [0, 1, 1, 0]
    assert q.lower.tolist() == q.upper.tolist() == [1, 0, 0, 1]


def test_parameters_that_are_too_large_say_nothing():
    large = as_interval(np.array([1e9]), np.array([1e9]))
    out = jax.jit(inclusion(lambda a: lax.igamma(a, jnp.array([1e9]))))(large)
    assert (out.lower[0], out.upper[0]) == (0, 1)
