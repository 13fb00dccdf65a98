"""Ready-made references: a model, an option, and which of their numbers a surrogate takes as inputs."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._formulas import (
    as_scalars,
    bachelier_asian_call,
    bachelier_call,
    bachelier_digital,
    bachelier_put,
    black_scholes_call,
    black_scholes_digital,
    black_scholes_put,
    cev_call,
    cev_digital,
    cev_put,
    geometric_asian_call,
    heston_call,
    heston_digital,
    heston_put,
)
from .._types import Scalar
from ._cev import CEV
from ._correlated import CorrelatedAssets
from ._gaussian_models import Bachelier, BlackScholes
from ._heston import AbstractVarianceStep, FullTruncation, Heston, QuadraticExponential
from ._payoffs import AbstractPayoff, Option
from ._problem import Problem
from ._profiles import AbstractProfile, Call, Digital, Put
from ._quotes import AbstractFixing, ArithmeticAverage, Asset, GeometricAverage, Terminal
from ._reference import StochasticReference
from ._schemes import ModelStep
from ._sde import AbstractSDE
from ._truth import ReferenceWithTruth

# A number that is fixed, or the two ends of the interval over which it is an input.
Choice = float | tuple[float, float]
# Makes a profile from a strike: `Call`, `Put`, `Digital`, or a function such as `lambda k: Call(k).smooth(0.05)`.
OptionKind = Callable[[Scalar], AbstractProfile]
Formula = Callable[..., Float[Array, ""]]
Reference = StochasticReference | ReferenceWithTruth


@final
class _Numbers(eqx.Module):
    """The numbers of a model and an option, some fixed and the others read from the input, in order."""

    names: tuple[str, ...] = eqx.field(static=True)
    fixed: tuple[float | None, ...] = eqx.field(static=True)
    ends: tuple[tuple[float, float], ...] = eqx.field(static=True)

    def __init__(self, **choices: Choice) -> None:
        for name, choice in choices.items():
            ends = choice if isinstance(choice, tuple) else (choice, choice)
            if len(ends) != 2 or not all(math.isfinite(end) for end in ends):
                raise ValueError(f"`{name}` is {choice}; give a number, or the two ends of an interval as a tuple.")
            if isinstance(choice, tuple) and not ends[0] < ends[1]:
                raise ValueError(f"`{name}` is {choice}; the ends of an interval must rise.")
        self.names = tuple(choices)
        self.fixed = tuple(None if isinstance(choice, tuple) else choice for choice in choices.values())
        self.ends = tuple(choice for choice in choices.values() if isinstance(choice, tuple))
        if not self.ends:
            raise ValueError(
                f"none of `{'`, `'.join(self.names)}` is an interval, so there is no input; give at least one as "
                "`(low, high)`."
            )

    def at(self, x: Float[Array, " d"]) -> dict[str, Scalar]:
        """All numbers by name, at one input."""
        inputs = iter(range(len(self.ends)))
        return {
            name: x[next(inputs)] if number is None else number
            for name, number in zip(self.names, self.fixed, strict=True)
        }

    def __call__(self, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
        """Inputs, independent and uniform over their intervals."""
        low, high = jnp.asarray(self.ends, dtype=float).T
        return low[None] + (high - low)[None] * jax.random.uniform(key, (n, len(self.ends)))


@final
class _Built(eqx.Module):
    """A problem or a price, as a function of the input."""

    numbers: _Numbers
    build: Callable[..., Any] = eqx.field(static=True)

    def __call__(self, x: Float[Array, " d"]) -> Any:
        """With all numbers by name."""
        return self.build(**self.numbers.at(x))


def _reference(
    numbers: _Numbers, problem: Callable[..., Problem], formula: Formula | None, n_steps: int, options: dict[str, Any]
) -> Reference:
    reference = StochasticReference(_Built(numbers, problem), numbers, n_steps=n_steps, **_with_scheme(options))
    return reference if formula is None else ReferenceWithTruth(reference, _Built(numbers, formula))


def _with_scheme(options: dict[str, Any]) -> dict[str, Any]:
    """The model's own step, unless another scheme is asked for."""
    return {"scheme": ModelStep()} | options


def _state(*numbers: Scalar) -> Float[Array, " q"]:
    """In the dtype of the inputs among them."""
    return jnp.stack(as_scalars(*numbers))


