"""How tight are enclosures of an oversized network, and what do they cost?

    python benchmarks/tightness.py [--seed 0] [--samples 200000]

Trains the oversized network 7-128×6-1 of the case study, and encloses its value, its gradient and all its hidden nodes
over the box of the training data, scaled about its centre, in every domain of `inclusion`. Reported is the width of the
enclosure as a multiple of the range that samples and steps along the gradient find: of the value, of the widest entry
of the gradient, and of the hidden nodes (geometric mean); and the time of the value alone and of the gradient with all
hidden nodes and their adjoints, after compilation. Then the rank correlation of the significance with the sampled one,
over trust regions of 3 %. Every enclosure is checked against the samples. Writes `benchmarks/results/tightness.md`.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from sobolev_pruning.intervals import inclusion
from sobolev_pruning.pruning import enclose_nodes, sampled_significance, significance
from sobolev_pruning.regions import Box, TrustRegions
from sobolev_pruning.study import Study, StudyConfig, environment
from sobolev_pruning.surrogate import Surrogate

SCALES = (1.0, 0.3, 0.1, 0.03, 0.01)
DOMAINS = ("interval", "affine", "backward", "backward-optimised")
RESULTS = Path(__file__).parent / "results" / "tightness.md"


def quantities(surrogate: Surrogate, x: jax.Array) -> jax.Array:
    """The value, the gradient and all hidden nodes at a point."""

    def value(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        zeros = [jnp.zeros(n, x.dtype) for n in surrogate.network.widths[1:-1]]
        y, nodes = surrogate.forward(x, zeros)
        return y[0], jnp.concatenate(nodes)

    (y, nodes), slope = jax.value_and_grad(value, has_aux=True)(x)
    return jnp.concatenate([y[None], slope, nodes])


def found_ranges(surrogate: Surrogate, box: Box, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest quantities that samples find, a quarter of them corners, and ascents from the best."""
    rng = np.random.default_rng(seed)
    low, upp = np.asarray(box.lower), np.asarray(box.upper)
    of = jax.jit(jax.vmap(lambda x: quantities(surrogate, x)))
    slopes = jax.jit(jax.vmap(jax.jacfwd(lambda x: quantities(surrogate, x))))
    least, most = np.full(0, np.inf), np.full(0, -np.inf)
    at_least = at_most = np.zeros((0, low.size))
    for first in range(0, samples, 20_000):
        share = rng.random((20_000, low.size), np.float32)
        share[:5_000] = np.round(share[:5_000])
        x = low + (upp - low) * share
        values = np.asarray(of(jnp.asarray(x)))
        if first == 0:
            least, most = values.min(0), values.max(0)
            at_least, at_most = x[values.argmin(0)], x[values.argmax(0)]
            continue
        lower, higher = values.min(0) < least, values.max(0) > most
        at_least = np.where(lower[:, None], x[values.argmin(0)], at_least)
        at_most = np.where(higher[:, None], x[values.argmax(0)], at_most)
        least, most = np.minimum(least, values.min(0)), np.maximum(most, values.max(0))
    own = np.arange(least.size)
    for sign, x in ((-1, at_least), (1, at_most)):
        for step in 0.2 * 0.7 ** np.arange(10):
            slope = np.asarray(slopes(jnp.asarray(x)))[own, own]
            x = np.clip(x + sign * step * (upp - low) * np.sign(slope), low, upp).astype(np.float32)
            values = np.asarray(of(jnp.asarray(x)))
            least, most = np.minimum(least, values.min(0)), np.maximum(most, values.max(0))
    return least, most


def milliseconds(f, *arguments, rounds: int = 10) -> tuple[float, float]:
    """Seconds of the first call, and the median of milliseconds of those that follow."""
    start = time.perf_counter()
    jax.block_until_ready(f(*arguments))
    first, times = time.perf_counter() - start, []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(f(*arguments))
        times.append(time.perf_counter() - start)
    return first, 1e3 * float(np.median(times))


