"""What is simulated for one input of a surrogate."""

from collections.abc import Sequence
from typing import final

import equinox as eqx
from jaxtyping import Array, Float

from .._types import Scalar
from ._payoffs import AbstractPayoff, Portfolio
from ._sde import AbstractSDE


def _as_payoff(payoff: AbstractPayoff | Sequence[AbstractPayoff]) -> AbstractPayoff:
    return payoff if isinstance(payoff, AbstractPayoff) else Portfolio(tuple(payoff))


@final
class Problem(eqx.Module):
    """A model, where it starts, and what is paid when.

    Any number in it may depend on the input of the surrogate: spot, strike, maturity, volatility, rate.

    Attributes:
        model: the stochastic differential equation.
        start: state at the time `begin`, `(q,)`.
        payoff: what is paid at maturity; of several in a sequence, each is an output.
        maturity: in years, later than `begin`.
        rate: at which the payoff is discounted, continuously, per year.
        begin: time of the start in years.
    """

    model: AbstractSDE
    start: Float[Array, " q"]
    payoff: AbstractPayoff = eqx.field(converter=_as_payoff)
    maturity: Scalar
    rate: Scalar = 0.0
    begin: Scalar = 0.0
