"""Benchmark references have the values of their formulas, and derivatives that differences confirm."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sobolev_pruning.reference import Cotangents, borehole, lorenz, otl_circuit, piston, wing_weight

# The formulas as the Virtual Library of Simulation Experiments prints them, in NumPy, for samples in columns.


def borehole_formula(rw, r, Tu, Hu, Tl, Hl, L, Kw):
    numerator = 2 * np.pi * Tu * (Hu - Hl)
    lnrrw = np.log(r) - np.log(rw)
    return numerator / (lnrrw + 2 * L * Tu / (rw**2 * Kw) + lnrrw * Tu / Tl)


def otl_formula(Rb1, Rb2, Rf, Rc1, Rc2, beta):
    Vb1 = 12 * Rb2 / (Rb1 + Rb2)
    denominator = beta * (Rc2 + 9) + Rf
    first = (Vb1 + 0.74) * beta * (Rc2 + 9) / denominator
    return first + 11.35 * Rf / denominator + 0.74 * Rf * beta * (Rc2 + 9) / (denominator * Rc1)


def piston_formula(M, S, V0, k, P0, Ta, T0):
    A = P0 * S + 19.62 * M - k * V0 / S
    V = S / (2 * k) * (np.sqrt(A**2 + 4 * k * (P0 * V0 / T0) * Ta) - A)
    return 2 * np.pi * np.sqrt(M / (k + S**2 * (P0 * V0 / T0) * (Ta / V**2)))


def wing_formula(Sw, Wfw, A, Lam, q, lam, tc, Nz, Wdg, Wp):
    cos = np.cos(np.pi * Lam / 180)
    first = 0.036 * Sw**0.758 * Wfw**0.0035 * (A / cos**2) ** 0.6
    return first * q**0.006 * lam**0.04 * (100 * tc / cos) ** (-0.3) * (Nz * Wdg) ** 0.49 + Sw * Wp


# The reference, its formula and the number of inputs.
FORMULAS = {
    "borehole": (borehole, borehole_formula, 8),
    "OTL circuit": (otl_circuit, otl_formula, 6),
    "piston": (piston, piston_formula, 7),
    "wing weight": (wing_weight, wing_formula, 10),
}


@eqx.filter_jit
def truth_at(reference, x):
    return reference.truth(x)


def around(x, steps):
    """Each sample, then each moved by every step forward, then backward, `(n (1 + 2 d), d)`."""
    moves = np.concatenate([np.zeros((1, len(steps))), np.diag(steps), -np.diag(steps)])
    return (x[:, None] + moves[None]).reshape(-1, len(steps))


def differences(parts, steps):
    """Central differences of what was evaluated `around` samples; the input of the difference comes last."""
    d = len(steps)
    parts = parts.reshape(-1, 1 + 2 * d, *parts.shape[1:])
    return np.moveaxis(parts[:, 1 : 1 + d] - parts[:, 1 + d :], 1, -1) / (2 * steps)


def close(found, expected, tolerance):
    """To a tolerance relative to the largest number of all."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * float(np.max(np.abs(expected))))


@pytest.mark.parametrize(("make", "formula", "dim"), FORMULAS.values(), ids=FORMULAS.keys())
def test_formulas_and_their_derivatives(make, formula, dim):
    """Values by NumPy; gradients by differences of those, Hessians by differences of gradients; in units of the box."""
    reference = make()
    assert (reference.dim_in, reference.dim_out) == (dim, 1)
    width = np.asarray(reference.inputs.upper - reference.inputs.lower)
    steps = 1e-4 * width
    x = around(np.asarray(reference.inputs(jax.random.key(0), 3)), steps)
    values, truth = formula(*x.T), truth_at(reference, x)
    at_samples = slice(None, None, 1 + 2 * dim)
    np.testing.assert_allclose(truth.y[:, 0], values, rtol=1e-13)
    gradients = np.asarray(truth.dydx[:, 0])
    close(gradients[at_samples] * width, differences(values, steps) * width, 1e-6)
    hessians = np.asarray(truth.d2ydx2[at_samples, 0]) * width[:, None] * width
    close(hessians, differences(gradients, steps) * width[:, None] * width, 1e-6)


