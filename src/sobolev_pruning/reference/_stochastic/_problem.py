"""What is simulated for one input of a surrogate."""

from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from .._types import Scalar
from ._payoffs import AbstractPayoff, Portfolio
from ._sde import AbstractSDE


def _as_payoff(payoff: Any) -> AbstractPayoff:
    if isinstance(payoff, AbstractPayoff):
        return payoff
    parts = tuple(payoff) if isinstance(payoff, Sequence) else (payoff,)
    for part in parts:
        if not isinstance(part, AbstractPayoff):
            raise TypeError(
                f"`payoff` is {type(part).__name__}; it must be a payoff, such as `Option(Call(1.0))`, or a sequence "
                "of them."
            )
    return Portfolio(parts)


@final
class Problem(eqx.Module):
    """A model, where it starts, and what is paid when.

    Any number in it may depend on the input of the surrogate: spot, strike, maturity, volatility, rate.

    There is one risk-free rate. It is given here or to the model, and holds for the drift of the model, the discount of
    the payoff and what the payoff itself discounts (`Bermudan`). A model that knows no risk-free rate, such as `ItoSDE`
    or `Bachelier`, keeps the drift that it has.

    Attributes:
        model: the stochastic differential equation.
        start: state at the time `begin`, `(q,)`.
        payoff: what is paid at maturity; of several in a sequence, each is an output.
        maturity: in years, later than `begin`.
        rate: risk-free rate, continuously compounded, per year; that of the model if not given, and 0 if it has none.
        begin: time of the start in years.

    Raises:
        TypeError: `payoff` is none, but a profile such as `Call(1.0)`.
        ValueError: the rate, the one of the model and the one of the payoff contradict each other.
    """

    model: AbstractSDE
    start: Float[Array, " q"]
    payoff: AbstractPayoff = eqx.field(converter=_as_payoff)
    maturity: Scalar
    rate: Scalar | None = None
    begin: Scalar = 0.0

    def __check_init__(self) -> None:
        if self.model.own_rate is not None or self.rate is not None:
            self._one_rate()

    def agreed(self) -> "Problem":
        """The same problem with its one rate in every place: here, in the model and in the payoff."""
        rate = self._one_rate()
        model, payoff = self.model, self.payoff
        return Problem(model.at_rate(rate), self.start, payoff.at_rate(rate), self.maturity, rate, self.begin)

    def _one_rate(self) -> Scalar:
        rates = {"rate` of the problem": self.rate, f"rate` of {type(self.model).__name__}": self.model.own_rate}
        rates |= {f"rate` of {name}": rate for name, rate in self.payoff.own_rates}
        given = {name: rate for name, rate in rates.items() if rate is not None}
        if not given:
            return 0.0
        known = {name: np.asarray(rate) for name, rate in given.items() if not isinstance(rate, Tracer)}
        first = next(iter(known.values()), np.zeros(0)).ravel()
        for name, rate in known.items():
            if not np.isfinite(rate).all():
                raise ValueError(f"`{name} is {rate.tolist()}; it must be finite.")
            # One of them may have gone through single precision.
            if not np.allclose(rate, first[0], rtol=1e-5, atol=1e-7):
                told = ", ".join(f"`{name} is {rate.tolist()}" for name, rate in known.items())
                raise ValueError(
                    f"{told}: there is one risk-free rate, for the drift, the discount and all assets. Give it "
                    "once, to `Problem`; what an asset pays is its `dividend`."
                )
        rate = next(iter(given.values()))
        return rate if jnp.ndim(rate) == 0 else jnp.asarray(rate)[0]
