"""How small can the surrogate of the seven-asset basket get?

    python benchmarks/shrink.py [--seeds 0 1 2] [--hidden 128 128 128 128 128 128] [--steps 3000]

For each seed a basket is drawn, a network is trained on its truth, and `shrink` looks for the smallest one with 1 − R²
of at most 1e-6, 1e-5 and 1e-3 (values, deltas, Hessian) and errors of values of at most 2e-3. What it finds is measured
on a million fresh points of the training law, wings included. Writes `benchmarks/results/shrink.md`.
"""

import argparse
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sobolev_pruning.pruning import Candidate, ShrinkResult, Tolerance, shrink
from sobolev_pruning.reference import BachelierBasket, FunctionReference, Mixture, ModelLaw, UniformCube
from sobolev_pruning.sobolev import SobolevLoss, fit
from sobolev_pruning.study import environment, errors_between, short_widths
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

TOLERANCE = Tolerance(values=1e-6, gradients=1e-5, curvature=1e-3, largest_value=2e-3)
N_JUDGED, N_WIDE = 8192, 2**20


def main() -> None:
    """Search for each seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--hidden", type=int, nargs="+", default=[128] * 6)
    parser.add_argument("--steps", type=int, default=3000)
    options = parser.parse_args()
    rows, fronts = [], []
    for seed in options.seeds:
        basket = BachelierBasket.random(
            jax.random.key(seed), 7, spot_law=Mixture(UniformCube(), ModelLaw()), spot_volatility_multiplier=1.5
        )
        start = _trained(basket, options.hidden, options.steps, seed)
        begin = time.perf_counter()
        result = shrink(start, basket, tolerance=TOLERANCE, key=jax.random.key(seed + 2), progress=_tell)
        seconds = time.perf_counter() - begin
        rows.append(_row(seed, basket, result, seconds))
        fronts.append(", ".join(f"{short_widths(c.widths)} ({c.errors.values:.0e})" for c in result.front))
        _write(options, rows, fronts)


def _write(options: argparse.Namespace, rows: list[str], fronts: list[str]) -> None:
    """What is there after each seed, since all of them take long."""
    listed, hidden = " ".join(map(str, options.seeds[: len(rows)])), " ".join(map(str, options.hidden))
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# The smallest network",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/shrink.py --seeds {listed} --hidden {hidden} --steps {options.steps}`.",
        "",
        f"Starting from {short_widths([7, *options.hidden, 1])}, within 1 − R² of 1e-6, 1e-5 and 1e-3 (values, deltas,",
        "Hessian) and 2e-3 in value. Gammas are the sum of the Hessian's entries; the largest error of a value is over",
        "a million fresh points of the training law, wings included. Seconds are of the search, compilation included.",
        "",
        "| seed | network | parameters | values | deltas | Hessian | gammas | largest error | tried | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "The fronts, with 1 − R² of the values:",
        "",
        *(f"- seed {seed}: {front}" for seed, front in zip(options.seeds, fronts, strict=False)),
    ]
    output = Path(__file__).parent / "results" / "shrink.md"
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _trained(basket: BachelierBasket, hidden: list[int], steps: int, seed: int) -> Surrogate:
    """On the basket's price, delta by delta, over a law that is a little wider than the one it is judged on."""
    network_key, units_key, fit_key = jax.random.split(jax.random.key(seed + 1), 3)
    wide = eqx.tree_at(lambda b: b.spot_volatility_multiplier, basket, 2.0)
    teacher = FunctionReference(lambda x: basket.truth(x[None]).y[0], wide.spots)
    units = Normalisation.from_samples(basket.truth(basket.spots(units_key, 65536)))
    start = Surrogate(MLP.create([7, *hidden, 1], key=network_key), units)
    optimizer = optax.contrib.muon(optax.cosine_decay_schedule(0.005, steps))
    return fit(start, teacher, SobolevLoss(), key=fit_key, steps=steps, batch_size=512, optimizer=optimizer).surrogate


def _tell(candidate: Candidate) -> None:
    e = candidate.errors
    numbers = f"{e.values:.1e} {e.gradients:.1e} {e.curvature:.1e}, largest {e.largest_value:.1e}"
    print(f"  {candidate.widths} {candidate.n_parameters}: {numbers}", flush=True)


def _row(seed: int, basket: BachelierBasket, result: ShrinkResult, seconds: float) -> str:
    small = result.smallest.surrogate
    truth = basket.truth(basket.spots(jax.random.key(seed + 3), N_JUDGED))
    errors = errors_between(small.evaluate(truth.x), truth)
    r2 = [1 - getattr(errors, name).r2 for name in ("values", "deltas", "hessian", "gammas")]
    x = basket.spots(jax.random.key(seed + 4), N_WIDE)
    difference = jax.vmap(small)(x) - jax.jit(lambda x: basket.truth(x).y)(x)
    largest = float(np.max(np.abs(np.asarray(jnp.asarray(difference)))))
    cells = [
        str(seed),
        short_widths(result.smallest.widths),
        str(result.smallest.n_parameters),
        *(f"{error:.1e}" for error in r2),
        f"{largest:.1e}",
        str(len(result.trials)),
        f"{seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
