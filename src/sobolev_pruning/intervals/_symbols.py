"""Normal forms of the elementwise primitives: how each one acts on polynomials.

A function here returns the form of its result, or None where there is none; the result is then a variable of its own.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive, primitives

from .._compat import since
from . import _identities as identities
from ._forms import ONE, ZERO, Atom, Indicator, Polynomial, TooLarge, Variable
from ._origins import is_constant, is_positive
from ._rearrangements import REARRANGEMENTS

if TYPE_CHECKING:
    from ._interpret import Interpreter, Node

Symbol = Callable[["Interpreter", list["Node"], dict[str, Any], Any], Polynomial | None]

symbols: dict[Primitive, Symbol] = {}

# What is infinite, or not a number, before these is so afterwards.
keeps_infinity: frozenset[Primitive] = REARRANGEMENTS | {lax.abs_p, lax.neg_p, lax.convert_element_type_p}


def _algebra(operation: Callable[..., Polynomial | None]) -> Symbol:
    """A primitive that acts on polynomials as such."""

    def symbol(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
        operands = [walk.form(node) for node in inputs]
        if any(p is None for p in operands):
            return None
        return operation(*operands)

    return symbol


# Stands for a variable to ask whether a function of one has a form.
_ANY = Polynomial.of(Variable(-2))


def _function(operation: Callable[[Polynomial], Polynomial | None]) -> Symbol:
    """A function of one operand; an operand that is no polynomial of one variable becomes a variable first."""

    def symbol(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
        (node,) = inputs
        p = walk.form(node)
        if p is None:
            return None
        try:
            result = operation(p)
        except TooLarge:
            result = None
        if result is None and p.value is None and operation(_ANY) is not None:
            result = operation(walk.opaque(node))
        return result

    return symbol


_exp = _function(identities.exp)


def _exponential(walk: "Interpreter", inputs: list["Node"], params: dict[str, Any], aval: Any) -> Polynomial | None:
    """`exp(c·k + p) = exp(c·k)·exp(p)` for a constant k that is no rational number, such as `log(2π)` of a density."""
    p = walk.form(inputs[0])
    if p is None:
        return None
    for monomial, c in p.terms.items():
        ((atom, power), *more) = monomial or ((None, 0),)
        if more or power != 1 or not isinstance(atom, Variable) or not is_constant(walk.nodes.get(atom)):
            continue
        rest = identities.exp(p - Polynomial.of(atom).scaled(c))
        return None if rest is None else rest * walk.exp_of_constant(atom, c)
    return _exp(walk, inputs, params, aval)


def _quotient(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
    numerator, denominator = (walk.form(node) for node in inputs)
    if numerator is None or denominator is None:
        return None
    inverse = _reciprocal(walk, denominator)
    return None if inverse is None else numerator * inverse


def _reciprocal(walk: "Interpreter", p: Polynomial) -> Polynomial | None:
    """`1/(k·q) = (1/k)·(1/q)` for a constant k that is no rational number, such as the `log 2` of a derivative."""
    for atom in p.atoms if len(p.variables) > 1 else ():
        by_power = p.coefficients(atom)
        if isinstance(atom, Variable) and set(by_power) == {1} and is_constant(walk.nodes.get(atom)):
            inverse = _reciprocal(walk, by_power[1])
            return None if inverse is None else inverse * walk.reciprocal_of_constant(atom)
    return identities.reciprocal(p)


def _integer_power(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
    p, exponent = walk.form(inputs[0]), params["y"]
    if p is None:
        return None
    if exponent >= 0:
        return p**exponent
    inverse = _reciprocal(walk, p)
    return None if inverse is None else inverse**-exponent


def _line(walk: "Interpreter", node: "Node") -> Polynomial | None:
    """The form of an operand of a comparison: on each of its pieces a number or an affine function of one variable."""
    p = walk.form(node)
    if p is None or p.value is not None or identities.above(p, True) is not None:
        return p
    return walk.opaque(node)


def _indicator(walk: "Interpreter", p: Polynomial, strict: bool) -> Polynomial | None:
    """The indicator of `p > 0` or `p ≥ 0`, given that some variables are positive by their origin."""
    on = identities.above(p, strict)
    if on is None:
        return None
    known: dict[Atom, Polynomial] = {
        a: ONE
        for a in on.atoms
        if isinstance(a, Indicator) and a.threshold <= 0 and is_positive(walk.nodes.get(a.variable))
    }
    return on.substitute(lambda a: known.get(a) or Polynomial.of(a)) if known else on


def _comparison(difference: Callable[[Polynomial, Polynomial], Polynomial], strict: bool) -> Symbol:
    def symbol(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
        if not all(jnp.issubdtype(n.aval.dtype, jnp.floating) for n in inputs):
            return None
        if any(node.infinite for node in inputs):
            if any(not node.infinite and not node.real for node in inputs):
                return None
            # Every real number is below ∞; only the order of the two matters.
            gap = Polynomial.constant(inputs[0].infinite - inputs[1].infinite)
            return identities.above(difference(gap, ZERO), strict) if gap.value else None
        x, y = (_line(walk, node) for node in inputs)
        return None if x is None or y is None else _indicator(walk, difference(x, y), strict)

    return symbol


def _equality(negated: bool) -> Symbol:
    def symbol(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
        if not all(jnp.issubdtype(n.aval.dtype, jnp.floating) for n in inputs):
            return None
        if not all(node.real or node.infinite for node in inputs):
            return None
        if sum(bool(node.infinite) for node in inputs) == 1:
            return ONE if negated else ZERO  # a real number is not infinite
        x, y = (walk.form(node) for node in inputs)
        on = None if x is None or y is None else identities.zero(x - y)
        if on is None:
            return None
        return ONE - on if negated else on

    return symbol


def _piecewise(operation: Callable[..., Polynomial | None]) -> Symbol:
    """A primitive that chooses between its operands by comparing them."""

    def symbol(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
        if any(node.infinite for node in inputs):
            return None
        operands = [_line(walk, node) for node in inputs]
        return None if any(p is None for p in operands) else operation(walk, *operands)

    return symbol


def _maximum(walk: "Interpreter", x: Polynomial, y: Polynomial) -> Polynomial | None:
    on = _indicator(walk, x - y, True)
    return None if on is None else y + on * (x - y)


def _minimum(walk: "Interpreter", x: Polynomial, y: Polynomial) -> Polynomial | None:
    on = _indicator(walk, x - y, True)
    return None if on is None else x - on * (x - y)


def _absolute(walk: "Interpreter", x: Polynomial) -> Polynomial | None:
    on = _indicator(walk, x, True)
    return None if on is None else (on.scaled(Fraction(2)) - ONE) * x


def _sign(walk: "Interpreter", x: Polynomial) -> Polynomial | None:
    low, upp = _indicator(walk, x, False), _indicator(walk, x, True)
    return None if low is None or upp is None else low + upp - ONE


def _clamp(walk: "Interpreter", low: Polynomial, x: Polynomial, high: Polynomial) -> Polynomial | None:
    bounded = _maximum(walk, x, low)
    if bounded is None or low.value is None or high.value is None or low.value > high.value:
        return None
    above = _indicator(walk, x - high, True)
    return None if above is None else bounded + above * (high - x)


def _select(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
    if len(inputs) != 3 or not jnp.issubdtype(aval.dtype, jnp.floating):
        return None
    on = inputs[0].form
    if on is None or inputs[0].aval.dtype != bool:
        return None
    off_case, on_case = walk.form(inputs[1]), walk.form(inputs[2])
    if off_case is None or on_case is None:
        return None
    return off_case + on * (on_case - off_case)


def _convert(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
    node = inputs[0]
    if node.aval.dtype == aval.dtype:
        return node.form
    form = node.form
    if form is None or not jnp.issubdtype(aval.dtype, jnp.floating):
        return None
    if form.value is not None:  # the conversion of a constant rounds it
        rounded = np.asarray(float(form.value)).astype(aval.dtype)
        return Polynomial.constant(Fraction(rounded.item())) if np.isfinite(rounded) else None
    return form if node.aval.dtype == bool else None


def _logical(operation: Callable[..., Polynomial | None]) -> Symbol:
    def symbol(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
        operands = [node.form for node in inputs]
        if aval.dtype != bool or any(p is None for p in operands):
            return None
        return operation(*operands)

    return symbol


def _is_finite(walk: "Interpreter", inputs: list["Node"], params: Any, aval: Any) -> Polynomial | None:
    if inputs[0].infinite:
        return ZERO
    return ONE if inputs[0].real else None


_ALGEBRA: dict[Primitive, Callable[..., Polynomial | None]] = {
    lax.add_p: lambda x, y: x + y,
    primitives.add_jaxvals_p: lambda x, y: x + y,
    lax.sub_p: lambda x, y: x - y,
    lax.mul_p: lambda x, y: x * y,
    lax.neg_p: lambda x: -x,
    lax.square_p: lambda x: x * x,
    lax.sqrt_p: identities.sqrt,
    lax.rsqrt_p: identities.rsqrt,
    **{p: lambda x: ONE - x * x for p in since("one_minus_square")},
}

_PIECEWISE: dict[Primitive, Callable[..., Polynomial | None]] = {
    lax.max_p: _maximum,
    lax.min_p: _minimum,
    lax.abs_p: _absolute,
    lax.clamp_p: _clamp,
    lax.sign_p: _sign,
}

_FUNCTIONS: dict[Primitive, Callable[[Polynomial], Polynomial | None]] = {
    lax.expm1_p: identities.expm1,
    lax.log_p: identities.log,
    lax.log1p_p: identities.log1p,
    lax.logistic_p: identities.logistic,
    lax.tanh_p: identities.tanh,
    lax.erf_p: identities.erf,
    lax.erfc_p: identities.erfc,
}

symbols.update({p: _algebra(f) for p, f in _ALGEBRA.items()})
symbols.update({p: _piecewise(f) for p, f in _PIECEWISE.items()})
symbols.update({p: _function(f) for p, f in _FUNCTIONS.items()})
symbols.update(
    {
        lax.div_p: _quotient,
        lax.exp_p: _exponential,
        lax.integer_pow_p: _integer_power,
        lax.gt_p: _comparison(lambda x, y: x - y, True),
        lax.ge_p: _comparison(lambda x, y: x - y, False),
        lax.lt_p: _comparison(lambda x, y: y - x, True),
        lax.le_p: _comparison(lambda x, y: y - x, False),
        lax.eq_p: _equality(negated=False),
        lax.ne_p: _equality(negated=True),
        lax.is_finite_p: _is_finite,
        lax.select_n_p: _select,
        lax.convert_element_type_p: _convert,
        lax.and_p: _logical(lambda x, y: x * y),
        lax.or_p: _logical(lambda x, y: x + y - x * y),
        lax.not_p: _logical(lambda x: ONE - x),
    }
)