def _is_vanilla(fixing: AbstractFixing) -> bool:
    return isinstance(fixing, Terminal) and fixing.quote == Asset()


def _check_signs(positive: dict[str, Choice]) -> None:
    for name, choice in positive.items():
        least = min(choice) if isinstance(choice, tuple) else choice
        if not least > 0:
            raise ValueError(f"`{name}` is {choice}; it must be positive.")


def bachelier(
    option: OptionKind = Call,
    *,
    spot: Choice = (0.5, 1.5),
    strike: Choice = 1.0,
    rate: Choice = 0.0,
    volatility: Choice = 0.2,
    maturity: Choice = 1.0,
    fixing: AbstractFixing | None = None,
    n_steps: int = 1,
    **options,
) -> Reference:
    """An option under Bachelier's model of a price without drift, `dF = σ dW`.

    Every number may be fixed, or an input if it is given as an interval: inputs are then drawn uniformly, and stand in
    the order of the arguments. Calls, puts and digitals at maturity have a truth, and calls on an arithmetic average.

    Args:
        option: `Call`, `Put`, `Digital`, or any function from a strike to a profile.
        spot: F today.
        strike: K.
        rate: at which payoffs are discounted, per year.
        volatility: σ, in units of the spot per square root of a year.
        maturity: T in years.
        fixing: what the option looks at; the price at maturity if not given.
        n_steps: steps, and dates of an average.
        **options: keyword arguments of `StochasticReference`, such as `labels`. Digitals need `LikelihoodRatio()`.

    Returns:
        A `ReferenceWithTruth` where there is a closed form, else a `StochasticReference`.

    Raises:
        ValueError: a number is out of range or no number is an input; the message names it.
    """
    fixing = Terminal() if fixing is None else fixing
    _check_signs({"volatility": volatility, "maturity": maturity})
    formula = None
    if _is_vanilla(fixing):
        formula = {Call: bachelier_call, Put: bachelier_put, Digital: bachelier_digital}.get(option)
    elif isinstance(fixing, ArithmeticAverage) and fixing.quote == Asset() and option is Call:
        formula = functools.partial(bachelier_asian_call, n_dates=n_steps)

    def problem(spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar) -> Problem:
        start = _state(spot)
        return Problem(Bachelier(volatility), start, Option(option(strike), fixing), maturity, rate)

    numbers = _Numbers(spot=spot, strike=strike, rate=rate, volatility=volatility, maturity=maturity)
    return _reference(numbers, problem, formula, n_steps, options)


def black_scholes(
    option: OptionKind = Call,
    *,
    spot: Choice = (0.5, 1.5),
    strike: Choice = 1.0,
    rate: Choice = 0.0,
    volatility: Choice = 0.2,
    maturity: Choice = 1.0,
    fixing: AbstractFixing | None = None,
    n_steps: int = 1,
    **options,
) -> Reference:
    """An option under Black and Scholes' model, `dS = r S dt + σ S dW`.

    Every number may be fixed, or an input if it is given as an interval; see `bachelier`. Calls, puts and digitals at
    maturity have a truth, and calls on a geometric average.

    Args:
        option: `Call`, `Put`, `Digital`, or any function from a strike to a profile.
        spot: S today, positive.
        strike: K, positive.
        rate: r, per year.
        volatility: σ, per square root of a year.
        maturity: T in years.
        fixing: what the option looks at; the price at maturity if not given.
        n_steps: steps, and dates of an average.
        **options: keyword arguments of `StochasticReference`, such as `labels`. Digitals need `LikelihoodRatio()`.

    Returns:
        A `ReferenceWithTruth` where there is a closed form, else a `StochasticReference`.

    Raises:
        ValueError: a number is out of range or no number is an input; the message names it.
    """
    fixing = Terminal() if fixing is None else fixing
    _check_signs({"spot": spot, "strike": strike, "volatility": volatility, "maturity": maturity})
    formula = None
    if _is_vanilla(fixing):
        formula = {Call: black_scholes_call, Put: black_scholes_put, Digital: black_scholes_digital}.get(option)
    elif isinstance(fixing, GeometricAverage) and fixing.quote == Asset() and option is Call:
        formula = functools.partial(geometric_asian_call, n_dates=n_steps)

    def problem(spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar) -> Problem:
        start = _state(spot)
        return Problem(BlackScholes(volatility), start, Option(option(strike), fixing), maturity, rate)

    numbers = _Numbers(spot=spot, strike=strike, rate=rate, volatility=volatility, maturity=maturity)
    return _reference(numbers, problem, formula, n_steps, options)


