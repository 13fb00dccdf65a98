"""Measures the errors of XLA's elementary functions against balls: `python benchmarks/ulp_error.py [samples]`.

The unit is `eps·|true result|`. float32: a strided sweep over all bit patterns; float64: a strided sweep over all bit
patterns, and adversarial samples around 0, ±1 and the points where implementations switch formulas. Each set is
evaluated as one long array, in blocks of 3 (short arrays take other code than long ones) and in both cases inside and
outside `jit`. Subnormal inputs and results are left out: XLA flushes them, and `outward` covers that absolutely.
Twice what this prints stands in `intervals/_elementary.py`.
"""

import sys

import flint
import jax
import jax.numpy as jnp
import numpy as np
from flint import arb
from jax import lax

jax.config.update("jax_enable_x64", True)
flint.ctx.prec = 200

REFERENCE = {
    "exp": lambda x: x.exp(),
    "exp2": lambda x: (x * arb(2).log()).exp(),
    "expm1": lambda x: x.expm1(),
    "log": lambda x: x.log(),
    "log1p": lambda x: x.log1p(),
    "tanh": lambda x: x.tanh(),
    "logistic": lambda x: 1 / (1 + (-x).exp()),
    "erf": lambda x: x.erf(),
    "erfc": lambda x: x.erfc(),
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "tan": lambda x: x.tan(),
    "sinh": lambda x: x.sinh(),
    "cosh": lambda x: x.cosh(),
    "atan": lambda x: x.atan(),
    "asin": lambda x: x.asin(),
    "acos": lambda x: x.acos(),
    "asinh": lambda x: x.asinh(),
    "acosh": lambda x: x.acosh(),
    "atanh": lambda x: x.atanh(),
    "cbrt": lambda x: x.root(3) if x > 0 else -((-x).root(3)),
    "rsqrt": lambda x: x.rsqrt(),
    "sqrt": lambda x: x.sqrt(),
}
# Powers with exponents that both precisions represent; a negative base has no real power here.
POWERS = {f"pow {p:g}": p for p in (0.3125, 0.5, 1.75, -2.3125, 13.5)}
REFERENCE |= {name: lambda x, p=p: x ** arb(p) for name, p in POWERS.items()}
# Arguments beyond this are not trusted by the rules of sine, cosine and tangent.
LIMIT = dict.fromkeys(("sin", "cos", "tan"), 6000.0)


def inputs(dtype, n: int) -> np.ndarray:
    bits = np.uint32 if dtype == np.float32 else np.uint64
    width = np.iinfo(bits).max
    stride = int(width) // n | 1
    sweep = (np.arange(n, dtype=np.uint64) * np.uint64(stride)).astype(bits).view(dtype)
    rng = np.random.default_rng(0)
    near = [rng.normal(0, s, n // 8) for s in (1e-6, 1e-3, 0.1, 1, 5, 30, 200)]
    ends = [1 + rng.normal(0, s, n // 16) for s in (1e-7, 1e-3)]
    switches = [c + rng.normal(0, 1e-2, n // 32) for c in (-1, 0.5, -0.5, 0.625, 1.5, 6, 26, 88, 709)]
    pi = [np.pi / 2 * rng.integers(-3000, 3000, n // 8) * (1 + rng.normal(0, 1e-7, n // 8))]
    x = np.concatenate([sweep, *(np.asarray(v, dtype) for v in (*near, *ends, *switches, *pi))])
    info = np.finfo(dtype)
    return x[np.isfinite(x) & (np.abs(x) >= info.tiny)]


def function(name: str):
    if name in POWERS:
        return lambda x: lax.pow(x, jnp.full_like(x, POWERS[name]))
    return getattr(lax, name)


def error(name: str, dtype, n: int) -> tuple[float, float]:
    x = inputs(dtype, n)
    x = x[np.abs(x) <= LIMIT.get(name, np.inf)]
    f = function(name)
    long = [np.asarray(f(jnp.asarray(x))), np.asarray(jax.jit(f)(jnp.asarray(x)))]
    short = jax.jit(f)
    every = np.arange(0, len(x) - 3, max(3, len(x) // 400))
    blocks = [(i, np.asarray(short(jnp.asarray(x[i : i + 3])))) for i in every]
    info = np.finfo(dtype)
    worst, where = 0.0, 0.0
    reference = REFERENCE[name]

    def measure(at: float, got: float) -> None:
        nonlocal worst, where
        truth = reference(arb(float(at)))
        if not truth.is_finite() or abs(truth) < float(info.tiny) or abs(truth) > float(info.max):
            return
        if truth.rel_accuracy_bits() < 100:  # overflowed even here
            return
        # `outward` covers one flushed subnormal absolutely.
        distance = abs(arb(float(got)) - truth) - float(info.tiny)
        off = float(distance / abs(truth)) / float(info.eps) if np.isfinite(got) else np.inf
        if off > worst:
            worst, where = off, at

    for values in long:
        for at, got in zip(x, values, strict=True):
            measure(at, got)
    for i, values in blocks:
        for at, got in zip(x[i : i + 3], values, strict=True):
            measure(at, got)
    return worst, where


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print(f"jax {jax.__version__}, {jax.default_backend()}, {n} samples a sweep")
    print("| function | float32 | at | float64 | at |")
    print("|---|---|---|---|---|")
    for name in REFERENCE:
        cells = []
        for dtype in (np.float32, np.float64):
            worst, where = error(name, dtype, n)
            cells.append(f"{worst:.2f} | {where:.9g}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