def test_the_borehole_at_a_known_point():
    """All numbers round, so that the flow can be followed by hand."""
    x = jnp.asarray([0.1, 0.1 * np.e**10, 100_000.0, 1100.0, 100.0, 700.0, 1500.0, 10_000.0])
    expected = 2 * np.pi * 1e5 * 400 / (10 * (1 + 2 * 1500 * 1e5 / (10 * 0.01 * 1e4) + 1000))
    np.testing.assert_allclose(borehole().function(x), [expected], rtol=1e-12)


@pytest.mark.parametrize("make", [borehole, lorenz])
def test_single_precision(make):
    """The same labels as in double precision, to what single can hold."""
    with jax.enable_x64(False):
        reference = make()
        single = eqx.filter_jit(reference.sample)(jax.random.key(1), 4)
        assert {part.dtype for part in jax.tree.leaves(single)} == {jnp.dtype("float32")}
        x = np.asarray(single.x, np.float64)
    y = jax.jit(jax.vmap(make().function))(x)
    close(np.asarray(single.y), np.asarray(y), 1e-5 if make is not lorenz else 1e-3)


TIMES = (0.1, 0.25)


def variational(start, times):
    """States and their derivatives by initial state and parameters: the variational equations, by SciPy."""
    sigma, rho, beta = start[3:]

    def slope(_, packed):
        (x, y, z), phi = packed[:3], packed[3:].reshape(3, 6)
        by_state = np.array([[-sigma, sigma, 0], [rho - z, -1, -x], [y, x, -beta]])
        by_parameter = np.array([[y - x, 0, 0], [0, x, 0], [0, 0, -z]])
        phi_dot = by_state @ phi + np.concatenate([np.zeros((3, 3)), by_parameter], axis=1)
        return np.concatenate([[sigma * (y - x), x * (rho - z) - y, x * y - beta * z], phi_dot.ravel()])

    initial = np.concatenate([start[:3], np.eye(3, 6).ravel()])
    states = solve_ivp(slope, (0, times[-1]), initial, "DOP853", times, rtol=1e-11, atol=1e-11).y.T
    return states[:, :3].ravel(), states[:, 3:].reshape(-1, 6)


def test_the_lorenz_system_and_its_derivatives():
    """Against the variational equations to the scheme's error, and Hessians against differences of Jacobians."""
    reference = lorenz(TIMES)
    assert (reference.dim_in, reference.dim_out) == (6, 6)
    x, steps = np.asarray(reference.inputs(jax.random.key(2), 3)), np.full(6, 1e-5)
    truth = truth_at(reference, around(x, steps))
    states, jacobians = (np.stack(parts) for parts in zip(*(variational(row, TIMES) for row in x), strict=True))
    close(np.asarray(truth.y[::13]), states, 2e-6)
    close(np.asarray(truth.dydx[::13]), jacobians, 5e-6)
    close(np.asarray(truth.d2ydx2[::13]), differences(np.asarray(truth.dydx), steps), 1e-7)
    # Reverse sweeps through the scheme are those of forward mode, transposed.
    samples = eqx.filter_jit(dataclasses.replace(reference, cotangents=Cotangents(2)).sample)(jax.random.key(2), 3)
    products = samples.vjps.cotangents @ truth.dydx[::13]
    np.testing.assert_allclose(samples.vjps.products, products, rtol=1e-9, atol=1e-9)


def test_the_scheme_is_of_fourth_order():
    start = np.array([3.0, -4.0, 25.0, 10.0, 28.0, 8 / 3])
    states, _ = variational(start, (0.5,))
    errors = [
        np.max(np.abs(np.asarray(jax.jit(lorenz((0.5,), step=step).function)(start)) - states))
        for step in (0.01, 0.005)
    ]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": ()}, r"`times` is \[\]"),
        ({"times": (1.0, 0.5)}, r"`times` is \[1\.0, 0\.5\]; give at least one, in increasing order"),
        ({"times": (0.0, 0.5)}, "all after zero"),
        ({"times": (0.1004,)}, r"whole number of steps of 0\.005"),
        ({"times": (float("nan"),)}, "`times`"),
        ({"step": 0.0}, r"`step` is 0\.0"),
        ({"step": float("inf")}, "`step` is inf"),
    ],
    ids=str,
)
def test_bad_times_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        lorenz(**options)
