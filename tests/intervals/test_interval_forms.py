"""Normal forms: continuity at thresholds, and roots of rational polynomials."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import pytest
from flint import fmpq, fmpq_poly

from sobolev_pruning.intervals import _roots
from sobolev_pruning.intervals._continuity import continuous
from sobolev_pruning.intervals._interpret import Interpreter
from sobolev_pruning.intervals._interval import Interval


def _form(f):
    closed = jax.make_jaxpr(f)(jnp.ones(3))
    walk = Interpreter()
    x = Interval(-jnp.ones(3), jnp.ones(3))
    (out,) = walk.run(closed.jaxpr, closed.consts, [walk.new(closed.in_avals[0], x)])
    return walk.form(out)


def _slope(f):
    return lambda x: jax.vjp(f, x)[1](jnp.ones_like(x))[0]


# Function: whether it is continuous, and whether its derivative is.
CONTINUITY = {
    "relu": (jax.nn.relu, True, False),
    "leaky_relu": (lambda x: jnp.where(x > 0, x, 0.01 * x), True, False),
    "where at another threshold": (lambda x: jnp.where(x > 0.5, x, 0.01 * x), False, False),
    "maximum of lines": (lambda x: jnp.maximum(x, 0.25 * x + 1), True, False),
    "abs": (jnp.abs, True, False),
    "sign": (jnp.sign, False, True),
    "elu": (jax.nn.elu, True, True),
    "elu of another slope": (lambda x: jax.nn.elu(x, 0.5), True, False),
    "selu": (jax.nn.selu, True, False),
    "celu": (jax.nn.celu, True, True),
    "hard_silu": (lambda x: x * jnp.clip(x / 4 + 0.5, 0, 1), True, False),
    "soft_sign": (jax.nn.soft_sign, True, True),
    "square of relu": (lambda x: jax.nn.relu(x) ** 2, True, True),
    "only the threshold differs": (lambda x: jnp.where(x == 0, 1.0, x), False, False),
    "sigmoid of a choice": (lambda x: jax.nn.sigmoid(jnp.where(x > 0, x, 2 * x)), True, False),
    "step of sigmoid": (lambda x: jnp.where(x > 0, jax.nn.sigmoid(x), 0.0), False, False),
    "sigmoid against a half": (lambda x: jnp.where(x > 0, jax.nn.sigmoid(x), 0.5), True, False),
    "smooth": (jax.nn.gelu, True, True),
}


@pytest.mark.parametrize("name", CONTINUITY)
def test_continuity_is_proved_where_it_holds(name):
    f, value, slope = CONTINUITY[name]
    assert continuous(_form(f)) == value
    assert continuous(_form(_slope(f))) == slope


POLYNOMIALS = [
    [-2, 0, 1],
    [1, 0, 1],
    [0, 0, 1],
    [-6, 11, -6, 1],
    [1, -2, 1],
    [0, 1, -3, 3, -1],
    [Fraction(1, 3), -7, 0, Fraction(22, 7), 1],
    [-1, 10**6, 0, 0, 0, 1],
    [Fraction(-1, 10**12), 0, 1],
    [3, 1],
    [5],
]


@pytest.mark.parametrize("coefficients", POLYNOMIALS, ids=str)
def test_roots_are_all_real_roots_each_once(coefficients):
    p = tuple(map(Fraction, coefficients))
    exact = fmpq_poly([fmpq(c.numerator, c.denominator) for c in p])
    squarefree = exact // exact.gcd(exact.derivative()) if exact.degree() > 0 else exact
    expected = sorted(
        (z.real for z, _ in squarefree.complex_roots() if z.imag.contains(0)), key=lambda v: float(v.mid())
    )
    found = _roots.roots(p)
    assert len(found) == len(expected)
    for (low, high), true in zip(found, expected, strict=True):
        assert high - low <= Fraction(1, 2**100) * max(1, abs(low))
        assert abs(float(low) - float(true)) <= 1e-14 * max(1, abs(float(low)))
        assert _roots.has_root(p, low, high)
