"""Rules of reductions, windows, scatters, sorting and convolutions enclose the true values, and little more.

Truth is evaluated by NumPy in extended precision at members of the box, among them corners; it is wrong by less than a
thousandth of the rounding that the rules must cover.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from array_checks import Case, check, enclosed
from interval_checks import DTYPES, as_interval
from jax import lax
from numpy.lib.stride_tricks import sliding_window_view

from sobolev_pruning.intervals import Interval, UnsupportedPrimitiveError, inclusion, rule_for
from sobolev_pruning.intervals._ranks import candidates, winners
from sobolev_pruning.intervals._rules.convolution import unfolded_convolution


def combined(operation: np.ufunc) -> Callable[..., np.ndarray]:
    def truth(x: np.ndarray, updates: np.ndarray) -> np.ndarray:
        result = x.copy()
        for row, update in zip((1, 3, 1), updates, strict=True):
            result[row] = operation(result[row], update)
        return result

    return truth


ROWS = np.array([1, 3, 1])


def dilated(x: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """Zeros between entries along the last axes."""
    lead = x.ndim - len(steps)
    shape = (*x.shape[:lead], *((n - 1) * s + 1 for n, s in zip(x.shape[lead:], steps, strict=True)))
    result = np.zeros(shape, x.dtype)
    result[(..., *(slice(None, None, s) for s in steps))] = x
    return result


def convolution(x, k, *, strides, padding, lhs=(1, 1), rhs=(1, 1), features=1, batches=1):
    """The definition, with axes (batch, feature, space) and (output, input, space)."""
    x, k = dilated(x, lhs), dilated(k, rhs)
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    groups = features * batches
    outs = []
    for g in range(groups):
        rows = np.split(x, batches, 0)[g] if batches > 1 else x
        part = rows if batches > 1 else np.split(x, features, 1)[g]
        seen = sliding_window_view(part, k.shape[2:], (2, 3))[:, :, :: strides[0], :: strides[1]]
        outs.append(np.einsum("bchwij,ocij->bohw", seen, np.split(k, groups, 0)[g]))
    return np.concatenate(outs, 1)


def convolved(**case):
    def function(x, k):
        return lax.conv_general_dilated(
            x,
            k,
            case["strides"],
            case["padding"],
            lhs_dilation=case.get("lhs", (1, 1)),
            rhs_dilation=case.get("rhs", (1, 1)),
            feature_group_count=case.get("features", 1),
            batch_group_count=case.get("batches", 1),
        )

    return function, partial(convolution, **case)


PLAIN = convolved(strides=(1, 1), padding=((1, 1), (0, 1)))
GROUPED = convolved(strides=(2, 1), padding=((0, 0), (1, 0)), rhs=(1, 2), features=2)
STRETCHED = convolved(strides=(1, 2), padding=((2, 1), (0, 0)), lhs=(2, 1))
BATCHED = convolved(strides=(1, 1), padding=((0, 0), (0, 0)), batches=2)


def last_channels(x, k):
    """The same convolution with axes (batch, space, feature)."""
    x, k = x.transpose(0, 2, 3, 1), k.transpose(2, 3, 1, 0)
    y = lax.conv_general_dilated(x, k, (1, 1), ((1, 1), (0, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y.transpose(0, 3, 1, 2)


def pooled(reduce: Callable[..., Any], fill: float, stride: int = 2) -> Callable[[np.ndarray], np.ndarray]:
    def truth(x):
        x = np.pad(x, ((1, 0), (0, 1)), constant_values=fill)
        return reduce(sliding_window_view(x, (2, 3))[::stride, ::stride], axis=(-2, -1))

    return truth


def pool(init: float, operation: Any) -> Callable[[Any], Any]:
    return lambda x: lax.reduce_window(x, np.asarray(init, x.dtype)[()], operation, (2, 3), (2, 2), ((1, 0), (0, 1)))


def pooled_gradient(x, weights):
    gradient = np.zeros_like(x)
    for i in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            window = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 3]
            a, b = np.unravel_index(np.argmax(window), window.shape)
            gradient[2 * i + a, 2 * j + b] += weights[i, j]
    return gradient


def maximum_pool(x):
    return lax.reduce_window(x, np.asarray(-np.inf, x.dtype)[()], lax.max, (2, 3), (2, 2), "VALID")


def pooled_tangent(x, t):
    windows, tangents = (sliding_window_view(v, (2, 3))[::2, ::2].reshape(2, 2, 6) for v in (x, t))
    return np.take_along_axis(tangents, windows.argmax(-1)[..., None], -1)[..., 0]


def log_sum_exp(x):
    return np.logaddexp.accumulate(x[::-1], 0)[::-1]


CASES = {
    "prod": Case(lax.reduce_prod_p, lambda x: jnp.prod(x, 1), lambda x: x.prod(1), ((3, 7),)),
    "prod of all": Case(lax.reduce_prod_p, jnp.prod, np.prod, ((2, 3),)),
    "gradient of prod": Case(
        lax.reduce_prod_p, jax.grad(jnp.prod), lambda x: np.array([np.delete(x, i).prod() for i in range(4)]), ((4,),)
    ),
    "cumprod": Case(lax.cumprod_p, lambda x: lax.cumprod(x, 1), lambda x: x.cumprod(1), ((3, 6),)),
    "cumprod from the end": Case(
        lax.cumprod_p, lambda x: lax.cumprod(x, 0, True), lambda x: x[::-1].cumprod(0)[::-1], ((5, 2),)
    ),
    "cumlogsumexp": Case(
        lax.cumlogsumexp_p,
        lambda x: lax.cumlogsumexp(x, 1),
        lambda x: np.logaddexp.accumulate(x, 1),
        ((3, 9),),
    ),
    "cumlogsumexp from the end": Case(
        lax.cumlogsumexp_p, lambda x: lax.cumlogsumexp(x, 0, True), log_sum_exp, ((4, 2),)
    ),
    "window sum": Case(lax.reduce_window_sum_p, pool(0, lax.add), pooled(np.sum, 0), ((5, 6),)),
    "window max": Case(lax.reduce_window_max_p, pool(-np.inf, lax.max), pooled(np.max, -np.inf), ((5, 6),)),
    "window min": Case(lax.reduce_window_min_p, pool(np.inf, lax.min), pooled(np.min, np.inf), ((5, 6),)),
    "window product": Case(lax.reduce_window_p, pool(1, lax.mul), pooled(np.prod, 1), ((5, 6),)),
    "dilated windows": Case(
        lax.reduce_window_p,
        lambda x: lax.reduce_window(
            x, np.asarray(1, x.dtype)[()], lax.mul, (2,), (1,), "VALID", base_dilation=(2,), window_dilation=(2,)
        ),
        lambda x: (lambda y: y[:-2] * y[2:])(np.stack([x, np.ones_like(x)], 1).reshape(-1)[:-1]),
        ((5,),),
    ),
    "reduce": Case(
        lax.reduce_p,
        lambda x: lax.reduce(x, np.asarray(2, x.dtype)[()], lax.mul, (1,)),
        lambda x: 2 * x.prod(1),
        ((3, 4),),
    ),
    "gradient of a window max": Case(
        lax.select_and_scatter_add_p,
        lambda x, w: jax.vjp(maximum_pool, x)[1](w)[0],
        pooled_gradient,
        ((5, 5), (2, 2)),
    ),
    "tangent of a window max": Case(
        lax.select_and_gather_add_p, lambda x, t: jax.jvp(maximum_pool, (x,), (t,))[1], pooled_tangent, ((5, 5), (5, 5))
    ),
    "tangent of a window min": Case(
        lax.select_and_gather_add_p,
        lambda x, t: jax.jvp(lambda x: -maximum_pool(-x), (x,), (t,))[1],
        lambda x, t: pooled_tangent(-x, t),
        ((5, 5), (5, 5)),
    ),
    "scatter sub": Case(
        lax.scatter_sub_p, lambda x, u: x.at[ROWS].subtract(u), combined(np.subtract), ((4, 2), (3, 2))
    ),
    "scatter mul": Case(
        lax.scatter_mul_p, lambda x, u: x.at[ROWS].multiply(u), combined(np.multiply), ((4, 2), (3, 2))
    ),
    "scatter min": Case(lax.scatter_min_p, lambda x, u: x.at[ROWS].min(u), combined(np.minimum), ((4, 2), (3, 2))),
    "scatter max": Case(lax.scatter_max_p, lambda x, u: x.at[ROWS].max(u), combined(np.maximum), ((4, 2), (3, 2))),
    "sort": Case(lax.sort_p, lambda x: jnp.sort(x, 0), lambda x: np.sort(x, 0), ((6, 3),)),
    "sort of pairs": Case(
        lax.sort_p,
        lambda x, y: lax.sort((x, y), num_keys=1),
        lambda x, y: [np.sort(x), y[np.argsort(x, kind="stable")]],
        ((6,), (6,)),
    ),
    "sort by exact keys": Case(
        lax.sort_p,
        lambda x: lax.sort((jnp.array([3, 1, 1, 2]), x, -x), num_keys=1)[1:],
        lambda x: [x[np.array([1, 2, 3, 0])], -x[np.array([1, 2, 3, 0])]],
        ((4,),),
    ),
    "argsort": Case(lax.sort_p, jnp.argsort, partial(np.argsort, kind="stable"), ((7,),)),
    "sort of conditions": Case(
        lax.sort_p,
        lambda x: lax.sort((x, x > 0.5, jnp.array([True, False, True])), num_keys=1),
        lambda x: [np.sort(x), np.sort(x) > 0.5, np.array([True, False, True])[np.argsort(x, kind="stable")]],
        ((3,),),
    ),
    "argmax": Case(lax.argmax_p, lambda x: jnp.argmax(x, 1), lambda x: x.argmax(1), ((4, 5),)),
    "argmin": Case(lax.argmin_p, lambda x: jnp.argmin(x, 0), lambda x: x.argmin(0), ((4, 5),)),
    "argmax of conditions": Case(
        lax.argmax_p, lambda x: jnp.argmax(x > 0, 1), lambda x: (x > 0).argmax(1), ((4, 5),)
    ),
    "top k": Case(
        lax.top_k_p,
        lambda x: lax.top_k(x, 3),
        lambda x: [-np.sort(-x, 1)[:, :3], np.argsort(-x, 1, kind="stable")[:, :3]],
        ((2, 6),),
    ),
    "convolution": Case(lax.conv_general_dilated_p, *PLAIN, ((2, 3, 4, 5), (2, 3, 3, 2))),
    "convolution, channels last": Case(
        lax.conv_general_dilated_p, last_channels, PLAIN[1], ((2, 3, 4, 5), (2, 3, 3, 2))
    ),
    "convolution in groups": Case(lax.conv_general_dilated_p, *GROUPED, ((1, 4, 5, 6), (6, 2, 2, 2))),
    "transposed convolution": Case(lax.conv_general_dilated_p, *STRETCHED, ((2, 1, 3, 4), (2, 1, 2, 3))),
    "convolution in groups of the batch": Case(lax.conv_general_dilated_p, *BATCHED, ((4, 2, 3, 3), (4, 2, 2, 2))),
    "sharding": Case(
        lax.sharding_constraint_p,
        lambda x: 2 * lax.with_sharding_constraint(x, jax.sharding.SingleDeviceSharding(jax.devices()[0])),
        lambda x: 2 * x,
        ((3,),),
    ),
    "placement": Case(
        lax.device_put_p, lambda x: jax.device_put(x) + jax.device_put((x, 1))[0], lambda x: 2 * x, ((3,),)
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_array_rules_enclose_and_are_tight(name, dtype):
    for seed, radius in enumerate((0.0, 1e-4, 0.3)):
        check(CASES[name], dtype, radius, seed)


# The rules that read arrays which are known to be exact in another way.
@pytest.mark.parametrize(
    "name", ["prod", "window max", "sort", "sort of pairs", "argsort", "argmax", "top k", "convolution"]
)
def test_exact_arrays_stay_exact(name):
    check(CASES[name], np.float32, 0.0, 0, exact=True)


@pytest.mark.parametrize(("operation", "neutral"), [(lax.add, 0.0), (lax.mul, 1.0)])
def test_windows_that_start_from_another_number_have_two_readings(operation, neutral):
    """The padding holds that number, or nothing, as XLA on a CPU has it."""
    x = np.array([1.0, 10.0, 100.0])

    def f(x, start, pads):
        return lax.reduce_window(x, start, operation, (3,), (1,), (pads,))

    box = Interval.point(x)
    for pads in ((1, 1), (0, 0)):
        out = inclusion(lambda x, pads=pads: f(x, 2.0, pads))(box)
        left_out = np.asarray(f(jnp.asarray(x), 2.0, pads))
        padded = np.asarray(f(jnp.pad(jnp.asarray(x), pads, constant_values=2.0), 2.0, (0, 0)))
        for value in (left_out, padded):
            assert np.all((out.lower <= value) & (value <= out.upper))
    assert float(out.width[0]) < 1e-11
    usual = inclusion(lambda x: f(x, neutral, (1, 1)))(box)
    assert float(usual.width.max()) < 1e-11


@pytest.mark.parametrize("settings", [
    {"strides": (1, 1), "padding": ((1, 1), (0, 1))},
    {"strides": (2, 1), "padding": ((0, 0), (1, 0)), "rhs": (1, 2), "features": 2},
    {"strides": (1, 2), "padding": ((2, 1), (0, 0)), "lhs": (2, 1)},
    {"strides": (1, 1), "padding": ((-1, 0), (0, 0)), "batches": 2},
])  # fmt: skip
def test_convolutions_of_accelerators_are_products_of_matrices(settings):
    # Integers: every sum is exact, so both ways must agree.
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-4, 5, (4, 5, 6, 2)), np.float32)
    k = jnp.asarray(rng.integers(-4, 5, (2, 3, 2 // settings.get("features", 1), 4)), np.float32)
    shared = {
        "window_strides": settings["strides"],
        "padding": settings["padding"],
        "lhs_dilation": settings.get("lhs", (1, 1)),
        "rhs_dilation": settings.get("rhs", (1, 1)),
        "feature_group_count": settings.get("features", 1),
        "batch_group_count": settings.get("batches", 1),
        "dimension_numbers": lax.conv_dimension_numbers(x.shape, k.shape, ("NHWC", "HWIO", "HWNC")),
    }
    assert np.array_equal(unfolded_convolution(x, k, **shared), lax.conv_general_dilated(x, k, **shared))


def test_sums_that_cancel_are_covered():
    # What is left of these sums is rounding, which a rule without margins would miss.
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 64).astype(np.float32)
    x[-1] = -x[:-1].sum(dtype=np.float64)
    exact = float(x.astype(np.float64).sum())
    one = np.float32(1)
    places = np.zeros(64, int)
    functions = {
        "window": lambda x: lax.reduce_window(x, np.float32(0), lax.add, (64,), (1,), "VALID")[0],
        "scatter": lambda x: jnp.zeros(1, x.dtype).at[places].subtract(x)[0],
        "convolution": lambda x: lax.conv_general_dilated(
            x.reshape(1, 1, 64), jnp.full((1, 1, 64), one), (1,), ((0, 0),)
        )[0, 0, 0],
    }
    for name, f in functions.items():
        out = inclusion(f)(as_interval(x, x))
        truth = -exact if name == "scatter" else exact
        assert float(out.lower) <= truth <= float(out.upper), name
        assert float(out.width) < 1e-3, name


@pytest.mark.parametrize("mode", ["drop", "clip"])
@pytest.mark.parametrize("operation", ["set", "subtract", "multiply", "min", "max"])
def test_updates_out_of_bounds_are_dropped_or_clipped(mode, operation):
    index = np.array([1, 7, 7, -9])
    updates = np.array([2.0, 0.5, 3.0, 0.25])
    x = np.array([1.0, -2.0, 3.0])

    def f(x, updates):
        return getattr(x.at[index], operation)(updates, mode=mode, wrap_negative_indices=False)

    out = inclusion(f)(as_interval(x, x), as_interval(updates, updates + 1e-9))
    truth = np.asarray(f(jnp.asarray(x), jnp.asarray(updates)))
    assert np.all(np.asarray(out.lower) <= truth)
    assert np.all(truth <= np.asarray(out.upper))
    assert float(out.width.max()) < 1e-7


def test_who_can_win_and_where_entries_can_stand():
    """Against every order that small integers in the intervals can have."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        low = rng.integers(0, 4, 4)
        upp = low + rng.integers(0, 3, 4)
        x = Interval._make(jnp.asarray(low), jnp.asarray(upp))
        members = np.stack(
            [np.ravel(g) for g in np.meshgrid(*(range(a, b + 1) for a, b in zip(low, upp, strict=True)))]
        )
        first = members.argmax(0)
        can, must = winners(x)
        assert [bool(np.any(first == i)) for i in range(4)] == can.tolist()
        assert [bool(np.all(first == i)) for i in range(4)] == must.tolist()
        order = np.argsort(members, 0, kind="stable")
        seen = np.array([[np.any(order[p] == i) for i in range(4)] for p in range(4)])
        possible = np.asarray(candidates([x], stable=True))
        assert np.all(seen <= possible)
        assert np.all(np.asarray(candidates([x], stable=False)) >= possible)
        if np.all(upp[:-1] < low[1:]):
            assert np.array_equal(possible, np.eye(4, dtype=bool))


