"""A process that trains for days: many fits of different widths, its mappings and its memory.

    python benchmarks/many_fits.py [--fits 1000] [--every 50] [--method adam|levenberg-marquardt|significance]

The kernel allows a process 65 530 mappings (`vm.max_map_count`). A fit of a new width takes about three hundred, so
that without a bound some two hundred fits end in a segmentation fault. Every network occurs once: hidden layers of a
and b nodes for all pairs of a and b.
"""

import argparse
import itertools
import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

from sobolev_pruning.pruning import significance
from sobolev_pruning.reference import Samples
from sobolev_pruning.regions import Box
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss, fit, fit_levenberg_marquardt
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate


def mappings():
    with Path("/proc/self/maps").open("rb") as lines:
        return sum(1 for _ in lines)


def resident():
    """MiB in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--method", choices=("adam", "levenberg-marquardt", "significance"), default="adam")
    options = parser.parse_args()

    def function(x):
        return jnp.stack([jnp.sin(3 * x[0]) + x[1] ** 2])

    x = jax.random.uniform(jax.random.key(0), (64, 2))
    samples = Samples(x, jax.vmap(function)(x), jax.vmap(jax.jacrev(function))(x))
    units = Normalisation.from_samples(samples)
    box = Box(jnp.zeros(2), jnp.ones(2))

    begin = time.perf_counter()
    most, widths = 0, itertools.product(range(2, 102), range(2, 102))
    print(f"{'fits':>6} {'mappings':>9} {'most so far':>12} {'MiB':>7} {'seconds':>8}", flush=True)
    for done, hidden in enumerate(itertools.islice(widths, options.fits), start=1):
        start = Surrogate(MLP.create([2, *hidden, 1], key=jax.random.key(done)), units)
        if options.method == "adam":
            recipe = {"steps": 8, "batch_size": 16, "steps_per_chunk": 8, "optimizer": optax.adam(1e-2)}
            fit(start, samples, ValueLoss(), key=jax.random.key(1), **recipe)
        elif options.method == "levenberg-marquardt":
            fit_levenberg_marquardt(start, samples, SobolevLoss(), max_steps=5)
        else:
            significance(start, box)
        most = max(most, mappings())
        if done % options.every == 0:
            seconds = time.perf_counter() - begin
            print(f"{done:6d} {mappings():9d} {most:12d} {resident():7.0f} {seconds:8.0f}", flush=True)


if __name__ == "__main__":
    main()
