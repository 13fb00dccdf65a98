"""Where a function is not defined, or jumps: the part inside of its domain, the empty set, and decorations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sobolev_pruning.intervals import Decoration, Interval, UnsupportedPrimitiveError, inclusion

COM, DAC, DEF, TRV = Decoration.COM, Decoration.DAC, Decoration.DEF, Decoration.TRV
INF = np.inf

# function, box, whether the result is empty, decoration
CASES = [
    (jnp.log, (1, 2), False, COM),
    (jnp.log, (0, 2), False, TRV),
    (jnp.log, (-1, 2), False, TRV),
    (jnp.log, (-2, -1), True, TRV),
    (jnp.log, (-2, 0), True, TRV),
    (jnp.log, (1, INF), False, DAC),
    (jnp.log1p, (-3, -2), True, TRV),
    (jnp.sqrt, (0, 1), False, COM),
    (jnp.sqrt, (-1, 0), False, TRV),
    (jnp.sqrt, (-2, -1), True, TRV),
    (lax.rsqrt, (0, 1), False, TRV),
    (jnp.arcsin, (-1, 1), False, COM),
    (jnp.arcsin, (0.5, 2), False, TRV),
    (jnp.arcsin, (1.5, 2), True, TRV),
    (jnp.arccos, (-3, -2), True, TRV),
    (jnp.arccosh, (0.5, 0.9), True, TRV),
    (jnp.arctanh, (1, 2), True, TRV),
    (lambda x: 1 / x, (1, 2), False, COM),
    (lambda x: 1 / x, (0, 2), False, TRV),
    (lambda x: 1 / x, (-1, 2), False, TRV),
    (lambda x: 1 / x, (0, 0), True, TRV),
    (lambda x: x**-2, (0, 0), True, TRV),
    (lambda x: x**-2, (-1, -0.5), False, COM),
    (lambda x: x**0.5, (0, 1), False, COM),
    (lambda x: jnp.power(x, 0.5), (-2, -1), True, TRV),
    (jnp.tan, (0, 1), False, COM),
    (jnp.tan, (1, 2), False, TRV),
    (jnp.floor, (0.1, 0.9), False, COM),
    (jnp.floor, (0.1, 1.0), False, DEF),
    (jnp.sign, (1, 2), False, COM),
    (jnp.sign, (-1, 2), False, DEF),
    (lambda x: x.astype(jnp.int32).astype(x.dtype), (0.2, 1.2), False, DEF),
    (jax.nn.relu, (-1, 1), False, COM),
    (jax.nn.softplus, (-1, 1), False, COM),
    (jax.nn.silu, (-INF, 1), False, DAC),
    (jnp.abs, (-1, 1), False, COM),
    (lambda x: jnp.where(x > 0, x, 5.0), (-1, 1), False, DEF),
    (lambda x: jnp.where(x > 0, x, 5.0), (1, 2), False, COM),
    (lambda x: jnp.where(x > 0, jnp.log(x), 0.0), (-2, -1), False, COM),
    (lambda x: jnp.where(x > 0, jnp.log(x), 0.0), (1, 2), False, COM),
    (lambda x: jnp.where(x > 0, jnp.log(x), 0.0), (-1, 2), False, TRV),
    (lambda x: lax.cond(x > 0, jnp.log, lambda y: y, x), (-2, -1), False, COM),
    (lambda x: lax.cond(x > 0, jnp.log, lambda y: y, x), (-1, 2), False, TRV),
    (lambda x: jnp.tanh(jnp.log(x) + 1) * 2, (-2, -1), True, TRV),
    (lambda x: jnp.log(x) > 0, (-2, -1), True, TRV),
    (lambda x: jnp.where(jnp.log(x) > 0, 1.0, 2.0), (-2, -1), True, TRV),
    (lambda x: jnp.stack([x, jnp.log(x)])[0], (-2, -1), False, COM),
    (lambda x: jnp.stack([x, jnp.log(x)]).sum(), (-2, -1), True, TRV),
    (lambda x: jnp.stack([x, jnp.log(x)]).max(), (-2, -1), True, TRV),
    (lambda x: jnp.cumsum(jnp.stack([x, jnp.log(x)]))[0], (-2, -1), False, COM),
    (lambda x: jnp.cumsum(jnp.stack([x, jnp.log(x)]))[1], (-2, -1), True, TRV),
    (lambda x: lax.scan(lambda c, _: (jnp.log(c), c), x, length=3)[0], (1.2, 1.5), True, TRV),
    (lambda x: lax.scan(lambda c, _: (0.5 * jnp.sqrt(c), c), x, length=3)[0], (1, 2), False, COM),
    (lambda x: lax.fori_loop(0, 2, lambda i, c: jnp.floor(c) + 0.5, x), (0.5, 2), False, DEF),
    (lambda x: lax.while_loop(lambda c: c > 0.5, lambda c: 0.5 * c, x), (1, 4), False, DEF),
    (lambda x: lax.while_loop(lambda c: c > 0.5, lambda c: 0.5 * c, x), (1.1, 1.2), False, COM),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(CASES)))
def test_domains_and_decorations(k):
    f, (low, upp), empty, decoration = CASES[k]
    x = Interval(jnp.asarray(float(low)), jnp.asarray(float(upp)))
    out, found = inclusion(f, decorated=True)(x)
    if isinstance(out, Interval):
        assert bool(out.is_empty) == empty
    else:
        assert bool(~(out.can_be_true | out.can_be_false)) == empty
    assert int(found) == decoration
    if k % 6:
        return
    plain = inclusion(f)(x)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(out), jax.tree.leaves(plain), strict=True))


def test_decorations_err_on_the_weak_side_only():
    """`DAC` promises continuity: no jump may hide between neighbouring points."""

    def f(x):
        return jnp.floor(3 * x) / 3 + jnp.where(x > 0.7, x, 2.0)

    low = np.linspace(0.0, 1.0, 80)
    upp = low + 0.02
    _, found = jax.vmap(inclusion(f, decorated=True))(Interval(low, upp))
    for a, b, decoration in zip(low, upp, np.asarray(found), strict=True):
        values = np.asarray(f(jnp.linspace(a, b, 400)))
        jumps = np.abs(np.diff(values)).max() > 1e-3
        assert not (jumps and decoration >= DAC)
    assert (np.asarray(found) >= DAC).mean() > 0.8


def test_an_empty_entry_empties_the_box():
    x = jax.jit(lambda a, b: Interval(a, b))(jnp.array([0.0, 2.0]), jnp.array([1.0, 1.0]))
    out, decoration = inclusion(lambda x: (x[0] * 2, jnp.ones(3), x > 5), decorated=True)(x)
    assert bool(out[0].is_empty)
    assert not (out[2].can_be_true | out[2].can_be_false).any()
    assert np.asarray(decoration[0]) == TRV
    lanes = jax.jit(lambda a, b: jax.vmap(inclusion(lambda x: x.sum()))(Interval(a, b)))
    assert lanes(jnp.array([[0.0], [2.0]]), jnp.array([[1.0], [1.0]])).is_empty.tolist() == [False, True]


def test_empty_entries_do_not_spread_where_nothing_depends_on_them():
    w = jnp.array([[1.0, 2.0], [0.0, 1.0]])
    out = inclusion(lambda x: (jnp.log(x) * 2)[::-1])(Interval(jnp.array([-2.0, 1.0]), jnp.array([-1.0, 2.0])))
    assert out.is_empty.tolist() == [False, True]
    product = inclusion(lambda x: w @ jnp.log(x))(Interval(jnp.array([-2.0, 1.0]), jnp.array([-1.0, 2.0])))
    assert not np.isnan(np.asarray(product.lower)).any()


def test_undecided_indices_spread_nothing_wrong():
    """Which entry is read is not known, so nothing is certain to be undefined, and everything may be."""
    x = Interval(jnp.array([-2.0, 1.0, 1.0]), jnp.array([-1.0, 2.0, 2.0]))

    def f(x):
        return jnp.log(x)[(x[1] > 1.5).astype(jnp.int32) + 1]

    out, decoration = inclusion(f, decorated=True)(x)
    assert bool(out.contains(0.5))
    assert int(decoration) == TRV


def test_integers_are_always_something():
    x = Interval(jnp.asarray(0.0), jnp.asarray(1.0))
    out = inclusion(lambda x: lax.div(jnp.int32(5), jnp.floor(x).astype(jnp.int32) * 0))(x)
    assert not bool((out.lower > out.upper).any())


def test_keys_are_not_chosen_by_undecided_conditions():
    keys = jax.random.split(jax.random.key(0))
    with pytest.raises(UnsupportedPrimitiveError, match="chooses a random key"):
        inclusion(lambda x: jax.random.uniform(jnp.where(x > 0, keys[0], keys[1])))(Interval(-1.0, 1.0))


def test_exact_arguments_pass_barriers():
    out = inclusion(lambda w, x: lax.optimization_barrier(w) @ x)(jnp.eye(2), Interval(jnp.zeros(2), jnp.ones(2)))
    assert np.allclose(out.upper, 1.0)
