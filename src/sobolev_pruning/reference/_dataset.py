"""A fixed set of samples as the reference model."""

from typing import final

import jax
from jaxtyping import PRNGKeyArray

from ._directions import AbstractDirections
from ._reference_model import AbstractReferenceModel
from ._samples import Samples


@final
class DataSet(AbstractReferenceModel):
    """Samples that were made once; batches are drawn from them uniformly, with replacement.

    Attributes:
        samples: the data, with or without derivatives.

    Raises:
        ValueError: there are no samples.
    """

    samples: Samples

    def __check_init__(self) -> None:
        if self.samples.n == 0:
            raise ValueError("`samples` is empty: a data set needs at least one sample.")

    @property
    def dim_in(self) -> int:
        """Number of inputs, d."""
        return self.samples.x.shape[1]

    @property
    def dim_out(self) -> int:
        """Number of outputs, m."""
        return self.samples.y.shape[1]

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """`n` rows of the data, drawn with replacement, so that `n` may exceed their number.

        Raises:
            ValueError: second derivatives are asked for, and the data hold none.
        """
        if directions is not None and self.samples.d2ydx2 is None and self.samples.hvps is None:
            raise ValueError("the data hold no second derivatives: `samples.d2ydx2` and `samples.hvps` are None.")
        rows = jax.random.randint(key, (n,), 0, self.samples.n)
        return jax.tree.map(lambda part: part[rows], self.samples)
