"""Second-order training of small networks on fresh samples: recursive Gauss–Newton.

Labels of one path each are so noisy that a fixed set of them limits any fit, 1 − R² ≈ p σ² / N. Here every step draws
its own samples and no sample is used twice, so N grows with the time that is spent. A gradient costs a twentieth of
the normal equations of the same samples, so the curvature comes from a part of them.
"""

from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._programs import limit_programs
from ..reference import AbstractReferenceModel, Samples
from ..surrogate import MLP, Normalisation, Surrogate
from ._history import DivergedError, FitResult
from ._levenberg_marquardt import check_size, damped_step
from ._loss import AbstractLoss
from ._normal_equations import NormalEquations, as_dtype, block_size, residuals_and_jacobian, unravelled
from ._not_finite import Suspects
from ._progress import ProgressReporter
from ._progress import reporter as reporter_of
from ._start import without_false_split

# Samples that share one evaluation of the gradient at most, and blocks of a step at least: their scatter tells how
# certain a loss is.
_GRADIENT_BLOCK = 8192
_FEWEST_BLOCKS = 8
# One sample in so many gives curvature.
_CURVATURE_SHARE = 32
_REMEDY = "Start nearer to the solution, draw more samples in a step, or raise `damping`."
# A fresh loss that many standard errors above the last one takes the step back.
_LIMIT = 6.0


