"""What the library makes: a network between a normalisation and its inverse."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from .._programs import limit_programs
from ..reference import Samples
from ._conversion import check_network
from ._mlp import MLP
from ._normalisation import Normalisation


@final
class Surrogate(eqx.Module):
    """A network with the units it was trained in; in and out are physical units.

    Attributes:
        network: maps normalised inputs `(d,)` to normalised outputs `(m,)`.
        normalisation: of inputs and outputs. It is fixed: training changes the network alone.
        provenance: where the surrogate came from, as pairs of strings; stored with it.

    Raises:
        ValueError: the network and the normalisation disagree about the number of inputs or outputs.
    """

    network: MLP
    normalisation: Normalisation
    provenance: tuple[tuple[str, str], ...] = eqx.field(static=True, default=())

    def __check_init__(self) -> None:
        check_network(self.network)
        widths = self.network.widths
        sizes = (self.normalisation.x_mean.shape[0], self.normalisation.y_mean.shape[0])
        if (widths[0], widths[-1]) != sizes:
            raise ValueError(
                f"the network has {widths[0]} inputs and {widths[-1]} outputs, the normalisation {sizes[0]} and "
                f"{sizes[1]}; learn the normalisation from samples of the same model."
            )

    @classmethod
    def of(cls, network: "MLP | eqx.nn.MLP") -> "Surrogate":
        """A surrogate of a network that computes in physical units already.

        Args:
            network: of this library, or of Equinox; see `MLP.from_equinox`.

        Raises:
            TypeError: it is neither.
            ValueError: a network of Equinox that an `MLP` cannot be.
        """
        if isinstance(network, eqx.nn.MLP):
            network = MLP.from_equinox(network)
        check_network(network)
        dtype = network.layers[0].weight.dtype
        d, m = network.widths[0], network.widths[-1]
        return cls(network, Normalisation(*(f(n, dtype) for n in (d, m) for f in (jnp.zeros, jnp.ones))))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs: those that the provenance has under `inputs`, or x0, x1 and so on."""
        return self._names("inputs", "x", self.network.widths[0])

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs: those that the provenance has under `outputs`, or y0, y1 and so on."""
        return self._names("outputs", "y", self.network.widths[-1])

    def named(self, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None) -> "Surrogate":
        """The same surrogate with names of its inputs, its outputs, or both, which are stored with it.

        Raises:
            ValueError: there are more or fewer names than inputs or outputs, a name is empty or one is given twice.
        """
        widths = self.network.widths
        facts = {}
        for kind, names, n in (("inputs", inputs, widths[0]), ("outputs", outputs, widths[-1])):
            if names is None:
                continue
            if len(names) != n or len(set(names)) != n or not all(name.strip() for name in names):
                raise ValueError(f"`{kind}` is {list(names)}; give {n} different names, one for each.")
            facts[kind] = _joined(names)
        return self.with_provenance(**facts)

    def _names(self, kind: str, letter: str, n: int) -> tuple[str, ...]:
        text = dict(self.provenance).get(kind)
        if text is not None and "\0" not in text:
            (names,) = csv.reader([" ".join(text.split())], skipinitialspace=True)
            names = [name.strip() for name in names]
            if len(names) == n and all(names) and len(set(names)) == n:
                return tuple(names)
        return tuple(f"{letter}{i}" for i in range(n))

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " m"]:
        """Values at one sample, in physical units.

        Outside of `jit`, this, `gradient` and `hessian` run as compiled programs, which all surrogates of the same
        widths and activation share; `x` may then be anything that JAX makes an array of.
        """
        return self._at_once(_value, x)

    def forward(
        self, x: Float[Array, " d"], taps: Sequence[Float[Array, " _"]] | None = None
    ) -> tuple[Float[Array, " m"], tuple[Float[Array, " _"], ...]]:
        """Values at one sample, in physical units, and every hidden node of the network; see `MLP.forward`."""
        self._check_one_sample(x)
        units = self.normalisation
        y, nodes = self.network.forward((x - units.x_mean) / units.x_scale, taps)
        return units.y_mean + units.y_scale * y, nodes

    def _check_one_sample(self, x: Float[Array, "..."]) -> None:
        d = self.network.widths[0]
        if jnp.shape(x) != (d,):
            raise ValueError(
                f"`x` has shape {jnp.shape(x)}; one sample of this surrogate has shape ({d},). Map a batch with "
                "`jax.vmap`, or use `evaluate`."
            )

    def gradient(self, x: Float[Array, " d"]) -> Float[Array, "m d"]:
        """Jacobian at one sample, in physical units."""
        return self._at_once(_gradient, x)

    def hessian(self, x: Float[Array, " d"]) -> Float[Array, "m d d"]:
        """Hessian of every output at one sample, in physical units."""
        return self._at_once(_hessian, x)

    def _at_once(self, f: "_Kind", x: Any) -> Array:
        network, units = self.network, self.normalisation
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((network, units, x)))
        x = self._as_floats(x)
        # In a larger program a call would be one operation more; a function without a hash is no key of a program.
        if traced or not _has_hash(network.activation):
            return f(network, units, x)
        self._check_one_sample(x)
        return _compiled[f](network, units, x)

    def _as_floats(self, x: Any) -> Array:
        """An array as it is, or in the format of the weights if it holds whole numbers, which have no derivative."""
        x = jnp.asarray(x)
        return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(self.network.layers[0].weight.dtype)

    def evaluate(self, x: Float[Array, "n d"], *, batch_size: int = 256) -> Samples:
        """Values, Jacobians and Hessians of many samples, a few at a time so that memory stays bounded.

        Args:
            x: inputs, `(n, d)`.
            batch_size: samples that are evaluated together.

        Raises:
            ValueError: no inputs, or a batch size below 1.
        """
        x = self._as_floats(x)
        if x.ndim != 2 or x.shape[1] != self.network.widths[0]:
            raise ValueError(f"`x` has shape {x.shape}; a batch has shape (n, {self.network.widths[0]}).")
        if x.shape[0] == 0:
            raise ValueError(f"`x` has shape {x.shape}; give at least one sample.")
        if batch_size < 1:
            raise ValueError(f"`batch_size` is {batch_size}; it must be at least 1.")

        limit_programs()
        n, d = x.shape
        if n <= batch_size:
            return Samples(x, *_evaluate_batch(self.network, self.normalisation, x))
        # Equal batches, so that one compilation serves any number of samples.
        padded = jnp.pad(x, ((0, -n % batch_size), (0, 0)), mode="edge").reshape(-1, batch_size, d)
        parts = [_evaluate_batch(self.network, self.normalisation, batch) for batch in padded]
        return Samples(x, *jax.tree.map(lambda *part: jnp.concatenate(part)[:n], *parts))

    def with_provenance(self, **facts: str) -> "Surrogate":
        """The same surrogate with facts about its origin added; later ones replace earlier ones of that name."""
        merged = dict(self.provenance) | facts
        return type(self)(self.network, self.normalisation, tuple(merged.items()))


def _has_hash(x: object) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


def _joined(names: Sequence[str]) -> str:
    """Names separated by commas; one with a comma stands in quotation marks, as it does in a table."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


# None of these takes the provenance, which is static: every stage of a study, and every fit, would compile again.


def _value(network: MLP, units: Normalisation, x: Float[Array, " d"]) -> Float[Array, " m"]:
    return Surrogate(network, units).forward(x)[0]


def _gradient(network: MLP, units: Normalisation, x: Float[Array, " d"]) -> Float[Array, "m d"]:
    return jax.jacrev(Surrogate(network, units))(x)


def _hessian(network: MLP, units: Normalisation, x: Float[Array, " d"]) -> Float[Array, "m d d"]:
    return jax.jacfwd(jax.jacrev(Surrogate(network, units)))(x)


_Kind = Callable[[MLP, Normalisation, Any], Array]
_compiled: dict[_Kind, _Kind] = {f: jax.jit(f) for f in (_value, _gradient, _hessian)}


@jax.jit
def _evaluate_batch(network: MLP, units: Normalisation, x: Float[Array, "n d"]):
    return jax.vmap(lambda x: tuple(f(network, units, x) for f in (_value, _gradient, _hessian)))(x)