def cev(
    option: OptionKind = Call,
    *,
    spot: Choice = (0.5, 1.5),
    strike: Choice = 1.0,
    rate: Choice = 0.0,
    volatility: Choice = 0.2,
    exponent: Choice = 0.7,
    maturity: Choice = 1.0,
    fixing: AbstractFixing | None = None,
    n_steps: int = 50,
    **options,
) -> Reference:
    """An option under a constant elasticity of variance, `dS = r S dt + σ S^β dW`, absorbed at zero.

    Every number may be fixed, or an input if it is given as an interval; see `bachelier`. Calls, puts and digitals at
    maturity have a truth; samples differ from it by the bias of their steps.

    Args:
        option: `Call`, `Put`, `Digital`, or any function from a strike to a profile.
        spot: S today, positive.
        strike: K, positive.
        rate: r, per year.
        volatility: σ, in units `spot^(1 − β)` per square root of a year.
        exponent: β in (0, 1).
        maturity: T in years.
        fixing: what the option looks at; the price at maturity if not given.
        n_steps: steps, and dates of an average.
        **options: keyword arguments of `StochasticReference`, such as `labels`.

    Returns:
        A `ReferenceWithTruth` where there is a formula, else a `StochasticReference`.

    Raises:
        ValueError: a number is out of range or no number is an input; the message names it.
    """
    fixing = Terminal() if fixing is None else fixing
    positive = {"spot": spot, "strike": strike, "volatility": volatility, "exponent": exponent, "maturity": maturity}
    _check_signs(positive)
    if not (max(exponent) if isinstance(exponent, tuple) else exponent) < 1:
        raise ValueError(f"`exponent` is {exponent}; it must lie below 1, where the model is that of `black_scholes`.")
    formulas = {Call: cev_call, Put: cev_put, Digital: cev_digital}
    formula = formulas.get(option) if _is_vanilla(fixing) else None

    def problem(
        spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, exponent: Scalar, maturity: Scalar
    ) -> Problem:
        start = _state(spot)
        return Problem(CEV(volatility, exponent), start, Option(option(strike), fixing), maturity, rate)

    numbers = _Numbers(spot=spot, strike=strike, rate=rate, volatility=volatility, exponent=exponent, maturity=maturity)
    return _reference(numbers, problem, formula, n_steps, options)


