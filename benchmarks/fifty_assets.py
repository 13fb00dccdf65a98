"""Does training on deltas collapse on a basket of fifty assets? Ten seeds.

    python benchmarks/fifty_assets.py [--seeds 10] [--samples 16384 65536 131072] [--steps 1600]

The case of Huge and Savine (*Differential Machine Learning*, 2020): a call on a Bachelier basket, labels of one
antithetic pair of paths, a network of four hidden layers of twenty nodes, trained by values and by values and deltas on
the same samples, in as many steps of 1 024. In their notebooks training by both has collapsed to a constant on 131 072
samples. Basket, samples and network are drawn anew for each seed. A seed has collapsed if the library says so, if it
diverged, or if it explains less than half of the variance of the price, of which a constant explains nothing. Writes
`benchmarks/results/fifty_assets.md`.
"""

import argparse
import functools
import time
from pathlib import Path

import jax
import numpy as np
import optax

from sobolev_pruning.reference import BachelierBasket, DataSet
from sobolev_pruning.sobolev import AbstractLoss, DivergedError, SobolevLoss, ValueLoss, fit
from sobolev_pruning.study import environment, errors_between
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

RESULTS = Path(__file__).parent / "results" / "fifty_assets.md"
N_ASSETS, HIDDEN, N_TEST, BATCH = 50, (20,) * 4, 4096, 1024
# RMSE of values in per cent of the spot, by values and by differential training: Huge and Savine's tables.
PUBLISHED = {16384: (1.16, 0.21), 65536: (0.44, 0.07), 131072: (0.30, 6.07)}
LOSSES: dict[str, AbstractLoss] = {"values": ValueLoss(), "values and deltas": SobolevLoss()}


# One for all seeds, so that the program is compiled once.
@functools.cache
def adam(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(3e-3, steps))


def trained(loss: AbstractLoss, n: int, steps: int, seed: int) -> tuple[bool, float, float, float]:
    """Whether it collapsed, 100 RMSE of values, and 1 − R² of values and deltas, on the model's law."""
    model_key, sample_key, network_key, fit_key, test_key = jax.random.split(jax.random.key(seed), 5)
    basket = BachelierBasket.random(model_key, N_ASSETS)
    samples = basket.sample(sample_key, n)
    start = Surrogate(MLP.create([N_ASSETS, *HIDDEN, 1], key=network_key), Normalisation.from_samples(samples))
    try:
        result = fit(start, DataSet(samples), loss, key=fit_key, steps=steps, batch_size=BATCH, optimizer=adam(steps))
    except DivergedError:
        return True, np.inf, np.inf, np.inf
    truth = basket.truth(basket.spots(test_key, N_TEST))
    errors = errors_between(result.surrogate.evaluate(truth.x), truth)
    collapsed = result.failure is not None or errors.values.r2 < 0.5
    return collapsed, 100 * errors.values.rmse, 1 - errors.values.r2, 1 - errors.deltas.r2


def main() -> None:
    """Train every seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samples", type=int, nargs="+", default=[16384, 65536, 131072])
    parser.add_argument("--steps", type=int, default=1600)
    options = parser.parse_args()
    listed = " ".join(map(str, options.samples))
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# A basket of fifty assets",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/fifty_assets.py --seeds {options.seeds} --samples {listed} --steps "
        f"{options.steps}`.",
        "RMSE of values in per cent of the spot, and 1 − R² of values and deltas, on the model's law: medians, and the",
        "worst seed in brackets. Published are Huge and Savine's RMSE on a basket and inputs of their own.",
        "",
        "| samples | trained by | collapsed | RMSE (%) | published | 1 − R² of values | of deltas | s a seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for n in options.samples:
        for i, (name, loss) in enumerate(LOSSES.items()):
            begin = time.perf_counter()
            found = np.array([trained(loss, n, options.steps, seed) for seed in range(options.seeds)])
            seconds = (time.perf_counter() - begin) / options.seeds
            middle, worst = np.median(found, axis=0), found.max(axis=0)
            cells = [f"{middle[j]:{form}} ({worst[j]:{form}})" for j, form in ((1, ".2f"), (2, ".1e"), (3, ".1e"))]
            published = f"{PUBLISHED[n][i]:.2f}" if n in PUBLISHED else ""
            lines.append(
                f"| {n} | {name} | {int(found[:, 0].sum())} of {options.seeds} | {cells[0]} | {published} | "
                f"{cells[1]} | {cells[2]} | {seconds:.1f} |"
            )
            print(lines[-1], flush=True)
            RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
