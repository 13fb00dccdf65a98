"""Second-order training of small networks: Levenberg–Marquardt on a fixed set of samples.

The driver is written here and not taken from Optimistix, whose solvers hold residuals and Jacobian of all samples as
one linear operator: with streamed normal equations neither exists as a whole. What remains is the damping, below.
"""

from collections.abc import Callable
from typing import final

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Float, PRNGKeyArray

from .._programs import limit_programs
from ..reference import Samples, without_unknown
from ..surrogate import MLP, Surrogate
from ._checks import warn_of_contradictions
from ._history import DivergedError, FitResult
from ._loss import AbstractLoss
from ._normal_equations import LeastSquares, NormalEquations, as_dtype, double_precision
from ._not_finite import Suspects, check_samples
from ._progress import ProgressReporter
from ._progress import reporter as reporter_of
from ._start import as_surrogate, without_false_split

_MOST_BYTES = 2**31
# A race of starts: each runs so many steps on so many samples.
_RACE_STEPS = 40
_RACE_SAMPLES = 4096
_FIRST_DAMPING = 1.0
_REMEDY = "The network itself is not finite where it starts: draw another, or look at its units and activation."
# Steps that short change nothing in double precision.
_LARGEST_DAMPING = 1e16


def fit_levenberg_marquardt(
    surrogate: Surrogate | MLP,
    samples: Samples,
    loss: AbstractLoss,
    *,
    max_steps: int = 100,
    tolerance: float = 1e-6,
    key: PRNGKeyArray | None = None,
    starts: int = 1,
    ridge: float = 0.0,
    progress: ProgressReporter | None = None,
    title: str = "fit",
    on_step: Callable[[int, Surrogate], None] | None = None,
) -> FitResult:
    """Train a small network to the least squares of a loss on fixed samples.

    With tens of parameters a step costs next to nothing and reaches in tens of steps what first-order methods miss in
    thousands. The normal equations are added up over blocks of samples, so any number of samples works; memory grows
    with the square of the number of parameters and a step's time with it, so beyond a thousand parameters `fit` is the
    better choice. The computations are in double precision, also where JAX's default is single; the network keeps its
    own.

    The samples are used again at every step. Where their labels are noisy, the least squares follow the noise as
    closely as the network can: weigh them by their covariance (`Whitened`), with a `ridge` of 1; average many paths; or
    refine with `fit_gauss_newton`, which draws fresh ones.

    Small networks have poor local minima. With `starts` above 1, so many networks run a short race on some of the
    samples, the given one among them, and the best goes on.

    Args:
        surrogate: where to start; its normalisation stays as it is. A bare network learns units from the samples.
        samples: all of them are used in every step, in physical units.
        loss: whose residuals are minimised; calibrated on the samples.
        max_steps: accepted and rejected steps together; those of the race do not count.
        tolerance: relative change of parameters and residuals at which the fit has converged.
        key: random key, of further starts and of the directions of a loss that draws some; the directions of a sample
            stay the same throughout.
        starts: networks in the race; all but the given one are drawn by `MLP.create`.
        ridge: adds `ridge / n ‖θ‖²` for n samples to the loss. With residuals of unit variance, as those of `Whitened`,
            1 makes the fit the most likely network if its parameters were standard normal before; the sharp bends that
            follow the noise need larger ones.
        progress: shows the course of training; by default a bar where standard error is a terminal, and
            nothing elsewhere or with `Silent()`.
        title: of the progress bar.
        on_step: called after every step with the steps done and the surrogate so far.

    Returns:
        The trained surrogate, and the loss after every step, `(n_steps,)`.

    Raises:
        ValueError: a number out of range, samples of other dimensions, several starts without a key, or normal
            equations of more than 2 GiB.
        NotFiniteError: samples that the loss needs are NaN or infinite; the error has how many, the first input, and
            where.
        DivergedError: the loss or its derivative is not finite at the start, with samples that are.

    Warns:
        ContradictionWarning: derivatives contradict the values; see `check_derivatives`.

    References: K. Levenberg (1944), D. Marquardt (1963); damping by the gain ratio, H. B. Nielsen, *Damping parameter
    in Marquardt's method*, IMM-REP-1999-05.
    """
    if not isinstance(samples, Samples):
        raise TypeError(
            f"`samples` is {type(samples).__name__}; it must be `Samples`, such as `reference.sample(key, n)`."
        )
    for name, count in (("max_steps", max_steps), ("starts", starts)):
        if count < 1:
            raise ValueError(f"`{name}` is {count}; it must be at least 1.")
    if not tolerance > 0:
        raise ValueError(f"`tolerance` is {tolerance}; it must be positive.")
    if not (ridge >= 0 and np.isfinite(ridge)):
        raise ValueError(f"`ridge` is {ridge}; it must be finite, zero or positive.")
    if starts > 1 and key is None:
        raise ValueError(f"`key` is None, but `starts` is {starts}: give the random key that draws the other starts.")
    limit_programs()
    # A label of weight zero may be anything, and NaN times zero would still be NaN.
    samples = without_unknown(samples)
    check_samples(samples, "samples", ("inputs", "values"))
    surrogate = without_false_split(as_surrogate(surrogate, samples, jax.random.key(0)), samples)
    network = surrogate.network
    shape = (samples.x.shape[1], samples.y.shape[1])
    if shape != (network.widths[0], network.widths[-1]):
        raise ValueError(
            f"the samples map {shape[0]} inputs to {shape[1]} outputs, the network {network.widths[0]} to "
            f"{network.widths[-1]}."
        )
    check_size(network)
    warn_of_contradictions(samples, loss)
    start_key, loss_key = (None, None) if key is None else jax.random.split(key)
    batch = surrogate.normalisation.normalise(samples)
    with double_precision():
        wide = as_dtype((loss, surrogate, batch), np.float64)
        Suspects(None, wide[0], wide[1]).check_first(wide[2], samples, loss_key)
    problem = LeastSquares(network, batch, loss, loss_key, ridge)

    def completed(theta: Float[np.ndarray, " p"]) -> Surrogate:
        return Surrogate(problem.network(theta), surrogate.normalisation, surrogate.provenance)

    losses: list[float] = []
    reporter = reporter_of(progress)
    reporter.start(title, max_steps)
    try:
        theta = problem.start
        if start_key is not None and starts > 1:
            theta = _best_of(problem, theta, _further_starts(problem, network, start_key, starts - 1))
        descent = _Descent(problem, theta)
        if not descent.equations.is_finite:
            raise DivergedError(0, completed(theta), np.array(losses), remedy=_REMEDY)
        for n_steps in range(1, max_steps + 1):
            descent.step(tolerance)
            losses.append(descent.equations.loss)
            reporter.update(n_steps, np.array(losses[-1:]))
            if on_step is not None:
                on_step(n_steps, completed(descent.theta))
            if descent.has_converged:
                break
    finally:
        reporter.stop()
    return FitResult(completed(descent.theta), np.array(losses))


