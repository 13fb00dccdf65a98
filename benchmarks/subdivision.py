"""How tight do ranges over large regions become, and how soon?

    python benchmarks/subdivision.py [--seed 0] [--large]

Trains surrogates of 40 (7-3-3-1) and 433 parameters (7-8×6-1) of the Bachelier basket on its closed form, and one-asset
surrogates of Bachelier's and of Black and Scholes' formula with spot and volatility as inputs. `enclose_range` then
encloses values and gradients over the whole box of the training data; of the 40 parameters second derivatives, too;
and, of all but the 433, the difference to the closed form. Reported is the widest of the enclosures as a multiple of
the range that was found at points, after several times; of differences, the guaranteed largest as a multiple of the
largest found. `--large` does the same for the oversized network 7-128×6-1 over a tenth of the box, which is first
trained as in the case study. Writes `benchmarks/results/subdivision.md`.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from sobolev_pruning.intervals import Interval, Subdivision, enclose_range
from sobolev_pruning.reference import BachelierBasket, FunctionReference, Samples
from sobolev_pruning.regions import Box
from sobolev_pruning.sobolev import SobolevLoss, fit_levenberg_marquardt
from sobolev_pruning.study import Study, StudyConfig, environment
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

RESULTS = Path(__file__).parent / "results" / "subdivision.md"
TIMES = (1.0, 3.0, 10.0, 30.0)


def bachelier(x: jax.Array) -> jax.Array:
    """A call of strike 1 and maturity 1, as a function of spot and normal volatility."""
    u = (x[0] - 1) / x[1]
    return (x[1] * (u * norm.cdf(u) + norm.pdf(u)))[None]


def black_scholes(x: jax.Array) -> jax.Array:
    """A call of strike 1 and maturity 1, as a function of spot and volatility."""
    d = (jnp.log(x[0]) + 0.5 * x[1] ** 2) / x[1]
    return (x[0] * norm.cdf(d) - norm.cdf(d - x[1]))[None]


def trained(samples: Samples, widths: list[int], steps: int) -> Surrogate:
    """Levenberg–Marquardt on values and gradients."""
    start = Surrogate(MLP.create(widths, key=jax.random.key(2)), Normalisation.from_samples(samples))
    data = Samples(samples.x, samples.y, samples.dydx)
    return fit_levenberg_marquardt(start, data, SobolevLoss(), max_steps=steps).surrogate


def values_and_gradient(f: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """Both as one vector."""
    return lambda x: jnp.concatenate([f(x), jax.jacrev(f)(x).reshape(-1)])


def measured(f: Callable, region: Box, *, guide: Callable | None = None, error: bool = False) -> tuple[list[str], str]:
    """Cells of a row: value / widest other entry at each time, and seconds before the first bounds."""
    shown: dict[float, str] = {}
    begun = time.perf_counter()
    first = 0.0

    def seen(state: Subdivision) -> None:
        nonlocal first
        now = time.perf_counter() - begun
        first = first or now
        if error:
            ends = [
                np.maximum(abs(np.asarray(x.lower)), abs(np.asarray(x.upper))) for x in (state.range, state.attained)
            ]
            ratio = ends[0] / ends[1]
        else:
            ratio = np.asarray(state.excess)
        for t in TIMES:
            if now - first <= t or t not in shown:
                shown[t] = f"{ratio[0]:.3g} / {ratio[1:].max():.3g}"

    box = Interval(region.lower, region.upper)
    enclose_range(f, box, guide=guide, seconds=TIMES[-1], tolerance=0.002, progress=seen)
    return [shown[t] for t in TIMES], f"{first:.0f}"


def main() -> None:
    """Train, measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)  # as the command `certify` does: small errors need it
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    headings = " | ".join(f"{t:g} s" for t in TIMES)
    lines = [
        "# Ranges by subdivision",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/subdivision.py --seed {arguments.seed}{' --large' * arguments.large}`; one seed.",
        "Value / widest other entry, as a multiple of what was found at points, so long after the first bounds. The",
        "last column says how many seconds these took, nearly all of it compilation.",
        "",
        f"| surrogate | quantities | {headings} | first (s) |",
        "|---|---|" + "---|" * (len(TIMES) + 1),
    ]

    def row(name: str, quantities: str, *args, **options) -> None:
        cells, first = measured(*args, **options)
        lines.append(f"| {name} | {quantities} | {' | '.join(cells)} | {first} |")
        print(lines[-1], flush=True)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")

    basket = BachelierBasket.random(jax.random.key(arguments.seed), dim=7)
    x = basket.spots(jax.random.key(arguments.seed + 1), 4096)
    truth, box = basket.truth(x), Box.around(x)

    def closed_form(x: jax.Array) -> jax.Array:
        return basket.truth(x[None]).y[0]

    def compare(name: str, model: Surrogate, f: Callable, region: Box) -> None:
        mine, theirs = values_and_gradient(model), values_and_gradient(f)
        row(
            name,
            "largest difference to the closed form",
            lambda x: mine(x) - theirs(x),
            region,
            guide=lambda x: (mine(x), theirs(x)),
            error=True,
        )

    for name, widths, steps in (("7-3-3-1", [7, 3, 3, 1], 100), ("7-8×6-1", [7, *[8] * 6, 1], 40)):
        model = trained(truth, widths, steps)
        row(name, "value / deltas", values_and_gradient(model), box)
        if len(widths) == 4:
            row(name, "one / all second derivatives", lambda x, m=model: m.hessian(x)[0][jnp.triu_indices(7)], box)
            compare(name, model, closed_form, box)
    low, high = jnp.array([0.6, 0.15]), jnp.array([1.4, 0.4])
    for name, f in (("Bachelier 2-5-1", bachelier), ("Black–Scholes 2-5-1", black_scholes)):
        reference = FunctionReference(f, lambda key, n: jax.random.uniform(key, (n, 2), minval=low, maxval=high))
        compare(name, trained(reference.sample(jax.random.key(3), 1024), [2, 5, 1], 100), f, Box(low, high))
    if arguments.large:
        study = Study(StudyConfig(seed=arguments.seed))
        large = jax.tree.map(lambda w: w.astype(float) if eqx.is_array(w) else w, next(study.run()).surrogate)
        spots = study.basket.spots(jax.random.key(arguments.seed), 4096)
        row("7-128×6-1, scale 0.1", "value / deltas", values_and_gradient(large), Box.around(spots, 0.1))


if __name__ == "__main__":
    main()
