"""Relations of the values of a program: which family of operations each primitive belongs to.

A value with a normal form is the form of its variables: sums of products of variables and of functions of one variable
(`_ranges.by_variable`). A value without one is related to the operands of its operation if the operation is linear,
bilinear, or elementwise in one operand; otherwise only its enclosure is known. Every relation implies an enclosure of
its value, which is intersected with the natural one.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive, primitives

from . import _arithmetic as ia
from ._dependence import ELEMENTWISE
from ._forms import ONE, Indicator, Polynomial, Variable, nonlinear_variables
from ._interval import Interval
from ._lines import lines_of_form, lines_of_function
from ._once import computed_once
from ._origins import Origin
from ._ranges import by_variable
from ._rearrangements import IDENTITIES, REARRANGEMENTS
from ._registry import rule_for
from ._relational import AbstractDomain, Linear
from ._rounding import format_of
from ._ternary import Ternary

if TYPE_CHECKING:
    from ._interpret import Interpreter, Node


Law = Callable[["Relations", Origin, Any], Any]

laws: dict[Primitive, Law] = {}


class Relations:
    """The relations of one walk."""

    def __init__(self, domain: AbstractDomain[Any], walk: "Interpreter") -> None:
        self.domain = domain
        self.value: Callable[[Node], Any] = walk.value
        self.enclose = walk.enclose
        self._nodes = walk.nodes
        self._known: dict[Any, Any] = {}

    def relate(self, node: "Node", value: Interval) -> tuple[Any, Interval]:
        """The relation of a node, and its enclosure intersected with what the relation implies."""
        relation = None
        if node.form is not None and node.form.value is None and node.form.lone_atom != Variable(node.number):
            relation = self.polynomial(node.form, value)
        elif node.origin is not None and not ia.is_point(value):
            law = laws.get(node.origin.primitive)
            relation = None if law is None else law(self, node.origin, node.aval)
        if relation is None:
            return self.domain.unrelated(ia.of_shape(value, node.aval.shape)), value
        implied = self.domain.enclosure(relation)
        # Both enclose the same values; rounded to nearest they may miss each other by a rounding.
        lower, upper = jnp.maximum(value.lower, implied.lower), jnp.minimum(value.upper, implied.upper)
        both = computed_once(Interval._make(jnp.minimum(lower, upper), jnp.maximum(lower, upper)))
        return self.domain.confined(relation, both), both

    def of(self, node: "Node") -> Any:
        """The relation of a node, for use in another."""
        self.value(node)
        if node.relation is None:  # an exact array, or one that is undefined in places
            value = self.value(node)
            assert isinstance(value, Interval)
            known = self.domain.constant if _is_constant(self, node) else self.domain.unrelated
            node.relation = known(ia.of_shape(value, node.aval.shape))
        return node.relation

    def shared(self, node: "Node", shape: tuple[int, ...] | None = None) -> Any:
        """The relation of a node, prepared for being used more than once; a scalar takes the shape of an array."""
        relation = self.domain.shared(self.of(node))
        if shape is None or node.aval.shape == shape:
            return relation

        def spread(x: Array) -> Array:
            return jnp.broadcast_to(x, shape)

        return self.domain.linear(Linear(spread, spread, 0), [relation])

    def variable(self, x: Variable, shape: tuple[int, ...]) -> Any:
        """The relation of a variable, prepared for being used more than once, in a shape."""
        key = ("variable", x, shape)
        if key not in self._known:
            self._known[key] = self.shared(self._nodes[x], shape)
        return self._known[key]

    def polynomial(self, p: Polynomial, like: Interval) -> Any:
        """The relation of a normal form."""
        key = (p, like.shape, like.dtype)
        if key not in self._known:
            self._known[key] = self._sum(p, like)
        return self._known[key]

    def _sum(self, p: Polynomial, like: Interval) -> Any:
        constant = p.terms.get((), Fraction(0))
        rest = Polynomial({m: c for m, c in p.terms.items() if m})
        terms: list[tuple[Fraction, Any]] = []
        nonlinear = nonlinear_variables(rest)
        if not nonlinear:
            for monomial, c in rest.terms.items():
                product = None
                for atom, _ in monomial:
                    assert isinstance(atom, Variable)
                    factor = self.variable(atom, like.shape)
                    product = factor if product is None else self.domain.product(product, factor)
                terms.append((c, product))
        else:
            x = min(nonlinear)
            for q, cofactor in by_variable(rest, x).items():
                if q == ONE:
                    terms.append((Fraction(1), self.polynomial(cofactor, like)))
                    continue
                mine = self.univariate(q, x, like.shape)
                if cofactor.value is not None:
                    terms.append((cofactor.value, mine))
                else:
                    terms.append((Fraction(1), self.domain.product(self.polynomial(cofactor, like), mine)))
        if len(terms) == 1 and terms[0][0] == 1 and not constant:
            return terms[0][1]
        return self.domain.combination(terms, ia.constant(constant, like.dtype))

    def univariate(self, q: Polynomial, x: Variable, shape: tuple[int, ...]) -> Any:
        """The relation of a form of one variable."""
        key = ("univariate", q, shape)
        if key not in self._known:
            value = self.value(self._nodes[x])
            assert isinstance(value, Interval)
            relation = self.variable(x, shape)
            line = q.affine()
            if line is not None:
                _, a, b = line
                self._known[key] = self.domain.combination([(a, relation)], ia.constant(b, value.dtype))
            else:
                self._known[key] = self.domain.univariate(lines_of_form(q, ia.of_shape(value, shape)), relation)
        return self._known[key]


def _is_float(node: "Node") -> bool:
    return jnp.issubdtype(node.aval.dtype, jnp.floating)


def _is_constant(walk: Relations, node: "Node") -> bool:
    """Whether a float operand is an exact array."""
    if node.near is not None:
        return True
    value = walk.value(node)
    return isinstance(value, Interval) and ia.is_point(value)


# Entries are moved.


def _of_floats(walk: Relations, made: Origin) -> tuple[Callable[..., Array], list["Node"]] | None:
    """An operation as a function of its float operands; None if another operand is undecided."""
    floats = [k for k, n in enumerate(made.inputs) if _is_float(n)]
    if any(not n.is_exact for k, n in enumerate(made.inputs) if k not in floats):
        return None
    others = [None if k in floats else walk.value(n) for k, n in enumerate(made.inputs)]

    def apply(*entries: Array) -> Array:
        operands = list(others)
        for k, x in zip(floats, entries, strict=True):
            operands[k] = x
        result = made.primitive.bind(*operands, **made.params)
        return result[made.result] if made.primitive.multiple_results else result

    return apply, [made.inputs[k] for k in floats]


def moved(walk: Relations, made: Origin, aval: Any) -> Any:
    """The law of an operation that moves or repeats entries, and whose transpose by JAX is exact."""
    found = _of_floats(walk, made)
    if found is None:
        return None
    apply, operands = found
    if any(n.aval.dtype != aval.dtype for n in operands):
        return None
    # What is moved may be repeated.
    return walk.domain.linear(Linear(apply, apply, 0), [walk.shared(n) for n in operands])


MOVED = REARRANGEMENTS | {
    lax.concatenate_p,
    lax.stack_p,
    lax.tile_p,
    lax.split_p,
    lax.unstack_p,
    lax.dynamic_slice_p,
    lax.dynamic_update_slice_p,
}

for _primitive in MOVED:
    laws[_primitive] = moved
for _primitive in IDENTITIES:
    laws[_primitive] = lambda walk, made, aval: walk.of(made.inputs[0])


def _chosen(walk: Relations, made: Origin, aval: Any) -> Any:
    which, *cases = made.inputs
    condition = walk.value(which)
    if not isinstance(condition, Ternary):
        return moved(walk, made, aval)
    if len(cases) != 2 or not _same_format(made._replace(inputs=tuple(cases)), aval):
        return None
    first, second = (walk.value(n) for n in cases)
    undecided = jnp.broadcast_to(condition.can_be_true & condition.can_be_false, aval.shape)
    hull = ia.hull(ia.of_shape(first, aval.shape), ia.of_shape(second, aval.shape))
    relations = (walk.shared(cases[0], aval.shape), walk.shared(cases[1], aval.shape))
    return walk.domain.choice(jnp.broadcast_to(condition.can_be_true, aval.shape), undecided, relations, hull)


laws[lax.select_n_p] = _chosen


# Sums.


def summed(terms: Callable[[Origin], int]) -> Law:
    """The law of a sum of entries, so many to an entry."""

    def law(walk: Relations, made: Origin, aval: Any) -> Any:
        found = _of_floats(walk, made)
        if found is None:
            return None
        apply, operands = found
        return walk.domain.linear(Linear(apply, apply, max(terms(made), 1)), [walk.of(n) for n in operands])

    return law


def _along_axes(made: Origin) -> int:
    return int(np.prod([made.inputs[0].aval.shape[a] for a in made.params["axes"]]))


laws[lax.reduce_sum_p] = summed(_along_axes)
laws[lax.cumsum_p] = summed(lambda made: made.inputs[0].aval.shape[made.params["axis"]] + 1)
laws[lax.reduce_window_sum_p] = summed(lambda made: int(np.prod(made.params["window_dimensions"])))


# Arithmetic of values that have no normal form, since it would be too long or mixes formats.


def _same_format(made: Origin, aval: Any) -> bool:
    return all(n.aval.dtype == aval.dtype for n in made.inputs)


def _combined(*factors: int) -> Law:
    def law(walk: Relations, made: Origin, aval: Any) -> Any:
        if not _same_format(made, aval):
            return None
        terms = [(Fraction(c), walk.shared(n, aval.shape)) for c, n in zip(factors, made.inputs, strict=True)]
        return walk.domain.combination(terms, ia.constant(0, aval.dtype))

    return law


laws[lax.add_p] = _combined(1, 1)
laws[primitives.add_jaxvals_p] = _combined(1, 1)
laws[lax.sub_p] = _combined(1, -1)
laws[lax.neg_p] = _combined(-1)


def _multiplied(walk: Relations, made: Origin, aval: Any) -> Any:
    if not _same_format(made, aval):
        return None
    x, y = (walk.shared(n, aval.shape) for n in made.inputs)
    return walk.domain.product(x, y)


laws[lax.mul_p] = _multiplied


_U = Variable(-1)
_POSITIVE_PART = Polynomial.of(_U) * Polynomial.of(Indicator(_U, Fraction(0), True))


def _divided(walk: Relations, made: Origin, aval: Any) -> Any:
    if not _same_format(made, aval):
        return None
    x, y = made.inputs
    if not _is_constant(walk, y) and _is_constant(walk, x) and x.near is None:
        return _of_one(walk, made, aval)
    if _is_constant(walk, y):
        value = walk.value(y)
        assert isinstance(value, Interval)
        inverse = walk.domain.constant(ia.of_shape(_reciprocal(value), aval.shape))
    else:
        inverse = _function(walk, lax.reciprocal, _reciprocal, y, aval.shape)
    return walk.domain.product(walk.shared(x, aval.shape), inverse)


def _reciprocal(x: Interval) -> Interval:
    return rule_for(lax.div_p)(ia.point(jnp.ones_like(x.lower)), x)


laws[lax.div_p] = _divided


def _larger(sign: int) -> Law:
    """`max(x, y) = y + max(x − y, 0)` and `min(x, y) = x − max(x − y, 0)`."""

    def law(walk: Relations, made: Origin, aval: Any) -> Any:
        if not _same_format(made, aval):
            return None
        for node, other in (made.inputs, made.inputs[::-1]):
            if node.infinite == -sign and other.aval.shape == aval.shape:
                return walk.of(other)  # `max(−∞, y)`, with which softmax begins
        x, y = (walk.shared(n, aval.shape) for n in made.inputs)
        zero = ia.constant(0, aval.dtype)
        difference = walk.domain.combination([(Fraction(1), x), (Fraction(-1), y)], zero)
        known = ia.sub(*(ia.of_shape(walk.value(n), aval.shape) for n in made.inputs))
        implied = walk.domain.enclosure(difference)
        known = Interval._make(jnp.maximum(known.lower, implied.lower), jnp.minimum(known.upper, implied.upper))
        lines = lines_of_form(_POSITIVE_PART, known)
        positive = walk.domain.univariate(lines, difference)
        return walk.domain.combination([(Fraction(1), y if sign > 0 else x), (Fraction(sign), positive)], zero)

    return law


laws[lax.max_p] = _larger(1)
laws[lax.min_p] = _larger(-1)


# Functions of one operand.


def _of_one(walk: Relations, made: Origin, aval: Any) -> Any:
    """An elementwise function of its one inexact operand."""
    if not _same_format(made, aval):
        return None
    inexact = [k for k, n in enumerate(made.inputs) if not _is_constant(walk, n)]
    if len(inexact) != 1 or any(n.near is not None for n in made.inputs):
        return None
    (k,) = inexact
    rest = [None if j == k else walk.value(n) for j, n in enumerate(made.inputs)]
    rule = rule_for(made.primitive)

    def operands(x: Any, wrap: Callable[[Array], Any]) -> list[Any]:
        return [x if r is None else wrap(jnp.broadcast_to(r.lower, x.shape)) for r in rest]

    def function(x: Array) -> Array:
        return made.primitive.bind(*operands(x, lambda r: r), **made.params)

    def value(x: Interval) -> Interval:
        return rule(*operands(x, ia.point), **made.params)

    return _function(walk, function, value, made.inputs[k], aval.shape)


def _function(
    walk: Relations,
    function: Callable[[Array], Array],
    value: Callable[[Interval], Interval],
    node: "Node",
    shape: tuple[int, ...],
) -> Any:
    def second(t: Array) -> Array:
        ones = jnp.ones_like(t)
        return jax.jvp(lambda s: jax.jvp(function, (s,), (ones,))[1], (t,), (ones,))[1]

    def bend(x: Interval) -> Interval:
        (enclosed,) = walk.enclose(jax.make_jaxpr(second)(x.lower), [x])
        if not isinstance(enclosed, Interval):
            enclosed = ia.point(enclosed)
        enclosed = ia.of_shape(enclosed, x.shape)
        # The float constants of derivative rules, such as 2/√π, are rounded; they are factors of the whole.
        few = 64 * format_of(x.dtype).eps
        margin = few * jnp.maximum(jnp.abs(enclosed.lower), jnp.abs(enclosed.upper))
        return Interval._make(enclosed.lower - margin, enclosed.upper + margin)

    enclosure = walk.value(node)
    assert isinstance(enclosure, Interval)
    lines = lines_of_function(value, bend, ia.of_shape(enclosure, shape))
    return walk.domain.univariate(lines, walk.shared(node, shape))


SMOOTH: frozenset[Primitive] = ELEMENTWISE & {
    getattr(lax, f"{name}_p")
    for name in (
        "acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "digamma",
        "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "integer_pow", "lgamma", "log", "log1p", "logistic",
        "polygamma", "pow", "rsqrt", "sin", "sinh", "sqrt", "square", "tan", "tanh",
    )
}  # fmt: skip

for _primitive in SMOOTH:
    laws[_primitive] = _of_one


# Products.


def products(terms: Callable[[Origin], int], evaluate: Callable[[Origin, Any], Callable[[Array, Array], Array]]) -> Law:
    """The law of a product of arrays: linear if one of them is known, else bilinear.

    Args:
        terms: How many products are summed to an entry.
        evaluate: Gives the function of arrays that evaluates it.
    """

    def law(walk: Relations, made: Origin, aval: Any) -> Any:
        if not _same_format(made, aval):
            return None
        constant = [_is_constant(walk, n) for n in made.inputs]
        product = evaluate(made, aval)
        n = max(terms(made), 1)
        if not any(constant):
            return walk.domain.bilinear(product, n, *(walk.of(x) for x in made.inputs))
        if all(constant):
            return None
        k = constant.index(True)
        node = made.inputs[k]
        absolute = 0.0
        if node.near is not None:
            weights, absolute = node.near, format_of(aval.dtype).tiny
        else:
            factor = walk.value(node)
            assert isinstance(factor, Interval)
            weights = jnp.broadcast_to(factor.lower, node.aval.shape)

        def by(weights: Array) -> Callable[[Array], Array]:
            return lambda x: product(weights, x) if k == 0 else product(x, weights)

        return walk.domain.linear(Linear(by(weights), by(jnp.abs(weights)), n, absolute), [walk.of(made.inputs[1 - k])])

    return law


def _contracted(made: Origin) -> int:
    (contract, _), _ = made.params["dimension_numbers"]
    return int(np.prod([made.inputs[0].aval.shape[d] for d in contract]))


def _dot(made: Origin, aval: Any) -> Callable[[Array, Array], Array]:
    # Faster and less precise formats of accelerators would void the error bound.
    exact = {
        "precision": (lax.Precision.HIGHEST, lax.Precision.HIGHEST),
        "preferred_element_type": np.dtype(aval.dtype),
    }
    return lambda a, b: lax.dot_general_p.bind(a, b, **(made.params | exact))


laws[lax.dot_general_p] = products(_contracted, _dot)