def heston(
    option: OptionKind = Call,
    *,
    spot: Choice = (0.5, 1.5),
    strike: Choice = 1.0,
    rate: Choice = 0.0,
    maturity: Choice = 1.0,
    initial_variance: Choice = 0.04,
    mean_reversion: Choice = 1.0,
    long_variance: Choice = 0.04,
    volatility_of_variance: Choice = 0.5,
    correlation: Choice = -0.7,
    variance_step: AbstractVarianceStep | None = None,
    fixing: AbstractFixing | None = None,
    n_steps: int = 50,
    **options,
) -> Reference:
    """An option under Heston's stochastic variance; Feller's condition need not hold.

    Every number may be fixed, or an input if it is given as an interval; see `bachelier`. Calls, puts and digitals at
    maturity have a truth; samples differ from it by the bias of their steps.

    Args:
        option: `Call`, `Put`, `Digital`, or any function from a strike to a profile.
        spot: S today, positive.
        strike: K, positive.
        rate: r, per year.
        maturity: T in years.
        initial_variance: V₀, per year.
        mean_reversion: κ, per year.
        long_variance: θ, per year.
        volatility_of_variance: ξ.
        correlation: ρ, between -1 and 1.
        variance_step: `FullTruncation()` if not given. `QuadraticExponential()` has less bias a step, and no pathwise
            derivatives in anything that its variance depends on.
        fixing: what the option looks at; the price at maturity if not given.
        n_steps: steps, and dates of an average.
        **options: keyword arguments of `StochasticReference`, such as `labels`.

    Returns:
        A `ReferenceWithTruth` where there is a formula, else a `StochasticReference`.

    Raises:
        ValueError: a number is out of range, no number is an input, or one is that the variance step has no derivatives
            in; the message names it.
    """
    fixing = Terminal() if fixing is None else fixing
    variance_step = FullTruncation() if variance_step is None else variance_step
    of_variance = {
        "maturity": maturity,
        "initial_variance": initial_variance,
        "mean_reversion": mean_reversion,
        "long_variance": long_variance,
        "volatility_of_variance": volatility_of_variance,
    }
    _check_signs({"spot": spot, "strike": strike} | of_variance)
    if not all(-1 < rho < 1 for rho in (correlation if isinstance(correlation, tuple) else (correlation,))):
        raise ValueError(f"`correlation` is {correlation}; it must lie between -1 and 1.")
    if isinstance(variance_step, QuadraticExponential):
        # The normals of the variance mix with ρ, too.
        for name, choice in (of_variance | {"correlation": correlation}).items():
            if isinstance(choice, tuple):
                raise ValueError(
                    f"`{name}` is an input, and `variance_step` is QuadraticExponential, whose variance jumps along a "
                    "path as that number moves: its pathwise derivatives would be wrong. Use `FullTruncation()`."
                )
    formulas = {Call: heston_call, Put: heston_put, Digital: heston_digital}
    formula = formulas.get(option) if _is_vanilla(fixing) else None

    def problem(
        spot: Scalar,
        strike: Scalar,
        rate: Scalar,
        maturity: Scalar,
        initial_variance: Scalar,
        mean_reversion: Scalar,
        long_variance: Scalar,
        volatility_of_variance: Scalar,
        correlation: Scalar,
    ) -> Problem:
        of_model = mean_reversion, long_variance, volatility_of_variance, correlation
        model = Heston(*of_model, variance_step=variance_step)
        start = _state(spot, initial_variance)
        return Problem(model, start, Option(option(strike), fixing), maturity, rate)

    numbers = _Numbers(spot=spot, strike=strike, rate=rate, **of_variance, correlation=correlation)
    return _reference(numbers, problem, formula, n_steps, options)


def correlated_basket(
    models: Sequence[AbstractSDE],
    correlation: Float[np.ndarray, "d d"] | Float[Array, "d d"],
    payoff: AbstractPayoff,
    *,
    spots: tuple[float, float] = (0.5, 1.5),
    hidden: Float[np.ndarray, "d h"] | Float[Array, "d h"] | None = None,
    maturity: float = 1.0,
    rate: float | None = None,
    n_steps: int = 50,
    price: Callable[[Float[Array, " d"]], Float[Array, ""]] | None = None,
    **options,
) -> Reference:
    """A payoff on d correlated assets as a function of their spots; the correlation never changes.

    Args:
        models: of each asset, all of one class: `[BlackScholes(0.2), BlackScholes(0.3)]`.
        correlation: of the Brownian motions of the prices; `random_correlation(key, d)` draws one.
        payoff: on the prices of all assets, such as `Option(Call(1.0), Terminal(BestOf()))`.
        spots: interval of every spot; spots are drawn independently and uniformly.
        hidden: start of the states beside the price, one row an asset: for Heston V₀, `(d, 1)`.
        maturity: T in years.
        rate: risk-free, of the drifts and the discount, per year; that of the models if not given, and 0 without.
        n_steps: steps, and dates of averages and barriers; with `BlackScholes` and `Bachelier` one is exact.
        price: expectation of the discounted payoff as a function of the spots, where it is known.
        **options: keyword arguments of `StochasticReference`, such as `labels`.

    Returns:
        A `ReferenceWithTruth` if `price` is given, else a `StochasticReference`.

    Raises:
        ValueError: shapes or ranges do not fit; the message names the argument.
    """
    model = CorrelatedAssets(models, correlation)
    d = model.n_assets
    numbers = _Numbers(**{f"spots[{number}]": spots for number in range(d)})
    others = np.zeros((d, 0)) if hidden is None else np.asarray(hidden)
    if others.shape[0] != d:
        raise ValueError(f"`hidden` has shape {others.shape}; {d} models ask for one row each.")

    def problem(x: Float[Array, " d"]) -> Problem:
        start = jnp.concatenate([x[:, None], jnp.asarray(others, x.dtype)], 1).reshape(-1)
        return Problem(model, start, payoff, maturity, rate)

    reference = StochasticReference(problem, numbers, n_steps=n_steps, **_with_scheme(options))
    return reference if price is None else ReferenceWithTruth(reference, price)
