"""Which criterion chooses the nodes, and what takes over for the others? Beside chance and sparse training.

    python benchmarks/criteria.py [--seeds 5] [--train 2000] [--tune 1000]

Three references: the Bachelier basket of seven assets, a Heston call of its spot and five parameters, and the wing
weight of ten inputs, labelled by their truth, values and gradients, so that no noise of labels hides a difference.
For each seed one network d-128×4-1 is trained by Muon with weight decay, as in the case study. Every criterion ranks
its nodes, the first 64, 32, 16, 8, 4 and 3 of each layer are kept, every compensation makes a small network of them,
and all are fine-tuned alike: the same samples, batches, steps and optimizer. SET and RigL train a masked d-128×4-1 from
the beginning, for as many steps as the large network and the fine-tuning together, with as many weights as the small
dense network has. Errors are 1 − R² of values, gradients and Hessians, against the truth at 2 048 other inputs.

One process on each core, some minutes for each reference and seed. What is measured is kept in
`runs/criteria.jsonl`, so that a run that was cut off goes on where it was; remove it to begin anew. Writes
`benchmarks/results/criteria.md`.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from orders import heston_call

from sobolev_pruning.pruning import (
    AbstractCompensation,
    ActivationVariance,
    ErdosRenyiSparsity,
    IntervalSignificance,
    LeastSquares,
    Magnitude,
    Mean,
    Midpoint,
    Random,
    Ranking,
    Saliency,
    SampledSignificance,
    Taylor,
    prune,
    random_masks,
    rank_by_significance,
    rank_distinct,
    rigl,
    sparse_evolution,
)
from sobolev_pruning.reference import (
    AbstractReferenceWithTruth,
    BachelierBasket,
    DataSet,
    Mixture,
    ModelLaw,
    Samples,
    UniformCube,
    wing_weight,
)
from sobolev_pruning.regions import TrustRegions
from sobolev_pruning.sobolev import SobolevLoss, fit
from sobolev_pruning.study import environment, measure
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

RESULTS = Path(__file__).parent / "results" / "criteria.md"
MEASURED = Path(__file__).parents[1] / "runs" / "criteria.jsonl"
WIDTH, DEPTH = 128, 4
KEPT = (64, 32, 16, 8, 4, 3)
N_TRAIN, N_TEST, N_COMPARED, LARGE_BATCH, BATCH = 4096, 2048, 512, 1024, 256
# A box of gradients takes more than a hundred times as long as one of values.
N_BOXES, N_BOXES_OF_GRADIENTS = 32, 8
SPARSE = ("SET", "RigL")
REFITS, YARDSTICK = ("least squares", "with Jacobians"), "interval significance"

# Errors of values, gradients and Hessians.
Errors = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Row:
    """One network: what made it, and its errors before and after fine-tuning."""

    case: str
    seed: int
    criterion: str
    compensation: str
    kept: int
    before: Errors
    after: Errors


def basket(seed: int) -> AbstractReferenceWithTruth:
    return BachelierBasket.random(jax.random.key(seed), 7, spot_law=Mixture(UniformCube(), ModelLaw()))


CASES: dict[str, Callable[[int], AbstractReferenceWithTruth]] = {
    "Bachelier basket, 7 assets": basket,
    "Heston call: spot, five parameters": lambda _: heston_call(),
    "wing weight, 10 inputs": lambda _: wing_weight(),
}


def rankings(surrogate: Surrogate, samples: Samples, key: jax.Array) -> dict[str, Ranking]:
    """Every criterion's order of the nodes."""
    x = samples.x[:N_COMPARED]
    labelled = Samples(x, samples.y[:N_COMPARED], samples.dydx[:N_COMPARED])
    boxes, few = TrustRegions.around(x[:N_BOXES]), TrustRegions.around(x[:N_BOXES_OF_GRADIENTS])
    scores = {
        "interval significance": IntervalSignificance(boxes),
        "interval, of gradients": IntervalSignificance(few, of="gradients"),
        "sampled significance": SampledSignificance(x),
        "Taylor": Taylor(labelled, SobolevLoss()),
        "saliency": Saliency(labelled, SobolevLoss()),
        "magnitude": Magnitude(),
        "activation variance": ActivationVariance(x),
        "random": Random(key),
    }
    found = {name: criterion.nodes(surrogate) for name, criterion in scores.items()}
    distinct = rank_distinct(found["interval significance"], surrogate, x)
    return {"interval, distinct": distinct} | {name: rank_by_significance(score) for name, score in found.items()}


