"""How long does the significance of the oversized network take?

    python benchmarks/significance_time.py [--kinds "weights, plain intervals" ...]

Scores all inputs and nodes, or all weights, of 7-128×6-1 over 256 trust regions, with random weights, in single
precision. Compilation and evaluation are timed apart; processor seconds are those of all cores together, and say what
an idle machine would take at best if other work shares it. Writes `benchmarks/results/significance_time.md`.
"""

import argparse
import os
import time
from pathlib import Path

import jax
import numpy as np

from sobolev_pruning.pruning import sampled_significance, significance, weight_significance
from sobolev_pruning.regions import TrustRegions
from sobolev_pruning.study import environment
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

SURROGATE = Surrogate(MLP.create([7, *[128] * 6, 1], key=jax.random.key(0)), Normalisation.identity(7, 1))
X = jax.random.normal(jax.random.key(1), (256, 7))
REGION = TrustRegions.around(X)
KINDS = {
    "nodes, values, affine forms": lambda: significance(SURROGATE, REGION),
    "nodes, values, plain intervals": lambda: significance(SURROGATE, REGION, domain="interval"),
    "nodes, gradients, plain intervals": lambda: significance(SURROGATE, REGION, of="gradients", domain="interval"),
    "weights, plain intervals": lambda: weight_significance(SURROGATE, REGION, domain="interval"),
    "nodes, values, 256 samples": lambda: sampled_significance(SURROGATE, X),
    "nodes, gradients, 256 samples": lambda: sampled_significance(SURROGATE, X, of="gradients"),
}
REPEATS = 3


def main() -> None:
    """Measure all kinds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    kinds = parser.parse_args().kinds
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# Time of the significance",
        "",
        f"{machine}; load average {os.getloadavg()[0]:.1f} at the start.",
        "",
        f"Made by `python benchmarks/significance_time.py`: 7-128×6-1, {X.shape[0]} regions, medians of {REPEATS}.",
        "",
        "| what | first call, s | each call after, s | processor seconds of it |",
        "|---|---|---|---|",
    ]
    for kind in kinds:
        first, _ = _timed(KINDS[kind])
        after = np.median([_timed(KINDS[kind]) for _ in range(REPEATS)], axis=0)
        lines.append(f"| {kind} | {first:.1f} | {after[0]:.2f} | {after[1]:.2f} |")
        print(lines[-1], flush=True)
    result = Path(__file__).parent / "results" / "significance_time.md"
    result.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _timed(call) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
