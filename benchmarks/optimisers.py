"""Muon, Adam and Levenberg–Marquardt on the same budgets, for the networks of the case study.

    python benchmarks/optimisers.py [--seeds 0]

Oversized network, vanilla; pruned networks, Sobolev fine-tuning on the reference. Adam's learning rate is the best of
three. Writes `benchmarks/results/optimisers.md`: unexplained variance 1 − R² of values / deltas / gammas on the
published evaluation set.
"""

import argparse
import dataclasses
from pathlib import Path

import jax
import numpy as np
import optax

from sobolev_pruning.reference import Samples
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss, fit, fit_levenberg_marquardt
from sobolev_pruning.study import Study, StudyConfig, environment, errors_between
from sobolev_pruning.surrogate import Surrogate


def main() -> None:
    """Measure all optimisers on all seeds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    seeds = parser.parse_args().seeds
    rows: dict[str, list[list[float]]] = {}
    for seed in seeds:
        study = Study(StudyConfig(seed=seed))
        config = study.config
        starts: dict[str, Surrogate] = {}
        for stage in study.run():
            if stage.name == "pruned":
                starts[stage.size] = stage.surrogate
            if len(starts) == 2:
                break
        cases = [("oversized, vanilla", study.untrained(), ValueLoss(), config.oversized)]
        cases += [(f"{size}, Sobolev", start, SobolevLoss(), config.finetuning) for size, start in starts.items()]
        for name, start, loss, training in cases:
            schedules = {
                "Muon": lambda rate, decay: optax.contrib.muon(rate, weight_decay=decay),
                "Adam": lambda rate, decay: optax.adamw(rate, weight_decay=decay),
            }
            for optimiser, make in schedules.items():
                peaks = (training.learning_rate,) if optimiser == "Muon" else (1e-3, 3e-3, 1e-2)
                found = []
                for peak in peaks:
                    result = fit(
                        start,
                        study.basket,
                        loss,
                        key=jax.random.key(seed),
                        steps=training.steps,
                        batch_size=training.batch_size,
                        optimizer=make(optax.cosine_decay_schedule(peak, training.steps), training.weight_decay),
                    )
                    found.append(_unexplained(result.surrogate, study.cube))
                rows.setdefault(f"{name} | {optimiser}", []).append(min(found, key=lambda f: f[2]))
            if start.network.n_parameters <= config.finetuning.second_order_below:
                basket = dataclasses.replace(study.basket, n_paths=config.finetuning.second_order_paths)
                samples = basket.sample(jax.random.key(seed), config.finetuning.second_order_samples)
                result = fit_levenberg_marquardt(start, samples, loss, max_steps=config.finetuning.second_order_steps)
                found = _unexplained(result.surrogate, study.cube)
                rows.setdefault(f"{name} | Levenberg–Marquardt", []).append(found)
    listed = " ".join(map(str, seeds))
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# Optimisers",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/optimisers.py --seeds {listed}`; geometric means over the seeds.",
        "Adam's learning rate is the best of 1e-3, 3e-3 and 1e-2 for each seed, judged by the gammas.",
        "",
        "| network and loss | optimiser | values | deltas | gammas |",
        "|---|---|---|---|---|",
    ]
    for name, measured in rows.items():
        e = np.exp(np.mean(np.log(measured), axis=0))
        lines.append(f"| {name} | {' | '.join(f'{v:.1e}' for v in e)} |")
    result = Path(__file__).parent / "results" / "optimisers.md"
    result.parent.mkdir(exist_ok=True)
    result.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _unexplained(surrogate: Surrogate, truth: Samples) -> list[float]:
    errors = errors_between(surrogate.evaluate(truth.x), truth)
    return [1 - errors.values.r2, 1 - errors.deltas.r2, 1 - errors.gammas.r2]


if __name__ == "__main__":
    main()
