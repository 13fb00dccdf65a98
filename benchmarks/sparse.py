"""Is a sparse network faster, or smaller, than its dense form and than a small dense network?

    python benchmarks/sparse.py [--seconds 2]

Of 7-128×6-1 the weights are removed at random with the Erdős–Rényi sparsities (times depend on how many are left, not
on which, except where nodes lose all of their connections), in float32. Timed are batches of values, by

- masked: the dense network with zeros in it, compiled by JAX. It multiplies the zeros;
- BCOO: the same with weights of `jax.experimental.sparse`, compiled;
- CSR: `SparseEvaluator`, compressed sparse rows of SciPy on one core;
- live nodes: the masked network after `remove_dead_nodes`, compiled, whose matrices are smaller and still sparse;
- small dense: a dense network of six hidden layers with at most as many parameters as the sparse one has left.

All but the last must agree on the values before they are timed. Rounds alternate between all of them, in random order;
the best round of each counts, and the ratios are those of one run. JAX uses all cores that it is given, SciPy one.
Bytes are those of files that `save` writes, and of the arrays that are held to compute.
Writes `benchmarks/results/sparse.md`.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.experimental import sparse

from sobolev_pruning.pruning import ErdosRenyiSparsity, Masks, SparseEvaluator, random_masks, remove_dead_nodes
from sobolev_pruning.study import environment
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, save

RESULTS = Path(__file__).parent / "results" / "sparse.md"
D, DEPTH, WIDTH = 7, 6, 128
SPARSITIES = (0.8, 0.9, 0.95, 0.98)
BATCHES = (1, 256, 4096)
PAYING = ("BCOO", "CSR", "live nodes")


def network(width: int) -> Surrogate:
    """Random weights; identity units."""
    return Surrogate(MLP.create([D, *[width] * DEPTH, 1], key=jax.random.key(0)), Normalisation.identity(D, 1))


def as_small(n_parameters: int) -> Surrogate:
    """The widest dense network of the same depth with at most that many parameters."""

    def count(width: int) -> int:
        return (D + 1) * width + (DEPTH - 1) * (width + 1) * width + width + 1

    return network(max(width for width in range(1, WIDTH + 1) if count(width) <= n_parameters))


def compiled(surrogate: Surrogate, x: jax.Array) -> Callable[[], np.ndarray]:
    evaluate = jax.jit(jax.vmap(surrogate))
    return lambda: np.asarray(evaluate(x))


def coordinates(surrogate: Surrogate, x: jax.Array) -> Callable[[], np.ndarray]:
    """The network by hand; its units are the identity."""
    layers = [(sparse.BCOO.fromdense(layer.weight), layer.bias) for layer in surrogate.network.layers]

    @jax.jit
    def evaluate(x):
        nodes = x.T
        for i, (weight, bias) in enumerate(layers):
            nodes = weight @ nodes + bias[:, None]
            if i < len(layers) - 1:
                nodes = jax.nn.silu(nodes)
        return nodes.T

    return lambda: np.asarray(evaluate(x))


def race(runs: dict[str, Callable[[], np.ndarray]], seconds: float) -> dict[str, float]:
    """Best time of each, in seconds; they take turns, in another order each round: what ran before tells."""
    order = np.random.default_rng(0)
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name in order.permutation(list(runs)):
            begin = time.perf_counter()
            runs[name]()
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def where(gains: dict[str, float]) -> str:
    return "; ".join(at for at, gain in gains.items() if gain >= 1.1) or "none of these"


def file_size(surrogate: Surrogate) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "surrogate.safetensors"
        save(surrogate, path)
        return path.stat().st_size


def held(surrogate: Surrogate) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(surrogate.network))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row of the table of times")
    options = parser.parse_args()
    dense = network(WIDTH)
    load = os.getloadavg()[0]
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    sizes, times, gains = [], [], {}
    for share in SPARSITIES:
        masked = random_masks(dense, ErdosRenyiSparsity(share), key=jax.random.key(1)).apply(dense)
        n = sum(Masks.of(masked).n_kept) + sum(layer.bias.size for layer in masked.network.layers)
        small = as_small(n)
        evaluator, live = SparseEvaluator(masked), remove_dead_nodes(masked)
        cells = [
            f"{share:.0%}",
            n,
            *(file_size(dense), file_size(masked), held(dense), evaluator.n_bytes),
            "-".join(map(str, live.network.widths)),
            f"7-{small.network.widths[1]}×6-1, {small.network.n_parameters}",
            *(file_size(small), held(small)),
        ]
        sizes.append("| " + " | ".join(map(str, cells)) + " |")
        print(sizes[-1], flush=True)
        for batch in BATCHES:
            x = jax.random.normal(jax.random.key(2), (batch, D))
            on_host = np.asarray(x)
            runs = {
                "masked": compiled(masked, x),
                "BCOO": coordinates(masked, x),
                "CSR": lambda evaluator=evaluator, on_host=on_host: evaluator(on_host),
                "live nodes": compiled(live, x),
                "small dense": compiled(small, x),
            }
            for name in PAYING:
                np.testing.assert_allclose(runs[name](), runs["masked"](), rtol=1e-3, atol=1e-6)
            best = race(runs, options.seconds)
            base = best["masked"]
            for name in runs:
                gains.setdefault(name, {})[f"{share:.0%} and {batch}"] = base / best[name]
            cells = [f"{best[name] * 1e3:.3f}" + f" ({base / best[name]:.2f}×)" * (name != "masked") for name in runs]
            times.append(f"| {share:.0%} | {batch} | " + " | ".join(cells) + " |")
            print(times[-1], flush=True)
    lines = [
        "# Sparse networks: time and bytes",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/sparse.py --seconds {options.seconds:g}`. Load of the machine at the beginning, "
        f"over one minute: {load:.1f}; at the end {os.getloadavg()[0]:.1f}.",
        "Where the load is above the number of cores, rows of batch 4096 favour what needs a single core.",
        "",
        "Milliseconds for the values of a batch of 7-128×6-1, and in brackets how many times faster than the masked",
        "network that is; below one is slower.",
        "",
        "| sparsity | batch | masked | BCOO | CSR | live nodes | small dense |",
        "|---|---|---|---|---|---|---|",
        *times,
        "",
        *(f"{name} pays, by at least a tenth, at sparsity and batch of: {where(gains[name])}." for name in PAYING),
        f"A dense network of as many parameters is {min(gains['small dense'].values()):.1f} to "
        f"{max(gains['small dense'].values()):.1f} times as fast as the masked one.",
        "",
        "Bytes of the files and of the arrays in memory; parameters are the weights that are left and all biases.",
        "",
        "| sparsity | parameters | dense file | sparse file | dense arrays | CSR arrays | live nodes | small dense | "
        "its file | its arrays |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *sizes,
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
