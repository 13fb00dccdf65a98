"""What is left of the case study's network when nodes go and nothing is trained again.

    python benchmarks/before_fine_tuning.py [--seeds 0 1 2 3 4]

For each seed the case study trains its 7-128×6-1 and ranks the nodes; 64, 32, 16, 8 and 4 of each hidden layer are
kept, with least squares on activations and Jacobians in place of the others. Two to three minutes a seed on two cores.
Writes `benchmarks/results/before_fine_tuning.md`.
"""

import argparse
import dataclasses
import itertools
from pathlib import Path

import numpy as np

from sobolev_pruning.study import Errors, Stage, Study, StudyConfig, environment

KEPT = (64, 32, 16, 8, 4)
GOAL = (1e-4, 1e-3, 3e-3)
RESULTS = Path(__file__).parent / "results" / "before_fine_tuning.md"


def main() -> None:
    """Run the first half of the case study for every seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    seeds = parser.parse_args().seeds
    runs = [_untuned(seed) for seed in seeds]
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# Before any fine-tuning",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/before_fine_tuning.py --seeds {' '.join(map(str, seeds))}`.",
        f"1 − R² of values / deltas / gammas: the median, and the worst, of {len(seeds)} seeds. Asked of 32 nodes a",
        f"layer: {' / '.join(f'{goal:.0e}' for goal in GOAL)}.",
        "",
        "| network | published evaluation set | worst | training law, wings included | worst |",
        "|---|---|---|---|---|",
    ]
    for stages in zip(*runs, strict=True):
        cells = [_cells([getattr(s, law) for s in stages]) for law in ("cube", "training_law")]
        lines.append(f"| {stages[0].size} | {' | '.join(itertools.chain.from_iterable(cells))} |")
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _untuned(seed: int) -> list[Stage]:
    default = StudyConfig(seed=seed)
    hidden = len(default.network.hidden)
    # The stages of fine-tuning are passed over, in as few steps as there can be.
    config = dataclasses.replace(
        default,
        pruning=dataclasses.replace(default.pruning, keep=tuple((n,) * hidden for n in KEPT)),
        finetuning=dataclasses.replace(default.finetuning, steps=1, second_order_steps=1, teacher_samples=256),
    )
    return [stage for stage in Study(config).run() if stage.name in ("oversized", "pruned")]


def _cells(errors: list[Errors]) -> list[str]:
    parts = np.array([[1 - getattr(e, name).r2 for name in ("values", "deltas", "gammas")] for e in errors])
    return [" / ".join(f"{x:.1e}" for x in of(parts, axis=0)) for of in (np.median, np.max)]


if __name__ == "__main__":
    main()
