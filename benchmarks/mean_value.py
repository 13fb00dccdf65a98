"""How much tighter is the mean-value form than the natural enclosure?

    python benchmarks/mean_value.py

For the Bachelier and the Black-Scholes price of a call (spot, volatility), and for small SiLU networks and their
gradients, over boxes of several relative radii: the width of the enclosure by `inclusion` and by
`mean_value`, as a multiple of the sampled range (4096 random points and all corners), the mean over the outputs and
over 20 boxes. 1 is perfect. Writes `benchmarks/results/mean_value.md`.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from sobolev_pruning.intervals import Interval, inclusion, mean_value
from sobolev_pruning.study import environment
from sobolev_pruning.surrogate import MLP

RADII = (0.3, 0.1, 0.03, 0.01, 0.003)
BOXES, POINTS = 20, 4096


def normal_cdf(x: jax.Array) -> jax.Array:
    """Φ."""
    return 0.5 * (1 + jax.lax.erf(x / np.sqrt(2.0)))


def bachelier(x: jax.Array) -> jax.Array:
    """Price of a call, strike 100, one year, of `(spot, volatility in units of the spot)`."""
    deviation = x[0] - 100.0
    d = deviation / x[1]
    return deviation * normal_cdf(d) + x[1] * jnp.exp(-0.5 * d * d) / np.sqrt(2 * np.pi)


def black_scholes(x: jax.Array) -> jax.Array:
    """Price of a call, strike 100, one year, rate 2 %, of `(spot, volatility)`."""
    rate = 0.02
    d = (jnp.log(x[0] / 100.0) + rate) / x[1] + 0.5 * x[1]
    return x[0] * normal_cdf(d) - 100.0 * np.exp(-rate) * normal_cdf(d - x[1])


def scalar(network: MLP) -> Callable[[jax.Array], jax.Array]:
    """The only output."""
    return lambda x: network(x)[0]


def excess(f: Callable[..., jax.Array], middle: np.ndarray, unit: np.ndarray) -> list[str]:
    """For every radius, the widths by `inclusion` and by `mean_value` over the sampled range, as a text."""
    dim = middle.shape[1]
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=dim)))
    offsets = np.vstack([corners, np.random.default_rng(0).uniform(-1, 1, (POINTS, dim))])
    sampled = jax.jit(jax.vmap(jax.vmap(f)))
    methods = [jax.jit(jax.vmap(g)) for g in (inclusion(f), mean_value(f))]
    cells = []
    for radius in RADII:
        values = sampled(jnp.asarray(middle[:, None] + radius * offsets * unit[:, None]))
        true = values.max(axis=1) - values.min(axis=1)
        box = Interval(middle - radius * unit, middle + radius * unit)
        natural, sharp = (float(jnp.exp(jnp.log(method(box).width / true).mean())) for method in methods)
        cells.append(f"{natural:.3g} / {sharp:.3g}")
    return cells


def main() -> None:
    """Measure and write the table."""
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(1)
    spots = np.stack([rng.uniform(80, 120, BOXES), rng.uniform(0.15, 0.4, BOXES)], axis=1)
    scaled = spots * np.array([1.0, 100.0])
    inputs = rng.normal(size=(BOXES, 7))
    # The radius of a spot is relative to 20, the half-width of its range, that of a volatility to itself.
    units, scaled_units = (np.stack([np.full(BOXES, 20.0), x[:, 1]], axis=1) for x in (spots, scaled))
    cases = {
        "Bachelier, price": (bachelier, scaled, scaled_units),
        "Black-Scholes, price": (black_scholes, spots, units),
    }
    for sizes in ((7, 8, 8, 1), (7, 32, 32, 1)):
        f = scalar(MLP.create(sizes, key=jax.random.key(0)))
        name = "SiLU network " + "-".join(map(str, sizes))
        cases[f"{name}, value"] = (f, inputs, np.ones_like(inputs))
        cases[f"{name}, gradient"] = (jax.grad(f), inputs, np.ones_like(inputs))
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# The mean-value form",
        "",
        f"{machine}.",
        "",
        "Made by `python benchmarks/mean_value.py`. Width of the enclosure by `inclusion` / by `mean_value`, as a",
        f"multiple of the sampled range; geometric mean over {BOXES} boxes and the outputs. Radius: of spots in units",
        "of 20, of volatilities relative, of network inputs absolute.",
        "",
        "| function | " + " | ".join(f"{r:g}" for r in RADII) + " |",
        "|---|" + "---|" * len(RADII),
    ]
    for name, (f, middle, unit) in cases.items():
        lines.append(f"| {name} | {' | '.join(excess(f, middle, unit))} |")
        print(lines[-1], flush=True)
    (Path(__file__).parent / "results" / "mean_value.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
