"""Guaranteed enclosures of JAX functions and of their derivatives.

`inclusion(f)` maps intervals to an interval that contains every value of `f` on them. What is guaranteed, in plain
words: the enclosure contains the range of the *exact function of real numbers* that the jaxpr of `f` describes, with
its float constants taken as they are. The rounding of the interval computation itself is covered. What is not said:
that the enclosure contains what a floating-point evaluation of `f` returns, which has rounding errors of its own. The
margins are proved for correctly rounded operations and dot products, and measured, then doubled, for elementary
functions (`benchmarks/rounding_margins.py`).

    box = Interval.from_midpoint(x, 0.1)
    values = inclusion(network)(box)
    adjoints = inclusion(jax.grad(network))(box)

Interval adjoints are the inclusion of the reverse-mode derivative. Activations and their derivatives are recognised
in the jaxpr by their algebra, and enclosed by their exact ranges.

| enclosed by | functions |
|---|---|
| exact ranges, with derivatives 1 and 2 | sigmoid, tanh, SiLU/Swish, Softplus, log-sigmoid, GELU (both), Mish |
| | ReLU, leaky ReLU, ReLU6, ELU, SELU, CELU, hard tanh, hard sigmoid, hard SiLU |
| | soft sign, squareplus, erf, erfc, normal density and distribution |
| | absolute value, maximum, minimum, clip |
| exact ranges of derivative 3 as well | sigmoid, tanh, SiLU/Swish, GELU (both) |
| exact ranges of all derivatives | piecewise polynomials and rational functions of one variable |
| | `B·exp(q) + c` and `A + B/√q` with polynomials A, B and q of one variable |
| exact ranges of every entry | softmax, log-softmax, logsumexp and its gradient |
| natural extension: sound, but wider | Jacobian of softmax, `log_ndtr`, `x·log x`, all else |

The derivative at a kink is what JAX makes of it: ½ for `jnp.maximum(x, 0)` at 0, 0 for `jax.nn.relu`. A box with a kink
inside gets the hull of both sides.
"""

from ._adjoints import (
    interval_grad,
    interval_hessian,
    interval_hvp,
    interval_jacobian,
    interval_jvp,
    interval_value_and_grad,
    interval_vjp,
)
from ._decoration import Decoration
from ._inclusion import inclusion
from ._interval import Interval
from ._mean_value import mean_value
from ._registry import (
    UnsupportedPrimitiveError,
    register_rule,
    rule_for,
    supported_primitives,
)
from ._rounding import Rounding, outward
from ._rules import rules
from ._sets import hull, intersection, split
from ._smoothness import stepwise
from ._subdivision import Subdivision, enclose_range
from ._tap import Adjoints, adjoints, interval_adjoints, tap
from ._ternary import Ternary

__all__ = [
    "Adjoints",
    "Decoration",
    "Interval",
    "Rounding",
    "Subdivision",
    "Ternary",
    "UnsupportedPrimitiveError",
    "adjoints",
    "enclose_range",
    "hull",
    "inclusion",
    "intersection",
    "interval_adjoints",
    "interval_grad",
    "interval_hessian",
    "interval_hvp",
    "interval_jacobian",
    "interval_jvp",
    "interval_value_and_grad",
    "interval_vjp",
    "mean_value",
    "outward",
    "register_rule",
    "rule_for",
    "rules",
    "split",
    "stepwise",
    "supported_primitives",
    "tap",
]
