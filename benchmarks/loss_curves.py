"""Vanilla and Sobolev training side by side: the curves of `docs/training.md`.

    python benchmarks/loss_curves.py [--seeds 5] [--steps 2000]

A call under Black and Scholes's model as a function of spot and volatility, labelled by one antithetic pair of paths;
fresh samples in every step; the same network, optimiser and number of samples for values alone, with gradients, and
with curvature along one direction. Of the seeds the median by its error is drawn. Writes
`docs/figures/loss_curves.svg`.
"""

import argparse
from pathlib import Path

import jax
import matplotlib
import numpy as np
import optax

from sobolev_pruning.reference import Mixed, Rademacher, black_scholes
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss, fit_seeds
from sobolev_pruning.study import loss_curves, measure
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "loss_curves.svg"
LOSSES = {
    "values": ValueLoss(),
    "values and gradients": SobolevLoss(),
    "values, gradients, curvature": SobolevLoss(1.0, 0.1, Rademacher()),
}


def main() -> None:
    """Train and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()
    reference = black_scholes(volatility=(0.1, 0.5), labels=Mixed())
    units = Normalisation.from_samples(reference.sample(jax.random.key(0), 16384))
    start = Surrogate(MLP.create([2, 20, 20, 1], key=jax.random.key(1)), units)
    truth = reference.truth(reference.sample(jax.random.key(2), 1024).x)

    def unexplained(surrogate: Surrogate) -> dict[str, float]:
        found = surrogate.evaluate(truth.x)
        parts = {"values": "y", "deltas": "dydx", "gammas": "d2ydx2"}
        return {name: 1 - measure(getattr(found, p), getattr(truth, p)).r2 for name, p in parts.items()}

    curves, errors = {}, {}
    for name, loss in LOSSES.items():
        results = fit_seeds(
            start,
            reference,
            loss,
            keys=jax.random.split(jax.random.key(3), arguments.seeds),
            steps=arguments.steps,
            batch_size=256,
            optimizer=optax.adam(optax.cosine_decay_schedule(5e-3, arguments.steps)),
            steps_per_chunk=-(-arguments.steps // 40),
            evaluation=unexplained,
        )
        history = results.median().history
        curves[name] = np.asarray(history.losses)
        errors[name] = {quantity: (history.evaluated, values) for quantity, values in history.metrics.items()}
        print(name, {quantity: f"{values[-1]:.1e}" for quantity, values in history.metrics.items()}, flush=True)
    figure = loss_curves(curves, errors)
    FIGURE.parent.mkdir(exist_ok=True)
    # Text stays text and identifiers do not change from run to run, so that a new figure is a readable change.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "loss_curves"}):
        figure.savefig(FIGURE, format="svg", metadata={"Date": None})
    print(f"{FIGURE.name}: {FIGURE.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
