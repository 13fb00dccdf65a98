"""Second-order training of small networks: Levenberg–Marquardt on a fixed set of samples."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx

from ..reference import Samples
from ..surrogate import MLP, Surrogate
from ._fit import DivergedError, FitResult
from ._loss import AbstractLoss
from ._progress import ProgressReporter, Silent

_MOST_BYTES = 2**31
_T = TypeVar("_T")


def fit_levenberg_marquardt(
    surrogate: Surrogate,
    samples: Samples,
    loss: AbstractLoss,
    *,
    max_steps: int = 100,
    tolerance: float = 1e-6,
    progress: ProgressReporter | None = None,
    title: str = "fit",
    on_step: Callable[[int, Surrogate], None] | None = None,
) -> FitResult:
    """Train a small network to the least squares of a loss on fixed samples.

    With tens of parameters a step costs next to nothing and reaches in tens of steps what first-order methods miss in
    thousands. The Jacobian of all residuals with respect to all parameters is formed, so it must fit into memory:
    with hundreds of parameters `fit` is the better choice. The samples are used again at every step; make their
    labels quiet by averaging many paths.

    Args:
        surrogate: where to start; its normalisation stays as it is.
        samples: all of them are used in every step, in physical units.
        loss: whose residuals are minimised; calibrated on the samples.
        max_steps: accepted and rejected steps together.
        tolerance: relative change of parameters and residuals at which the fit has converged.
        progress: shows the course of training; nothing is shown if not given.
        title: of the progress bar.
        on_step: called after every step with the steps done and the surrogate so far.

    Returns:
        The trained surrogate, and the loss after every step, `(n_steps,)`.

    Raises:
        ValueError: a number out of range, samples of other dimensions, or a Jacobian of more than 2 GiB.
        DivergedError: the loss is not finite at the start.

    Reference: K. Levenberg (1944), D. Marquardt (1963); as implemented in Optimistix.
    """
    if not isinstance(samples, Samples):
        raise TypeError(
            f"`samples` is {type(samples).__name__}; it must be `Samples`, such as `reference.sample(key, n)`."
        )
    if max_steps < 1:
        raise ValueError(f"`max_steps` is {max_steps}; it must be at least 1.")
    if not tolerance > 0:
        raise ValueError(f"`tolerance` is {tolerance}; it must be positive.")
    network = surrogate.network
    shape = (samples.x.shape[1], samples.y.shape[1])
    if shape != (network.widths[0], network.widths[-1]):
        raise ValueError(
            f"the samples map {shape[0]} inputs to {shape[1]} outputs, the network {network.widths[0]} to "
            f"{network.widths[-1]}."
        )
    # Solved in JAX's default precision, since Optimistix's own numbers are; the network keeps its own.
    stored, default = network.layers[0].weight.dtype, jnp.zeros(()).dtype
    network = _as_dtype(network, default)
    batch = _as_dtype(surrogate.normalisation.normalise(samples), default)
    loss = loss.calibrate(batch)
    params, static = eqx.partition(network, eqx.is_inexact_array)
    out = jax.eval_shape(loss.residuals, network, batch)
    n_bytes = out.size * network.n_parameters * out.dtype.itemsize
    if n_bytes > _MOST_BYTES:
        raise ValueError(
            f"the Jacobian of {out.size} residuals with respect to {network.n_parameters} parameters takes "
            f"{n_bytes / 2**30:.1f} GiB, more than {_MOST_BYTES / 2**30:g}; use fewer samples, or `fit`."
        )

    def residuals(params: MLP, data: tuple[AbstractLoss, Samples]):
        loss, batch = data
        r = loss.residuals(eqx.combine(params, static), batch) / jnp.sqrt(jnp.asarray(batch.n, batch.x.dtype))
        return r, None

    def completed(params: MLP) -> Surrogate:
        return Surrogate(_as_dtype(eqx.combine(params, static), stored), surrogate.normalisation, surrogate.provenance)

    # Damped normal equations are positive definite. On the basket with 40 parameters and 65 536 residuals they give the
    # iterates of the QR decomposition to five digits in a quarter of its time.
    solver = optx.LevenbergMarquardt(rtol=tolerance, atol=tolerance, linear_solver=lx.Normal(lx.Cholesky()))
    data, tags = (loss, batch), frozenset()
    f_struct, aux_struct = jax.eval_shape(residuals, params, data)
    state = solver.init(residuals, params, data, {}, f_struct, aux_struct, tags)
    step = eqx.filter_jit(lambda params, state, data: solver.step(residuals, params, data, {}, state, tags))
    losses: list[float] = []
    reporter: ProgressReporter = Silent() if progress is None else progress
    reporter.start(title, max_steps)
    try:
        # The first call only evaluates the start; every further one accepts or rejects a step and proposes the next.
        for n_calls in range(max_steps + 1):
            params, state, _ = step(params, state, data)
            value = float(jnp.sum(state.f_info.residual**2))
            if not np.isfinite(value):
                raise DivergedError(n_calls, completed(params), np.array(losses))
            if n_calls == 0:
                continue
            losses.append(value)
            reporter.update(n_calls, np.array([value]))
            if on_step is not None:
                on_step(n_calls, completed(params))
            if bool(state.terminate):
                break
    finally:
        reporter.stop()
    return FitResult(completed(params), np.array(losses))


def _as_dtype(tree: _T, dtype: jnp.dtype) -> _T:
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, tree)
