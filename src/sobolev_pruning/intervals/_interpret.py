"""The walk over a jaxpr: every equation is read as its interval counterpart.

The walk knows nothing of the meaning of operations: rules give enclosures (`_registry.py`), `_symbols.py` gives normal
forms, `_ranges.py` the enclosure of a normal form. It decides once what a constant becomes, and evaluates elementwise
values only when something that is not elementwise needs them.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive, Var

from .._compat import GAUSSIAN_ENDS, is_gaussian
from . import _arithmetic as ia
from ._bits import normalised
from ._continuity import continuous
from ._decoration import UNBOUNDED, UNDEFINED
from ._dependence import MARK, joined, spread
from ._domains import POSITIVE, Domain, domains
from ._forms import Function, Polynomial, TooLarge, Variable, nonlinear_variables, rename
from ._identities import whole_gaussians
from ._interval import Interval
from ._once import computed_once
from ._origins import UNTRIED, Origin, is_positive
from ._program import body_of, source_of
from ._ranges import Ranges, by_variable
from ._rearrangements import REARRANGEMENTS
from ._registry import (
    UnsupportedPrimitiveError,
    foreign_rule,
    integer_rules,
    is_unproved,
    rules,
    structured,
    unsupported_message,
)
from ._relational import AbstractDomain
from ._relations import Relations
from ._rounding import format_of
from ._softmax import Softmax
from ._symbols import keeps_infinity, symbols
from ._ternary import Ternary, ternary

Value = Interval | Ternary | Array

_COMPUTED_ONCE = {lax.dot_general_p, lax.conv_general_dilated_p}

# A chain of unevaluated elementwise operations is cut here, well below Python's limit of recursion.
_MAX_DEPTH = 60

# A longer polynomial that is nonlinear in several variables is no known function, and every step of a program that
# multiplies it multiplies its length.
_MAX_MIXED = 8


class Node:
    """A value of the program: its enclosure, evaluated on demand, and its normal form, if it has one.

    Attributes:
        empty: Marks on the entries that are nowhere defined; their enclosure means nothing. None if there are none.
        soft: Whether what is marked empty has a sound enclosure all the same, so that the marks may be ignored.
        lack: Marks on the entries by how well they are defined (`_decoration`); None if all of them are. Only looked
            for where decorations are asked for.
        relation: How it depends on other values, in the domain that is asked for; None while it is not known.
        near: The exact array that this is, up to the rounding of subnormal entries; known only while running.
        known: The exact array, or the enclosure, if that is known while tracing (`known_value`).
    """

    __slots__ = (
        "_natural", "_value", "aval", "depth", "empty", "form", "infinite", "known", "lack", "near", "number",
        "origin", "real", "relation", "soft",
    )  # fmt: skip

    def __init__(
        self,
        aval: Any,
        number: int,
        value: Value | None = None,
        natural: Callable[[], Value] | None = None,
        form: Polynomial | None = None,
        depth: int = 0,
    ) -> None:
        self.aval = aval
        self.number = number
        self._value = value
        self._natural = natural
        self.form = form
        self.depth = depth
        self.infinite = 0  # the sign of a constant that is ±∞
        self.origin: Origin | None = None
        self.real = True  # whether every entry is a real number; of an exact array some may be ±∞ or NaN
        self.empty: Array | None = None
        self.soft = False
        self.lack: Array | None = None
        self.near: Array | None = None
        self.relation: Any = None
        self.known: Any = UNTRIED

    @property
    def is_exact(self) -> bool:
        """Whether it is an exact array of integers, conditions or keys."""
        return self._natural is None and not isinstance(self._value, Interval | Ternary)

    @property
    def is_undecided_integer(self) -> bool:
        """Whether it is a range of integers."""
        return isinstance(self._value, Interval) and not is_float(self.aval)


def is_float(aval: Any) -> bool:
    """Whether values of this type are floats."""
    return jnp.issubdtype(aval.dtype, jnp.floating)


class Interpreter:
    """One walk: the variables it has named, and the ranges it has computed."""

    def __init__(self, *, decorated: bool = False, domain: AbstractDomain[Any] | None = None) -> None:
        self.decorated = decorated
        self.nodes: dict[Variable, Node] = {}
        self.relations = None if domain is None else Relations(domain, self)
        self.ranges = Ranges(self._variable_value)
        self.softmax = Softmax(self)
        self._count = 0
        self._source = ""  # the innermost user line; equations inside of JAX's own functions have none
        self._mapped: dict[Any, Node] = {}
        self._gaussians: dict[Function, int] = {}  # and where they end

    # Values.

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _variable_value(self, variable: Variable) -> Interval:
        value = self.value(self.nodes[variable])
        assert isinstance(value, Interval)
        return value

    def value(self, node: Node) -> Value:
        """The enclosure of a node: the smallest that is known."""
        value = self._natural_value(node)
        if self.relations is None or node.relation is not None or node.near is not None:
            return value
        if isinstance(value, Interval) and is_float(node.aval):
            node.relation, node._value = self.relations.relate(node, value)
            return node._value
        return value

    def _natural_value(self, node: Node) -> Value:
        if node._value is None:
            assert node._natural is not None
            natural = node._natural
            if node.form is None:
                node._value = natural()
            elif not is_float(node.aval):
                decided = node.form.value
                node._value = (
                    natural() if decided is None else jnp.full(node.aval.shape, bool(decided), node.aval.dtype)
                )
            else:
                dtype, shape = node.aval.dtype, node.aval.shape
                node._value = self.ranges.enclose(node.form, dtype, shape, natural)
            node._natural = None
        return node._value

    def opaque(self, node: Node) -> Polynomial:
        """Makes the node a variable, from now on, and returns its form."""
        variable = Variable(node.number)
        if node.form is not None and node.form.lone_atom is not None:
            return node.form
        value = self.value(node)  # by its present form
        if isinstance(value, Interval) and is_float(node.aval) and _is_costly(node):
            node._value = computed_once(value)
        self.nodes[variable] = node
        node.form = Polynomial.of(variable)
        return node.form

    def exp_of_constant(self, variable: Variable, factor: Fraction) -> Polynomial:
        """`exp(factor·k)` as a variable of its own."""
        key = (variable, factor, lax.exp_p)
        if key not in self._mapped:
            exponent = ia.scale(self._variable_value(variable), factor)
            self._mapped[key] = self.new(self.nodes[variable].aval, rules[lax.exp_p](exponent))
        return self.opaque(self._mapped[key])

    def reciprocal_of_constant(self, variable: Variable) -> Polynomial:
        """`1/k` as a variable of its own."""
        key = (variable, lax.div_p)
        if key not in self._mapped:
            self._mapped[key] = self.new(self.nodes[variable].aval, ia.reciprocal(self._variable_value(variable)))
        return self.opaque(self._mapped[key])

    def new(self, aval: Any, value: Value) -> Node:
        """A node with a known value and no form."""
        return Node(aval, self._number(), value=value)

    def form(self, node: Node) -> Polynomial | None:
        """The form of a node; a float without one becomes a variable."""
        if node.form is None and is_float(node.aval):
            return self.opaque(node)
        return node.form

    def exact(self, x: Any, aval: Any) -> Node:
        """A node for an array that is known exactly: a constant, a literal, an argument that is no interval."""
        node = self.new(aval, point(x) if is_float(aval) else x if is_key(aval) else jnp.asarray(x))
        if is_float(aval):
            if isinstance(x, Tracer):
                node.near = x
            else:
                node.known = x
        node.real = not (is_float(aval) and (isinstance(x, Tracer) or not np.all(np.isfinite(np.asarray(x)))))
        uniform = uniform_value(x)
        if uniform is not None and np.isfinite(uniform):
            node.form = Polynomial.constant(Fraction(uniform))
        elif uniform is not None and not np.isnan(uniform):
            node.infinite = 1 if uniform > 0 else -1
        return node

    def in_band(self, node: Node) -> Value:
        """The enclosure of a node, with the empty set where it is nowhere defined."""
        value = self.value(node)
        if node.empty is None:
            return value
        empty = node.empty > 0
        if isinstance(value, Interval):
            return empty_where(empty, value)
        if node.aval.dtype == bool:
            pair = ternary(value)
            return Ternary(pair.can_be_true & ~empty, pair.can_be_false & ~empty)
        return empty_where(empty, Interval._make(value, value))

    def filled(self, node: Node) -> Value:
        """The enclosure of a node, with some number where it is empty."""
        value = self.value(node)
        if node.empty is None or not isinstance(value, Interval):
            return value
        zero = jnp.zeros((), value.dtype)
        empty = node.empty > 0
        return Interval._make(jnp.where(empty, zero, value.lower), jnp.where(empty, zero, value.upper))

    # The walk.

    def run(self, jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Node]) -> list[Node]:
        """Evaluates a jaxpr whose inputs are nodes."""
        env: dict[Var, Node] = {}
        for var, const in zip(jaxpr.constvars, consts, strict=True):
            env[var] = self.exact(const, var.aval)
        env.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Node:
            return self.exact(atom.val, atom.aval) if isinstance(atom, Literal) else env[atom]

        for eqn in jaxpr.eqns:
            outputs = self.equation(eqn, [read(atom) for atom in eqn.invars])
            env.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    @staticmethod
    def enclose(body: ClosedJaxpr, operands: Sequence[Any]) -> list[Any]:
        """The enclosures of what a program returns, in a walk of its own; operands are enclosures or exact arrays."""
        walk = Interpreter()
        nodes = [
            walk.new(var.aval, x) if isinstance(x, Interval | Ternary) else walk.exact(x, var.aval)
            for x, var in zip(operands, body.jaxpr.invars, strict=True)
        ]
        return [walk.value(node) for node in walk.run(body.jaxpr, body.consts, nodes)]

    def equation(self, eqn: JaxprEqn, inputs: list[Node]) -> list[Node]:
        """Evaluates one equation."""
        outer, self._source = self._source, source_of(eqn) or self._source
        try:
            body = body_of(eqn)
            if body is None:
                return self._operation(eqn, inputs)
            if is_gaussian(eqn):
                return self._gaussian(body, inputs)
            return self.run(body.jaxpr, body.consts, inputs)
        finally:
            self._source = outer

    def _gaussian(self, body: ClosedJaxpr, inputs: list[Node]) -> list[Node]:
        """`exp(−x²)` of the derivatives of erf, whose own derivative leaves out what is below the smallest number."""
        (node,) = inputs
        p = self.form(node)
        if p is not None and len(p.variables) > 1:
            self.opaque(node)  # as erf makes it
        (result,) = self.run(body.jaxpr, body.consts, inputs)
        atom = None if result.form is None else result.form.lone_atom
        if isinstance(atom, Function):
            self._gaussians[atom] = GAUSSIAN_ENDS[8 * result.aval.dtype.itemsize]
        return [result]

    def _operation(self, eqn: JaxprEqn, inputs: list[Node]) -> list[Node]:
        primitive = eqn.primitive
        avals: list[Any] = [var.aval for var in eqn.outvars]
        if any(jnp.issubdtype(a.dtype, jnp.complexfloating) for a in (*avals, *(n.aval for n in inputs))):
            why = "computes with complex numbers, of which there are no intervals"
            raise UnsupportedPrimitiveError(unsupported_message(primitive.name, self._source, why))
        if not any(map(is_float, avals)) and all(n.is_exact for n in inputs):
            params = primitive.get_bind_params(eqn.params)
            results = primitive.bind(*map(self.value, inputs), **params)
            results = results if primitive.multiple_results else [results]
            nodes = [self.exact(r, aval) for r, aval in zip(results, avals, strict=True)]
            if any(n.empty is not None or n.lack is not None for n in inputs):
                self._spread(primitive, inputs, eqn.params, nodes)
            return nodes
        if primitive in structured:
            try:
                before = self._count
                nodes = structured[primitive](self, inputs, eqn.params, avals)
                for index, node in enumerate(nodes):
                    if node.number > before and node.origin is None:
                        node.origin = Origin(primitive, tuple(inputs), eqn.params, index)
                return nodes
            except UnsupportedPrimitiveError as error:
                raise _located(error, primitive, self._source) from None
        undecided = any(n.is_undecided_integer for n in inputs)
        rule = (integer_rules if undecided else rules).get(primitive) or foreign_rule(primitive)
        if rule is None:
            why = "computes with an integer that is undecided over the box" if undecided else ""
            raise UnsupportedPrimitiveError(unsupported_message(primitive.name, self._source, why))
        nodes = self.apply(rule, primitive, eqn.params, inputs, avals)
        for node in nodes:
            if primitive in REARRANGEMENTS and inputs[0].near is not None and not primitive.multiple_results:
                node.near = primitive.bind(inputs[0].near, **eqn.params)
        return nodes

    def apply(
        self,
        rule: Callable[..., Any],
        primitive: Primitive,
        params: dict[str, Any],
        inputs: list[Node],
        avals: list[Any],
    ) -> list[Node]:
        """Applies a rule, unless the normal form of the result makes it needless."""
        source = self._source

        def natural() -> Any:
            try:
                return rule(*map(self.value, inputs), **params)
            except UnsupportedPrimitiveError as error:
                raise _located(error, primitive, source) from None

        if primitive.multiple_results:
            results = natural()
            nodes = [self.new(aval, r) for r, aval in zip(results, avals, strict=True)]
            for index, node in enumerate(nodes):
                node.origin = Origin(primitive, tuple(inputs), params, index)
            self.mark(primitive, inputs, params, nodes)
            return nodes
        (aval,) = avals
        return [self._single(primitive, params, inputs, aval, natural)]

    def _single(
        self,
        primitive: Primitive,
        params: dict[str, Any],
        inputs: list[Node],
        aval: Any,
        natural: Callable[[], Any],
    ) -> Node:
        """The node of the only result of a primitive."""
        origin = Origin(primitive, tuple(inputs), params)
        known = self.softmax.recognised(primitive, params, inputs, aval)
        if known is not None:
            node = self.new(aval, known)
            node.origin = origin
            self._spread(primitive, inputs, params, [node])
            return node
        form = self._form_of(primitive, params, inputs, aval)
        if form is None:
            node = self.new(aval, natural())
            node.origin = origin
            if primitive in REARRANGEMENTS:
                node.infinite = inputs[0].infinite
            node.real = inputs[0].real if primitive in keeps_infinity else True
            self.mark(primitive, inputs, params, [node])
            return node
        depth = 1 + max((n.depth for n in inputs if n._natural is not None), default=0)
        node = Node(aval, self._number(), natural=natural, form=form, depth=depth)
        node.origin = origin
        node.real = inputs[0].real if primitive in keeps_infinity else True
        self.mark(primitive, inputs, params, [node])
        if depth > _MAX_DEPTH:
            self.value(node)
        return node

    def mark(self, primitive: Primitive, inputs: list[Node], params: dict[str, Any], nodes: list[Node]) -> None:
        """Marks what is nowhere defined and, if asked for, how well the rest is."""
        self._spread(primitive, inputs, params, nodes)
        inside = primitive in POSITIVE and is_positive(inputs[POSITIVE[primitive]])
        for node in nodes:
            # What has a form is defined wherever its variables are.
            formed = node.form is not None
            known = inside or (node.form is not None and (not self.decorated or continuous(node.form)))
            if primitive in domains and not known:
                found: Domain = domains[primitive]([*map(self.value, inputs)], params, self.value(node))
                # Operands that are scalars give marks that are.
                shape = node.aval.shape
                if not formed and is_float(node.aval) and found.nowhere is not None:  # integers are always something
                    self._undefined(node, jnp.broadcast_to(found.nowhere, shape))
                if self.decorated and found.lack is not None:
                    node.lack = joined(node.lack, jnp.broadcast_to(found.lack, shape))
            if self.decorated and is_unproved(primitive):
                node.lack = jnp.full(node.aval.shape, UNDEFINED, MARK)
            if self.decorated and not formed and is_float(node.aval):
                value = self.value(node)
                assert isinstance(value, Interval)
                limits = jnp.where(_bounded(value), 0, UNBOUNDED).astype(MARK)
                limits = jnp.broadcast_to(limits, node.aval.shape)
                node.lack = limits if node.lack is None else jnp.maximum(node.lack, limits)

    @staticmethod
    def _undefined(node: Node, nowhere: Array) -> None:
        """Marks what is nowhere defined. It is taken for any number, so that nothing built on it has to ask."""
        if isinstance(node._value, Interval) and (node.empty is None or node.soft):
            value, infinite = node._value, jnp.asarray(jnp.inf, node._value.dtype)
            node._value = Interval._make(
                jnp.where(nowhere, -infinite, value.lower), jnp.where(nowhere, infinite, value.upper)
            )
            node.soft = True
        else:
            node.soft = False
        node.empty = joined(node.empty, nowhere.astype(MARK))

    def _spread(self, primitive: Primitive, inputs: list[Node], params: dict[str, Any], nodes: list[Node]) -> None:
        avals = [n.aval for n in nodes]
        operands = [n._value if n.is_exact else n.aval for n in inputs]
        empties = spread(primitive, [n.empty for n in inputs], operands, params, avals, unknown=False)
        lacks = spread(primitive, [n.lack for n in inputs], operands, params, avals, unknown=True)
        for node, empty, lack in zip(nodes, empties, lacks, strict=True):
            node.empty, node.lack = empty, lack
            node.soft = all(n.soft for n in inputs if n.empty is not None)

    def _form_of(
        self, primitive: Primitive, params: dict[str, Any], inputs: list[Node], aval: Any
    ) -> Polynomial | None:
        form = None
        try:
            if primitive in REARRANGEMENTS:
                form = self._rearranged(primitive, params, inputs, aval)
            elif primitive in symbols:
                form = symbols[primitive](self, inputs, params, aval)
        except TooLarge:
            return None
        if form is None or not is_float(aval):
            return form
        if self._gaussians:
            form = whole_gaussians(form, self._gaussians)
        if self._is_too_mixed(form):
            return None
        # A polynomial is evaluated in one dtype.
        same = all(self.nodes[v].aval.dtype == aval.dtype for v in form.variables)
        return form if same else None

    def _is_too_mixed(self, form: Polynomial) -> bool:
        """Whether a form holds products of different variables that are better left to their operations."""
        nonlinear = nonlinear_variables(form)
        products = any(sum(power for _, power in monomial) > 1 for monomial in form.terms)
        if len(form.variables) == 1 or not (nonlinear or products):
            return False
        if self.relations is None:
            return len(form.terms) > _MAX_MIXED and (len(nonlinear) != 1 or len(form.variables) > 2)
        # One function of a variable, with a cofactor.
        return len(nonlinear) > 1 or len(by_variable(form, min(nonlinear or form.variables))) > 1

    def _rearranged(
        self, primitive: Primitive, params: dict[str, Any], inputs: list[Node], aval: Any
    ) -> Polynomial | None:
        """The form of a rearranged value: the form of the value over rearranged variables."""
        (node,) = inputs
        form = node.form
        if form is None:
            return None
        if form.value is not None:
            return form
        if not form.variables:
            return None
        images: dict[Variable, Variable] = {}
        for variable in form.variables:
            source = self.nodes[variable]
            # Of a comparison, the form is over floats.
            if source.aval.shape != node.aval.shape or (is_float(aval) and source.aval.dtype != aval.dtype):
                return None
            key = (variable, primitive, str(sorted(params.items(), key=lambda kv: kv[0])))
            if key not in self._mapped:
                moved = aval.update(dtype=source.aval.dtype)
                mapped = self.new(moved, rules[primitive](self.value(source), **params))
                mapped.origin = Origin(primitive, (source,), params)
                self._mapped[key] = mapped
                self.opaque(mapped)
            images[variable] = Variable(self._mapped[key].number)
        return rename(form, images)


def _is_costly(node: Node) -> bool:
    """Whether a value takes more than sums to compute, and is no product of arrays, which is computed once anyway."""
    if node.form is not None:
        return bool(nonlinear_variables(node.form))
    return node.origin is not None and node.origin.primitive not in (REARRANGEMENTS | _COMPUTED_ONCE)


def is_key(aval: Any) -> bool:
    """Whether values of this type are random keys."""
    return jnp.issubdtype(aval.dtype, jax.dtypes.extended)


def _bounded(x: Interval) -> Array:
    return jnp.isfinite(x.lower) & jnp.isfinite(x.upper)


def empty_where(empty: Array, x: Interval) -> Interval:
    """The empty set where `empty` holds; of integers, a range whose ends are in the wrong order."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        first, last = jnp.asarray(jnp.inf, x.dtype), jnp.asarray(-jnp.inf, x.dtype)
    else:
        info = jnp.iinfo(x.dtype)
        first, last = jnp.asarray(info.max, x.dtype), jnp.asarray(info.min, x.dtype)
    return Interval._make(jnp.where(empty, first, x.lower), jnp.where(empty, last, x.upper))


