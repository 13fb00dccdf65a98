"""What passes from a reference model to everything after it: inputs, values and derivatives."""

from typing import final

import equinox as eqx
from jaxtyping import Array, Float


@final
class Samples(eqx.Module):
    """A batch of inputs with the values and the derivatives that are known there.

    Labels may be exact (`truth`) or unbiased and noisy (`sample`); this type does not tell which. All parts are in
    physical units unless a function says that it returns normalised samples.

    Attributes:
        x: inputs, `(n, d)`.
        y: values, `(n, m)`.
        dydx: Jacobians, `(n, m, d)`, or `None` where derivatives are not known.
        d2ydx2: Hessians, `(n, m, d, d)`, or `None` where curvature is not known.

    Raises:
        ValueError: the leading axes or the derivative axes do not fit each other.
    """

    x: Float[Array, "n d"]
    y: Float[Array, "n m"]
    dydx: Float[Array, "n m d"] | None = None
    d2ydx2: Float[Array, "n m d d"] | None = None

    def __check_init__(self) -> None:
        for name, part in (("x", self.x), ("y", self.y)):
            if part.ndim != 2:
                raise ValueError(
                    f"`{name}` has shape {part.shape}; give one row for each sample, also where a row holds one number."
                )
        (n, d), m = self.x.shape, self.y.shape[1]
        expected = {"y": (n, m), "dydx": (n, m, d), "d2ydx2": (n, m, d, d)}
        for name, shape in expected.items():
            part = getattr(self, name)
            if part is not None and part.shape != shape:
                raise ValueError(
                    f"`{name}` has shape {part.shape}, but `x` of shape {self.x.shape} and `y` of shape "
                    f"{self.y.shape} ask for {shape}. One row of every part belongs to one sample."
                )

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.x.shape[0]
