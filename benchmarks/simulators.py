"""How many labelled samples a second do the simulators make?

    python benchmarks/simulators.py [--samples 16384] [--rounds 5]

A sample is one input with its value and pathwise gradient from one antithetic pair of paths; simulated references take
50 steps unless their step is exact. Reported are the best rounds, after compilation, with labels of first order and,
where there are any, of second order along one direction, and as multiples of the closed-form basket beside them.
Writes `benchmarks/results/simulators.md`.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np

from sobolev_pruning.reference import (
    CEV,
    AbstractReferenceModel,
    AbstractSDE,
    BachelierBasket,
    Basket,
    BlackScholes,
    Call,
    EulerMaruyama,
    Milstein,
    Mixed,
    ModelStep,
    Option,
    Problem,
    Rademacher,
    SobolNormals,
    StochasticReference,
    Terminal,
    UniformBox,
    correlated_basket,
    random_correlation,
)
from sobolev_pruning.study import environment

RESULTS = Path(__file__).parent / "results" / "simulators.md"


def black_scholes(**options) -> StochasticReference:
    """A call, spot and volatility as inputs."""
    law = UniformBox(jax.numpy.array([0.5, 0.1]), jax.numpy.array([1.5, 0.5]))

    def problem(x: jax.Array) -> Problem:
        return Problem(BlackScholes(x[1]), x[:1], Option(Call(1.0)), maturity=1.0)

    return StochasticReference(problem, law, **options)


def basket(model: AbstractSDE, d: int, n_steps: int, **options) -> AbstractReferenceModel:
    """A call on the mean of d correlated assets."""
    correlation = random_correlation(jax.random.key(0), d)
    payoff = Option(Call(1.0), Terminal(Basket(jax.numpy.full(d, 1 / d))))
    return correlated_basket([model] * d, correlation, payoff, n_steps=n_steps, **options)


def references() -> dict[str, AbstractReferenceModel]:
    """By what they are."""
    found: dict[str, AbstractReferenceModel] = {}
    for d in (7, 100):
        found[f"Bachelier basket, {d} assets, exact"] = BachelierBasket.random(jax.random.key(0), d)
    found["Black–Scholes call, exact step"] = black_scholes(n_steps=1, scheme=ModelStep())
    found["… second order (mixed)"] = black_scholes(n_steps=1, scheme=ModelStep(), labels=Mixed())
    found["Black–Scholes call, Euler, 50 steps"] = black_scholes(n_steps=50, scheme=EulerMaruyama())
    found["Black–Scholes call, Milstein, 50 steps"] = black_scholes(n_steps=50, scheme=Milstein())
    found["… with Sobol points and bridge"] = black_scholes(n_steps=50, scheme=EulerMaruyama(), noise=SobolNormals())
    for d in (7, 100):
        found[f"Black–Scholes basket, {d} assets, 50 steps"] = basket(BlackScholes(0.2), d, 50)
    found["CEV basket, 7 assets, 50 steps"] = basket(CEV(0.2, 0.7), 7, 50)
    return found


def rate(reference: AbstractReferenceModel, n: int, rounds: int, second: bool) -> float:
    """Samples a second, the best of some rounds."""
    directions = Rademacher() if second else None
    draw = jax.jit(lambda key: reference.sample(key, n, directions=directions))
    jax.block_until_ready(draw(jax.random.key(0)))
    times = []
    for key in jax.random.split(jax.random.key(1), rounds):
        begin = time.perf_counter()
        jax.block_until_ready(draw(key))
        times.append(time.perf_counter() - begin)
    return n / float(np.min(times))


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# Speed of the simulators",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/simulators.py --samples {arguments.samples} --rounds {arguments.rounds}`.",
        "",
        "| reference | labels | thousand samples a second | relative |",
        "|---|---|---|---|",
    ]
    base = None
    for name, reference in references().items():
        second = "second order" in name
        found = rate(reference, arguments.samples, arguments.rounds, second)
        base = found if base is None else base
        labels = "values, gradients, one Hessian product" if second else "values, gradients"
        lines.append(f"| {name} | {labels} | {found / 1e3:.1f} | {found / base:.3f} |")
        print(lines[-1], flush=True)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
