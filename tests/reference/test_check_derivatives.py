"""Derivatives are held against the values of neighbouring samples: faults are named, and nothing else is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import (
    ContradictionWarning,
    DataSet,
    LabelWeights,
    Samples,
    borehole,
    check_derivatives,
    otl_circuit,
    piston,
    wing_weight,
)
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss, fit_levenberg_marquardt
from sobolev_pruning.surrogate import MLP


def drawn(name, n, seed=0):
    reference = {"borehole": borehole, "otl": otl_circuit, "piston": piston, "wing": wing_weight}[name]()
    samples = reference.sample(jax.random.key(seed), n)
    return tuple(np.asarray(part) for part in (samples.x, samples.y, samples.dydx))


def messages(x, y, dydx, d2ydx2=None, weights=None):
    parts = [None if part is None else jnp.asarray(part) for part in (x, y, dydx, d2ydx2)]
    return check_derivatives(Samples(*parts, weights=weights)).messages


def two_largest(x, dydx):
    i, j = np.argsort(-np.abs(dydx * x.std(0)).mean((0, 1)))[:2].tolist()
    return i, j


def one_sign(x, dydx):
    i, _ = two_largest(x, dydx)
    return np.where(np.arange(x.shape[1]) == i, -dydx, dydx)


def exchanged(x, dydx):
    i, j = two_largest(x, dydx)
    order = np.arange(x.shape[1])
    order[[i, j]] = j, i
    return dydx[:, :, order]


def without_one(x, dydx):
    return np.where(np.arange(x.shape[1]) == two_largest(x, dydx)[0], 0.0, dydx)


def permuted(x, dydx):
    return dydx[np.random.default_rng(0).permutation(len(x))]


FAULTS = {
    "signs": (lambda x, g: -g, "multiplied by -1, the other sign"),
    "one sign": (one_sign, "multiplied by -1, the other sign"),
    "degrees": (lambda x, g: g * np.pi / 180, "multiplied by 57.3, degrees for radians"),
    "kcal for eV": (lambda x, g: g * 23.06, "multiplied by 0.0434, kcal/mol for eV"),
    "percents": (lambda x, g: g * 100, "multiplied by 0.01, they would fit"),
    "two columns": (exchanged, "in another order of the inputs they would fit"),
    "rows": (permuted, "have nothing to do with its values at neighbouring samples"),
    "next row": (lambda x, g: np.roll(g, 1, 0), "have nothing to do with its values"),
    "zeros": (without_one, "are zero in all samples, but its values vary"),
}


@pytest.mark.parametrize("name", ["borehole", "otl", "piston", "wing"])
def test_faults_of_engineering_functions_are_named(name):
    """Six to ten inputs, so that the nearest of 80 neighbours are far."""
    x, y, dydx = drawn(name, 80)
    assert messages(x, y, dydx) == ()
    for fault, message in FAULTS.values():
        found = messages(x, y, fault(x, dydx))
        assert any(message in text for text in found), (message, found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["borehole", "otl", "piston", "wing"])
@pytest.mark.parametrize("n", [80, 500, 5000])
def test_right_derivatives_are_never_doubted(name, n):
    for seed in range(30):
        assert messages(*drawn(name, n, seed)) == ()


def one_path(d, n, seed, payoff):
    """Payoffs of a basket of lognormal or normal assets, and their pathwise derivatives."""
    rng = np.random.default_rng(seed)
    x, w = rng.uniform(0.5, 1.5, (n, d)), np.full(d, 1 / d)
    if payoff == "lognormal":
        growth = np.exp(-0.02 + 0.2 * rng.normal(size=(n, d)))
        basket, slopes = (x * growth) @ w, growth * w
    else:
        basket, slopes = x @ w + 0.2 * rng.normal(size=n), np.tile(w, (n, 1))
    y = np.maximum(basket - 1, 0) + (0.5 * (basket > 1.1) if payoff == "jump" else 0)
    return x, y[:, None], ((basket > 1)[:, None] * slopes)[:, None]


@pytest.mark.parametrize("payoff", ["lognormal", "normal", "jump"])
@pytest.mark.parametrize(("d", "n", "seeds"), [(1, 80, 10), (3, 300, 3), (12, 80, 3)])
def test_noise_of_single_paths_is_no_contradiction(payoff, d, n, seeds):
    for seed in range(seeds):
        assert messages(*one_path(d, n, seed, payoff)) == ()


@pytest.mark.slow
@pytest.mark.parametrize("payoff", ["lognormal", "normal", "jump"])
@pytest.mark.parametrize("d", [1, 2, 4, 7, 12])
@pytest.mark.parametrize(("n", "seeds"), [(80, 40), (600, 30), (5000, 30)])
def test_noise_of_single_paths_is_no_contradiction_at_length(payoff, d, n, seeds):
    for seed in range(seeds):
        assert messages(*one_path(d, n, seed, payoff)) == ()


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_noise_of_the_derivatives_alone_is_no_contradiction(noise):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1, 1, (80, 2))
        y, slope = np.sin(x @ [1.0, 0.5]), np.cos(x @ [1.0, 0.5])[:, None] * [1.0, 0.5]
        labels = slope + noise * slope.std(0) * rng.normal(size=x.shape)
        assert messages(x, y[:, None], labels[:, None]) == ()
        if noise < 3:
            assert "multiplied by -" in messages(x, y[:, None], -labels[:, None])[0]


RNG = np.random.default_rng(1)
X = RNG.uniform(-1, 1, (200, 2))
Y = np.stack([np.sin(2 * X[:, 0]) + X[:, 1] ** 2, X[:, 0] * X[:, 1] + 3 * X[:, 1]], 1)
ZERO = 0 * X[:, 0]
DYDX = np.stack([np.stack([2 * np.cos(2 * X[:, 0]), 2 * X[:, 1]], 1), np.stack([X[:, 1], X[:, 0] + 3], 1)], 1)
D2YDX2 = np.stack(
    [
        np.stack([np.stack([-4 * np.sin(2 * X[:, 0]), ZERO], 1), np.stack([ZERO, ZERO + 2], 1)], 1),
        np.stack([np.stack([ZERO, ZERO + 1], 1), np.stack([ZERO + 1, ZERO], 1)], 1),
    ],
    1,
)


def test_a_transposed_jacobian_is_told_from_factors():
    assert messages(X, Y, DYDX) == ()
    assert messages(X, Y, np.swapaxes(DYDX, 1, 2))[0].endswith("the output comes before the input, `(n, m, d)`.")
    (found,) = messages(X, Y, DYDX[:, ::-1])
    assert "in another order of the outputs they would fit: in the place of 'y1' stands that of 'y0'" in found


@pytest.mark.parametrize("value", [0.0, 1.0, -1e12])
def test_slopes_of_constant_values_are_contradicted(value):
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (60, 2))
    said = messages(x, np.full((60, 1), value), np.cos(x)[:, None])
    assert len(said) == 1
    assert "by 'x0', 'x1' are not zero, but its values do not vary with these inputs" in said[0]


def test_second_derivatives_are_held_against_first_ones():
    assert messages(X, Y, DYDX, D2YDX2) == ()
    found = messages(X, Y, DYDX, -D2YDX2)
    assert any("derivatives of '∂y0/∂x0' by 'x0' contradict" in text and "other sign" in text for text in found)


def test_factors_are_those_of_each_column():
    factors = check_derivatives(
        Samples(*map(jnp.asarray, (X, Y, DYDX * np.asarray([[-1.0, 0.5], [1.0, 4.0]]))))
    ).factors
    np.testing.assert_allclose(factors, [[-1, 2], [1, 0.25]], rtol=0.05)


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_units_and_offsets_do_not_matter(unit):
    x, y, dydx = 1e6 + X, Y * unit, DYDX * unit
    assert messages(x, y, dydx) == ()
    assert "other sign" in messages(x, y, -dydx)[0]


def test_unknown_labels_play_no_part():
    """Some labels of one column are not known, none of another, and what stands there is wrong."""
    known = np.ones(DYDX.shape)
    known[::7, 0, 0] = known[:, 1, 0] = 0.0
    spoilt = np.where(known > 0, DYDX, 1e3)
    weights = LabelWeights(dydx=jnp.asarray(known))
    assert messages(X, Y, spoilt, weights=weights) == ()
    (found,) = messages(X, Y, np.where(np.arange(2) == 1, -spoilt, spoilt), weights=weights)[:1]
    assert "by 'x1'" in found


def test_inputs_that_come_again_and_few_rows():
    again = np.repeat(np.arange(200), 3)
    assert messages(X[again], Y[again], DYDX[again]) == ()
    assert "other sign" in messages(X[again], Y[again], -DYDX[again])[0]
    assert messages(X[:5], Y[:5], -DYDX[:5]) == ()
    assert messages(np.zeros((30, 2)), Y[:30], -DYDX[:30]) == ()


def test_kinks_and_jumps_are_no_contradiction():
    kink = np.abs(X[:, :1]) + X[:, 1:]
    slopes = np.stack([np.sign(X[:, 0]), ZERO + 1], 1)[:, None]
    assert messages(X, kink, slopes) == ()
    assert messages(X, kink + 5.0 * (X[:, :1] > 0.2), slopes) == ()
    assert "other sign" in messages(X, kink, -slopes)[0]


def test_a_grid_is_as_good_as_random_inputs():
    x = np.stack(np.meshgrid(np.linspace(0, 1, 12), np.linspace(0, 30, 9), indexing="ij"), -1).reshape(-1, 2)
    y = (np.exp(x[:, :1]) + x[:, 1:] ** 2 / 100).reshape(-1, 1)
    dydx = np.stack([np.exp(x[:, 0]), x[:, 1] / 50], 1)[:, None]
    assert messages(x, y, dydx) == ()
    assert "other sign" in messages(x, y, -dydx)[0]


def test_training_warns():
    samples = DataSet.from_arrays(X, Y, -DYDX).samples
    network = MLP.create([2, 2, 2], key=jax.random.key(0))
    with pytest.warns(ContradictionWarning, match="multiplied by -1, the other sign, they would fit"):
        fit_levenberg_marquardt(network, samples, SobolevLoss(), max_steps=1)
    fit_levenberg_marquardt(network, samples, ValueLoss(), max_steps=1)  # learns nothing from them