@pytest.mark.parametrize("mode", ["drop", "clip"])
def test_sums_at_undecided_places(mode):
    x, updates = np.array([1.0, 2.0, 3.0]), np.array([[0.5, -2.0, 4.0], [1.0, -1.0, 0.25]])
    low, upp = np.array([[0, 1, 1], [2, 0, 2]]), np.array([[0, 2, 2], [4, 1, 2]])

    def f(x, index, updates):
        def row(x, index, updates):
            return x.at[index].add(updates, mode=mode, wrap_negative_indices=False)

        return jax.vmap(row, (None, 0, 0))(x, index, updates)

    (eqn,) = (e for e in jax.make_jaxpr(f)(x, low, updates).eqns if e.primitive is lax.scatter_add_p)
    operand = np.broadcast_to(x, (2, 3))
    index = Interval._make(*(jnp.asarray(end, np.int32)[..., None] for end in (low, upp)))
    out = rule_for(lax.scatter_add_p)(as_interval(operand, operand), index, as_interval(updates, updates), **eqn.params)
    every = [np.ravel(g) for g in np.meshgrid(*(range(a, b + 1) for a, b in zip(low.flat, upp.flat, strict=True)))]
    places = np.stack(every, 1).reshape(-1, 2, 3)
    values = np.stack([f(jnp.asarray(x), jnp.asarray(place), jnp.asarray(updates)) for place in places])
    assert np.all(np.asarray(out.lower) <= values)
    assert np.all(values <= np.asarray(out.upper))
    assert np.all(np.asarray(out.width) <= values.max(0) - values.min(0) + 1e-12)


