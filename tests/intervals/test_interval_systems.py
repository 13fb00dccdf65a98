"""Rules of linear algebra enclose the solutions and factors of all members, and are sharp for narrow boxes."""

import functools
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
import pytest
from array_checks import Case, check, enclosed
from interval_checks import as_interval
from jax import lax
from jax.extend.core import primitives

from sobolev_pruning.intervals import Interval, inclusion, rule_for
from sobolev_pruning.intervals._rules import cholesky, eigen, systems, triangular

DEFINITE = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 5.0]])
GENERAL = np.array([[0.3, -2.0, 4.0], [2.0, -1.0, 0.5], [1.0, 3.0, 1.0]])
RIGHT = np.array([1.0, -2.0, 0.7])


def solved(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Elimination with pivoting, in the precision of the arguments."""
    a, b = a.copy(), b.copy()
    n = len(a)
    for k in range(n):
        p = k + np.argmax(np.abs(a[k:, k]))
        a[[k, p]], b[[k, p]] = a[[p, k]], b[[p, k]]
        for i in range(k + 1, n):
            factor = a[i, k] / a[k, k]
            a[i], b[i] = a[i] - factor * a[k], b[i] - factor * b[k]
    x = np.zeros_like(b)
    for k in reversed(range(n)):
        x[k] = (b[k] - a[k, k + 1 :] @ x[k + 1 :]) / a[k, k]
    return x


def solved_by(solve):
    return lambda a, b: lax.custom_linear_solve(lambda v: a @ v, b, functools.partial(solve, a))


def inverse(a: np.ndarray) -> np.ndarray:
    return solved(a, np.eye(len(a), dtype=a.dtype))


def factored(a: np.ndarray) -> np.ndarray:
    """The Cholesky factor of the symmetric part."""
    a = (a + a.T) / 2
    factor = np.zeros_like(a)
    for j in range(len(a)):
        factor[j, j] = np.sqrt(a[j, j] - factor[j, :j] @ factor[j, :j])
        for i in range(j + 1, len(a)):
            factor[i, j] = (a[i, j] - factor[i, :j] @ factor[j, :j]) / factor[j, j]
    return factor


def factor_gradient(a: np.ndarray) -> np.ndarray:
    """Of the sum of the entries of the factor: dL = L·low(L⁻¹·dA·L⁻ᵀ), entry by entry."""
    factor = factored(a)
    inv = inverse(factor)
    gradient = np.zeros_like(a)
    for i in range(len(a)):
        for j in range(len(a)):
            change = np.zeros_like(a)
            change[i, j] += 0.5
            change[j, i] += 0.5
            inner = inv @ change @ inv.T
            gradient[i, j] = (factor @ (np.tril(inner, -1) + np.diag(np.diag(inner)) / 2)).sum()
    return gradient


def pivoted(a: np.ndarray) -> list[np.ndarray]:
    a = a.copy()
    n = len(a)
    order, pivots = np.arange(n), []
    for k in range(n):
        p = k + np.argmax(np.abs(a[k:, k]))
        a[[k, p]], order[[k, p]] = a[[p, k]], order[[p, k]]
        pivots.append(p)
        for i in range(k + 1, n):
            a[i, k] /= a[k, k]
            a[i, k + 1 :] -= a[i, k] * a[k, k + 1 :]
    return [a, np.array(pivots), order]


def eigenvalues(a: np.ndarray) -> np.ndarray:
    """Of the symmetric part, by Jacobi's rotations, in the precision of the argument."""
    a = (a + a.T) / 2
    n = len(a)
    for _ in range(12):
        for i in range(n):
            for j in range(i + 1, n):
                if abs(a[i, j]) < 1e-30:
                    continue
                t = (a[j, j] - a[i, i]) / (2 * a[i, j])
                t = (1 if t >= 0 else -1) / (abs(t) + np.sqrt(1 + t * t))
                c = 1 / np.sqrt(1 + t * t)
                turn = np.eye(n, dtype=a.dtype)
                turn[i, i] = turn[j, j] = c
                turn[i, j], turn[j, i] = t * c, -t * c
                a = turn.T @ a @ turn
    return np.sort(np.diag(a))


CASES = {
    "eigvalsh": Case(primitives.eigh_p, jnp.linalg.eigvalsh, eigenvalues, near=(DEFINITE,), growth=6),
    "solve_triangular": Case(
        lax.linalg.triangular_solve_p,
        lambda a, b: jsl.solve_triangular(a, b, lower=True),
        lambda a, b: solved(np.tril(a), b),
        near=(DEFINITE, RIGHT),
    ),
    "cho_solve": Case(
        lax.linalg.triangular_solve_p,
        lambda a, b: jsl.cho_solve((a, True), b),
        lambda a, b: solved(np.tril(a) @ np.tril(a).T, b),
        near=(DEFINITE, RIGHT),
    ),
    "cholesky": Case(lax.linalg.cholesky_p, jnp.linalg.cholesky, factored, near=(DEFINITE,)),
    "gradient of cholesky": Case(
        lax.linalg.cholesky_p,
        jax.grad(lambda a: jnp.linalg.cholesky(a).sum()),
        factor_gradient,
        near=(DEFINITE,),
        growth=6,
    ),
    "solve": Case(primitives.linear_solve_p, jnp.linalg.solve, solved, near=(GENERAL, RIGHT)),
    "solve of a stack": Case(
        primitives.linear_solve_p,
        lambda a, b: jnp.linalg.solve(jnp.stack([a, a.T]), jnp.stack([b, -b])[..., None])[..., 0],
        lambda a, b: np.stack([solved(a, b), solved(a.T, -b)]),
        near=(GENERAL, RIGHT),
    ),
    "inv": Case(primitives.linear_solve_p, jnp.linalg.inv, inverse, near=(GENERAL,)),
    "gradient of solve": Case(
        primitives.linear_solve_p,
        jax.grad(lambda a, b: jnp.linalg.solve(a, b).sum()),
        lambda a, b: -np.outer(solved(a.T, np.ones_like(b)), solved(a, b)),
        near=(GENERAL, RIGHT),
        growth=6,
    ),
    "solve with an LU factorization": Case(
        primitives.linear_solve_p,
        solved_by(lambda a, _, b: jsl.lu_solve(jsl.lu_factor(a), b)),
        solved,
        near=(GENERAL, RIGHT),
    ),
    "solve with a Cholesky factorization": Case(
        lax.linalg.cholesky_p,
        lambda a, b: jsl.solve(a, b, assume_a="pos"),
        lambda a, b: solved(np.triu(a) + np.triu(a, 1).T, b),  # that triangle is read
        near=(DEFINITE, RIGHT),
        growth=6,
    ),
    "lu": Case(lax.linalg.lu_p, lambda a: list(lax.linalg.lu(a)), pivoted, near=(GENERAL,)),
}


# A `solve` that is not exact: the program returns something else than the solution.
APPROXIMATE = {
    "one step of conjugate gradients": lambda a, b: jax.scipy.sparse.linalg.cg(lambda v: a @ v, b, maxiter=1)[0],
    "one step of BiCGStab": lambda a, b: jax.scipy.sparse.linalg.bicgstab(lambda v: a @ v, b, maxiter=1)[0],
    "the diagonal": solved_by(lambda a, _, b: b / jnp.diag(a)),
    "a triangle": solved_by(lambda a, _, b: jsl.solve_triangular(a, b, lower=True)),
    "the transposed system": solved_by(lambda a, _, b: jsl.lu_solve(jsl.lu_factor(a), b, trans=1)),
    "a regularised operator": lambda a, b: lax.custom_linear_solve(
        lambda v: a @ v + 0.1 * v, b, lambda _, r: jsl.lu_solve(jsl.lu_factor(a), r)
    ),
    "a regularised matrix": lambda a, b: lax.custom_linear_solve(
        lambda v: a @ v, b, lambda _, r: jsl.lu_solve(jsl.lu_factor(a + 1e-2 * jnp.eye(3)), r)
    ),
}


@pytest.mark.parametrize("name", APPROXIMATE)
def test_an_approximate_solve_is_enclosed_as_what_it_computes(name):
    f, matrix, radius = APPROXIMATE[name], DEFINITE + np.triu(np.full((3, 3), 0.3), 1), 1e-4
    box = [as_interval(v - radius, v + radius) for v in (matrix, RIGHT)]
    out = inclusion(f)(*box)
    exact = solved(matrix + (0.1 * np.eye(3) if name == "a regularised operator" else 0), RIGHT)
    assert not out.contains(exact).all()
    assert np.all(np.asarray(out.width) < 0.1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (jnp.asarray(v + radius * rng.choice([-1, 0, 1], v.shape)) for v in (matrix, RIGHT))
        assert out.contains(f(a, b)).all()


APART = (lax.linalg.lu_pivots_to_permutation_p,)


@pytest.mark.parametrize("name", CASES)
def test_linear_algebra_is_enclosed_and_tight(name):
    for seed, radius in enumerate((0.0, 1e-6, 0.02)):
        check(CASES[name], np.float64, radius, seed)


@pytest.mark.parametrize("name", ["cholesky", "eigvalsh", "solve"])
def test_linear_algebra_in_single_precision(name):
    for seed, radius in enumerate((0.0, 1e-4, 0.02)):
        check(CASES[name], np.float32, radius, seed)


def test_exact_systems():
    check(CASES["solve_triangular"], np.float32, 0.0, 0, exact=True)


@pytest.mark.parametrize("exact", [True, False])
def test_every_kind_of_triangular_system(exact, monkeypatch):
    # Compiled once for all sixteen kinds, which differ in how they rearrange their arguments.
    for part in ("substitution", "solution"):
        monkeypatch.setattr(triangular, part, jax.jit(getattr(triangular, part)))
    rng = np.random.default_rng(0)
    for left, lower, transposed, unit in product((False, True), repeat=4):
        a = np.stack([GENERAL, GENERAL[::-1]]) + 3 * np.eye(3)
        b = rng.normal(0, 1, (2, 3, 1) if left else (2, 1, 3))
        radius = 0.0 if exact else 1e-3
        box = [as_interval(v - radius, v + radius) for v in (a, b)]
        matrix = Interval._make(box[0].lower, box[0].lower) if exact else box[0]
        kind = {"left_side": left, "lower": lower, "transpose_a": transposed, "unit_diagonal": unit}
        out = rule_for(lax.linalg.triangular_solve_p)(matrix, box[1], conjugate_a=False, **kind)
        for t in (-1.0, 0.0, 0.3, 1.0):
            for k in range(2):
                m = (a[k] + t * radius).astype(np.longdouble)
                m = np.tril(m) if lower else np.triu(m)
                if unit:
                    m = m - np.diag(np.diag(m)) + np.eye(3)
                m = m.T if transposed else m
                right = (b[k] - t * radius).astype(np.longdouble)
                truth = solved(m, right) if left else solved(m.T, right.T).T
                slack = 1e-18 * (1 + np.abs(truth))
                assert np.all(np.asarray(out.lower)[k] <= truth + slack), kind
                assert np.all(truth - slack <= np.asarray(out.upper)[k]), kind
                assert np.all(np.asarray(out.width)[k] <= 40 * radius * (1 + np.abs(truth).max()) + 1e-12), kind


def _triangle(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    a = np.tril(rng.normal(0, 1, (n, n)), -1) / 3 + np.diag(1 + rng.random(n))
    return a, rng.normal(0, 1, (n, 1))


def test_widths_do_not_double_with_every_row():
    a, b = _triangle(60)
    box = as_interval(a, a), as_interval(b - 1e-12, b + 1e-12)
    out = enclosed(CASES["solve_triangular"].function)(box[0], box[1])
    least = 2e-12 * np.abs(np.linalg.inv(a)).sum(1)
    assert np.all(np.asarray(out.width)[:, 0] <= 1.01 * least + 1e-10)
    substituted = jax.jit(triangular.substitution)(*box)
    assert float(substituted.width.max()) > 100 * float(out.width.max())  # what the second enclosure is for
    factor = enclosed(jnp.linalg.cholesky)(as_interval(*[a @ a.T] * 2))
    assert float(factor.width.max()) < 1e-10
    truth = factored((a @ a.T).astype(np.longdouble))
    assert np.all(np.asarray(factor.lower) <= truth + 1e-18)
    assert np.all(truth - 1e-18 <= np.asarray(factor.upper))


def test_singular_members_leave_solutions_unbounded():
    low = np.array([[1.0, 0.0, 0.0], [1.0, -0.5, 0.0], [0.0, 1.0, 1.0]])
    a = as_interval(low, low + np.array([[0, 0, 0], [1, 1, 0], [0, 0, 0]]))
    b = as_interval(np.array([2.0, 0.0, 1.0]), np.array([2.0, 1.0, 1.0]))
    for f in (CASES["solve_triangular"].function, jnp.linalg.solve):
        out = enclosed(f)(a, b)
        assert out.lower[1:].tolist() == [-jnp.inf] * 2
        assert out.upper[1:].tolist() == [jnp.inf] * 2
    # Rows above the singular pivot are known by substitution.
    first = enclosed(CASES["solve_triangular"].function)(a, b)[0]
    assert 2 - 1e-12 <= first.lower <= first.upper <= 2 + 1e-12


def test_the_factor_of_the_definite_members_is_bounded():
    low, upp = np.diag([1.0, -1.0, 1.0]), np.diag([4.0, 4.0, 1.0])
    low[0, 1] = low[1, 0] = 0.9
    upp[0, 1] = upp[1, 0] = 3.0
    out = enclosed(jnp.linalg.cholesky)(as_interval(low, upp))
    assert np.all(np.asarray(out.magnitude) <= 2 + 1e-12)
    for p, q, r in product((1.0, 2.5, 4.0), (0.9, 1.5, 3.0), (0.5, 2.0, 4.0)):
        if p * r - q * q > 0:
            truth = np.array([[p**0.5, 0, 0], [q / p**0.5, (r - q * q / p) ** 0.5, 0], [0, 0, 1]])
            assert np.all(np.asarray(out.lower) <= truth + 1e-15)
            assert np.all(truth - 1e-15 <= np.asarray(out.upper))


def test_undecided_pivots_are_all_that_is_possible():
    a = np.array([[1.0, 2.0, 0.5], [1.001, -1.0, 0.0], [0.2, 0.3, 2.0]])
    factors, pivots, order = enclosed(CASES["lu"].function)(as_interval(a - 0.01, a + 0.01))
    assert (pivots.lower[0], pivots.upper[0]) == (0, 2)
    assert (order.lower[0], order.upper[0]) == (0, 2)
    for sign in (-1, 1):
        truth = pivoted(a + sign * np.diag([0.01, 0, 0]) - sign * np.outer([0, 1, 0], [0.01, 0, 0]))
        assert np.all(np.asarray(factors.lower) <= truth[0])
        assert np.all(truth[0] <= np.asarray(factors.upper))
    assert np.all(np.abs(np.tril(factors.magnitude, -1)) <= 1)
    assert np.all(np.isfinite(np.asarray(factors.magnitude)))
    # The solution does not depend on the choice.
    check(CASES["solve"]._replace(near=(a, RIGHT)), np.float64, 0.005, 0)


def test_a_permutation_is_known_only_from_pivots_that_are():
    rule = rule_for(lax.linalg.lu_pivots_to_permutation_p)
    pivots = jnp.array([[2, 1, 2], [0, 1, 2]], np.int32)
    out = rule(Interval._make(pivots, pivots.at[1, 0].add(1)), permutation_size=3)
    assert out.lower.tolist() == [[2, 1, 0], [0, 0, 0]]
    assert out.upper.tolist() == [[2, 1, 0], [2, 2, 2]]
    assert rule(pivots, permutation_size=3).tolist() == [[2, 1, 0], [0, 1, 2]]


def test_eigenvalues_that_are_equal_or_unknown():
    values, vectors = enclosed(lambda a: list(jnp.linalg.eigh(a)))(as_interval(np.eye(3), np.eye(3)))
    assert values.contains(jnp.ones(3)).all()
    assert values.width.max() < 1e-13
    assert bool((vectors.magnitude == 1).all())
    unbounded = enclosed(jnp.linalg.eigvalsh)(Interval(np.full((2, 2), -np.inf), np.full((2, 2), np.inf)))
    assert unbounded.is_entire.all()


WRONG: dict[str, tuple[Any, str, Any, str]] = {
    "a solution without its defect": (
        triangular,
        "solution",
        lambda a, b, inverse: Interval._make(*(inverse @ b.midpoint,) * 2),
        "solve_triangular",
    ),
    "a factor without the second order": (
        cholesky,
        "_perturbed",
        lambda a, factor: Interval._make(factor, factor),
        "cholesky",
    ),
    "eigenvalues of the midpoint": (
        eigen,
        "_row_sums",
        lambda x: jnp.zeros(x.shape[:-1], x.dtype),
        "eigvalsh",
    ),
    "the midpoint's solution": (
        systems,
        "_solve",
        lambda a, b: Interval._make(*(jnp.linalg.solve(a.midpoint, b.midpoint),) * 2),
        "solve",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_enclosures_are_caught(name, monkeypatch):
    module, part, mutant, case = WRONG[name]
    monkeypatch.setattr(module, part, mutant)
    enclosed.cache_clear()
    with pytest.raises(AssertionError, match="bound"):
        check(CASES[case], np.float64, 0.02, 2)
    enclosed.cache_clear()
