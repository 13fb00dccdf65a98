"""Where the primitives are defined, and where they are continuous.

A primitive without an entry is defined and continuous on all of its operands. The functions here take the operands and
the enclosure of the result, and return two arrays of the result's shape: whether the function is *nowhere* defined on
the box, and how well it is defined (`_decoration`: `COMMON`, `DISCONTINUOUS`, `UNDEFINED`). The second may err on the
weak side; the first is true only where it is certain.

Reference: IEEE 1788-2015, Table 9.1 (domains), clause 11.2 (restriction of a function to a box).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive, primitives

from ._arithmetic import as_interval
from ._decoration import COMMON, DISCONTINUOUS, UNDEFINED
from ._dependence import MARK
from ._interval import Interval
from ._ternary import Ternary


class Domain(NamedTuple):
    """How a function is defined on a box; None for nowhere undefined, or nothing to add."""

    nowhere: Array | None
    lack: Array | None


DomainOf = Callable[[list[Any], dict[str, Any], Any], Domain]


def _lack(defined: Any, continuous: Any = True) -> Array:
    return jnp.where(defined, jnp.where(continuous, COMMON, DISCONTINUOUS), UNDEFINED).astype(MARK)


def _between(low: float, high: float, *, open_ends: bool) -> DomainOf:
    """One operand, defined on an interval."""

    def domain(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
        (x,) = operands
        if open_ends:
            below = (x.upper < high) | (high == jnp.inf)
            return Domain((x.upper <= low) | (x.lower >= high), _lack((x.lower > low) & below))
        return Domain((x.upper < low) | (x.lower > high), _lack((x.lower >= low) & (x.upper <= high)))

    return domain


def _quotient(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    y = as_interval(operands[1])
    return Domain((y.lower == 0) & (y.upper == 0), _lack((y.lower > 0) | (y.upper < 0)))


def _remainder(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    x, y = map(as_interval, operands)
    # Within one period there is no jump; beyond, it is not looked for.
    largest = jnp.maximum(jnp.abs(x.lower), jnp.abs(x.upper))
    least = jnp.maximum(y.lower, -y.upper)
    same = (x.lower == x.upper) & (y.lower == y.upper)
    return Domain((y.lower == 0) & (y.upper == 0), _lack((y.lower > 0) | (y.upper < 0), same | (largest < least)))


def _atan2(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    y, x = operands
    at_origin = (y.lower <= 0) & (y.upper >= 0) & (x.lower <= 0) & (x.upper >= 0)
    only_origin = (y.lower == 0) & (y.upper == 0) & (x.lower == 0) & (x.upper == 0)
    across = (x.lower < 0) & (y.lower < 0) & (y.upper >= 0)
    return Domain(only_origin, _lack(~at_origin, ~across))


def _integer_power(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    if params["y"] >= 0:
        return Domain(None, None)
    (x,) = operands
    return Domain((x.lower == 0) & (x.upper == 0), _lack((x.lower > 0) | (x.upper < 0)))


def _power(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    """`xʸ` for x > 0, for x = 0 if y > 0, and for any x ≠ 0 if y is an integer."""
    x = operands[0]
    y = operands[1] if isinstance(operands[1], Interval) else as_interval(operands[1].astype(x.dtype))
    integer_inside = jnp.floor(y.upper) >= y.lower
    is_integer = (y.lower == y.upper) & integer_inside
    positive = (x.upper > 0) | ((x.upper >= 0) & (y.upper > 0))
    somewhere = positive | (integer_inside & ((x.lower < 0) | (y.upper >= 0)))
    away_from_zero = (x.lower > 0) | (x.upper < 0) | (y.lower >= 0)
    everywhere = (x.lower > 0) | ((x.lower >= 0) & (y.lower > 0)) | (is_integer & away_from_zero)
    return Domain(~somewhere, _lack(everywhere))


def _poles(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    """Functions with poles: bounded on a bounded box only if there is none in it."""
    return Domain(None, _lack(jnp.isfinite(result.lower) & jnp.isfinite(result.upper)))


def _steps(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    """Step functions, and functions into the integers: continuous where they are constant."""
    if isinstance(result, Ternary):
        return Domain(None, _lack(True, ~(result.can_be_true & result.can_be_false)))
    if not isinstance(result, Interval):
        return Domain(None, None)
    return Domain(None, _lack(True, result.lower == result.upper))


def _sorted(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    """Sorting a single array is continuous; what others are moved along with it jumps where two of its entries tie."""
    return Domain(None, None) if len(operands) == 1 else _steps(operands, params, result)


def _conversion(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    """Between float formats, real numbers are taken for what they are; into integers there are steps."""
    if jnp.issubdtype(params["new_dtype"], jnp.floating) and not isinstance(operands[0], Ternary):
        return Domain(None, None)
    return _steps(operands, params, result)


def _regular(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    """Linear systems: a bounded solution set proves that every matrix is regular."""
    regular = jnp.isfinite(result.lower).all() & jnp.isfinite(result.upper).all()
    return Domain(None, jnp.broadcast_to(_lack(regular), result.shape))


def _positive(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    """The Cholesky factor: positive pivots prove that every matrix is positive definite."""
    pivots = jnp.diagonal(result.lower, axis1=-2, axis2=-1) > 0
    definite = pivots.all() & jnp.isfinite(result.lower).all() & jnp.isfinite(result.upper).all()
    return Domain(None, jnp.broadcast_to(_lack(definite), result.shape))


def _added(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    jumps = isinstance(operands[1], Interval)
    return Domain(None, jnp.full(result.shape, DISCONTINUOUS if jumps else COMMON, MARK))


def _incomplete_gamma(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    a, x = map(as_interval, operands)
    return Domain(None, _lack((a.lower > 0) & (x.lower >= 0)))


def _incomplete_beta(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    a, b, x = map(as_interval, operands)
    return Domain(None, _lack((a.lower > 0) & (b.lower > 0) & (x.lower >= 0) & (x.upper <= 1)))


def _zeta(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    s, q = map(as_interval, operands)
    return Domain(None, _lack((s.lower > 1) & (q.lower > 0)))


def _polygamma(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    n, x = map(as_interval, operands)
    natural = (n.lower == n.upper) & (n.lower >= 0) & (jnp.floor(n.lower) == n.lower)
    return Domain(None, _lack(natural & ((x.lower > 0) | (jnp.isfinite(result.lower) & jnp.isfinite(result.upper)))))


def _gathered(operands: list[Any], params: dict[str, Any], result: Any) -> Domain:
    """Constant indices move entries. Out of bounds, entries may be filled with NaN: those are unbounded."""
    if not isinstance(result, Interval) or not isinstance(operands[0], Interval):
        return Domain(None, None)
    jumps = any(isinstance(x, Interval) and not jnp.issubdtype(x.dtype, jnp.floating) for x in operands[1:])
    entire = (result.lower == -jnp.inf) & (result.upper == jnp.inf)
    return Domain(None, _lack(~entire, not jumps))


# The operand that is enough to be positive. Whether it is, may be known where its enclosure reaches zero by underflow.
POSITIVE: dict[Primitive, int] = {lax.div_p: 1, lax.log_p: 0, lax.log1p_p: 0, lax.rsqrt_p: 0, lax.sqrt_p: 0}

domains: dict[Primitive, DomainOf] = {
    lax.log_p: _between(0.0, jnp.inf, open_ends=True),
    lax.log1p_p: _between(-1.0, jnp.inf, open_ends=True),
    lax.sqrt_p: _between(0.0, jnp.inf, open_ends=False),
    lax.rsqrt_p: _between(0.0, jnp.inf, open_ends=True),
    lax.asin_p: _between(-1.0, 1.0, open_ends=False),
    lax.acos_p: _between(-1.0, 1.0, open_ends=False),
    lax.acosh_p: _between(1.0, jnp.inf, open_ends=False),
    lax.atanh_p: _between(-1.0, 1.0, open_ends=True),
    lax.erf_inv_p: _between(-1.0, 1.0, open_ends=True),
    lax.div_p: _quotient,
    lax.rem_p: _remainder,
    lax.atan2_p: _atan2,
    lax.integer_pow_p: _integer_power,
    lax.pow_p: _power,
    lax.convert_element_type_p: _conversion,
    lax.gather_p: _gathered,
    lax.scatter_add_p: _added,
    lax.linalg.cholesky_p: _positive,
    **dict.fromkeys((lax.linalg.triangular_solve_p, primitives.linear_solve_p), _regular),
    **dict.fromkeys((lax.tan_p, lax.lgamma_p, lax.digamma_p), _poles),
    # Ties decide what is chosen: constant only where it is decided.
    **dict.fromkeys(
        (
            lax.argmax_p,
            lax.argmin_p,
            lax.ceil_p,
            lax.floor_p,
            lax.linalg.lu_p,
            lax.nextafter_p,
            lax.reduce_precision_p,
            lax.round_p,
            lax.select_and_gather_add_p,
            lax.select_and_scatter_add_p,
            lax.sign_p,
            lax.top_k_p,
        ),
        _steps,
    ),
    lax.sort_p: _sorted,
    **dict.fromkeys((lax.igamma_p, lax.igammac_p), _incomplete_gamma),
    lax.regularized_incomplete_beta_p: _incomplete_beta,
    lax.zeta_p: _zeta,
    lax.polygamma_p: _polygamma,
}