def test_ties_go_to_the_first_and_overlaps_to_all():
    x = as_interval(np.array([1.0, 2.0, 2.0, 1.5]), np.array([1.0, 2.0, 2.0, 2.5]))
    out = inclusion(jnp.argmax)(x)
    assert (int(out.lower), int(out.upper)) == (1, 3)
    values, indices = inclusion(lambda x: lax.top_k(x, 2))(x)
    assert values.lower.tolist() == [2, 2]
    assert values.upper.tolist() == [2.5, 2]
    assert indices.lower.tolist() == [1, 1]
    assert indices.upper.tolist() == [3, 3]
    out = inclusion(lambda x: jnp.argmin(x[:3]))(x)
    assert (int(out.lower), int(out.upper)) == (0, 0)
    exact = inclusion(lambda: jnp.argmax(jnp.array([0.0, 3.0, 3.0])))()
    assert int(exact) == 1  # an array: a constant leaves nothing undecided


def test_unbounded_entries():
    x = as_interval(np.array([-np.inf, 0.0, 1.0, 0.0]), np.array([np.inf, 1.0, 2.0, 0.0]))
    out = inclusion(lambda x: (jnp.prod(x), jnp.sort(x), lax.cumlogsumexp(x), jnp.prod(x[:3])))(x)
    assert float(out[0].magnitude) < 1e-300
    assert out[1].lower.tolist() == [-np.inf, 0, 0, 1]
    assert out[1].upper.tolist() == [0, 1, 2, np.inf]
    assert not np.isnan(np.asarray([out[2].lower, out[2].upper])).any()
    assert float(out[2].lower[-1]) >= 1.5
    assert out[3].lower == -np.inf


