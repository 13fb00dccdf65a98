"""What passes from a reference model to everything after it: inputs, values and derivatives."""

from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ._cast import cast


@final
class HessianProducts(eqx.Module):
    """Second derivatives along directions, `∇²y · v`, where whole Hessians would be too expensive.

    Attributes:
        directions: v, k of them for each sample, `(n, k, d)`.
        products: `∇²y · v` of every output, `(n, m, k, d)`.

    Raises:
        ValueError: the shapes do not fit each other.
    """

    directions: Float[Array, "n k d"]
    products: Float[Array, "n m k d"]

    def __check_init__(self) -> None:
        v, p = self.directions.shape, self.products.shape
        if len(v) != 3 or len(p) != 4 or (v[0], *v[1:]) != (p[0], *p[2:]):
            raise ValueError(f"`directions` {v} and `products` {p} do not fit; they must be (n, k, d), (n, m, k, d).")


@final
class CotangentProducts(eqx.Module):
    """First derivatives contracted with cotangents, `wᵀ ∇y`, where the rows of many outputs would be too expensive.

    Attributes:
        cotangents: w, k of them for each sample, `(n, k, m)`.
        products: `wᵀ ∇y`, `(n, k, d)`.

    Raises:
        ValueError: the shapes do not fit each other.
    """

    cotangents: Float[Array, "n k m"]
    products: Float[Array, "n k d"]

    def __check_init__(self) -> None:
        w, p = self.cotangents.shape, self.products.shape
        if len(w) != 3 or len(p) != 3 or w[:2] != p[:2]:
            raise ValueError(f"`cotangents` {w} and `products` {p} do not fit; they must be (n, k, m), (n, k, d).")


@final
class LabelWeights(eqx.Module):
    """How much each label counts in a loss; zero says that the label is not known.

    A part that is `None` weighs all labels of that part alike. Weights are relative: a loss divides by nothing, so let
    those of the known labels have mean one (`from_errors` does).

    Attributes:
        y: of the values, `(n, m)`.
        dydx: of the Jacobians, `(n, m, d)`.
        d2ydx2: of the Hessians, `(n, m, d, d)`.
    """

    y: Float[Array, "n m"] | None = None
    dydx: Float[Array, "n m d"] | None = None
    d2ydx2: Float[Array, "n m d d"] | None = None

    @classmethod
    def from_errors(
        cls,
        y: Float[Array, "n m"] | None = None,
        dydx: Float[Array, "n m d"] | None = None,
        d2ydx2: Float[Array, "n m d d"] | None = None,
    ) -> "LabelWeights":
        """Weights `1 / s²` from the standard errors s of the labels; each part is scaled to mean one.

        Raises:
            ValueError: a standard error is not positive; a label without noise needs no weight.
        """

        def weight(name: str, s: Float[Array, "..."] | None) -> Float[Array, "..."] | None:
            if s is None:
                return None
            if not isinstance(s, Tracer) and not np.all(np.asarray(s) > 0):
                raise ValueError(f"the standard errors of `{name}` hold {float(np.min(s))}; they must be positive.")
            # Relative to the smallest, so that no unit of theirs overflows.
            w = (jnp.min(s) / s) ** 2
            return w / jnp.mean(w)

        return cls(weight("y", y), weight("dydx", dydx), weight("d2ydx2", d2ydx2))


@final
class Samples(eqx.Module):
    """A batch of inputs with the values and the derivatives that are known there.

    Labels may be exact (`truth`) or unbiased and noisy (`sample`); this type does not tell which. All parts are in
    physical units unless a function says that it returns normalised samples. Every array has the samples on its first
    axis, so `jax.tree.map(lambda part: part[rows], samples)` takes some of them.

    Attributes:
        x: inputs, `(n, d)`.
        y: values, `(n, m)`.
        dydx: Jacobians, `(n, m, d)`, or `None` where derivatives are not known.
        d2ydx2: Hessians, `(n, m, d, d)`, or `None` where curvature is not known.
        hvps: Hessians along directions, in place of whole ones.
        vjps: rows of Jacobians contracted with cotangents, in place of whole ones.
        weights: of the labels; `None` weighs all alike. A label of weight zero is not known.

    Raises:
        ValueError: the leading axes or the derivative axes do not fit each other.
    """

    x: Float[Array, "n d"]
    y: Float[Array, "n m"]
    dydx: Float[Array, "n m d"] | None = None
    d2ydx2: Float[Array, "n m d d"] | None = None
    hvps: HessianProducts | None = None
    vjps: CotangentProducts | None = None
    weights: LabelWeights | None = None

    def __check_init__(self) -> None:
        for name, part in (("x", self.x), ("y", self.y)):
            if part.ndim != 2:
                raise ValueError(
                    f"`{name}` has shape {part.shape}; give one row for each sample, also where a row holds one number."
                )
        (n, d), m = self.x.shape, self.y.shape[1]
        expected = {"y": (n, m), "dydx": (n, m, d), "d2ydx2": (n, m, d, d)}
        parts = [(name, getattr(self, name), shape) for name, shape in expected.items()]
        if self.weights is not None:
            parts += [(f"weights.{name}", getattr(self.weights, name), shape) for name, shape in expected.items()]
        if self.hvps is not None:
            k = self.hvps.directions.shape[1]
            parts += [("hvps.products", self.hvps.products, (n, m, k, d))]
        if self.vjps is not None:
            k = self.vjps.cotangents.shape[1]
            parts += [
                ("vjps.cotangents", self.vjps.cotangents, (n, k, m)),
                ("vjps.products", self.vjps.products, (n, k, d)),
            ]
        for name, part, shape in parts:
            if part is not None and part.shape != shape:
                raise ValueError(
                    f"`{name}` has shape {part.shape}, but `x` of shape {self.x.shape} and `y` of shape "
                    f"{self.y.shape} ask for {shape}. One row of every part belongs to one sample."
                )

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.x.shape[0]

    def astype(
        self, dtype: DTypeLike, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
    ) -> "Samples":
        """The same samples in another precision; nothing is checked while JAX traces.

        Args:
            dtype: such as `jnp.float32`.
            inputs: names of the inputs, for the messages.
            outputs: names of the outputs, for the messages.

        Raises:
            ValueError: a column would become infinite, zero or constant; the message names it and says what to do.
        """
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self)):
            return jax.tree.map(lambda leaf: leaf.astype(dtype), self)
        found = {}
        for name in ("x", "y", "dydx", "d2ydx2"):
            part, weights = getattr(self, name), getattr(self.weights, name, None)
            if part is not None:
                known = None if weights is None else np.asarray(weights) > 0
                names = {"x": inputs, "y": outputs}.get(name)
                found[name] = cast(name, part, dtype, known=known, names=names)
        others = {name: getattr(self, name) for name in ("hvps", "vjps", "weights")}
        return Samples(**found, **jax.tree.map(lambda leaf: cast("labels", leaf, dtype), others))
