"""One path, simulated in one compiled loop whose derivative takes memory of the square root of its length."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._controls import AbstractControl, PathStep
from ._problem import Problem
from ._schemes import AbstractScheme
from ._sde import number_or_zero

# The standard normals of `size` steps from number `begin` on, `(begin, size) -> (size, n_noise)`.
Normals = Callable[[Int[Array, ""] | int, int], Float[Array, "size n_noise"]]

# Up to here a plain loop takes less memory than two levels would save.
_PLAIN = 8


def layout(n_steps: int) -> tuple[int, int, int]:
    """Number and size of the blocks of steps, about the square root of their number, and the steps that are left."""
    if n_steps <= _PLAIN:
        return 1, n_steps, 0
    root = math.sqrt(n_steps)
    # A divisor near the root leaves no remainder, which would be compiled once more.
    near = [size for size in range(math.ceil(root / 1.5), int(1.5 * root) + 1) if n_steps % size == 0]
    size = min(near, key=lambda size: abs(size - root)) if near else round(root)
    return n_steps // size, size, n_steps % size


def simulate(
    problem: Problem,
    x: Float[Array, " d"],
    scheme: AbstractScheme,
    n_steps: int,
    normals: Normals,
    controls: Sequence[AbstractControl] = (),
) -> tuple[Float[Array, " m"], Float[Array, "n_controls m"]]:
    """The discounted payoff of one path, and the controls on it.

    Payoff and controls are gathered while the path is stepped, and no path is stored. The adjoint needs the states
    backwards: it keeps those at the ends of about √n blocks of √n steps and repeats the steps of one block at a time
    (`jax.checkpoint`), so that memory grows as √n and time by one more pass. The normals are made anew in each block.

    Args:
        problem: what is simulated.
        x: the input that it belongs to.
        scheme: of a step.
        n_steps: of equal length, from `problem.begin` to `problem.maturity`.
        normals: of the path.
        controls: each of expectation zero.

    Returns:
        The payoff of every output, and of every control its value for every output.
    """
    problem = problem.agreed()
    model, payoff, dtype = problem.model, problem.payoff, problem.start.dtype
    dt = jnp.asarray((problem.maturity - problem.begin) / n_steps, dtype)

    def step(carry, number_and_normals):
        s, gathered, gains = carry
        number, z = number_and_normals
        t = problem.begin + number.astype(dtype) * dt
        dw = jnp.sqrt(dt) * z
        s_next = scheme.step(model, t, dt, s, dw)
        moved = PathStep(t, dt, s, dw[: model.n_noise], s_next)
        gathered = payoff.update(gathered, t + dt, model.observe(t + dt, s_next))
        gains = tuple(c.update(g, problem, moved) for c, g in zip(controls, gains, strict=True))
        return (s_next, gathered, gains), None

    def block(carry, begin, size):
        return jax.lax.scan(step, carry, (begin + jnp.arange(size), normals(begin, size)))[0]

    carry = (
        problem.start,
        payoff.init(model.observe(problem.begin, problem.start)),
        tuple(control.init(problem) for control in controls),
    )
    n_blocks, size, rest = layout(n_steps)
    if n_steps == 1:
        carry, _ = step(carry, (jnp.asarray(0), normals(0, 1)[0]))
    elif n_blocks == 1:
        carry = block(carry, 0, size)
    else:
        whole = jax.checkpoint(lambda carry, begin: block(carry, begin, size), prevent_cse=False)
        carry, _ = jax.lax.scan(lambda c, begin: (whole(c, begin), None), carry, size * jnp.arange(n_blocks))
        if rest:
            carry = jax.checkpoint(lambda carry: block(carry, n_blocks * size, rest))(carry)
    discount = jnp.exp(-jnp.asarray(number_or_zero(problem.rate) * (problem.maturity - problem.begin), dtype))
    y = jnp.atleast_1d(discount * payoff.value(carry[1]))
    values = [c.value(g, problem, x) for c, g in zip(controls, carry[2], strict=True)]
    gains = [jnp.broadcast_to(jnp.atleast_1d(value), y.shape) for value in values]
    return y, jnp.stack(gains) if gains else jnp.zeros((0, *y.shape), dtype)


def all_normals(normals: Normals, n_steps: int) -> Float[Array, "n_steps n_noise"]:
    """The normals of all steps, from the blocks in which a simulation asks for them."""
    n_blocks, size, rest = layout(n_steps)
    blocks = [normals(number * size, size) for number in range(n_blocks)]
    return jnp.concatenate([*blocks, normals(n_blocks * size, rest)] if rest else blocks)


def as_normals(z: Float[Array, "n_steps n_noise"]) -> Normals:
    """The normals of a path that are already there."""
    return lambda begin, size: jax.lax.dynamic_slice_in_dim(z, begin, size)


def pinned(
    problem: Problem, scheme: AbstractScheme, n_steps: int, z: Float[Array, "n_steps n_noise"]
) -> tuple[Float[Array, "n_steps n_noise"], Float[Array, ""]]:
    """The same normals, but moving with the parameters so that the path stands still; and the density of the path.

    A step maps normals to the next state, `S' = G(x, z)`. With `ζ(x)` such that `G(x, ζ(x))` stays `S'`, the density of
    the path at `S'` is the product of `φ(ζ) / |det ∂G/∂z|`, and the derivative of its logarithm in x is the score. By
    the implicit function theorem `dζ/dx = −(∂G/∂z)⁻¹ ∂G/∂x`; that is the derivative of
    `z − J⁻¹ (G(x, z) − S')` with J and S' held fixed, whose value is z. So values and first derivatives of what is
    returned are right, and second ones are not.

    Returns:
        The normals ζ, and the logarithm of the density of all states up to a constant.
    """
    model, dtype = problem.agreed().model, problem.start.dtype
    dt = jnp.asarray((problem.maturity - problem.begin) / n_steps, dtype)

    def step(s, number_and_normals):
        number, z = number_and_normals
        t = problem.begin + number.astype(dtype) * dt

        def move(z):
            return scheme.step(model, t, dt, s, jnp.sqrt(dt) * z)

        moved = move(z)
        target = jax.lax.stop_gradient(moved)
        slope = jax.lax.stop_gradient(jax.jacfwd(move)(z))
        zeta = z - _solve(slope, moved - target)
        log_density = -0.5 * zeta @ zeta - _log_det(jax.jacfwd(move)(zeta))
        return target, (zeta, log_density)

    _, (zeta, log_densities) = jax.lax.scan(step, problem.start, (jnp.arange(n_steps), z))
    return zeta, jnp.sum(log_densities)


def _solve(matrix: Float[Array, "q q"], vector: Float[Array, " q"]) -> Float[Array, " q"]:
    # Of one state, a division: a factorisation of many 1x1 matrices costs more than all the rest.
    return vector / matrix[0] if vector.shape == (1,) else jnp.linalg.solve(matrix, vector)


def _log_det(matrix: Float[Array, "q q"]) -> Float[Array, ""]:
    return jnp.log(jnp.abs(matrix[0, 0])) if matrix.shape == (1, 1) else jnp.linalg.slogdet(matrix)[1]
