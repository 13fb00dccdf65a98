"""The table of interval rules: one entry per primitive, none by default."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from jax.extend.core import Primitive

from .._compat import CALLS, PARAMETERS

_rules: dict[Primitive, Callable[..., Any]] = {}
_structured: dict[Primitive, Callable[..., Any]] = {}
_integer_rules: dict[Primitive, Callable[..., Any]] = {}
_foreign: dict[tuple[str, str], Callable[..., Any]] = {}
_unproved: set[Primitive] = set()  # of users' primitives, nothing is known of where they are defined

rules: Mapping[Primitive, Callable[..., Any]] = MappingProxyType(_rules)
# For operands among which there is a range of integers.
integer_rules: Mapping[Primitive, Callable[..., Any]] = MappingProxyType(_integer_rules)
# Rules that need to know more of their operands than their enclosures: called with the walk, the nodes of the operands,
# the parameters and the types of the results; they return nodes.
structured: Mapping[Primitive, Callable[..., Any]] = MappingProxyType(_structured)


class UnsupportedPrimitiveError(ValueError):
    """A function uses an operation that has no interval rule, so it cannot be enclosed.

    Nothing is passed through by default: an operation without a rule has no known enclosure. The message names the
    operation and the line that uses it. Rewrite that line with supported operations, or register a rule with
    `sobolev_pruning.intervals.register_rule`.
    """


def defrule(primitive: Primitive, law: Callable[..., Any], *static: Any) -> None:
    """Declares that `primitive` obeys `law`, with the static arguments that the law needs.

    Raises:
        ValueError: the primitive has a rule already.
    """
    _refuse_second(primitive)
    assert primitive.name in PARAMETERS, primitive
    _rules[primitive] = partial(law, primitive, *static)


def defstructured(primitive: Primitive, law: Callable[..., Any]) -> None:
    """Declares a rule that works on the nodes of the walk.

    Raises:
        ValueError: the primitive has a rule already.
    """
    _refuse_second(primitive)
    assert primitive.name in PARAMETERS, primitive
    _structured[primitive] = law


def definteger(primitive: Primitive, law: Callable[..., Any], *static: Any) -> None:
    """Declares the law that `primitive` obeys where an operand is a range of integers."""
    assert primitive not in _integer_rules
    assert primitive.name in PARAMETERS, primitive
    _integer_rules[primitive] = partial(law, primitive, *static)


def defforeign(package: str, name: str, law: Callable[..., Any]) -> None:
    """Declares the law of a primitive of another package, which is known by its name and never imported here."""
    assert (package, name) not in _foreign
    _foreign[package, name] = law


def foreign_rule(primitive: Primitive) -> Callable[..., Any] | None:
    """The rule of a primitive that another package evaluates, or None."""
    module = getattr(getattr(primitive, "impl", None), "__module__", None) or ""
    law = _foreign.get((module.partition(".")[0], primitive.name))
    return None if law is None else partial(law, primitive)


def _refuse_second(primitive: Primitive) -> None:
    if primitive in _rules or primitive in CALLS or primitive in _structured:
        raise ValueError(
            f"The primitive `{primitive.name}` has an interval rule already. A second one would silently replace a "
            "tested enclosure; register a rule for a primitive of your own instead."
        )


def is_unproved(primitive: Primitive) -> bool:
    """Whether a primitive may be undefined, or jump, anywhere."""
    return primitive in _unproved


def register_rule(primitive: Primitive, rule: Callable[..., Any], *, continuous: bool = False) -> None:
    """Registers an interval rule for a primitive of your own.

    Args:
        primitive: A `jax.extend.core.Primitive`.
        rule: Called as `rule(*operands, **params)` with the parameters of the equation. A float operand comes as an
            `Interval` without subnormal ends (a constant as one whose `lower` and `upper` are the same array), an
            integer or boolean one as an array, an undecided condition as a `Ternary`. Returns an `Interval` for a
            float result and an array for an integer one, or a sequence of these if the primitive has several results.
            No operand is empty: what depends on something undefined is not looked at. An integer that is undecided
            over the box is an `Interval` of integers. Use `outward` to cover the rounding of what it computes.
        continuous: Whether the primitive is defined and continuous for all real operands. Decorations say that nothing
            is known of it otherwise.

    Raises:
        TypeError: `primitive` is no primitive, or `rule` is not callable.
        ValueError: the primitive has a rule already.
    """
    if not isinstance(primitive, Primitive):
        raise TypeError(
            f"register_rule: `primitive` must be a `jax.extend.core.Primitive`, got {type(primitive).__name__}. Pass "
            "what an equation of `jax.make_jaxpr(f)(x)` names, such as `jax.lax.sin_p`, not the function."
        )
    if not callable(rule):
        raise TypeError(f"register_rule: `rule` must be a function of the operands, got {type(rule).__name__}.")
    _refuse_second(primitive)
    _rules[primitive] = rule
    if not continuous:
        _unproved.add(primitive)


def rule_for(primitive: Primitive) -> Callable[..., Any]:
    """The rule of a primitive.

    Raises:
        UnsupportedPrimitiveError: there is none.
    """
    rule = _rules.get(primitive)
    if rule is None:
        raise UnsupportedPrimitiveError(unsupported_message(primitive.name))
    return rule


def unsupported_message(name: str, source: str | None = None, why: str = "") -> str:
    """The text of an `UnsupportedPrimitiveError`."""
    place = f", used at {source}," if source else ""
    reason = why or "has no interval rule"
    return (
        f"The operation `{name}`{place} {reason}. Rewrite that line with supported operations "
        "(`sobolev_pruning.intervals.supported_primitives()` lists them), or register a rule for it with "
        "`sobolev_pruning.intervals.register_rule(primitive, rule)`."
    )


def supported_primitives() -> tuple[str, ...]:
    """The names of all primitives that have a rule, sorted."""
    known = [p.name for p in (*_rules, *CALLS, *_structured)]
    return tuple(sorted([*known, *(name for _, name in _foreign)]))
