"""A guarded surrogate is the surrogate inside of its region, and does as it is told outside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.regions import Box
from sobolev_pruning.surrogate import (
    MLP,
    GuardedSurrogate,
    Normalisation,
    OutsideRegionError,
    OutsideRegionWarning,
    Surrogate,
)

MODEL = Surrogate(MLP.create([2, 3, 1], key=jax.random.key(0)), Normalisation.identity(2, 1))
REGION = Box(jnp.zeros(2), jnp.ones(2))
INSIDE, OUTSIDE = jnp.array([0.5, 1.0]), jnp.array([0.5, 1.5])


@pytest.mark.parametrize("outside", ["warn", "clip", "refuse"])
def test_inside_it_is_the_surrogate(outside):
    guarded = GuardedSurrogate(MODEL, REGION, outside)
    for name in ("__call__", "gradient", "hessian"):
        np.testing.assert_array_equal(getattr(guarded, name)(INSIDE), getattr(MODEL, name)(INSIDE))
    np.testing.assert_array_equal(guarded.evaluate(INSIDE[None]).y, MODEL.evaluate(INSIDE[None]).y)


def test_outside_it_does_as_it_is_told():
    clipped = GuardedSurrogate(MODEL, REGION, "clip")
    np.testing.assert_array_equal(clipped(OUTSIDE), MODEL(INSIDE))
    np.testing.assert_array_equal(clipped.gradient(OUTSIDE), MODEL.gradient(INSIDE))
    np.testing.assert_allclose(jax.jit(jax.vmap(clipped))(OUTSIDE[None])[0], MODEL(INSIDE), rtol=1e-12)
    refusing = GuardedSurrogate(MODEL, REGION)
    with pytest.raises(OutsideRegionError, match="1 of 1 inputs lie outside"):
        refusing(OUTSIDE)
    with pytest.raises(
        OutsideRegionError, match="1 of 2 inputs lie outside of the region of the surrogate, the first in row 1"
    ):
        refusing.evaluate(jnp.stack([INSIDE, OUTSIDE]))
    with pytest.warns(OutsideRegionWarning, match="1 of 1"):
        y = GuardedSurrogate(MODEL, REGION, "warn")(OUTSIDE)
    np.testing.assert_array_equal(y, MODEL(OUTSIDE))


def test_what_it_cannot_do_it_refuses(unchecked_shapes):
    with pytest.raises(TypeError, match="inputs are not known under `jit`"):
        jax.jit(lambda x: GuardedSurrogate(MODEL, REGION)(x))(INSIDE)
    with pytest.raises(ValueError, match="`outside` is 'ignore'"):
        GuardedSurrogate(MODEL, REGION, "ignore")
    with pytest.raises(ValueError, match="3 inputs, the surrogate 2"):
        GuardedSurrogate(MODEL, Box(jnp.zeros(3), jnp.ones(3)))
    with pytest.raises(ValueError, match=r"`x` has shape \(3,\)"):
        GuardedSurrogate(MODEL, REGION)(jnp.ones(3))