def main() -> None:
    """Measure all domains and scales and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=200_000)
    arguments = parser.parse_args()
    study = Study(StudyConfig(seed=arguments.seed))
    surrogate = next(study.run()).surrogate
    x = study.basket.spots(jax.random.key(arguments.seed), 4096)
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# Tightness of enclosures",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/tightness.py --seed {arguments.seed} --samples {arguments.samples}`; one seed.",
        "Width of the enclosure over the range that was found, for SiLU 7-128×6-1 over the box of the training data,",
        "scaled. Times after compilation, of one box; compile times in the second table.",
        "",
        "| domain | scale | value | gradient | hidden nodes | value (ms) | gradient, nodes, adjoints (ms) |",
        "|---|---|---|---|---|---|---|",
    ]
    ranges = {s: found_ranges(surrogate, Box.around(x, s), arguments.samples, arguments.seed) for s in SCALES}
    compiled = []
    for domain in DOMAINS:
        value = jax.jit(inclusion(lambda x: surrogate(x)[0], domain=domain))

        def everything(box, domain=domain):
            return enclose_nodes(surrogate, box, rounding="outward", domain=domain)

        seconds = []
        for scale in SCALES:
            box = Box.around(x, scale)
            one = jax.tree.map(lambda e: e[0], box.boxes)
            first_value, time_value = milliseconds(value, one)
            first_all, time_all = milliseconds(everything, box)
            seconds.append((first_value, first_all))
            y, nodes = value(one), everything(box)
            lower = np.concatenate(
                [y.lower[None], nodes.input_adjoints.lower[0, 0], *(n.lower[0] for n in nodes.nodes)]
            )
            upper = np.concatenate(
                [y.upper[None], nodes.input_adjoints.upper[0, 0], *(n.upper[0] for n in nodes.nodes)]
            )
            least, most = ranges[scale]
            slack = 1e-4 * (1 + np.maximum(abs(least), abs(most)))  # of evaluations in single precision
            assert np.all(lower <= least + slack)
            assert np.all(most - slack <= upper)
            ratio = (upper.astype(float) - lower) / np.maximum(most - least, 1e-6)
            cells = [ratio[0], ratio[1:8].max(), np.exp(np.log(ratio[8:]).mean())]
            shown = " | ".join(f"{c:.3g}" if c < 100 else f"{c:.1e}" for c in cells)
            lines.append(f"| {domain} | {scale:g} | {shown} | {time_value:.1f} | {time_all:.0f} |")
            print(lines[-1], flush=True)
        compiled.append((domain, *seconds[0]))
    lines += [
        "",
        "| domain | first call, value (s) | gradient, nodes, adjoints (s) | rank correlation |",
        "|---|---|---|---|",
    ]
    points = x[:: x.shape[0] // 64]
    region = TrustRegions(points, TrustRegions.around(x, 0.03).radius)
    yardstick = sampled_in(surrogate, region, arguments.seed)
    for domain, first_value, first_all in compiled:
        cell = ""
        if domain != "backward-optimised":
            scores = significance(surrogate, region, domain=domain, boxes_at_once=16)
            worst = min(
                spearmanr(np.asarray(a), b).statistic for a, b in zip(scores.of_nodes(), yardstick, strict=True)
            )
            cell = f"{worst:.3f}"
        lines.append(f"| {domain} | {first_value:.0f} | {first_all:.0f} | {cell} |")
        print(lines[-1], flush=True)
    lines += [
        "",
        "Rank correlation (Spearman) of the significance over 64 trust regions of 3 % with what samples of the same",
        "regions give, in the worst of the six hidden layers.",
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sampled_in(surrogate: Surrogate, region: TrustRegions, seed: int) -> list[np.ndarray]:
    """The sampled significance of every hidden node in each of the regions; the largest of them."""
    best: list[np.ndarray] | None = None
    for k, centre in enumerate(region.centres):
        share = jax.random.uniform(jax.random.key(seed + k), (2048, centre.size), minval=-1, maxval=1)
        scores = sampled_significance(surrogate, centre + region.radius * share).of_nodes()
        mine = [np.asarray(s) for s in scores]
        best = mine if best is None else [np.maximum(a, b) for a, b in zip(best, mine, strict=True)]
    assert best is not None
    return best


if __name__ == "__main__":
    main()
