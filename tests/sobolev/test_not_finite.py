"""NaN and infinity of a user's function are told as that, with how many, the first input, and where."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sobolev_pruning.pruning import Tolerance, shrink
from sobolev_pruning.reference import FunctionReference, LabelWeights, Samples
from sobolev_pruning.sobolev import (
    DivergedError,
    NotFiniteError,
    SobolevLoss,
    ValueLoss,
    fit,
    fit_gauss_newton,
    fit_levenberg_marquardt,
    fit_seeds,
)
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

START = Surrogate(MLP.create([1, 4, 1], activation=jnp.tanh, key=jax.random.key(0)), Normalisation.identity(1, 1))
ADAM = optax.adam(1e-2)
KEY = jax.random.key(1)


def with_zero(key, n):
    """The fourth is a zero."""
    return jax.random.uniform(key, (n, 1), minval=0.1).at[3].set(0.0)


def rarely(key, n):
    """Zero in one draw of two hundred alone, whatever is drawn first."""
    x = jax.random.uniform(key, (n, 1), minval=0.1)
    return x.at[0].set(jnp.where(jax.random.uniform(jax.random.fold_in(key, 7)) < 0.05, 0.0, x[0]))


def root(x):
    return jnp.sqrt(x)


def masked_root(x):
    return jnp.where(x > 0, jnp.sqrt(x), 0.0)


def logarithm(x):
    return jnp.log(x)


def bend(x):
    """Value and first derivative are finite at zero, the second derivative is not."""
    return x**1.5


def train(function, loss, inputs=with_zero, **options):
    recipe = {"steps": 20, "batch_size": 64, "steps_per_chunk": 5, "optimizer": ADAM}
    return fit(START, FunctionReference(function, inputs), loss, key=KEY, **recipe | options)


FIRST = r"The first is row \d, at x = \[0\]: "
CASES = {
    "values": (logarithm, ValueLoss(), rf"values of \d.*{FIRST}the value of output 0 is -inf"),
    "gradients": (
        root,
        SobolevLoss(),
        rf"\(gradients of \d\)\. {FIRST}the derivative of output 0 by input 0 is inf.*AD gives",
    ),
    "where": (masked_root, SobolevLoss(), rf"{FIRST}the derivative of output 0 by input 0 is nan.*`jnp.where`"),
    "curvature": (
        bend,
        SobolevLoss(curvature_weight=1.0),
        rf"\(curvature of \d\)\. {FIRST}`samples.hvps` is (inf|nan)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fit_names_the_samples_before_its_first_step(name):
    function, loss, message = CASES[name]
    told = []
    with pytest.raises(
        NotFiniteError, match=rf"^\d of 64 samples drawn before the first step are not finite .*{message}"
    ):
        train(function, loss, on_chunk=lambda *state: told.append(state))
    assert told == []


def test_what_a_loss_does_not_need_may_be_anything():
    assert np.all(np.isfinite(train(root, ValueLoss()).losses))
    assert np.all(np.isfinite(train(bend, SobolevLoss()).losses))


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_sample_that_comes_late_is_told_at_its_step(restarts):
    with pytest.raises(NotFiniteError, match=r"^1 of 64 samples of step (\d+) are not finite") as caught:
        train(masked_root, SobolevLoss(), rarely, steps=100, restarts=restarts)
    error = caught.value
    assert 0 < error.step == len(error.losses)
    assert f"of step {error.step} are" in str(error)
    assert "row 0, at x = [0]: the derivative" in str(error)
    assert "learning rate" not in str(error)
    assert "kept in `.surrogate`" in str(error)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(error.surrogate.normalisation))


def test_a_divergence_beside_labels_that_do_not_matter_is_a_divergence():
    """The gradients are NaN, but the loss has none; the learning rate is to blame."""
    with pytest.raises(
        DivergedError, match=r"training diverged.*labels that it uses are finite\. Lower the learning rate"
    ) as caught:
        train(root, ValueLoss(), optimizer=optax.sgd(1e200))
    assert not isinstance(caught.value, NotFiniteError)


@pytest.mark.parametrize("inputs", [with_zero, rarely])
def test_seeds(inputs):
    recipe = {"steps": 100, "batch_size": 64, "optimizer": ADAM, "keys": jax.random.split(KEY, 2)}
    with pytest.raises(NotFiniteError, match=r"samples (of step|drawn before).*the derivative of output 0 by input 0"):
        fit_seeds(START, FunctionReference(masked_root, inputs), SobolevLoss(), **recipe)


@pytest.mark.parametrize("inputs", [with_zero, rarely])
def test_gauss_newton(inputs):
    reference = FunctionReference(masked_root, inputs)
    with pytest.raises(NotFiniteError, match=r"samples (of step|drawn before).*the derivative of output 0 by input 0"):
        fit_gauss_newton(START, reference, SobolevLoss(), key=KEY, steps=40, samples_per_step=256)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_gauss_newton(START, reference, ValueLoss(), key=KEY, steps=2, samples_per_step=256)


def labelled(function, n=20):
    x = jnp.linspace(0.0, 1.0, n)[:, None]
    return Samples(x, jax.vmap(function)(x), jax.vmap(jax.jacrev(function))(x))


def test_levenberg_marquardt():
    with pytest.raises(
        NotFiniteError, match=rf"^1 of 20 samples are not finite \(gradients of 1\)\. {FIRST}"
    ) as caught:
        fit_levenberg_marquardt(START, labelled(masked_root), SobolevLoss(), starts=2, key=KEY)
    assert "learning rate" not in str(caught.value)
    fit_levenberg_marquardt(START, labelled(masked_root), ValueLoss(), max_steps=2)
    with pytest.raises(NotFiniteError, match=r"values of 1"):
        fit_levenberg_marquardt(START.network, labelled(logarithm), ValueLoss())


def test_levenberg_marquardt_does_not_see_labels_of_weight_zero():
    samples = labelled(masked_root)
    known = jnp.isfinite(samples.dydx).astype(float)
    weighed = Samples(samples.x, samples.y, samples.dydx, weights=LabelWeights(dydx=known))
    result = fit_levenberg_marquardt(START, weighed, SobolevLoss(), max_steps=3)
    assert np.all(np.isfinite(result.losses))


def test_a_network_that_is_not_finite_is_not_the_labels_fault():
    spoilt = jax.tree.map(lambda leaf: leaf * jnp.nan if hasattr(leaf, "dtype") else leaf, START.network)
    with pytest.raises(DivergedError, match="The network itself is not finite") as caught:
        fit_levenberg_marquardt(Surrogate(spoilt, START.normalisation), labelled(lambda x: x), ValueLoss())
    assert "learning rate" not in str(caught.value)


def test_units_are_not_learned_from_what_is_not_finite():
    reference = FunctionReference(logarithm, with_zero)
    with pytest.raises(NotFiniteError, match=r"samples drawn to learn units are not finite .*at x = \[0\]"):
        fit(START.network, reference, ValueLoss(), key=KEY, steps=1, batch_size=4, optimizer=ADAM)


def test_a_search_names_the_samples():
    reference = FunctionReference(masked_root, with_zero)
    with pytest.raises(NotFiniteError, match=r"samples to train on are not finite \(gradients"):
        shrink(START, reference, tolerance=Tolerance(values=1.0), key=KEY, held_out=64)


def test_what_overflows_in_the_units_alone_is_shown_in_them():
    units = Normalisation(jnp.zeros(1), jnp.ones(1), jnp.zeros(1), jnp.full(1, 1e-300))
    small = Surrogate(START.network, units)
    with pytest.raises(NotFiniteError, match=r"the value of output 0 is inf"):
        fit(
            small,
            FunctionReference(lambda x: 1e20 + x, rarely),
            ValueLoss(),
            key=KEY,
            steps=1,
            batch_size=2,
            optimizer=ADAM,
        )