def fit_gauss_newton(
    surrogate: Surrogate,
    reference: AbstractReferenceModel,
    loss: AbstractLoss,
    *,
    key: PRNGKeyArray,
    steps: int,
    samples_per_step: int,
    damping: float = 1e-6,
    progress: ProgressReporter | None = None,
    title: str = "fit",
    on_step: Callable[[int, Surrogate], None] | None = None,
) -> FitResult:
    """Refine a small network that is nearly right on a stream of fresh, noisy samples.

    Step k moves by `−wₖ (C + μ D)⁻¹ g`, where g is the mean gradient of fresh samples, C the running mean of the
    curvature JᵀJ with D its diagonal, and `wₖ = 2 / (k + 1)`. Where residuals are linear in the parameters
    that is the least-squares solution of all samples of all steps, those of step k weighted by k: later ones were
    linearised nearer the solution. So the error falls as 4/3 of p σ² / N with the number of samples N, and memory
    holds one block of them.

    Start from a fit that has found the right minimum, of fewer samples:

        first = reference.sample(key_1, 32_768)
        start = fit_levenberg_marquardt(surrogate, first, loss, key=key_2, starts=4).surrogate
        result = fit_gauss_newton(start, reference, loss, key=key_3, steps=200, samples_per_step=2**19)

    What the first steps have gathered was linearised far from the solution, and in the end holds the network back. A
    second call with more steps goes on from the result and begins to gather anew.

    Args:
        surrogate: where to start; its normalisation stays as it is.
        reference: what to learn from; its labels may be of one path each.
        loss: whose residuals are minimised; calibrated on the first block of samples.
        key: random key of all samples.
        steps: number of updates.
        samples_per_step: fresh samples of every step, rounded up to whole blocks. With tens of parameters,
            some hundred thousand: fewer leave the first steps too noisy.
        damping: μ. Directions whose curvature is smaller than μ times that of their parameters alone learn slowly, and
            gather less noise. Of a `Whitened` loss it must be far below the `floor`, or what is full of noise is never
            learned: 1e-12 in double precision.
        progress: shows the course of training; by default a bar where standard error is a terminal, and
            nothing elsewhere or with `Silent()`.
        title: of the progress bar.
        on_step: called after every step with the steps done and the surrogate so far.

    Returns:
        The trained surrogate, and the loss of every step's fresh samples before its update, `(steps,)`.

    Raises:
        ValueError: a number out of range, a reference of other dimensions, or a network too large for its curvature.
        NotFiniteError: labels that the loss needs are NaN or infinite; the error has how many, the first input, and
            where.
        DivergedError: the loss or its derivative is not finite, with labels that are.

    References: L. Ljung, T. Söderström, *Theory and Practice of Recursive Identification* (1983), section 3.4;
    S. Amari, *Natural gradient works efficiently in learning*, Neural Computation 10 (1998); weights that grow with the
    step as in S. Lacoste-Julien, M. Schmidt, F. Bach (2012).
    """
    if not isinstance(reference, AbstractReferenceModel):
        raise TypeError(
            f"`reference` is {type(reference).__name__}; it must be a reference model, which gives fresh samples. On "
            "fixed ones use `fit_levenberg_marquardt`."
        )
    for name, count in (("steps", steps), ("samples_per_step", samples_per_step)):
        if count < 1:
            raise ValueError(f"`{name}` is {count}; it must be at least 1.")
    if not damping > 0:
        raise ValueError(f"`damping` is {damping}; it must be positive.")
    limit_programs()
    surrogate = without_false_split(surrogate, reference)
    network, units = surrogate.network, surrogate.normalisation
    if (reference.dim_in, reference.dim_out) != (network.widths[0], network.widths[-1]):
        raise ValueError(
            f"the reference maps {reference.dim_in} inputs to {reference.dim_out} outputs, the network "
            f"{network.widths[0]} to {network.widths[-1]}."
        )
    check_size(network)
    template, dtype = network, network.layers[0].weight.dtype
    calibration_key, key = jax.random.split(key)
    size = min(-(-samples_per_step // _FEWEST_BLOCKS), _GRADIENT_BLOCK)
    batch = _draw(reference, loss, units, calibration_key, min(samples_per_step, _GRADIENT_BLOCK), dtype)
    suspects = Suspects(reference, as_dtype(loss, dtype), surrogate)
    suspects.check_first(batch, calibration_key, key)
    loss = as_dtype(loss, dtype).calibrate(batch)
    out = jax.eval_shape(loss.residuals, network, batch, key=key)
    small = block_size(size, network.n_parameters, out.shape[1], dtype.itemsize)
    n_small = -(-samples_per_step // (_CURVATURE_SHARE * small))

    def completed(theta: Float[np.ndarray, " p"]) -> Surrogate:
        new = unravelled(jnp.asarray(theta, dtype), template)
        return Surrogate(new, units, surrogate.provenance)

    leaves = jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))
    theta = np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in leaves])
    curvature, trusted, last = np.zeros((theta.size, theta.size)), theta, None
    # Steps that are summed up in `curvature` and `theta`; a step that is taken back begins anew.
    weight_steps, losses = 0, []
    reporter = reporter_of(progress)
    reporter.start(title, steps)
    try:
        for step in range(steps):
            step_key = jax.random.fold_in(key, step)
            values, gradients, matrix = _sums(
                jnp.asarray(theta, dtype),
                template,
                (reference, loss, units),
                step_key,
                (size, -(-samples_per_step // size)),
                (small, n_small),
            )
            means = np.asarray(values, np.float64) / size
            now = float(means.mean()), float(means.std() / np.sqrt(means.size))
            gradient = np.asarray(gradients, np.float64).mean(axis=0) / size
            fresh = np.asarray(matrix, np.float64) / (small * n_small)
            if not all(np.all(np.isfinite(part)) for part in (means, gradient, fresh)):
                before = completed(theta)
                for sample_key, loss_key, n in _drawn(step_key, (size, means.size), (small, n_small)):
                    batch = _draw(reference, loss, units, sample_key, n, dtype)
                    suspects.check_step(batch, sample_key, loss_key, loss, step, before, np.array(losses))
                raise DivergedError(step, completed(trusted), np.array(losses), remedy=_REMEDY)
            losses.append(now[0])
            if last is not None and now[0] - last[0] > _LIMIT * np.hypot(now[1], last[1]) + 0.01 * last[0]:
                theta, curvature, weight_steps, damping = trusted, np.zeros_like(curvature), 0, 10 * damping
            else:
                last, trusted = now, theta
                weight_steps += 1
                share = 2 / (weight_steps + 1)
                curvature = curvature + share * (fresh - curvature)
                # Scaled by the diagonal of the curvature: a direction that is damped hardly learns any more once the
                # shares are small, and near the solution no parameter runs away.
                scale = np.sqrt(np.diag(curvature))
                scale = np.where(scale > 0, scale, 1.0)
                scaled = NormalEquations(curvature / np.outer(scale, scale), gradient / scale, now[0])
                move = damped_step(scaled, damping)
                theta = theta if move is None else theta + share * move / scale
            reporter.update(step + 1, np.array(losses[-1:]))
            if on_step is not None:
                on_step(step + 1, completed(theta))
    finally:
        reporter.stop()
    return FitResult(completed(theta), np.array(losses))


def _drawn(
    key: PRNGKeyArray, gradient_blocks: tuple[int, int], curvature_blocks: tuple[int, int]
) -> Iterator[tuple[PRNGKeyArray, PRNGKeyArray, int]]:
    """Keys of the samples and of the loss, and the number of samples, of every block that `_sums` draws."""
    for part_key, (n, count) in zip(jax.random.split(key), (gradient_blocks, curvature_blocks), strict=True):
        for block_key in jax.random.split(part_key, count):
            sample_key, loss_key = jax.random.split(block_key)
            yield sample_key, loss_key, n


def _draw(
    reference: AbstractReferenceModel,
    loss: AbstractLoss,
    units: Normalisation,
    key: PRNGKeyArray,
    n: int,
    dtype: jnp.dtype,
) -> Samples:
    """Normalised samples with the derivatives that the loss asks for, in the precision of the network."""
    samples = reference.sample(key, n, directions=loss.directions(units))
    return as_dtype(units.normalise(samples), dtype)


@eqx.filter_jit
def _sums(
    theta: Float[Array, " p"],
    network: MLP,
    model: tuple[AbstractReferenceModel, AbstractLoss, Normalisation],
    key: PRNGKeyArray,
    gradient_blocks: tuple[int, int],
    curvature_blocks: tuple[int, int],
) -> tuple[Float[Array, " n_blocks"], Float[Array, "n_blocks p"], Float[Array, "p p"]]:
    """Of fresh samples: squares of the residuals and half their gradient, block by block, and the sum of JᵀJ."""
    reference, loss, units = model
    gradient_key, curvature_key = jax.random.split(key)

    def batch_of(key: PRNGKeyArray, size: int) -> tuple[Samples, PRNGKeyArray]:
        sample_key, loss_key = jax.random.split(key)
        return _draw(reference, loss, units, sample_key, size, theta.dtype), loss_key

    def gradient(_, key: PRNGKeyArray):
        batch, loss_key = batch_of(key, gradient_blocks[0])

        def squares(theta: Float[Array, " p"]) -> Float[Array, ""]:
            return jnp.sum(loss.residuals(unravelled(theta, network), batch, key=loss_key) ** 2)

        value, slope = jax.value_and_grad(squares)(theta)
        return None, (value, 0.5 * slope)

    def curvature(total: Float[Array, "p p"], key: PRNGKeyArray):
        batch, loss_key = batch_of(key, curvature_blocks[0])
        _, jacobian = residuals_and_jacobian(theta, network, loss, batch, loss_key)
        j = jacobian.reshape(theta.size, -1)
        return total + j @ j.T, None

    _, (values, slopes) = jax.lax.scan(gradient, None, jax.random.split(gradient_key, gradient_blocks[1]))
    zeros = jnp.zeros((theta.size, theta.size), theta.dtype)
    matrix, _ = jax.lax.scan(curvature, zeros, jax.random.split(curvature_key, curvature_blocks[1]))
    return values, slopes, matrix