def compensations(samples: Samples) -> dict[str, AbstractCompensation]:
    x = samples.x[:N_COMPARED]
    return {
        "midpoint": Midpoint(TrustRegions.around(x[:N_BOXES])),
        "mean": Mean(x),
        "least squares": LeastSquares(x, gradient_weight=0.0),
        "with Jacobians": LeastSquares(x),
    }


def judged(surrogate: Surrogate, truth: Samples) -> Errors:
    found = surrogate.evaluate(truth.x)
    values, gradients, curvature = (
        1 - measure(getattr(found, part), getattr(truth, part)).r2 for part in ("y", "dydx", "d2ydx2")
    )
    return values, gradients, curvature


def truths(reference: AbstractReferenceWithTruth, key: jax.Array, n: int) -> Samples:
    """In parts, since Hessians of an integral take memory."""
    x = reference.sample(key, n).x
    parts = [reference.truth(part) for part in jnp.split(x, n // 512)]
    y, dydx, d2ydx2 = (jnp.concatenate([getattr(p, name) for p in parts]) for name in ("y", "dydx", "d2ydx2"))
    return Samples(x, y, dydx, d2ydx2)


# One of each for all seeds, so that their programs are compiled once.
@functools.cache
def muon(steps: int) -> optax.GradientTransformation:
    return optax.contrib.muon(optax.cosine_decay_schedule(0.02, steps), weight_decay=0.1)


@functools.cache
def adam(steps: int, rate: float) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


def measured(case: str, seed: int, train: int, tune: int) -> list[Row]:
    """All networks of one case and seed."""
    # What the last task compiled stays mapped, and a process has only 65 530 mappings on Linux.
    jax.clear_caches()
    reference = CASES[case](seed)
    keys = jax.random.split(jax.random.key(seed), 6)
    known, truth = truths(reference, keys[0], N_TRAIN), truths(reference, keys[1], N_TEST)
    samples = Samples(known.x, known.y, known.dydx)
    data, units = DataSet(samples), Normalisation.from_samples(samples)
    loss = SobolevLoss()
    start = Surrogate(MLP.create([reference.dim_in, *[WIDTH] * DEPTH, 1], key=keys[2]), units)
    options = {"steps": train, "batch_size": LARGE_BATCH, "optimizer": muon(train)}
    large = fit(start, data, loss, key=keys[3], **options).surrogate
    errors = judged(large, truth)
    rows = [Row(case, seed, "the large network", "", WIDTH, errors, errors)]

    ranked, rules = rankings(large, samples, keys[4]), compensations(samples)
    for n, (criterion, ranking), (name, rule) in itertools.product(KEPT, ranked.items(), rules.items()):
        small = prune(large, ranking.keep([n] * DEPTH), rule)
        tuned = fit(small, data, loss, key=keys[5], steps=tune, batch_size=BATCH, optimizer=adam(tune, 1e-3)).surrogate
        rows.append(Row(case, seed, criterion, name, n, judged(small, truth), judged(tuned, truth)))

    steps = train + tune
    inner = adam(steps, 3e-3)
    n_weights = sum(a * b for a, b in itertools.pairwise(start.network.widths))
    for n in KEPT:
        widths = [reference.dim_in, *[n] * DEPTH, 1]
        share = 1 - sum(a * b for a, b in itertools.pairwise(widths)) / n_weights
        masks = random_masks(start, ErdosRenyiSparsity(share), key=keys[4])
        for name, optimizer_of_masks in (
            ("SET", sparse_evolution(inner, masks, every=50, until=3 * steps // 4, key=keys[4])),
            ("RigL", rigl(inner, masks, every=50, until=3 * steps // 4)),
        ):
            options = {"steps": steps, "batch_size": BATCH, "optimizer": optimizer_of_masks}
            errors = judged(fit(masks.apply(start), data, loss, key=keys[3], **options).surrogate, truth)
            rows.append(Row(case, seed, name, "", n, errors, errors))
    return rows


def _begin(cores: "multiprocessing.Queue[int]", compiled: str) -> None:
    """Each process has one core to itself, where the system can say so; small networks gain nothing from several.

    What one process has compiled the others need not.
    """
    core = cores.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    jax.config.update("jax_compilation_cache_dir", compiled)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def medians(rows: Iterable[Row], when: str) -> Errors:
    values, gradients, curvature = np.median([getattr(row, when) for row in rows], axis=0)
    return float(values), float(gradients), float(curvature)


def tables(rows: list[Row], case: str) -> list[str]:
    """Before and after, a line for each criterion and compensation and a column for each number of nodes."""
    of_case = [row for row in rows if row.case == case]
    lines = []
    for when, title in (("before", "before fine-tuning"), ("after", "after fine-tuning")):
        lines += ["", f"### {case}, {title}", ""]
        lines += ["| criterion | compensation | " + " | ".join(map(str, KEPT)) + " |", "|---|---|" + "---|" * len(KEPT)]
        pairs = dict.fromkeys((row.criterion, row.compensation) for row in of_case if row.kept != WIDTH)
        for criterion, compensation in pairs:
            if when == "before" and criterion in SPARSE:
                continue
            cells = []
            for n in KEPT:
                group = [r for r in of_case if (r.criterion, r.compensation, r.kept) == (criterion, compensation, n)]
                cells.append(" / ".join(f"{error:.0e}" for error in medians(group, when)))
            lines.append(f"| {criterion} | {compensation} | {' | '.join(cells)} |")
    return lines


def compared(rows: Iterable[Row]) -> list[str]:
    """Errors of each criterion over those of interval significance, of the same seed, size and compensation."""
    of_refits = [row for row in rows if row.compensation in REFITS]
    place = {(r.case, r.seed, r.compensation, r.kept): r for r in of_refits if r.criterion == YARDSTICK}
    lines = ["| criterion | " + " | ".join(f"{name}, before | after" for name in REFITS) + " |"]
    lines.append("|---|" + "---|---|" * len(REFITS))
    for criterion in dict.fromkeys(row.criterion for row in of_refits if row.criterion != YARDSTICK):
        cells = []
        for name, when in itertools.product(REFITS, ("before", "after")):
            of_seeds: dict[tuple[str, int], list[np.ndarray]] = {}
            for r in of_refits:
                if (r.criterion, r.compensation) == (criterion, name):
                    other = place[r.case, r.seed, name, r.kept]
                    of_seeds.setdefault((r.case, r.seed), []).append(
                        np.log(np.divide(getattr(r, when), getattr(other, when)))
                    )
            logs = np.array([np.mean(of_sizes, axis=0) for of_sizes in of_seeds.values()])
            ratios, error = np.exp(logs.mean(axis=0)), (logs.std(axis=0, ddof=1) / np.sqrt(len(logs))).max()
            cells.append(" / ".join(f"{ratio:.2g}" for ratio in ratios) + f" (±{error:.0%})")
        lines.append(f"| {criterion} | {' | '.join(cells)} |")
    return lines


def of_compensations(rows: list[Row]) -> list[str]:
    """Errors of each compensation over those of least squares alone, of the same seed, size and criterion."""
    place = {(r.case, r.seed, r.criterion, r.kept): r for r in rows if r.compensation == REFITS[0]}
    lines = ["| compensation | before | after |", "|---|---|---|"]
    for name in dict.fromkeys(row.compensation for row in rows if row.compensation):
        cells = []
        for when in ("before", "after"):
            logs = [
                np.log(np.divide(getattr(r, when), getattr(place[r.case, r.seed, r.criterion, r.kept], when)))
                for r in rows
                if r.compensation == name and r.criterion != "random"
            ]
            cells.append(" / ".join(f"{ratio:.2g}" for ratio in np.exp(np.mean(logs, axis=0))))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train", type=int, default=2000, help="steps of the large network")
    parser.add_argument("--tune", type=int, default=1000, help="steps of every fine-tuning")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    cores = context.Queue()
    n_workers = os.cpu_count() or 1
    for core in range(n_workers):
        cores.put(core)
    rows = _measured_before(options)
    done = {(row.seed, row.case) for row in rows}
    tasks = [task for task in itertools.product(range(options.seeds), CASES) if task not in done]
    _write(options, rows)
    with (
        tempfile.TemporaryDirectory() as compiled,
        concurrent.futures.ProcessPoolExecutor(n_workers, context, _begin, (cores, compiled)) as pool,
    ):
        futures = [pool.submit(measured, case, seed, options.train, options.tune) for seed, case in tasks]
        for n, future in enumerate(concurrent.futures.as_completed(futures), 1):
            new = future.result()
            with MEASURED.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(_stored(row, options)) + "\n" for row in new)
            rows += new
            print(f"{n} of {len(tasks)}: {new[0].case}, seed {new[0].seed}", flush=True)
            _write(options, rows)


def _stored(row: Row, options: argparse.Namespace) -> dict:
    return dataclasses.asdict(row) | {"steps": [options.train, options.tune]}


def _measured_before(options: argparse.Namespace) -> list[Row]:
    """Rows of earlier runs of as many steps."""
    MEASURED.parent.mkdir(exist_ok=True)
    MEASURED.touch()
    found = [json.loads(line) for line in MEASURED.read_text(encoding="utf-8").splitlines()]
    own = [row for row in found if row.pop("steps") == [options.train, options.tune] and row["seed"] < options.seeds]
    return [Row(**row | {when: tuple(row[when]) for when in ("before", "after")}) for row in own]


def _write(options: argparse.Namespace, rows: list[Row]) -> None:
    if len({row.case for row in rows}) < len(CASES):
        return
    rows = sorted(rows, key=lambda row: (list(CASES).index(row.case), row.seed))
    seeds = {case: len({row.seed for row in rows if row.case == case}) for case in CASES}
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# Which nodes stay, and what takes over for the others",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/criteria.py --seeds {min(seeds.values())} --train {options.train} "
        f"--tune {options.tune}`.",
        f"From d-{WIDTH}×{DEPTH}-1; columns are nodes kept of every hidden layer. All numbers are 1 − R² of values /",
        f"gradients / Hessians; medians of {min(seeds.values())} seeds.",
        "",
        "The large networks: "
        + "; ".join(
            f"{case} "
            + " / ".join(f"{e:.0e}" for e in medians((r for r in rows if r.case == case and r.kept == WIDTH), "before"))
            for case in CASES
        )
        + ".",
        "",
        "## Criteria",
        "",
        "Errors in multiples of those of interval significance, of the same seed, size and compensation: geometric",
        "means over sizes and seeds; in brackets the standard error over seeds, the largest of the three.",
        "",
        "### All references",
        "",
        *compared(rows),
        *itertools.chain.from_iterable(
            ("", f"### {case}", "", *compared(row for row in rows if row.case == case)) for case in CASES
        ),
        "",
        "## Compensations",
        "",
        "Errors in multiples of those of least squares without Jacobians, of the same seed, size and criterion, random",
        "left out: geometric means.",
        "",
        *of_compensations(rows),
        "",
        "## In full",
        *itertools.chain.from_iterable(tables(rows, case) for case in CASES),
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
