"""Early exercise by Least-Squares Monte Carlo: a policy is fitted once, frozen, and then priced."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from .._types import Scalar
from ._payoffs import AbstractPayoff
from ._problem import Problem
from ._profiles import AbstractProfile, Smoothing, check_width
from ._quotes import AbstractQuote, Asset
from ._schemes import AbstractScheme
from ._sde import number_or_zero


@final
class ExercisePolicy(eqx.Module):
    """When to exercise: at each date but the last, a polynomial of the prices for what waiting is worth.

    Attributes:
        coefficients: of the monomials, `(n_dates - 1, n_basis)`, in value at the date.
        centre: subtracted from the prices at each date, `(n_dates - 1, a)`.
        scale: they are then divided by this, `(n_dates - 1, a)`.
        powers: exponents of the prices in each monomial.
    """

    coefficients: Float[Array, "dates basis"]
    centre: Float[Array, "dates a"]
    scale: Float[Array, "dates a"]
    powers: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    @property
    def n_dates(self) -> int:
        """Number of dates, that of maturity included."""
        return self.coefficients.shape[0] + 1

    def continuation(self, date: Array, prices: Float[Array, " a"]) -> Float[Array, ""]:
        """The estimated value of waiting at a date, counted from zero."""
        scaled = (prices - self.centre[date]) / self.scale[date]
        return _monomials(scaled, self.powers) @ self.coefficients[date]


def _monomials(u: Float[Array, " a"], powers: tuple[tuple[int, ...], ...]) -> Float[Array, " basis"]:
    # By repeated products: a power of zero has no derivative that AD gets right at a base of zero.
    def monomial(exponents: tuple[int, ...]) -> Float[Array, ""]:
        value = jnp.ones((), u.dtype)
        for asset, exponent in enumerate(exponents):
            for _ in range(exponent):
                value = value * u[asset]
        return value

    return jnp.stack([monomial(exponents) for exponents in powers])


def _powers(n_assets: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """All exponents of total degree up to `degree`."""
    return tuple(
        exponents for exponents in itertools.product(range(degree + 1), repeat=n_assets) if sum(exponents) <= degree
    )


def fit_exercise_policy(
    problem: Callable[[Float[Array, " d"]], Problem],
    inputs: Callable[[PRNGKeyArray, int], Float[Array, "n d"]],
    profile: AbstractProfile,
    *,
    key: PRNGKeyArray,
    n_dates: int,
    scheme: AbstractScheme,
    steps_per_date: int = 1,
    n_paths: int = 16_384,
    degree: int = 3,
    ridge: float = 1e-8,
    quote: AbstractQuote | None = None,
) -> ExercisePolicy:
    """Longstaff and Schwartz' regression, backwards from maturity.

    Paths start at inputs drawn from their own law, one each, so that the policy is fitted wherever it will be asked. At
    every date the discounted cash of the paths in the money is regressed on polynomials of their prices at that date;
    paths for which exercise pays more than the regression says are exercised.

    Args:
        problem: one input to what is simulated; its payoff plays no part.
        inputs: draws inputs, `(key, n) -> (n, d)`.
        profile: what exercise pays, as a function of the quote.
        key: random key; let that of the samples be another, so that policy and labels are independent.
        n_dates: exercise dates, equidistant, the last at maturity.
        scheme: of a step.
        steps_per_date: steps between two dates.
        n_paths: of the regression.
        degree: of the polynomials.
        ridge: added to the normal equations, as a share of the number of paths in the money.
        quote: what the profile sees of the prices; the first asset if not given.

    Raises:
        ValueError: a number is out of range; the message names it.

    Reference: F. Longstaff, E. Schwartz, *Valuing American options by simulation: a simple least-squares approach*,
    Review of Financial Studies 14 (2001).
    """
    least = {"n_dates": (n_dates, 2), "steps_per_date": (steps_per_date, 1), "n_paths": (n_paths, 2)}
    for name, (number, smallest) in (least | {"degree": (degree, 1)}).items():
        if number < smallest:
            raise ValueError(f"`{name}` is {number}; it must be at least {smallest}.")
    if not ridge > 0:
        raise ValueError(f"`ridge` is {ridge}; it must be positive, as a date may have no path in the money.")
    quote = Asset() if quote is None else quote
    inputs_key, path_key = jax.random.split(key)
    x = inputs(inputs_key, n_paths)
    arguments = problem, profile, quote, scheme, path_key, x
    return _fit(*arguments, n_dates, steps_per_date, degree, ridge)


@eqx.filter_jit
def _fit(
    problem: Callable,
    profile: AbstractProfile,
    quote: AbstractQuote,
    scheme: AbstractScheme,
    key: PRNGKeyArray,
    x: Float[Array, "n d"],
    n_dates: int,
    steps_per_date: int,
    degree: int,
    ridge: float,
) -> ExercisePolicy:
    def path(x: Float[Array, " d"], key: PRNGKeyArray):
        """Prices at the dates, and the discount from one date to the one before."""
        made = problem(x).agreed()
        dt = jnp.asarray((made.maturity - made.begin) / (n_dates * steps_per_date), x.dtype)

        def step(s, number):
            z = jax.random.normal(jax.random.fold_in(key, number), (scheme.n_noise(made.model),), x.dtype)
            t = made.begin + number.astype(x.dtype) * dt
            return scheme.step(made.model, t, dt, s, jnp.sqrt(dt) * z), None

        def to_next_date(s, date):
            s, _ = jax.lax.scan(step, s, date * steps_per_date + jnp.arange(steps_per_date))
            t = made.begin + (date + 1).astype(x.dtype) * (dt * steps_per_date)
            return s, made.model.observe(t, s)

        _, prices = jax.lax.scan(to_next_date, made.start, jnp.arange(n_dates))
        return prices, jnp.exp(-jnp.asarray(made.rate, x.dtype) * dt * steps_per_date)

    prices, discount = jax.vmap(path)(x, jax.random.split(key, x.shape[0]))
    powers = _powers(prices.shape[-1], degree)
    pays = jax.vmap(jax.vmap(lambda s: profile(quote(s))))(prices)

    def date(cash: Float[Array, " n"], at_date: tuple[Float[Array, "n a"], Float[Array, " n"]]):
        s, paid = at_date
        waiting = cash * discount
        inside = paid > 0
        centre, scale = _moments(s, inside)
        basis = jax.vmap(lambda u: _monomials(u, powers))((s - centre[None]) / scale[None])
        coefficients = _regress(basis, waiting, inside, ridge)
        exercised = inside & (paid > basis @ coefficients)
        return jnp.where(exercised, paid, waiting), (coefficients, centre, scale)

    before = jnp.moveaxis(prices[:, :-1], 1, 0), pays[:, :-1].T
    _, fitted = jax.lax.scan(date, pays[:, -1], before, reverse=True)
    return ExercisePolicy(*fitted, powers)


def _moments(s: Float[Array, "n a"], inside: Bool[Array, " n"]) -> tuple[Float[Array, " a"], Float[Array, " a"]]:
    """Mean and deviation of the prices in the money; of none, zero and one."""
    share = inside.astype(s.dtype)[:, None]
    count = jnp.maximum(jnp.sum(share), 1.0)
    centre = jnp.sum(share * s, 0) / count
    deviation = jnp.sqrt(jnp.sum(share * (s - centre[None]) ** 2, 0) / count)
    return centre, jnp.where(deviation > 0, deviation, 1.0)


def _regress(
    basis: Float[Array, "n basis"], target: Float[Array, " n"], inside: Bool[Array, " n"], ridge: float
) -> Float[Array, " basis"]:
    """Least squares over the rows inside, by QR of the rows and of the ridge below them."""
    share = inside.astype(basis.dtype)
    size = basis.shape[1]
    penalty = jnp.sqrt(ridge * jnp.maximum(jnp.sum(share), 1.0)) * jnp.eye(size, dtype=basis.dtype)
    q, r = jnp.linalg.qr(jnp.concatenate([share[:, None] * basis, penalty]))
    right = jnp.concatenate([share * target, jnp.zeros(size, basis.dtype)])
    return jax.scipy.linalg.solve_triangular(r, q.T @ right)


@final
class Bermudan(AbstractPayoff):
    """A payoff that may be had at any of several dates, exercised by a frozen policy.

    Its expected value is the price of that policy, and so at most that of the best one: labels are biased low against
    the Bermudan price by what the policy gives away, whatever their number. (The paths must not be those that the
    policy was fitted on, or it would see the future.)

    With a width w the policy is a randomised one, `exercise with probability 1/(1 + exp(−(paid − waiting)/w))`,
    averaged over its coin: a policy again, hence a lower bound again. The payoff is then a Lipschitz function of the
    path, and its pathwise derivatives have as their mean the derivative of the price of this very policy, exactly.
    Without, paths jump where they cross the exercise boundary. At the best boundary the jump has mean zero given the
    past (V. Piterbarg, *Risk sensitivities of Bermuda swaptions*, 2004), at a fitted one nearly so; since it is only
    nearly so, such a payoff is declared to jump, and pathwise labels refuse it.

    Attributes:
        profile: what exercise pays.
        policy: when.
        rate: at which cash is discounted; that of the problem if not given.
        steps_per_date: steps of the simulation between two dates; it needs `policy.n_dates * steps_per_date` of them.
        width: of the randomisation, in units of the payoff.
        quote: what the profile sees; the first asset if not given.

    Raises:
        ValueError: the width is not positive.
    """

    profile: AbstractProfile
    policy: ExercisePolicy
    rate: Scalar | None = None
    width: Scalar | None = None
    steps_per_date: int = eqx.field(static=True, default=1)
    quote: AbstractQuote = Asset()

    def __check_init__(self) -> None:
        check_width(self.width)

    @property
    def lipschitz(self) -> bool:
        """Only with a width."""
        return self.width is not None and self.profile.lipschitz

    @property
    def kinked(self) -> bool:
        """Unless all is smooth."""
        return self.width is None or self.profile.kinked or self.quote.kinked

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """That of the exercise, at equality, and those of the profile and the quote."""
        own = () if self.width is None else (Smoothing(0.0, self.width),)
        return own + self.profile.smoothings + self.quote.smoothings

    def init(self, s0: Float[Array, " a"]) -> PyTree:
        """Steps done, the part that is not exercised, cash discounted to time zero, and the growth up to now."""
        one = jnp.ones((), s0.dtype)
        return jnp.zeros((), int), one, 0 * one, one

    def update(self, carry: PyTree, t: Scalar, s: Float[Array, " a"]) -> PyTree:
        """At an exercise date, some or all of what is left is exercised."""
        steps, left, cash, _ = carry
        steps = steps + 1
        date = jnp.minimum(steps // self.steps_per_date - 1, self.policy.n_dates - 2)
        paid = self.profile(self.quote(s))
        gain = paid - self.policy.continuation(date, s)
        part = jnp.where(gain > 0, 1.0, 0.0) if self.width is None else jax.nn.sigmoid(gain / self.width)
        part = jnp.where(paid > 0, part, 0.0)
        # At maturity all is exercised.
        part = jnp.where(steps == self.policy.n_dates * self.steps_per_date, 1.0, part)
        part = jnp.where(steps % self.steps_per_date == 0, part, 0.0)
        growth = jnp.exp(jnp.asarray(number_or_zero(self.rate) * t, s.dtype))
        return steps, left * (1 - part), cash + left * part * paid / growth, growth

    def value(self, carry: PyTree) -> Float[Array, ""] | Float[Array, " m"]:
        """The cash, grown to maturity, as if it were paid then."""
        _, _, cash, growth = carry
        return cash * growth

    @property
    def own_rates(self) -> tuple[tuple[str, Scalar | None], ...]:
        """Its rate."""
        return (("Bermudan", self.rate),)

    def at_rate(self, rate: Scalar) -> "Bermudan":
        """The payoff that discounts at this rate."""
        return dataclasses.replace(self, rate=rate)

    def check_steps(self, n_steps: int) -> None:
        """Dates of the policy times the steps between them: with others the last date would not be at maturity."""
        if n_steps != self.policy.n_dates * self.steps_per_date:
            raise ValueError(
                f"`n_steps` is {n_steps}; the policy of Bermudan has {self.policy.n_dates} dates with "
                f"{self.steps_per_date} steps between two, so it must be {self.policy.n_dates * self.steps_per_date}."
            )