def _located(error: UnsupportedPrimitiveError, primitive: Primitive, source: str) -> UnsupportedPrimitiveError:
    why = str(error)
    if why.startswith("The operation"):  # of a branch or a body, which names its own line
        return error
    return UnsupportedPrimitiveError(unsupported_message(primitive.name, source, why))


def uniform_value(x: Any) -> float | int | bool | None:
    """The number that fills an array whose entries are known while tracing; None if there is no such number."""
    if isinstance(x, Tracer) or not hasattr(x, "dtype"):
        return None
    if jnp.issubdtype(x.dtype, jax.dtypes.extended) or np.size(x) == 0:
        return None
    array = np.asarray(x)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        return None
    first = array.reshape(-1)[0]
    return first.item() if np.all(array == first) else None


def point(x: Any) -> Interval:
    """The interval of an exact array, without subnormal or NaN ends."""
    if not isinstance(x, Tracer):
        array = np.asarray(x)
        tiny = format_of(array.dtype).tiny
        small = (array != 0) & (np.abs(array) < tiny)
        if not np.any(small | np.isnan(array)):
            same = jnp.asarray(x)
            return Interval._make(same, same)
    array = jnp.asarray(x)
    format_of(array.dtype)
    return Interval._make(*normalised(array, array))


def clean(x: Interval) -> tuple[Interval, Array]:
    """A user's interval without subnormal ends, and whether any entry of it is empty."""
    format_of(x.lower.dtype)
    empty = ~(x.lower <= x.upper)
    zero = ia.point(jnp.zeros((), x.lower.dtype))
    filled = ia.choose(empty, zero, x)
    return Interval._make(*normalised(filled.lower, filled.upper)), empty.any()
