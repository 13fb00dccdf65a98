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
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive, Var, primitives

from . import _arithmetic as ia
from ._forms import Polynomial, TooLarge, Variable
from ._interval import Interval, Ternary
from ._origins import Origin
from ._ranges import Ranges
from ._registry import UnsupportedPrimitiveError, inlined, rules, unsupported_message
from ._rounding import format_of, normalised
from ._softmax import Softmax
from ._symbols import keeps_infinity, symbols, transparent

Value = Interval | Ternary | Array

# A condition that was converted to an integer, and is undecided, may be converted again, moved, or choose a branch.
understands_undecided_integers = transparent | {lax.convert_element_type_p, primitives.cond_p}

# A chain of unevaluated elementwise operations is cut here, well below Python's limit of recursion.
_MAX_DEPTH = 60


class Node:
    """A value of the program: its enclosure, evaluated on demand, and its normal form, if it has one."""

    __slots__ = ("_natural", "_value", "aval", "depth", "form", "infinite", "number", "origin", "real")

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


def is_float(aval: Any) -> bool:
    """Whether values of this type are floats."""
    return jnp.issubdtype(aval.dtype, jnp.floating)


class Interpreter:
    """One walk: the variables it has named, and the ranges it has computed."""

    def __init__(self) -> None:
        self.nodes: dict[Variable, Node] = {}
        self.ranges = Ranges(self._variable_value)
        self.softmax = Softmax(self)
        self._count = 0
        self._source = ""  # the innermost user line; equations inside of JAX's own functions have none
        self._mapped: dict[Any, Node] = {}

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
        self.value(node)  # by its present form
        self.nodes[variable] = node
        node.form = Polynomial.of(variable)
        return node.form

    def exp_of_constant(self, variable: Variable, factor: Fraction) -> Polynomial:
        """`exp(factor·k)` as a variable of its own."""
        key = (variable, factor, lax.exp_p)
        if key not in self._mapped:
            exponent = ia.scale(self._variable_value(variable), factor)
            self._mapped[key] = self.new(self.nodes[variable].aval, rules[lax.exp_p](exponent, accuracy=None))
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
        node = self.new(aval, point(x) if is_float(aval) else jnp.asarray(x))
        node.real = not (is_float(aval) and (isinstance(x, Tracer) or not np.all(np.isfinite(np.asarray(x)))))
        uniform = uniform_value(x)
        if uniform is not None and np.isfinite(uniform):
            node.form = Polynomial.constant(Fraction(uniform))
        elif uniform is not None and not np.isnan(uniform):
            node.infinite = 1 if uniform > 0 else -1
        return node

    def interval(self, x: Interval | Ternary, aval: Any) -> Node:
        """A node for an interval that a user or a rule gives."""
        return self.new(aval, x)

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

    def equation(self, eqn: JaxprEqn, inputs: list[Node]) -> list[Node]:
        """Evaluates one equation."""
        primitive = eqn.primitive
        outer, self._source = self._source, source_of(eqn) or self._source
        try:
            if primitive in inlined:
                body = inlined[primitive](eqn.params)
                return self.run(body.jaxpr, body.consts, inputs)
            return self._operation(eqn, inputs)
        finally:
            self._source = outer

    def _operation(self, eqn: JaxprEqn, inputs: list[Node]) -> list[Node]:
        primitive = eqn.primitive
        avals = [var.aval for var in eqn.outvars]
        if not any(map(_needs_rule, (*avals, *(n.aval for n in inputs)))) and not any(
            isinstance(n._value, Ternary) or n._natural is not None for n in inputs
        ):
            params = primitive.get_bind_params(eqn.params)
            results = primitive.bind(*map(self.value, inputs), **params)
            results = results if primitive.multiple_results else [results]
            return [self.exact(r, aval) for r, aval in zip(results, avals, strict=True)]
        rule = rules.get(primitive)
        if primitive not in understands_undecided_integers and any(
            isinstance(n._value, Ternary) and n.aval.dtype != bool for n in inputs
        ):
            why = "computes with an integer that is undecided over the box"
            raise UnsupportedPrimitiveError(unsupported_message(primitive.name, self._source, why))
        if rule is None:
            raise UnsupportedPrimitiveError(unsupported_message(primitive.name, self._source))
        return self._apply(rule, eqn, inputs, avals)

    def _apply(self, rule: Callable[..., Any], eqn: JaxprEqn, inputs: list[Node], avals: list[Any]) -> list[Node]:
        primitive, params, source = eqn.primitive, eqn.params, self._source

        def natural() -> Any:
            try:
                return rule(*map(self.value, inputs), **params)
            except UnsupportedPrimitiveError as error:
                raise _located(error, primitive, source) from None

        if primitive.multiple_results:
            results = natural()
            return [self.new(aval, r) for r, aval in zip(results, avals, strict=True)]
        (aval,) = avals
        node = self._single(primitive, params, inputs, aval, natural)
        node.origin = Origin(primitive, tuple(inputs), params)
        return [node]

    def _single(
        self,
        primitive: Primitive,
        params: dict[str, Any],
        inputs: list[Node],
        aval: Any,
        natural: Callable[[], Any],
    ) -> Node:
        """The node of the only result of a primitive."""
        known = self.softmax.recognised(primitive, params, inputs, aval)
        if known is not None:
            return self.new(aval, known)
        form = self._form_of(primitive, params, inputs, aval)
        if form is None:
            node = self.new(aval, natural())
            if primitive in transparent:
                node.infinite = inputs[0].infinite
            node.real = inputs[0].real if primitive in keeps_infinity else True
            return node
        depth = 1 + max((n.depth for n in inputs if n._natural is not None), default=0)
        node = Node(aval, self._number(), natural=natural, form=form, depth=depth)
        node.real = inputs[0].real if primitive in keeps_infinity else True
        if depth > _MAX_DEPTH:
            self.value(node)
        return node

    def _form_of(
        self, primitive: Primitive, params: dict[str, Any], inputs: list[Node], aval: Any
    ) -> Polynomial | None:
        form = None
        try:
            if primitive in transparent:
                form = self._rearranged(primitive, params, inputs, aval)
            elif primitive in symbols:
                form = symbols[primitive](self, inputs, params, aval)
        except TooLarge:
            return None
        if form is None or not is_float(aval):
            return form
        # A polynomial is evaluated in one dtype.
        same = all(self.nodes[v].aval.dtype == aval.dtype for v in form.variables)
        return form if same else None

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
        if not form.variables or not is_float(node.aval):
            return None
        images: dict[Variable, Variable] = {}
        for variable in form.variables:
            source = self.nodes[variable]
            if source.aval.shape != node.aval.shape or source.aval.dtype != aval.dtype:
                return None
            key = (variable, primitive, str(sorted(params.items(), key=lambda kv: kv[0])))
            if key not in self._mapped:
                mapped = self.new(aval, rules[primitive](self.value(source), **params))
                mapped.origin = Origin(primitive, (source,), params)
                self._mapped[key] = mapped
                self.opaque(mapped)
            images[variable] = Variable(self._mapped[key].number)
        return rename(form, images)


