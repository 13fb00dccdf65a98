"""Do derivatives help? Values alone, with gradients, and with curvature, on the same samples.

    python benchmarks/orders.py [--seeds 5] [--steps 3000]

For each reference model a fixed set of samples is drawn once for each seed, with values, first derivatives and second
derivatives along one random direction; simulated references are labelled by one antithetic pair of paths. One network
(20 nodes in each of three hidden layers, SiLU) is trained on them by values, by values and gradients, and by all three,
with the same number of samples, steps and seeds. Errors are measured against the truth at 2 048 other inputs. Writes
`benchmarks/results/orders.md`.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import optax

from sobolev_pruning.reference import (
    AbstractReferenceWithTruth,
    BachelierBasket,
    DataSet,
    Mixed,
    Rademacher,
    black_scholes,
    borehole,
    heston,
    lorenz,
    otl_circuit,
    piston,
    wing_weight,
)
from sobolev_pruning.sobolev import AbstractLoss, SobolevLoss, ValueLoss, fit
from sobolev_pruning.study import environment, measure
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

RESULTS = Path(__file__).parent / "results" / "orders.md"
WIDTHS = (20, 20, 20)
BATCH = 256
N_TEST = 2048


@dataclasses.dataclass(frozen=True)
class Case:
    """A reference model, how many samples it may give, and the highest order of its labels."""

    name: str
    make: Callable[[int], AbstractReferenceWithTruth]
    samples: int
    order: int = 2


CASES = (
    Case("borehole", lambda _: borehole(), 1024),
    Case("OTL circuit", lambda _: otl_circuit(), 1024),
    Case("piston", lambda _: piston(), 1024),
    Case("wing weight", lambda _: wing_weight(), 1024),
    Case("Lorenz, 3 outputs", lambda _: lorenz([0.5]), 1024),
    Case("Bachelier basket, 7 assets", lambda seed: BachelierBasket.random(jax.random.key(seed)), 8192, order=1),
    Case(
        "Black–Scholes call: spot, volatility",
        lambda _: black_scholes(volatility=(0.1, 0.5), labels=Mixed()),
        8192,
    ),
    Case("Heston call: spot, five parameters", lambda _: heston_call(), 8192, order=1),
)


def heston_call() -> AbstractReferenceWithTruth:
    """A Heston call with its parameters as inputs."""
    return heston(
        initial_variance=(0.02, 0.1),
        mean_reversion=(0.5, 3.0),
        long_variance=(0.02, 0.1),
        volatility_of_variance=(0.2, 0.8),
        correlation=(-0.9, -0.3),
        n_steps=16,
    )


def losses(order: int) -> list[tuple[str, AbstractLoss]]:
    """By the highest order that they use."""
    chosen: list[tuple[str, AbstractLoss]] = [
        ("0", ValueLoss()),
        ("1", SobolevLoss()),
        ("2", SobolevLoss(1.0, 1.0, Rademacher())),
    ]
    return chosen[: order + 1]


def trained(case: Case, loss: AbstractLoss, seed: int, steps: int) -> list[tuple[float, float, float]]:
    """R², RMSE and largest error of values, gradients and curvature, for one seed."""
    reference = case.make(seed)
    keys = jax.random.split(jax.random.key(seed), 4)
    directions = Rademacher() if case.order == 2 else None
    samples = reference.sample(keys[0], case.samples, directions=directions)
    widths = [reference.dim_in, *WIDTHS, reference.dim_out]
    start = Surrogate(MLP.create(widths, key=keys[1]), Normalisation.from_samples(samples))
    schedule = optax.cosine_decay_schedule(3e-3, steps)
    options = {"steps": steps, "batch_size": BATCH, "optimizer": optax.adam(schedule)}
    surrogate = fit(start, DataSet(samples), loss, key=keys[2], **options).surrogate
    truth = reference.truth(reference.sample(keys[3], N_TEST).x)
    found = surrogate.evaluate(truth.x)
    errors = [measure(getattr(found, part), getattr(truth, part)) for part in ("y", "dydx", "d2ydx2")]
    return [(e.r2, e.rmse, e.max_error) for e in errors]


def at_a_glance(lines: list[str]) -> list[str]:
    """From the rows of the long table, one for each reference and quantity: medians of the orders beside each other."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for line in lines:
        name, _, order, quantity, *measures = (cell.strip() for cell in line.strip("|").split("|"))
        found.setdefault((name, quantity), {})[order] = [measure.split(" ")[0] for measure in measures]
    table = [
        "| reference | quantity | 1 − R² | RMSE | largest error |",
        "|---|---|---|---|---|",
    ]
    for (name, quantity), orders in found.items():
        cells = [" / ".join(of_orders) for of_orders in zip(*orders.values(), strict=True)]
        table.append(f"| {name} | {quantity} | {' | '.join(cells)} |")
    return table


def main() -> None:
    """Train everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    head = [
        "# Values, gradients, curvature: what do derivatives add?",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/orders.py --seeds {arguments.seeds} --steps {arguments.steps}`. Medians over the "
        "seeds, in brackets the worst seed.",
        f"One network (d-{'-'.join(map(str, WIDTHS))}-m, SiLU, Adam, batches of {BATCH}) for all; labels of simulated "
        "references are of one antithetic pair of paths.",
        "",
        "## At a glance",
        "",
        "Medians, trained by values / with gradients / with curvature where its labels are worth training on.",
        "",
    ]
    long = [
        "",
        "## With the worst seed",
        "",
        "| reference | samples | order | quantity | 1 − R² | RMSE | largest error |",
        "|---|---|---|---|---|---|---|",
    ]
    lines: list[str] = []
    for case in CASES:
        for order, loss in losses(case.order):
            rows = np.array([trained(case, loss, seed, arguments.steps) for seed in range(arguments.seeds)])
            rows[:, :, 0] = 1 - rows[:, :, 0]
            middle, worst = np.median(rows, axis=0), rows.max(axis=0)
            for quantity, m, w in zip(("values", "gradients", "curvature"), middle, worst, strict=True):
                cells = " | ".join(f"{a:.1e} ({b:.1e})" for a, b in zip(m, w, strict=True))
                lines.append(f"| {case.name} | {case.samples} | {order} | {quantity} | {cells} |")
                print(lines[-1], flush=True)
            RESULTS.write_text("\n".join([*head, *at_a_glance(lines), *long, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