def check_size(network: MLP) -> None:
    """Refuse a network whose normal equations would not fit into memory, before anything of their size is made."""
    n_bytes = 8 * network.n_parameters**2
    if n_bytes > _MOST_BYTES:
        raise ValueError(
            f"the normal equations of {network.n_parameters} parameters take {n_bytes / 2**30:.1f} GiB, more than "
            f"{_MOST_BYTES / 2**30:g}; use `fit`."
        )


@final
class _Descent:
    """Levenberg–Marquardt from one start: steps `(JᵀJ + μ t I) δ = −Jᵀr`, with t the mean of JᵀJ's diagonal.

    After a step that gained, μ falls by a factor of `1 − (2ρ − 1)³`, at least 1/3, where ρ is the gain in the loss
    relative to what the linear model foretold; after others it grows by 2, 4, 8, … (Nielsen, 1999).

    Attributes:
        theta: the best parameters so far, `(p,)`.
        equations: normal equations there.
        has_converged: whether further steps would change nothing that matters.
    """

    def __init__(self, problem: LeastSquares, theta: Float[np.ndarray, " p"], n_blocks: int | None = None) -> None:
        self.theta = theta
        self.equations = problem.normal_equations(theta, n_blocks)
        self.has_converged = False
        self._problem, self._n_blocks = problem, n_blocks
        self._damping, self._growth = _FIRST_DAMPING, 2.0

    def step(self, tolerance: float) -> None:
        """Accept or reject one step."""
        old, problem = self.equations, self._problem
        move = damped_step(old, self._damping)
        gain, foretold = -np.inf, 0.0
        if move is not None:
            gain = old.loss - problem.loss(self.theta + move, self._n_blocks)
            foretold = -float(2 * move @ old.gradient + move @ old.matrix @ move)
        # A loss that is not finite is no gain.
        if move is not None and gain > 0 and foretold > 0:
            new = problem.normal_equations(self.theta + move, self._n_blocks)
            if new.is_finite:
                self._damping *= max(1 / 3, 1 - (2 * gain / foretold - 1) ** 3)
                self._growth = 2.0
                size = tolerance * (1 + np.abs(self.theta))
                small = float(np.sqrt(np.mean((move / size) ** 2))) < 1
                self.has_converged = small and gain < tolerance * (tolerance + old.loss)
                self.theta, self.equations = self.theta + move, new
                return
        self._damping *= self._growth
        self._growth *= 2
        self.has_converged = self._damping > _LARGEST_DAMPING


def damped_step(equations: NormalEquations, damping: float) -> Float[np.ndarray, " p"] | None:
    """`−(JᵀJ + μ t I)⁻¹ Jᵀr` with t the mean of the diagonal; None where that is not positive definite to rounding."""
    matrix = equations.matrix
    # All parameters are of one size, since inputs and outputs are normalised. Marquardt's own scaling, the diagonal
    # instead of I, lets those that hardly matter yet run away: started near a teacher it ended far from it.
    shift = damping * float(np.mean(np.diag(matrix))) + np.finfo(np.float64).tiny
    try:
        factor = scipy.linalg.cho_factor(matrix + shift * np.eye(matrix.shape[0]), lower=True)
    except np.linalg.LinAlgError:
        return None
    return -scipy.linalg.cho_solve(factor, equations.gradient)


def _further_starts(
    problem: LeastSquares, network: MLP, key: PRNGKeyArray, count: int
) -> list[Float[np.ndarray, " p"]]:
    drawn = [MLP.create(network.widths, activation=network.activation, key=k) for k in jax.random.split(key, count)]
    return [problem.parameters(other) for other in drawn]


def _best_of(
    problem: LeastSquares, given: Float[np.ndarray, " p"], others: list[Float[np.ndarray, " p"]]
) -> Float[np.ndarray, " p"]:
    """The end of the best of several short descents, or the given start where none of them can begin."""
    n_blocks = problem.blocks_of(_RACE_SAMPLES)
    best, lowest = given, np.inf
    for theta in [given, *others]:
        descent = _Descent(problem, theta, n_blocks)
        if not descent.equations.is_finite:
            continue
        for _ in range(_RACE_STEPS):
            descent.step(1e-12)
            if descent.has_converged:
                break
        if descent.equations.loss < lowest:
            best, lowest = descent.theta, descent.equations.loss
    return best
