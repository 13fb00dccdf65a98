"""What is known of a condition over a box."""

from typing import Any, final

import jax
from jaxtyping import Array, Bool


@final
@jax.tree_util.register_pytree_node_class
class Ternary:
    """What is known of a condition over a box: it may hold somewhere, and it may fail somewhere.

    The comparison of overlapping intervals is undecided: both are possible. (IEEE 1788-2015, clause 10.5, returns the
    set of possible outcomes likewise.) Where neither is possible, the condition was nowhere defined.

    Attributes:
        can_be_true: Whether the condition may hold at some point of the box.
        can_be_false: Whether it may fail at some point.
    """

    __slots__ = ("can_be_false", "can_be_true")

    can_be_true: Bool[Array, "..."]
    can_be_false: Bool[Array, "..."]

    def __init__(self, can_be_true: Any, can_be_false: Any) -> None:
        self.can_be_true = can_be_true
        self.can_be_false = can_be_false

    def tree_flatten(self) -> tuple[Any, None]:
        """Leaves, for JAX."""
        return (self.can_be_true, self.can_be_false), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> "Ternary":
        """Rebuilds the pair from whatever JAX puts in place of the leaves."""
        return cls(*children)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of both arrays."""
        return self.can_be_true.shape

    @property
    def is_true(self) -> Bool[Array, "..."]:
        """Whether the condition holds at every point of the box, and at one at least."""
        return self.can_be_true & ~self.can_be_false

    @property
    def is_false(self) -> Bool[Array, "..."]:
        """Whether the condition fails at every point of the box, and at one at least."""
        return self.can_be_false & ~self.can_be_true

    def __bool__(self) -> bool:
        # Both entries may be traced; then JAX itself explains why a branch cannot depend on them.
        if bool(self.can_be_true) == bool(self.can_be_false):
            raise ValueError(
                "The truth of this condition is undecided over the box. Ask `.can_be_true`, `.is_true` or "
                "`.is_false`, or use `jnp.where` in a function that `inclusion` encloses: it takes the hull."
            )
        return bool(self.can_be_true)

    def __repr__(self) -> str:
        return f"Ternary(can_be_true={self.can_be_true}, can_be_false={self.can_be_false})"


def ternary(x: Any) -> Ternary:
    """A condition as a pair, also if it is known exactly."""
    return x if isinstance(x, Ternary) else Ternary(x, ~x)
