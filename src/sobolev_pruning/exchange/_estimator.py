"""A surrogate as an estimator of scikit-learn: arrays in, arrays out, no keys and no reference model."""

from typing import Any, cast, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..reference import DataSet, Samples
from ..sobolev import AbstractLoss, Silent, SobolevLoss, ValueLoss, fit, fit_levenberg_marquardt
from ..surrogate import ACTIVATIONS, MLP, Normalisation, Surrogate
from ._labels import (
    as_samples,
    checked_derivatives,
    checked_values,
    checked_weights,
    column_names,
    refuse_complex,
    refuse_masked,
)
from ._parameters import check_parameters

# Samples that are evaluated together; every call takes whole batches, so that one compilation serves any number.
_BATCH = 256


@final
class SobolevRegressor(RegressorMixin, BaseEstimator):
    """Regression with a small network on values and, where they are given, derivatives.

    Everything is normalised inside, so no scaler is needed before it, and computed in double precision. Networks of at
    most `second_order_below` parameters are trained by Levenberg–Marquardt, larger ones by Adam.

    Derivatives are an argument of `fit`, and scikit-learn has to be told to pass them on. Either by name,

        make_pipeline(…, SobolevRegressor()).fit(X, y, sobolevregressor__dydx=dydx)
        GridSearchCV(SobolevRegressor(), grid).fit(X, y, dydx=dydx)

    or by metadata routing, `sklearn.set_config(enable_metadata_routing=True)`, with
    `SobolevRegressor().set_fit_request(dydx=True)` in the pipeline or the search. Both split them as they split `y`.
    `sample_weight` is passed on in the same way, and `score` takes it, too.

    In a pipeline `dydx` and `predict_gradient` are derivatives with respect to what reaches the regressor: behind a
    `StandardScaler`, with respect to the scaled inputs. Multiply derivatives with respect to the original inputs by
    `scaler.scale_` before they go in, and divide what comes out by it; better, leave the scaler away.

    Attributes:
        surrogate_: what was trained, with its units; to be pruned, exported or stored by the rest of this library. Its
            arrays are NumPy's.
        activation_: name of its activation.
        losses_: of every step, `(n_steps,)`, in normalised units.
        n_features_in_: number of inputs, d.
    """

    def __init__(
        self,
        hidden: Any = (20, 20),
        *,
        activation: Any = "silu",
        gradient_weight: Any = 1.0,
        steps: Any = 2000,
        batch_size: Any = 256,
        learning_rate: Any = 1e-2,
        second_order_below: Any = 200,
        second_order_steps: Any = 100,
        starts: Any = 1,
        random_state: Any = None,
    ) -> None:
        """Store the parameters; `fit` checks them.

        Args:
            hidden: widths of the hidden layers.
            activation: name of the activation of every hidden layer, one of `surrogate.ACTIVATIONS`; the functions
                themselves cannot be copied to other processes.
            gradient_weight: λ₁ of the Sobolev loss; plays no part without derivatives.
            steps: of Adam.
            batch_size: samples of each, drawn with replacement.
            learning_rate: the first one; it falls to zero along a cosine.
            second_order_below: most parameters that are trained by Levenberg–Marquardt, on all samples at once.
            second_order_steps: most steps of it.
            starts: networks among which it chooses where to start.
            random_state: of the start and of the batches; an integer makes a fit repeatable.
        """
        self.hidden = hidden
        self.activation = activation
        self.gradient_weight = gradient_weight
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.second_order_below = second_order_below
        self.second_order_steps = second_order_steps
        self.starts = starts
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Many outputs are allowed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags

    def fit(self, X: Any, y: Any, dydx: Any = None, sample_weight: Any = None) -> "SobolevRegressor":
        """Train a new network.

        Args:
            X: inputs, `(n, d)`. A column may be the same in all rows, as happens in a fold: unless derivatives along it
                are known, predictions do not depend on it.
            y: values, `(n,)` or `(n, m)`. Beside derivatives those that are NaN are not known. None, or NaN everywhere,
                learns from derivatives alone; predictions then have the mean zero over `X`, since derivatives leave the
                level open.
            dydx: derivatives, `(n, d)` for values `(n,)`, `(n, m, d)` for values `(n, m)`; none if not given. Those
                that are NaN are not known. Columns of a data frame named as those of `X` are put in their order.
            sample_weight: weights of the rows, `(n,)`; their scale plays no part. An integer counts as so many copies.

        Raises:
            ValueError: an array has another shape or holds what it must not, or a parameter is something else than it
                may be; the message names it.
        """
        check_parameters(self.get_params(deep=False))
        outputs = column_names(y)
        refuse_masked("X", X)
        if dydx is None:
            refuse_masked("y", y)
            refuse_complex("y", y)
            X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2)
            y = np.asarray(y, np.float64)
        else:
            X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
            y = None if y is None else checked_values(y, len(X))
        n, d = X.shape
        derivatives = None
        if dydx is not None:
            one = np.ndim(dydx) == 2 if y is None else y.ndim == 1
            shape = (n, d) if one else (n, -1 if y is None else y.shape[1], d)
            derivatives = checked_derivatives(dydx, shape, getattr(self, "feature_names_in_", None))
            y = np.full(derivatives.shape[:-1], np.nan) if y is None else y
            derivatives = derivatives.reshape(n, -1, d)
        self._one_output = y.ndim == 1
        if self.gradient_weight == 0 and np.isnan(y.reshape(n, -1)).all(axis=0).any():
            raise ValueError("`gradient_weight` is 0, and an output has derivatives alone; give a positive weight.")
        weights = checked_weights(sample_weight, n)
        counts = weights > 0
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with jax.enable_x64(True):
            samples, units, idle = as_samples(
                X[counts],
                y.reshape(n, -1)[counts],
                None if derivatives is None else derivatives[counts],
                weights[counts],
            )
            without = np.isnan(y.reshape(n, -1)[counts]).all(axis=0)
            surrogate, losses = self._trained(samples, units, jax.random.key(seed))
            surrogate = _at_level(_without(surrogate, idle), samples.x, without)
        inputs = getattr(self, "feature_names_in_", None)
        if inputs is not None:
            surrogate = surrogate.named(inputs=[str(name) for name in inputs])
        if len(set(outputs)) == surrogate.network.widths[-1]:
            surrogate = surrogate.named(outputs=outputs)
        # As NumPy's, so that copies keep double precision also where JAX's default is single.
        self.surrogate_ = jax.tree.map(np.asarray, surrogate)
        self.losses_ = losses
        self.activation_ = self.activation
        return self

    def _trained(self, samples: Samples, units: Normalisation, key: jax.Array) -> tuple[Surrogate, np.ndarray]:
        network_key, fit_key = jax.random.split(key)
        widths = [samples.x.shape[1], *(int(width) for width in self.hidden), samples.y.shape[1]]
        start = Surrogate(MLP.create(widths, activation=ACTIVATIONS[self.activation], key=network_key), units)
        loss: AbstractLoss = ValueLoss() if samples.dydx is None else SobolevLoss(float(self.gradient_weight))
        if start.network.n_parameters <= self.second_order_below:
            result = fit_levenberg_marquardt(
                start,
                samples,
                loss,
                key=fit_key,
                max_steps=int(self.second_order_steps),
                starts=int(self.starts),
                progress=Silent(),
            )
        else:
            result = fit(
                start,
                DataSet(samples),
                loss,
                key=fit_key,
                steps=int(self.steps),
                batch_size=int(self.batch_size),
                optimizer=optax.adam(optax.cosine_decay_schedule(float(self.learning_rate), int(self.steps))),
                progress=Silent(),
            )
        return result.surrogate, result.losses

    def __getstate__(self) -> dict[str, Any]:
        """Without the function of the activation, which JAX wraps such that no other process could find it."""
        state = dict(cast("dict[str, Any]", super().__getstate__()))
        if "surrogate_" in state:
            surrogate = state["surrogate_"]
            state["surrogate_"] = (surrogate.network.layers, surrogate.normalisation, surrogate.provenance)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Find the function of the activation again, by its name."""
        state = dict(state)
        if "surrogate_" in state:
            layers, *rest = state["surrogate_"]
            state["surrogate_"] = Surrogate(MLP(layers, ACTIVATIONS[state["activation_"]]), *rest)
        super().__setstate__(state)

    def predict(self, X: Any) -> Float[np.ndarray, "n ..."]:
        """Values at the inputs, `(n,)` or `(n, m)` as `y` was."""
        values = self._evaluated(X, _values)
        return values[:, 0] if self._one_output else values

    def predict_gradient(self, X: Any) -> Float[np.ndarray, "n ..."]:
        """Derivatives with respect to the inputs, `(n, d)` or `(n, m, d)` as `y` was."""
        jacobians = self._evaluated(X, _jacobians)
        return jacobians[:, 0] if self._one_output else jacobians

    def _evaluated(self, X: Any, function: Any) -> Float[np.ndarray, "n ..."]:
        check_is_fitted(self)
        refuse_masked("X", X)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        filled = np.pad(X, ((0, -len(X) % _BATCH), (0, 0)), mode="edge")
        with jax.enable_x64(True):
            surrogate = jax.tree.map(jnp.asarray, self.surrogate_)
            parts = [
                np.asarray(function(surrogate, jnp.asarray(batch))) for batch in filled.reshape(-1, _BATCH, X.shape[1])
            ]
        return np.concatenate(parts)[: len(X)]


def _without(surrogate: Surrogate, idle: Bool[np.ndarray, " d"]) -> Surrogate:
    """Without the weights of inputs that were the same in all rows, and that training could not have found."""
    return eqx.tree_at(
        lambda s: s.network.layers[0].weight, surrogate, replace_fn=lambda weight: jnp.where(idle[None], 0.0, weight)
    )


def _at_level(surrogate: Surrogate, x: jax.Array, without: Bool[np.ndarray, " m"]) -> Surrogate:
    """Outputs of which no value is known have the mean zero over the inputs."""
    mean = jnp.mean(jax.vmap(surrogate)(x), axis=0)
    return eqx.tree_at(
        lambda s: s.normalisation.y_mean, surrogate, replace_fn=lambda level: jnp.where(without, level - mean, level)
    )


@jax.jit
def _values(surrogate: Surrogate, x: jax.Array) -> jax.Array:
    return jax.vmap(surrogate)(x)


@jax.jit
def _jacobians(surrogate: Surrogate, x: jax.Array) -> jax.Array:
    return jax.vmap(surrogate.gradient)(x)