def network(parameters, x):
    """Convolution, SiLU, maximum over windows, and a dense layer."""
    kernel, bias, weights = parameters
    y = lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))[0]
    y = jax.nn.silu(y + bias[None, None])
    y = lax.reduce_window(y, np.asarray(-np.inf, y.dtype)[()], lax.max, (2, 2, 1), (2, 2, 1), "VALID")
    return jnp.tanh(weights @ y.reshape(-1)).sum()


def plain_network(parameters, x):
    kernel, bias, weights = parameters
    y = sliding_window_view(np.pad(x, ((1, 1), (1, 1), (0, 0))), (3, 3), (0, 1))
    y = np.einsum("hwcij,ijco->hwo", y, kernel) + bias
    y = y / (1 + np.exp(-y))
    y = y.reshape(2, 2, 2, 2, -1).max((1, 3))
    return np.tanh(weights @ y.reshape(-1)).sum()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_convolutional_network_and_its_gradient(dtype):
    rng = np.random.default_rng(0)
    shapes = ((3, 3, 1, 2), (2,), (2, 8), (4, 4, 1))
    parts = [rng.normal(0, 0.5, shape).astype(dtype) for shape in shapes]
    radius = dtype(1e-3)
    *parameters, x = (as_interval(p - radius, p + radius) for p in parts)
    value, gradients = inclusion(jax.value_and_grad(network, (0, 1)))(tuple(parameters), x)
    enclosures = [*gradients[0], gradients[1]]
    for k in range(6):
        mixed = [np.clip(p + rng.choice([-1, 1], p.shape) * radius * min(k, 1), p - radius, p + radius) for p in parts]
        point = [p.astype(np.longdouble) for p in mixed]
        truth = plain_network(point[:3], point[3])
        assert float(value.lower) <= truth <= float(value.upper)
        for part, enclosure in zip(range(4), enclosures, strict=True):
            for index in rng.choice(parts[part].size, min(4, parts[part].size), replace=False):
                ahead, behind = ([p.copy() for p in point] for _ in range(2))
                ahead[part].flat[index] += 1e-6
                behind[part].flat[index] -= 1e-6
                slope = (plain_network(ahead[:3], ahead[3]) - plain_network(behind[:3], behind[3])) / np.longdouble(
                    2e-6
                )
                assert float(enclosure.lower.reshape(-1)[index]) <= slope + 1e-9
                assert slope - 1e-9 <= float(enclosure.upper.reshape(-1)[index])
    assert float(value.width) < 0.2
    assert all(float(e.width.max()) < 0.5 for e in enclosures)


