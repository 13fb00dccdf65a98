"""Entries that are placed by indices, in every mode and beyond every bound: no domain misses where they went."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sobolev_pruning.intervals import Interval, inclusion

OUT = jnp.array([0, 2, 7, -9])
MODES = ("clip", "promise_in_bounds")


def _window(x, starts, mode):
    """Windows of two entries, of which some leave the array."""
    numbers = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(), start_index_map=(0,))
    return lax.gather(x, jnp.asarray(starts)[:, None], numbers, (2,), mode=mode, fill_value=3.0)


def _padded(x, value, low, high, interior):
    return lax.pad(x, value, [(low, high, interior)])


PROGRAMS = {
    **{f"entries, {mode}": lambda x, mode=mode: (2 * x).at[OUT].get(mode=mode) for mode in MODES},
    "entries, filled": lambda x: (2 * x).at[OUT].get(mode="fill", fill_value=-1.0),
    "entries, as indexed": lambda x: (2 * x)[OUT],
    "rows": lambda x: jnp.outer(x, x)[OUT],
    "along an axis": lambda x: jnp.take_along_axis(jnp.outer(x, x), jnp.array([[0, 5, -7]]), 0, mode="clip"),
    **{f"windows, {mode}": lambda x, mode=mode: _window(x - x[0], [0, 1, 2, 9, -4], mode) for mode in (*MODES, "fill")},
    "a slice beyond the end": lambda x: lax.dynamic_slice(2 * x, (jnp.asarray(5),), (2,)),
    "slices in a batch": lambda x: jax.vmap(lambda i: lax.dynamic_slice(2 * x, (i,), (2,)))(jnp.array([-8, 0, 8])),
    "a block beyond the end": lambda x: lax.dynamic_update_slice(2 * x, x[:2] - 1, (jnp.asarray(9),)),
    **{
        f"added, {mode}": lambda x, mode=mode: (
            (2 * x).at[OUT].add(jnp.outer(x, x)[0, 0] * jnp.arange(1.0, 5.0), mode=mode)
        )
        for mode in (*MODES, "drop")
    },
    "set": lambda x: (2 * x).at[jnp.array([0, 7])].set(x[:2] ** 2, mode="drop"),
    **{
        f"multiplied, {mode}": lambda x, mode=mode: (2 * x).at[OUT].multiply(x[1], mode=mode)
        for mode in (*MODES, "drop")
    },
    "cut and padded": lambda x: _padded(2 * x, x[0], -1, 2, 1),
    "cut off": lambda x: _padded(2 * x, 1e30 * x[0], -1, -1, 0),
    "repeated and reversed": lambda x: jnp.tile(jnp.roll(2 * x, 1)[::-1], 2)[::3],
    "sums of windows": lambda x: lax.reduce_window(2 * x, 0.0, lax.add, (2,), (2,), [(1, 2)], (2,), (2,)),
    "running sums": lambda x: lax.cumsum(2 * x, reverse=True),
    "sorted": lambda x: jnp.sort(2 * x)[OUT],
}


def everything(x):
    """Sums of what is placed, whose coefficients are pulled back, and what it was."""
    placed = {name: f(x) for name, f in PROGRAMS.items()}
    weights = {name: jnp.arange(1.0, v.size + 1).reshape(v.shape) - 2 for name, v in placed.items()}
    return {name: (v, (weights[name] * v).sum()) for name, v in placed.items()}


@pytest.mark.parametrize("domain", ["interval", "affine", "backward"])
def test_what_is_placed_is_enclosed(domain):
    low, upp = jnp.array([-0.5, 0.1, 0.3]), jnp.array([0.6, 0.9, 0.4])
    out = inclusion(everything, domain=domain)(Interval(low, upp))
    rng = np.random.default_rng(0)
    share = np.concatenate([rng.integers(0, 2, (60, 3)), rng.random((60, 3))])
    values = jax.jit(jax.vmap(everything))(low[None] + (upp - low)[None] * share)
    for name, enclosures in out.items():
        for enclosure, value in zip(enclosures, map(np.asarray, values[name]), strict=True):
            slack = 1e-12 * (1 + np.abs(value))
            assert np.all(np.asarray(enclosure.lower)[None] <= value + slack), name
            assert np.all(value - slack <= np.asarray(enclosure.upper)[None]), name
            assert np.all(enclosure.is_bounded), name


@pytest.mark.parametrize("domain", ["interval", "affine", "backward"])
def test_an_index_beyond_the_end_reads_the_last_entry(domain):
    out = inclusion(lambda x: (2 * x)[jnp.array([0, 1, 5])].sum(), domain=domain)(Interval([-0.5, 0.1], [0.6, 0.9]))
    assert out.contains(2 * 0.0 + 4 * 0.9)
    np.testing.assert_allclose([out.lower, out.upper], [2 * -0.5 + 4 * 0.1, 2 * 0.6 + 4 * 0.9], rtol=1e-12)


@pytest.mark.parametrize("domain", ["affine", "backward"])
def test_what_is_filled_with_nan_is_unknown(domain):
    box = Interval([0.0, 0.0], [1.0, 1.0])
    out = inclusion(lambda x: jnp.take(2 * x, jnp.array([0, 5])), domain=domain)(box)
    assert out.is_entire.tolist() == [False, True]
    total = inclusion(lambda x: jnp.take(2 * x, jnp.array([0, 5])).sum(), domain=domain)(box)
    assert total.is_entire
