"""Do the rounding margins hold on this device, and what does it gain for subdivision?

    python benchmarks/accelerator.py [--parts 256] [--seconds 20] [--widths 128 128 128 128 128 128]

Two tables for JAX's default device. First, the largest error of every elementary function of one variable that the
rules evaluate in float32, over all 2³² bit patterns (256 parts; `--parts` takes fewer), against the same function in
float64 on the same device, in units of `eps·|result|`; next to it the margin by which the rules widen; and the error of
the basic operations on random pairs. Second, how many
boxes `enclose_range` encloses in a second, value and gradient of an untrained SiLU network of seven inputs, for several
numbers of boxes at once, on the device and on the processor beside it. Writes
`benchmarks/results/accelerator.md`.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sobolev_pruning.intervals import Interval, inclusion
from sobolev_pruning.intervals import _elementary as elementary
from sobolev_pruning.intervals import _rounding as rounding
from sobolev_pruning.surrogate import MLP

jax.config.update("jax_enable_x64", True)

RESULTS = Path(__file__).parent / "results" / "accelerator.md"
CHUNK = 1 << 24
TINY = float(np.finfo(np.float32).tiny)
EPS = float(np.finfo(np.float32).eps)


def largest_error(primitive, parts: int) -> tuple[float, float]:
    """The largest error over the operands, in units of `eps·|result|`, and where it is."""

    def values(x: jax.Array) -> jax.Array:
        if elementary.is_accurate(primitive, x.dtype):
            high, low = elementary.accurate_p.bind(x, function=primitive.name)
            return high.astype(jnp.float64) + low.astype(jnp.float64)
        return elementary.evaluate(primitive, x).astype(jnp.float64)

    @jax.jit
    def worst(first: jax.Array) -> tuple[jax.Array, jax.Array]:
        bits = first + lax.iota(jnp.uint32, CHUNK)
        x = lax.bitcast_convert_type(bits, jnp.float32)
        usable = jnp.isfinite(x) & ((x == 0) | (jnp.abs(x) >= jnp.float32(TINY)))
        x = jnp.where(usable, x, jnp.float32(1))
        found, truth = values(x), elementary.evaluate(primitive, x.astype(jnp.float64))
        size = jnp.abs(truth)
        excess = jnp.abs(found - truth) - elementary.ABSOLUTE * TINY
        # The smallest results are covered absolutely.
        error = jnp.where(excess > 0, excess / (EPS * jnp.maximum(size, TINY * EPS)), 0)
        error = jnp.where(jnp.isnan(excess), jnp.inf, error)
        judged = jnp.isfinite(truth) & (size > 0) & (size < float(np.finfo(np.float32).max))
        error = jnp.where(judged, error, 0)
        k = jnp.argmax(error)
        return error[k], x[k]

    starts = np.linspace(0, 255, parts).astype(np.uint32) * np.uint32(CHUNK)
    found = [worst(jnp.asarray(s)) for s in starts]
    k = int(np.argmax([float(e) for e, _ in found]))
    return float(found[k][0]), float(found[k][1])


def largest_basic_error(operation, rounds: int) -> float:
    """The largest error of an operation on random pairs of floats of all sizes, in units of half an ulp.

    Of a correctly rounded operation it is at most 1.
    """

    @jax.jit
    def worst(key: jax.Array) -> jax.Array:
        bits = jax.random.bits(key, (2, CHUNK), jnp.uint32)
        x = lax.bitcast_convert_type(bits, jnp.float32)
        x = jnp.where(jnp.isfinite(x) & (jnp.abs(x) >= jnp.float32(TINY)), x, jnp.float32(1))
        found, truth = operation(x[0], x[1]).astype(jnp.float64), operation(*x.astype(jnp.float64))
        size = jnp.abs(truth)
        _, exponent = jnp.frexp(size)
        ulp = jnp.ldexp(jnp.ones_like(size), exponent - 24)
        judged = jnp.isfinite(found) & (size >= 2 * TINY) & (size < float(np.finfo(np.float32).max))
        return jnp.where(judged, jnp.abs(found - truth) / (0.5 * ulp), 0).max()

    return max(float(worst(key)) for key in jax.random.split(jax.random.key(0), rounds))


def boxes_per_second(widths: list[int], size: int, seconds: float, device: jax.Device) -> tuple[float, float]:
    """Boxes of value and gradient in affine forms that the device encloses in a second, and seconds of compilation."""
    with jax.default_device(device):
        network = MLP.create([7, *widths, 1], key=jax.random.key(0))
        network = jax.tree.map(lambda w: w.astype(jnp.float32) if hasattr(w, "astype") else w, network)

        def both(x: jax.Array) -> jax.Array:
            y, slope = jax.value_and_grad(lambda x: network(x)[0])(x)
            return jnp.concatenate([y[None], slope])

        enclosed = jax.jit(jax.vmap(inclusion(both, domain="affine-32")))
        middle = jax.random.normal(jax.random.key(1), (size, 7), jnp.float32)
        box = Interval.from_midpoint(middle, jnp.float32(0.01))
        start = time.perf_counter()
        jax.block_until_ready(enclosed(box))
        first, begun, rounds = time.perf_counter() - start, time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            jax.block_until_ready(enclosed(box))
            rounds += 1
        return size * rounds / (time.perf_counter() - begun), first


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 4096])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    device = jax.devices()[0]
    lines = [
        "# On an accelerator",
        "",
        f"{device.device_kind}, jax {jax.__version__}; {jax.local_device_count()} device.",
        f"Made by `python benchmarks/accelerator.py --parts {arguments.parts}`.",
        "",
        "| function | largest error, float32 | at | margin |",
        "|---|---|---|---|",
    ]
    for primitive in elementary.MARGINS:
        if primitive in (lax.pow_p, lax.integer_pow_p, lax.sqrt_p):
            continue
        error, where = largest_error(primitive, arguments.parts)
        limit = elementary.MARGINS[primitive].float32
        mark = "" if error <= limit else " **exceeded**"
        lines.append(f"| {primitive.name} | {error:.3f} | {where:.9g} | {limit:g}{mark} |")
        print(lines[-1], flush=True)
    lines += ["", "| operation on random pairs | largest error, in half ulps | covered |", "|---|---|---|"]
    quotient = 1 if device.platform == "cpu" else 2 * rounding.APPROXIMATE
    for name, operation, covered in (
        ("add", lax.add, 1),
        ("mul", lax.mul, 1),
        ("div", lax.div, quotient),
        ("sqrt of the first", lambda x, _: lax.sqrt(jnp.abs(x)), quotient),
        ("1 / second", lambda _, y: 1 / y, quotient),
    ):
        error = largest_basic_error(operation, max(arguments.parts // 4, 1))
        lines.append(f"| {name} | {error:.3f} | {covered} |")
        print(lines[-1], flush=True)
    lines += ["", "| network | boxes at once | device | boxes a second | first call (s) |", "|---|---|---|---|---|"]
    devices = [device] if device.platform == "cpu" else [device, jax.devices("cpu")[0]]
    for widths in ([3, 3], [8] * 6, [128] * 6):
        for size in arguments.sizes:
            for used in devices:
                rate, first = boxes_per_second(widths, size, arguments.seconds, used)
                shown = "-".join(map(str, [7, *widths, 1]))
                lines.append(f"| {shown} | {size} | {used.device_kind} | {rate:.3g} | {first:.0f} |")
                print(lines[-1], flush=True)
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