def rename(p: Polynomial, images: dict[Variable, Variable]) -> Polynomial:
    """The polynomial with its variables renamed."""
    from ._forms import Function, Indicator  # only needed here

    def image(atom: Any) -> Polynomial:
        match atom:
            case Variable():
                return Polynomial.of(images[atom])
            case Function(name, argument):
                return Polynomial.of(Function(name, argument.substitute(image)))
            case Indicator(variable, threshold, strict):
                return Polynomial.of(Indicator(images[variable], threshold, strict))
            case _:
                raise AssertionError(atom)

    return p.substitute(image)


def _needs_rule(aval: Any) -> bool:
    return is_float(aval) or jnp.issubdtype(aval.dtype, jnp.complexfloating)


def source_of(eqn: JaxprEqn) -> str:
    """The user's line that an equation comes from."""
    return source_info_util.summarize(eqn.source_info)


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


def clean(x: Interval) -> Interval:
    """A user's interval without subnormal or NaN ends; a point stays one."""
    if ia.is_point(x):
        return point(x.lower)
    format_of(x.lower.dtype)
    return Interval._make(*normalised(x.lower, x.upper))


def closed(jaxpr: Any) -> ClosedJaxpr:
    """A jaxpr with its constants, from either form that primitives carry."""
    return jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, ())
