"""What a payoff looks at: one number from the assets at a moment (a quote), and from the path of it (a fixing)."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._types import Scalar
from ._profiles import Smoothing, check_width


class AbstractQuote(eqx.Module):
    """One number from the prices of a assets at one moment."""

    @property
    @abc.abstractmethod
    def kinked(self) -> bool:
        """Whether its derivative jumps somewhere."""

    @property
    @abc.abstractmethod
    def smoothings(self) -> tuple[Smoothing, ...]:
        """Where and how widely it was smoothed."""

    @abc.abstractmethod
    def __call__(self, prices: Float[Array, " a"]) -> Float[Array, ""]:
        """The number."""


@final
class Asset(AbstractQuote):
    """The price of one asset.

    Attributes:
        number: which, counted from zero.
    """

    number: int = eqx.field(static=True, default=0)

    @property
    def kinked(self) -> bool:
        """No."""
        return False

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """None."""
        return ()

    def __call__(self, prices: Float[Array, " a"]) -> Float[Array, ""]:
        """The price."""
        if not 0 <= self.number < prices.shape[0]:
            raise ValueError(f"`number` of the asset is {self.number}, and the model shows {prices.shape[0]} prices.")
        return prices[self.number]


@final
class Basket(AbstractQuote):
    """A weighted sum of all assets.

    Attributes:
        weights: `(a,)`.
    """

    weights: Float[Array, " a"]

    @property
    def kinked(self) -> bool:
        """No."""
        return False

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """None."""
        return ()

    def __call__(self, prices: Float[Array, " a"]) -> Float[Array, ""]:
        """`w · S`."""
        if self.weights.shape != prices.shape:
            raise ValueError(
                f"`weights` of the basket has shape {self.weights.shape}, and the model shows {prices.shape[0]} prices."
            )
        return self.weights @ prices


@final
class BestOf(AbstractQuote):
    """The highest price, `max S`.

    With a width it is `Σ S_i p_i`, where p is the softmax of `S / width`: of two assets, the sigmoidal smoothing
    between one and the other at the place where they are equal. It lies below the maximum, for two by at most 0.2785
    widths.

    Attributes:
        width: of the smoothing, in units of the price; None keeps the kink.

    Raises:
        ValueError: the width is not positive.
    """

    width: Scalar | None = None

    def __check_init__(self) -> None:
        check_width(self.width)

    @property
    def kinked(self) -> bool:
        """Where two prices are equal, unless smoothed."""
        return self.width is None

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """At equality, the difference 0."""
        return () if self.width is None else (Smoothing(0.0, self.width),)

    def __call__(self, prices: Float[Array, " a"]) -> Float[Array, ""]:
        """The highest price."""
        return _highest(prices, self.width)


@final
class WorstOf(AbstractQuote):
    """The lowest price, `min S`; smoothed as `BestOf` is.

    Attributes:
        width: of the smoothing, in units of the price; None keeps the kink.

    Raises:
        ValueError: the width is not positive.
    """

    width: Scalar | None = None

    def __check_init__(self) -> None:
        check_width(self.width)

    @property
    def kinked(self) -> bool:
        """Where two prices are equal, unless smoothed."""
        return self.width is None

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """At equality, the difference 0."""
        return () if self.width is None else (Smoothing(0.0, self.width),)

    def __call__(self, prices: Float[Array, " a"]) -> Float[Array, ""]:
        """The lowest price."""
        return -_highest(-prices, self.width)


def _highest(prices: Float[Array, " a"], width: Scalar | None) -> Float[Array, ""]:
    return jnp.max(prices) if width is None else prices @ jax.nn.softmax(prices / width)


class AbstractFixing(eqx.Module):
    """One number from the path of a quote, gathered while the path is simulated."""

    quote: eqx.AbstractVar[AbstractQuote]

    @abc.abstractmethod
    def init(self, quote: Float[Array, ""]) -> PyTree:
        """The state of the gathering at the start, where the quote is as given; it counts for no average."""

    @abc.abstractmethod
    def update(self, carry: PyTree, quote: Float[Array, ""]) -> PyTree:
        """The state after one more date."""

    @abc.abstractmethod
    def value(self, carry: PyTree) -> Float[Array, ""]:
        """The number."""


@final
class Terminal(AbstractFixing):
    """The quote at maturity.

    Attributes:
        quote: the first asset if not given.
    """

    quote: AbstractQuote = Asset()

    def init(self, quote: Float[Array, ""]) -> PyTree:
        """The quote."""
        return quote

    def update(self, carry: PyTree, quote: Float[Array, ""]) -> PyTree:
        """The newest."""
        return quote

    def value(self, carry: PyTree) -> Float[Array, ""]:
        """The last."""
        return carry


@final
class ArithmeticAverage(AbstractFixing):
    """The mean of the quote over all dates of the simulation but the first.

    Attributes:
        quote: the first asset if not given.
    """

    quote: AbstractQuote = Asset()

    def init(self, quote: Float[Array, ""]) -> PyTree:
        """Sum and number, both zero."""
        return jnp.zeros_like(quote), jnp.zeros_like(quote)

    def update(self, carry: PyTree, quote: Float[Array, ""]) -> PyTree:
        """One more summand."""
        return carry[0] + quote, carry[1] + 1

    def value(self, carry: PyTree) -> Float[Array, ""]:
        """The mean."""
        return carry[0] / carry[1]


@final
class GeometricAverage(AbstractFixing):
    """The geometric mean of the quote over all dates of the simulation but the first; of positive prices only.

    Attributes:
        quote: the first asset if not given.
    """

    quote: AbstractQuote = Asset()

    def init(self, quote: Float[Array, ""]) -> PyTree:
        """Sum of logarithms and number, both zero."""
        return jnp.zeros_like(quote), jnp.zeros_like(quote)

    def update(self, carry: PyTree, quote: Float[Array, ""]) -> PyTree:
        """One more logarithm."""
        return carry[0] + jnp.log(quote), carry[1] + 1

    def value(self, carry: PyTree) -> Float[Array, ""]:
        """The mean."""
        return jnp.exp(carry[0] / carry[1])
