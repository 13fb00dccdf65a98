"""What an enclosure costs, as a multiple of the plain evaluation: `python benchmarks/inclusion_cost.py`.

Values are compared with plain values, interval adjoints (values and gradients with respect to the inputs) with plain
values and gradients, each compiled once. The two take turns in one run; the median of the ratios is printed, with the
smallest and the largest. Compile times include tracing. Enclosures are checked before they are timed. Rows are written
as they are measured; those of other functions than `--function` names stay.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sobolev_pruning.intervals import Interval, inclusion
from sobolev_pruning.study import environment
from sobolev_pruning.surrogate import MLP

RESULTS = Path(__file__).parent / "results" / "inclusion_cost.md"


def mlp(*widths: int) -> Callable[..., Any]:
    network = MLP.create(widths, key=jax.random.key(0))
    return lambda x: network(x)[0]


def chain(x: jax.Array) -> jax.Array:
    for _ in range(3):
        x = jnp.tanh(1.1 * x + 0.1) * x + jnp.sin(x)
    return x.sum()


def product(n: int) -> Callable[..., Any]:
    w = jnp.asarray(np.random.default_rng(1).normal(0, 1, (n, n)) / np.sqrt(n), jnp.float32)
    return lambda x: jnp.square(w @ x).sum()


# name: (function of one sample, size of a sample)
CASES: dict[str, tuple[Callable[..., Any], int]] = {
    "matrix product 512": (product(512), 512),
    "SiLU 7-128×6-1": (mlp(7, *[128] * 6, 1), 7),
    "SiLU 16-256×3-1": (mlp(16, *[256] * 3, 1), 16),
    "elementwise chain of 3": (chain, 64),
}


def compiled(f: Callable[..., Any], argument: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    program = jax.jit(f).lower(argument).compile()
    return program, time.perf_counter() - start


def seconds(program: Any, argument: Any) -> float:
    start = time.perf_counter()
    jax.block_until_ready(program(argument))
    return time.perf_counter() - start


def compare(f: Callable[..., Any], x: jax.Array, rounds: int) -> tuple[float, list[float], float]:
    """Ratio of compile times, ratios of run times, and the plain run time."""
    box = Interval(x - 1e-3, x + 1e-3)
    plain, plain_compile = compiled(jax.vmap(f), x)
    enclosed, enclosed_compile = compiled(jax.vmap(inclusion(f)), box)
    values = plain(x)
    for enclosure, value in zip(
        jax.tree.leaves(enclosed(box), is_leaf=lambda v: isinstance(v, Interval)), jax.tree.leaves(values), strict=True
    ):
        slack = 1e-3 * (1 + np.abs(value))  # of the plain evaluation
        assert np.all((np.asarray(enclosure.lower) <= value + slack) & (value - slack <= np.asarray(enclosure.upper)))
    times = [(seconds(plain, x), seconds(enclosed, box)) for _ in range(rounds)]
    return enclosed_compile / plain_compile, [b / a for a, b in times], float(np.median([a for a, _ in times]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="how often each pair is timed")
    parser.add_argument("--function", nargs="+", choices=list(CASES), default=list(CASES), help="which rows")
    arguments = parser.parse_args()
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    head = [
        "# Cost of enclosures",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/inclusion_cost.py --rounds {arguments.rounds}`. float32; ratios to the plain",
        "evaluation: median (smallest to largest) of run times; compile times include tracing.",
        "",
        "| function | batch | value | compile | adjoint | compile | plain value, gradient (ms) |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(head[-2:]), flush=True)
    rows = known_rows()
    for name in arguments.function:
        f, d = CASES[name]
        for batch in (1, 256, 4096):
            x = jnp.asarray(np.random.default_rng(2).normal(0, 1, (batch, d)), jnp.float32)
            cells, plain = [], []
            for g in (f, jax.value_and_grad(f)):
                compile_ratio, ratios, base = compare(g, x, arguments.rounds)
                cells += [
                    f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
                    f"{compile_ratio:.1f}",
                ]
                plain.append(f"{1e3 * base:.2g}")
            rows[name, str(batch)] = f"| {name} | {batch} | {' | '.join(cells)} | {', '.join(plain)} |"
            print(rows[name, str(batch)], flush=True)
            RESULTS.write_text("\n".join([*head, *rows.values()]) + "\n", encoding="utf-8")


def known_rows() -> dict[tuple[str, str], str]:
    """The rows of the table by function and batch."""
    lines = RESULTS.read_text("utf-8").splitlines() if RESULTS.exists() else []
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {(row[1], row[2]): line for row, line in zip(cells, lines, strict=True) if len(row) > 2 and row[1] in CASES}


if __name__ == "__main__":
    main()
