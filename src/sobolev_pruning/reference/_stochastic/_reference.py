"""A stochastic model with a payoff as the reference: Monte Carlo, labelled path by path."""

from collections.abc import Callable, Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._directions import AbstractDirections
from .._jacobian import value_and_jacobian
from .._reference_model import AbstractReferenceModel
from .._samples import HessianProducts, Samples
from ._controls import AbstractControl
from ._labels import AbstractLabels, LikelihoodRatio, Mixed, Pathwise
from ._noise import AbstractNoise, PseudoRandom
from ._payoffs import AbstractPayoff
from ._problem import Problem
from ._schemes import AbstractScheme
from ._simulation import Normals, all_normals, as_normals, pinned, simulate

# Inputs at which the problem is looked at when a reference is made.
_PROBES = 4
# Widths of a smoothing, in roundings of what is smoothed, below which its curvature is lost.
_ROUNDINGS = 100


@final
class StochasticReference(AbstractReferenceModel):
    """The expected payoff of a stochastic model, as a function of whatever the user makes the input.

    `problem` maps one input to what is simulated for it: the spot, and as well the strike, the maturity, the volatility
    or the rate may be inputs. All labels are unbiased for the expectation of the discretised model and for its
    derivatives; regressing on them is Least-Squares Monte Carlo.

        def problem(x):  # spot, volatility
            return Problem(BlackScholes(x[1]), x[:1], Option(Call(1.0)), maturity=1.0)

        StochasticReference(problem, inputs, n_steps=1, scheme=ModelStep())

    Attributes:
        problem: `(d,) -> Problem`, differentiable.
        inputs: draws inputs, `(key, n) -> (n, d)`.
        n_steps: steps of equal length to the maturity; also the dates that averages and barriers see.
        scheme: of a step.
        n_paths: paths that are averaged into one label.
        antithetic: whether every path is averaged with its mirror image.
        noise: what drives the paths.
        labels: how derivatives are estimated.
        controls: control variates; subtracted from the payoff.
        pilot_paths: paths from which the coefficients of the controls are estimated by regression for each batch;
            they are drawn for this alone, so labels stay unbiased. With 0 all coefficients are one.

    Raises:
        ValueError: a number is out of range, shapes do not fit, the scheme cannot step the model, or the labels would
            be wrong for the payoff; the message says why and what to do.
        TypeError: `problem` or `inputs` is no function, or does not return what it should.
    """

    problem: Callable[[Float[Array, " d"]], Problem]
    inputs: Callable[[PRNGKeyArray, int], Float[Array, "n d"]]
    scheme: AbstractScheme
    noise: AbstractNoise
    labels: AbstractLabels
    controls: tuple[AbstractControl, ...]
    n_steps: int = eqx.field(static=True)
    n_paths: int = eqx.field(static=True)
    antithetic: bool = eqx.field(static=True)
    pilot_paths: int = eqx.field(static=True)
    _too_narrow: str | None = eqx.field(static=True, init=False)

    def __init__(
        self,
        problem: Callable[[Float[Array, " d"]], Problem],
        inputs: Callable[[PRNGKeyArray, int], Float[Array, "n d"]],
        *,
        n_steps: int,
        scheme: AbstractScheme,
        n_paths: int = 1,
        antithetic: bool = True,
        noise: AbstractNoise | None = None,
        labels: AbstractLabels | None = None,
        controls: Sequence[AbstractControl] = (),
        pilot_paths: int = 0,
    ) -> None:
        """Look at a few inputs and refuse what cannot be simulated, or would be labelled wrongly."""
        for name, function in (("problem", problem), ("inputs", inputs)):
            if not callable(function):
                raise TypeError(f"`{name}` is {type(function).__name__}; it must be a function.")
        for name, number, least in (("n_steps", n_steps, 1), ("n_paths", n_paths, 1), ("pilot_paths", pilot_paths, 0)):
            if not isinstance(number, int) or number < least:
                raise ValueError(f"`{name}` is {number}; give a whole number, at least {least}.")
        self.problem, self.inputs, self.scheme = problem, inputs, scheme
        self.noise = PseudoRandom() if noise is None else noise
        self.labels = Pathwise() if labels is None else labels
        self.controls = tuple(controls)
        self.n_steps, self.n_paths, self.antithetic, self.pilot_paths = n_steps, n_paths, antithetic, pilot_paths
        if pilot_paths and not self.controls:
            raise ValueError(f"`pilot_paths` is {pilot_paths}, and there are no `controls` to find coefficients for.")
        self._too_narrow = self._look()

    def _look(self) -> str | None:
        """Check the problem at some inputs; returns why second derivatives would be useless, if they would."""
        x = self.inputs(jax.random.key(0), _PROBES)
        if len(x.shape) != 2 or x.shape[0] != _PROBES:
            raise ValueError(
                f"`inputs` returns shape {x.shape} for {_PROBES} samples asked for; it must be (n, d), here "
                f"({_PROBES}, d)."
            )
        problem = self.problem(x[0])
        if not isinstance(problem, Problem):
            raise TypeError(f"`problem` returns {type(problem).__name__}; it must return a `Problem`.")
        problem = problem.agreed()
        self._check_shapes(problem)
        problem.payoff.check_steps(self.n_steps)
        self._check_labels(problem.payoff, second=False)
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((self, problem, x))):
            return None  # made inside a compiled function: values cannot be looked at
        if not float(problem.maturity) > float(problem.begin):
            raise ValueError(
                f"`maturity` is {float(problem.maturity)} at the input {x[0].tolist()}; it must be later than the "
                f"start at {float(problem.begin)}."
            )
        self.scheme.check(problem.model, problem.begin, problem.start)
        _ = self.dim_out  # a payoff or a control that does not fit the model says so itself
        self._check_direct_dependence(x[0], problem.payoff)
        return _too_narrow(problem)

    def _check_shapes(self, problem: Problem) -> None:
        model, s = problem.model, problem.start
        if s.ndim != 1:
            raise ValueError(f"`start` of the problem has shape {s.shape}; give one number for each state, (q,).")
        (q,) = s.shape
        for name, function, shape in (
            ("drift", model.drift, (q,)),
            ("diffusion", model.diffusion, (q, model.n_noise)),
        ):
            found = jax.eval_shape(lambda f=function: f(jnp.asarray(problem.begin, s.dtype), s)).shape
            if found != shape:
                raise ValueError(
                    f"`{name}` of the model returns shape {found}; {q} states and {model.n_noise} Brownian motions ask "
                    f"for {shape}."
                )
        if self.labels.needs_density:
            n_noise = self.scheme.n_noise(model)
            if not self.scheme.invertible(model) or n_noise != q:
                raise ValueError(
                    f"`labels` is {type(self.labels).__name__}, which needs the density of a step, and "
                    f"{type(self.scheme).__name__} of {type(model).__name__} with {q} states and {n_noise} normals has "
                    "none that can be had by differentiating the step: it takes as many Brownian motions as states, a "
                    "scheme such as `EulerMaruyama()`, and a diffusion that never vanishes. Smooth the payoff and use "
                    "`Pathwise()`."
                )

    def _check_labels(self, payoff: AbstractPayoff, *, second: bool) -> None:
        self.labels.check(payoff, second=second)
        if isinstance(self.labels, LikelihoodRatio):
            return  # controls have the expectation zero whatever is done to them
        for control in self.controls:
            if not control.lipschitz or (second and control.kinked):
                raise ValueError(
                    f"`controls` holds {type(control).__name__} of a payoff with a "
                    f"{'kink' if control.lipschitz else 'jump'}, whose derivatives along a path are wrong. Smooth "
                    "it, or leave it out."
                )

    def _check_direct_dependence(self, x: Float[Array, " d"], payoff: AbstractPayoff) -> None:
        """A density holds the path, and not what the payoff itself takes from the input."""
        jumps = isinstance(self.labels, LikelihoodRatio) and not payoff.lipschitz
        kinks = isinstance(self.labels, Mixed) and payoff.kinked
        if not (jumps or kinks):
            return

        def parameters(x: Float[Array, " d"]) -> list[Float[Array, "..."]]:
            return jax.tree.leaves(eqx.filter(self.problem(x).payoff, eqx.is_inexact_array))

        slopes = jax.jacfwd(parameters)(x)
        if any(bool(jnp.any(slope != 0)) for slope in slopes):
            raise ValueError(
                f"`labels` is {type(self.labels).__name__}, and the payoff, which has a {'jump' if jumps else 'kink'}, "
                "depends on the input itself (a strike or a barrier that is an input?). The score holds the path "
                "still, and not the place of the jump. Smooth the payoff, or scale the model instead: start at "
                "spot/strike."
            )

    @property
    def dim_in(self) -> int:
        """Number of inputs, d."""
        return jax.eval_shape(lambda: self.inputs(jax.random.key(0), 1)).shape[1]

    @property
    def dim_out(self) -> int:
        """Number of payoffs, m."""
        return jax.eval_shape(lambda: self._payoffs(self.inputs(jax.random.key(0), 1), jax.random.key(0), 1)[0]).shape[
            -1
        ]

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """Inputs, payoffs `(n, m)` and the labels of their gradients `(n, m, d)`; curvature along directions.

        Raises:
            ValueError: second derivatives are asked for and would be wrong or useless; the message says why.
        """
        inputs_key, path_key = jax.random.split(key)
        return self.label(path_key, self.inputs(inputs_key, n), directions=directions)

    def label(
        self, key: PRNGKeyArray, x: Float[Array, "n d"], *, directions: AbstractDirections | None = None
    ) -> Samples:
        """Labels at given inputs; see `sample`."""
        if directions is not None:
            self._check_labels(eqx.filter_eval_shape(self.problem, x[0]).payoff, second=True)
            if self._too_narrow is not None:
                raise ValueError(self._too_narrow)
        path_key, pilot_key, directions_key = jax.random.split(key, 3)
        coefficients = self._coefficients(pilot_key, x)
        n = x.shape[0]
        draws = self._draws(path_key, x, n * self.n_paths)
        draws = jax.tree.map(lambda leaf: leaf.reshape(n, self.n_paths, *leaf.shape[1:]), draws)

        def estimate(estimator, x, draws):
            """Mean over the paths of one sample of one of the two estimators of the labels."""

            def of_path(normals):
                return estimator(lambda x, z: self._path(x, z, coefficients), self._pinned, x, normals)

            return self._mean(of_path, draws, x)

        def of_sample(x, draws):
            return value_and_jacobian(lambda x: estimate(self.labels.values, x, draws), x)

        y, dydx = jax.vmap(of_sample)(x, draws)
        if directions is None:
            return Samples(x, y, dydx)

        def products(v: Float[Array, "n k d"]) -> Float[Array, "n m k d"]:
            def at_sample(x, draws, v):
                _, tangent = jax.linearize(lambda x: estimate(self.labels.gradients, x, draws), x)
                return jnp.moveaxis(jax.vmap(tangent)(v), 0, 1)

            return jax.vmap(at_sample)(x, draws, v)

        v = directions.draw(directions_key, dydx, products)
        return Samples(x, y, dydx, hvps=HessianProducts(v, products(v)))

    def _n_noise(self, x: Float[Array, "n d"]) -> int:
        return self.scheme.n_noise(eqx.filter_eval_shape(self.problem, x[0]).model)

    def _draws(self, key: PRNGKeyArray, x: Float[Array, "n d"], n: int) -> PyTree:
        return self.noise.draw(key, n, self.n_steps, self._n_noise(x), x.dtype)

    def _mean(self, of_path: Callable[[Normals], PyTree], draws: PyTree, x: Float[Array, " d"]) -> PyTree:
        """Mean over paths, and over their mirror images if these are wanted."""
        n_noise = self._n_noise(x[None])
        signs = jnp.asarray((1.0, -1.0) if self.antithetic else (1.0,), x.dtype)

        def of_draw(draw):
            def with_sign(sign):
                return of_path(lambda begin, size: sign * self.noise.block(draw, begin, size, n_noise, x.dtype))

            # Within, the noise does not depend on the sign and is made once for both.
            return jax.vmap(with_sign)(signs)

        return jax.tree.map(lambda values: jnp.mean(values, (0, 1)), jax.vmap(of_draw)(draws))

    def _path(self, x: Float[Array, " d"], normals: Normals, coefficients: Float[Array, "n_controls m"] | None):
        y, gains = simulate(self.problem(x), x, self.scheme, self.n_steps, normals, self.controls)
        return y - jnp.sum(gains if coefficients is None else coefficients * gains, 0)

    def _pinned(self, x: Float[Array, " d"], normals: Normals) -> tuple[Normals, Float[Array, ""]]:
        zeta, log_density = pinned(self.problem(x), self.scheme, self.n_steps, all_normals(normals, self.n_steps))
        return as_normals(zeta), log_density

    def _payoffs(
        self, x: Float[Array, "n d"], key: PRNGKeyArray, n: int
    ) -> tuple[Float[Array, "n m"], Float[Array, "n n_controls m"]]:
        """Payoffs and controls of one path for each of `n` inputs, taken from `x` in turn."""
        x = x[jnp.arange(n) % x.shape[0]]
        draws = jax.tree.map(lambda leaf: leaf[:, None], self._draws(key, x, n))

        def at_sample(x, draws):
            return self._mean(
                lambda normals: simulate(self.problem(x), x, self.scheme, self.n_steps, normals, self.controls),
                draws,
                x,
            )

        return jax.vmap(at_sample)(x, draws)

    def _coefficients(self, key: PRNGKeyArray, x: Float[Array, "n d"]) -> Float[Array, "n_controls m"] | None:
        """Regression of the payoff on the controls, over paths of its own; None stands for ones."""
        if not self.pilot_paths:
            return None
        # Coefficients are constants: known before the paths of the labels, and not differentiated.
        y, gains = jax.lax.stop_gradient(self._payoffs(x, key, self.pilot_paths))
        y = y - jnp.mean(y, 0, keepdims=True)
        gram = jnp.einsum("nim,njm->mij", gains, gains)
        # A control that is zero on all paths gets the coefficient zero.
        ridge = jnp.finfo(x.dtype).eps * jnp.trace(gram, axis1=1, axis2=2) + jnp.finfo(x.dtype).tiny
        gram = gram + ridge[:, None, None] * jnp.eye(len(self.controls), dtype=x.dtype)[None]
        return jnp.linalg.solve(gram, jnp.einsum("nim,nm->mi", gains, y)[..., None])[..., 0].T


def _too_narrow(problem: Problem) -> str | None:
    """Why second derivatives of the payoff would be lost in rounding, or None.

    The sigmoid sees `(u − position)/width`, where rounding leaves an error of about `ε max(|u|, |position|)` in u. Of a
    call on 20 log-normal steps in float32, the labels of the gamma have the root mean square error (in parts of their
    own) 10⁻³ at a width of 830 ε, 4·10⁻³ at 250 ε and 1 at 8 ε.
    """
    dtype = problem.start.dtype
    seen = float(np.max(np.abs(np.asarray(problem.model.observe(problem.begin, problem.start)))))
    for position, width in problem.payoff.smoothings:
        size = max(abs(float(position)), seen)
        least = _ROUNDINGS * float(jnp.finfo(dtype).eps) * size
        if float(width) < least:
            return (
                f"the payoff is smoothed with the width {float(width):.3g} around {float(position):.6g}, and in "
                f"{dtype} second derivatives need at least {least:.3g}: below, they are rounding errors. Smooth more "
                "widely, or enable float64."
            )
    return None