def _swapped_ends(primitive, x, **params):
    return Interval._make(primitive.bind(x.upper, **params), primitive.bind(x.lower, **params))


def _lower_order(primitive, *operands, dimension, is_stable, num_keys):
    lower = primitive.bind(*(x.lower for x in operands), dimension=dimension, is_stable=is_stable, num_keys=num_keys)
    upper = primitive.bind(*(x.upper for x in operands), dimension=dimension, is_stable=is_stable, num_keys=num_keys)
    return [Interval._make(jnp.minimum(a, b), jnp.maximum(a, b)) for a, b in zip(lower, upper, strict=True)]


def _first_winner(primitive, x, **params):
    index = primitive.bind(x.midpoint, **params)
    return Interval._make(index, index)


def _ends_of_both(primitive, *operands, **params):
    lower, upper = (primitive.bind(*(getattr(x, end) for x in operands), **params) for end in ("lower", "upper"))
    return Interval._make(jnp.minimum(lower, upper), jnp.maximum(lower, upper))


def _scattered_ends(primitive, x, indices, updates, **params):
    return Interval._make(
        primitive.bind(x.lower, indices, updates.lower, **params),
        primitive.bind(x.upper, indices, updates.upper, **params),
    )


MUTANTS = {
    "product of ends": ("prod", _ends_of_both),
    "cumulative product of ends": ("cumprod", _ends_of_both),
    "extremes of windows, swapped": ("window max", _swapped_ends),
    "convolution of ends": ("convolution", _ends_of_both),
    "payload sorted end by end": ("sort of pairs", _lower_order),
    "argmax of the midpoint": ("argmax", _first_winner),
    "pooled gradient of ends": ("gradient of a window max", _ends_of_both),
    "pooled tangent of ends": ("tangent of a window max", _ends_of_both),
    "differences end by end": ("scatter sub", _scattered_ends),
    "products end by end": ("scatter mul", _scattered_ends),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_of_arrays_is_caught(name, registry):
    case, mutant = MUTANTS[name]
    primitive = CASES[case].primitive
    registry[primitive] = partial(mutant, primitive)
    enclosed.cache_clear()
    with pytest.raises(AssertionError, match="bound"):
        check(CASES[case], np.float64, 0.3, 2)
    enclosed.cache_clear()


def test_what_has_no_rule_says_so():
    x = as_interval(np.zeros(4), np.ones(4))
    for f, reason in (
        (lambda x: lax.reduce(x, np.float64(0), lambda a, b: a + 2 * b, (0,)), "by another function"),
        (lambda x: x.at[np.array([0])].apply(jnp.sin), "applies a function"),
        (lambda x: lax.approx_max_k(x, 2), "approx_top_k"),
        (lambda x: jnp.fft.rfft(x), "`fft`, used at .* complex numbers"),
        (lambda x: x.astype(np.complex128).real, "complex number"),
        (lambda x: lax.complex(x, x).real, "`complex`"),
        (lambda x: jnp.linalg.qr(x.reshape(2, 2)), "has no interval rule"),
        (lambda x: jnp.linalg.svd(x.reshape(2, 2)), "has no interval rule"),
    ):
        with pytest.raises(UnsupportedPrimitiveError, match=reason):
            inclusion(f)(x)
