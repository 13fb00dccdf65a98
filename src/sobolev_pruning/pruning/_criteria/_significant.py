"""Significance as a criterion: by intervals, and by sampling."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...regions import AbstractRegion
from ...surrogate import Surrogate
from .._enclosures import check_region
from .._significance import Of, Significance, check_of, sampled_significance, significance
from .._traces import check_samples
from .._weights import WeightScores, sampled_weight_significance, weight_significance
from ._criterion import AbstractCriterion


@final
class IntervalSignificance(AbstractCriterion):
    """Interval adjoint significance over a region: `significance`, and `weight_significance` for weights.

    Attributes:
        region: in physical units.
        of: `"values"` or `"gradients"`; weights are scored by the values alone.
        domain: as in `enclose_nodes`.
        boxes_at_once: as in `enclose_nodes`.
        x: data that the region is meant to hold, `(n, d)`; they are looked at when the criterion is made.

    Raises:
        ValueError: `of` is unknown, or the region does not contain the data: the message says how many.
    """

    region: AbstractRegion
    of: Of = eqx.field(static=True, default="values")
    domain: str = eqx.field(static=True, default="affine")
    boxes_at_once: int | None = eqx.field(static=True, default=None)
    x: Float[Array, "n d"] | None = None

    def __check_init__(self) -> None:
        check_region(self.region)
        check_of(self.of)
        if self.x is not None:
            check_samples(self.x, "the region is meant to hold samples")
            self.region.check_contains(self.x)

    def nodes(self, surrogate: Surrogate) -> Significance:
        """Scores in physical units of the outputs; see `significance`."""
        return significance(surrogate, self.region, of=self.of, domain=self.domain, boxes_at_once=self.boxes_at_once)

    def weights(self, surrogate: Surrogate) -> tuple[Float[Array, "_ _"], ...]:
        """The largest score over the outputs; see `weight_significance`."""
        _check_values_alone(self.of)
        return _largest(
            weight_significance(surrogate, self.region, domain=self.domain, boxes_at_once=self.boxes_at_once)
        )


@final
class SampledSignificance(AbstractCriterion):
    """The same measure by sampling: range over data times largest sampled adjoint, without any guarantee.

    Attributes:
        x: samples, `(n, d)`, in physical units.
        of: `"values"` or `"gradients"`; weights are scored by the values alone.

    Raises:
        ValueError: no samples, or `of` is unknown; when called, samples of another number of inputs.
    """

    x: Float[Array, "n d"]
    of: Of = eqx.field(static=True, default="values")

    def __check_init__(self) -> None:
        check_samples(self.x, "`SampledSignificance` needs data")
        check_of(self.of)

    def nodes(self, surrogate: Surrogate) -> Significance:
        """Scores in physical units of the outputs; see `sampled_significance`."""
        return sampled_significance(surrogate, self.x, of=self.of)

    def weights(self, surrogate: Surrogate) -> tuple[Float[Array, "_ _"], ...]:
        """The largest score over the outputs; see `sampled_weight_significance`."""
        _check_values_alone(self.of)
        return _largest(sampled_weight_significance(surrogate, self.x))


def _largest(scores: WeightScores) -> tuple[Float[Array, "_ _"], ...]:
    return tuple(jnp.max(of_layer, axis=0) for of_layer in scores)


def _check_values_alone(of: str) -> None:
    if of != "values":
        raise ValueError(f"weights have no significance of {of!r}; use of='values', or score nodes.")
