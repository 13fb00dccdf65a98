"""Rules of the incomplete gamma and beta functions, which take long to compile."""

import flint
import jax
import numpy as np
import pytest
from interval_checks import DTYPES, as_interval
from jax import lax
from test_interval_special import SLOW, check

from sobolev_pruning.intervals import inclusion

# One evaluation gives both functions of the gamma family, so each format is tried on one of them.
TRIED = [(lax.igamma_p, np.float32), (lax.igammac_p, np.float64), *((SLOW[2], dtype) for dtype in DTYPES)]


@pytest.mark.parametrize(("primitive", "dtype"), TRIED, ids=str)
def test_incomplete_functions_enclose_and_are_tight(primitive, dtype, monkeypatch):
    monkeypatch.setattr(flint.ctx, "prec", 200)
    check(primitive, dtype, 1)


def test_limits_are_exact_and_large_parameters_say_nothing():
    a, x = np.array([2.0, 0.0, 2.0, 0.5, 1e9]), np.array([0.0, 3.0, 1e3, 0.0, 1e9])
    to_infinity = np.array([0.0, 3.0, np.inf, 0.0, 1e9])
    f = jax.jit(inclusion(lambda a, x: (lax.igamma(a, x), lax.igammac(a, x))))
    p, q = f(as_interval(a, a), as_interval(x, to_infinity))
    assert p.lower.round(15).tolist() == [0, 1, 1, 0, 0]
    assert p.upper.tolist() == [0, 1, 1, 0, 1]
    assert q.lower.tolist() == [1, 0, 0, 1, 0]
    assert q.upper.round(15).tolist() == [1, 0, 0, 1, 1]
