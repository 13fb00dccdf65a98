"""Measures the errors of the elementary functions that the interval rules evaluate, and writes `docs/margins.md`.

    python benchmarks/rounding_margins.py                     every function; hours on one core, a few minutes each
    python benchmarks/rounding_margins.py --function exp log  these
    python benchmarks/rounding_margins.py --part 2/4          the second quarter of the parts of each, for four machines
    python benchmarks/rounding_margins.py --table             only writes the table of what is known

float32: all 2³² bit patterns, in 256 parts, against float64 (NumPy and SciPy), of which a sample in each part, and the
largest error found, are checked against ball arithmetic. float64: end points of binades, random bits, neighbourhoods
of zeros, of thresholds of overflow and underflow and of the points where formulas change, the floats nearest to
multiples of π/2 and huge arguments, in 4 parts, against ball arithmetic. Long arrays, arrays of 1 to 7 entries (other
code), and calls without `jit`. The unit is `eps·|true result|`, after what the rules cover absolutely is subtracted:
four times the smallest normal number and, of large angles in float64, half of `REDUCTION` in
`intervals/_elementary.py`.
Subnormal operands are left out: no interval has such ends.

Results are appended to `results.jsonl` in the folder of `--state`, one line a part; a second run goes on after the
last. Twice the table's figures, rounded up, stand in `intervals/_elementary.py`.
"""

import argparse
import ast
import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import flint
import jax
import jax.numpy as jnp
import numpy as np
from flint import arb
from jax import lax
from jax.extend.core import Primitive
from scipy import special

from sobolev_pruning.intervals import _elementary

jax.config.update("jax_enable_x64", True)
flint.ctx.prec = 160

ROOT = Path(__file__).resolve().parents[1]
PARTS = {"float32": 256, "float64": 4}
# Parts of float32 with ⅛ ≤ |x| < 128, where most functions are neither zero, nor linear, nor constant: measured first.
FIRST = range(0x3E, 0x43)
CHUNK = 1 << 16


class Function(NamedTuple):
    """A function: what evaluates it, its references, whether it is monotone, and where sampling is dense."""

    primitive: Primitive
    in_float64: Callable[..., np.ndarray]
    in_balls: Callable[..., arb]
    monotone: int = 0  # 1: nondecreasing, −1: nonincreasing
    points: tuple[float, ...] = ()


def _cube_root(x: arb) -> arb:
    return x.root(3) if x > 0 else -((-x).root(3))


LOG_MAX = (88.0, 88.72283, 89.415, -87.33654, -103.97, 709.0, 709.782712893384, 710.4758600739439, -708.3964, -745.13)
FUNCTIONS: dict[str, Function] = {
    "exp": Function(lax.exp_p, np.exp, lambda x: x.exp(), 1, LOG_MAX),
    "log": Function(lax.log_p, np.log, lambda x: x.log(), 1, (1, 0.7071067811865476, 1.4142135623730951)),
    "tanh": Function(lax.tanh_p, np.tanh, lambda x: x.tanh(), 1, (7.9, 9, 19, 20, 22)),
    "logistic": Function(lax.logistic_p, special.expit, lambda x: 1 / (1 + (-x).exp()), 1, LOG_MAX),
    "erf": Function(lax.erf_p, special.erf, lambda x: x.erf(), 1, (0.5, 0.84375, 1.25, 2.857, 4, 6)),
    "expm1": Function(lax.expm1_p, np.expm1, lambda x: x.expm1(), 1, (*LOG_MAX, 0.34657359, -37, -17)),
    "log1p": Function(lax.log1p_p, np.log1p, lambda x: x.log1p(), 1, (-0.2929, 0.41421356, -1)),
    "sin": Function(lax.sin_p, np.sin, lambda x: x.sin()),
    "cos": Function(lax.cos_p, np.cos, lambda x: x.cos()),
    "sqrt": Function(lax.sqrt_p, np.sqrt, lambda x: x.sqrt(), 1),
    "exp2": Function(
        lax.exp2_p, np.exp2, lambda x: (x * arb.const_log2()).exp(), 1, (127, 128, -126, 1023, 1024, -1022)
    ),
    "erfc": Function(lax.erfc_p, special.erfc, lambda x: x.erfc(), -1, (0.5, 0.84375, 1.25, 2.857, 6, 9.2, 10, 26.5)),
    "tan": Function(lax.tan_p, np.tan, lambda x: x.tan()),
    "sinh": Function(lax.sinh_p, np.sinh, lambda x: x.sinh(), 1, LOG_MAX),
    "cosh": Function(lax.cosh_p, np.cosh, lambda x: x.cosh(), 0, LOG_MAX),
    "atan": Function(
        lax.atan_p, np.arctan, lambda x: x.atan(), 1, (0.125, 0.375, 0.4375, 0.6875, 1, 1.1875, 2.4375, 8)
    ),
    "asin": Function(lax.asin_p, np.arcsin, lambda x: x.asin(), 1, (0.5, 0.975, 1)),
    "acos": Function(lax.acos_p, np.arccos, lambda x: x.acos(), -1, (0.5, -0.5, 1, -1)),
    "asinh": Function(lax.asinh_p, np.arcsinh, lambda x: x.asinh(), 1, (1e-4, 2, 3e4)),
    "acosh": Function(lax.acosh_p, np.arccosh, lambda x: x.acosh(), 1, (1, 2, 3e4)),
    "atanh": Function(lax.atanh_p, np.arctanh, lambda x: x.atanh(), 1, (0.5, 1, -1)),
    "cbrt": Function(lax.cbrt_p, np.cbrt, _cube_root, 1),
    "rsqrt": Function(lax.rsqrt_p, lambda x: 1 / np.sqrt(x), lambda x: x.rsqrt(), -1),
    "pow": Function(lax.pow_p, np.power, lambda x, y: (y * x.log()).exp(), 0, (1,)),
    "integer_pow": Function(lax.integer_pow_p, np.power, lambda x, y: x**y, 0, (1,)),
}
EXPONENTS = (3, 4, 5, 7, 8, 16, 31, 64)


class Result(NamedTuple):
    """The largest error of a part, where it is, and how often the values fall where the function rises."""

    error: float = 0.0
    at: tuple[float, ...] = ()
    how: str = ""
    falls: int = 0
    fall_at: float = 0.0
    operands: int = 0

    def worse(self, other: "Result") -> "Result":
        """The maximum of both, and the sum of what is counted."""
        first = self if self.error >= other.error else other
        return first._replace(
            falls=self.falls + other.falls,
            fall_at=self.fall_at if self.falls else other.fall_at,
            operands=self.operands + other.operands,
        )


# What is evaluated.


def values(name: str, *x: Any, **params: Any) -> tuple[Any, Any]:
    """The two floats whose sum the rules take for the function; the second is zero where XLA's own is used."""
    primitive = FUNCTIONS[name].primitive
    if _elementary.is_accurate(primitive, x[0].dtype):
        return tuple(_elementary.accurate_p.bind(*x, function=primitive.name, **params))
    value = _elementary.evaluate(primitive, *x, **params)
    return value, jnp.zeros_like(value)


@cache
def long_arrays(name: str, y: int | None) -> Callable[..., Any]:
    return jax.jit(partial(values, name, **({} if y is None else {"y": y})))


@cache
def short_arrays(name: str, y: int | None) -> Callable[..., Any]:
    f = partial(values, name, **({} if y is None else {"y": y}))
    return jax.jit(lambda *x: lax.map(lambda row: f(*row), x))


def in_blocks(name: str, y: int | None, size: int, x: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The function evaluated on short arrays, one after another."""
    high, low = short_arrays(name, y)(*(v.reshape(-1, size) for v in x))
    return np.asarray(high).ravel(), np.asarray(low).ravel()


# float32: everything.


def sweep(name: str, part: int) -> Result:
    """All operands of one of 256 parts."""
    f = FUNCTIONS[name]
    rng = np.random.default_rng(part)
    first = part << 24
    total = Result()
    for start in range(first, first + (1 << 24), CHUNK):
        x = np.arange(start, start + CHUNK, dtype=np.uint32).view(np.float32)
        if start >= 1 << 31:
            x = x[::-1]
        if not 0 < (start >> 23) % 256 < 255:
            x = x[np.isfinite(x) & ((np.abs(x) >= np.finfo(np.float32).tiny) | (x == 0))]
        if not x.size:
            continue
        for y, operands in _operands(name, x, rng):
            high, low = map(np.asarray, long_arrays(name, y)(*operands))
            total = total.worse(_compare(name, y, operands, "long", high, low))
            if f.monotone:
                total = total.worse(_falls(f.monotone, x, high))
            if start % (1 << 22) == 0:
                for size in range(1, 8):
                    some = tuple(v[rng.integers(0, v.size, 840)] for v in operands)
                    total = total.worse(_compare(name, y, some, f"short {size}", *in_blocks(name, y, size, some)))
    return _verified(name, total, part)


def _operands(
    name: str, x: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[int | None, tuple[np.ndarray, ...]]]:
    if name == "pow":
        x = x[x > 0]
        if not x.size:
            return
        # Exponents that take the power anywhere between underflow and overflow, for each base.
        with np.errstate(all="ignore"):
            reach = 89 / np.abs(np.log(np.abs(x.astype(np.float64))))
        y = (rng.uniform(-1, 1, x.size) * np.minimum(reach, 1e30)).astype(np.float32)
        yield None, (x, np.where(np.abs(y) < np.finfo(np.float32).tiny, np.float32(1.5), y))
    elif name == "integer_pow":
        for n in (EXPONENTS[0], EXPONENTS[1 + int(rng.integers(len(EXPONENTS) - 1))]):
            yield n, (x,)
    else:
        yield None, (x,)


def _compare(
    name: str, y: int | None, x: tuple[np.ndarray, ...], how: str, high: np.ndarray, low: np.ndarray
) -> Result:
    info = np.finfo(np.float32)
    with np.errstate(all="ignore"):
        wide = [v.astype(np.float64) for v in x]
        truth = FUNCTIONS[name].in_float64(*wide, *(() if y is None else (y,)))
        got = np.add(high, low, dtype=np.float64)
        if not np.isfinite(got.sum()) or np.abs(truth).max() > float(info.max):
            # An infinite sum stands for more than the largest number.
            np.copyto(got, high, where=np.isinf(high))
            np.copyto(got, np.inf, where=np.isnan(got) & ~np.isnan(truth))
            np.clip(got, -float(info.max), float(info.max), out=got)
            np.clip(truth, -float(info.max), float(info.max), out=truth)
        got -= truth
        np.abs(got, out=got)
        got -= _elementary.ABSOLUTE * float(info.tiny)
        np.abs(truth, out=truth)
        truth *= float(info.eps)
        got /= truth
    worst = np.fmax.reduce(got)
    if not worst > 0:
        return Result(operands=got.size)
    i = int(np.argmax(got == worst))
    return Result(
        float(worst), tuple(float(v[i]) for v in wide) + (() if y is None else (float(y),)), how, operands=got.size
    )


def _falls(sign: int, x: np.ndarray, high: np.ndarray) -> Result:
    wrong = (high[1:] < high[:-1]) if sign > 0 else (high[1:] > high[:-1])
    n = int(np.count_nonzero(wrong))
    return Result(falls=n, fall_at=float(x[int(np.argmax(wrong))]) if n else 0.0)


def _verified(name: str, result: Result, seed: int) -> Result:
    """Compares the reference in float64 with balls, at random operands of the part and at the worst one."""
    rng = np.random.default_rng(seed)
    x = (np.uint32(seed << 24) + rng.integers(0, 1 << 24, 60).astype(np.uint32)).view(np.float32)
    rows: list[tuple[float, ...]] = [(float(v),) for v in x]
    if name == "pow":
        rows = [(*row, float(e)) for row, e in zip(rows, rng.normal(0, 2, 60), strict=True)]
    if name == "integer_pow":
        rows = [(*row, 7.0) for row in rows]
    for row in [*rows, *([result.at] if result.at else [])]:
        truth = in_balls(name, row)
        if truth is None or abs(truth) > 3e38 or abs(truth) < 1e-38:
            continue
        with np.errstate(all="ignore"):
            near = float(FUNCTIONS[name].in_float64(*(np.float64(v) for v in row)))
        if not abs(arb(near) - truth) < arb(2) ** -44 * abs(truth):
            raise ArithmeticError(f"the reference of {name} at {row} is {near}, but should be {truth}")
    return result


def in_balls(name: str, row: tuple[float, ...]) -> arb | None:
    """The true value, or None where the function has none or it cannot be told."""
    if not np.all(np.isfinite(row)):
        return None
    if name == "integer_pow":
        truth = arb(row[0]) ** int(row[1])
    elif name == "pow" and row[0] <= 0:
        return None
    else:
        truth = FUNCTIONS[name].in_balls(*map(arb, row))
    return truth if truth.is_finite() and (truth == 0 or truth.rel_accuracy_bits() > 90) else None


# float64: an adversarial sample.


def sample(name: str, part: int, n: int = 1500) -> tuple[np.ndarray, ...]:
    """Operands in double precision."""
    rng = np.random.default_rng(1000 + part)
    info = np.finfo(np.float64)
    sign = rng.choice([-1.0, 1.0], n)
    bits = rng.integers(0, int(info.max.view(np.uint64)), n, dtype=np.uint64)
    powers = 2.0 ** np.arange(info.minexp, info.maxexp)
    step = rng.integers(-3, 4, powers.size)
    sets = [
        hardest_angles()[part :: PARTS["float64"]] if name in ("sin", "cos", "tan") else np.zeros(0),
        bits.view(np.float64) * sign,
        powers * (1 + step * info.eps) * rng.choice([-1.0, 1.0], powers.size),
        *(rng.normal(0, s, n) for s in (1e-8, 1e-3, 0.1, 0.5, 1, 3, 10, 30, 100, 350)),
        rng.uniform(-1, 1, n),
        1 - np.exp(rng.uniform(-37, 0, n)),
        np.exp(rng.uniform(-37, 1, n)) - 1,
        1 + np.exp(rng.uniform(-37, 1, n)),
        (1 + rng.integers(-4, 5, n) * info.eps) * rng.choice([1.0, -1.0, 2.0, 0.5], n),
        # Multiples of π/2, as near as floats come, near and far.
        np.round(np.exp(rng.uniform(0, 40, n))) * (np.pi / 2) * sign,
        (np.round(rng.uniform(0, 5000, n)) * (np.pi / 2) + np.exp(rng.uniform(-40, 0, n))) * sign,
        # Bounds of the argument reductions: halves of multiples of ln 2, and of quarters.
        (rng.integers(-1100, 1100, n) + 0.5) * np.log(2) * (1 + rng.normal(0, 1e-12, n)),
        (rng.integers(-16, 16, n) + 0.5) / 8 * (1 + rng.normal(0, 1e-12, n)),
        rng.integers(-1100, 1100, n) + rng.choice([0, 0.5, 1e-9, -1e-9], n),
        *(p + np.exp(rng.uniform(-36, 0, n // 4)) * s for p in FUNCTIONS[name].points for s in (-1, 1)),
        *(-p + np.exp(rng.uniform(-36, 0, n // 4)) * s for p in FUNCTIONS[name].points for s in (-1, 1)),
        np.array([0.0, info.tiny, -info.tiny, 2 * info.tiny, info.max, -info.max, info.max / 2, 1.0, -1.0]),
    ]
    x = np.concatenate(sets)
    if name in ("log", "sqrt", "rsqrt", "pow"):
        x = np.abs(x)
    if name in ("asin", "acos", "atanh"):
        x = np.where(np.abs(x) > 1, 1 / np.where(x == 0, 1, x), x)
    if name == "acosh":
        x = np.where(np.abs(x) < 1, 1 / np.where(x == 0, 1, x), x)
        x = np.abs(x)
    x = x[np.isfinite(x) & ((np.abs(x) >= info.tiny) | (x == 0))]
    if name != "pow":
        return (x,)
    with np.errstate(all="ignore"):
        y = rng.uniform(-1, 1, x.size) * np.minimum(745 / np.abs(np.log(x)), 1e300)
        y = np.where(rng.random(x.size) < 0.2, np.round(y), y)
        y = np.where(rng.random(x.size) < 0.2, rng.choice([0.5, -0.5, 1 / 3, 1.5, -2.0, 10.0], x.size), y)
    return x, np.where(np.isfinite(y) & (np.abs(y) > info.tiny), y, 1.5)


@cache
def hardest_angles() -> np.ndarray:
    """The floats that are nearest to multiples of π/2, for each exponent: convergents of `2ᵉ/(π/2)` (Muller, 11.5)."""
    with flint.ctx.workprec(1400):
        half_pi = Fraction(int((arb.pi() / 2 * arb(2) ** 1300).floor().unique_fmpz() or 0), 2**1300)
    found = []
    for e in range(-52, 971):
        a, b = (Fraction(2) ** e / half_pi).as_integer_ratio()
        before, now = 1, 0  # denominators of the convergents: significands
        best = []
        while b:
            n = a // b
            a, b = b, a - n * b
            before, now = now, n * now + before
            if now >= 2**53:
                break
            best.append(now)
        found += [float(m) * 2.0**e for m in best[-3:]]
    return np.array([x for x in found if x >= 1])


Seen = dict[bytes, tuple[int, float, float, str]]


def _note(seen: Seen, at: np.ndarray, got: tuple[Any, Any], how: str) -> None:
    """Remembers every value that differs from those seen at the same operand, and how it was evaluated."""
    for row in np.stack([at, *(np.asarray(v, np.float64) for v in got)], 1):
        seen.setdefault(row.tobytes(), (int(row[0]), float(row[1]), float(row[2]), how))


def search(name: str, part: int) -> Result:
    """The largest error in double precision over a sample."""
    total = Result()
    for y in EXPONENTS if name == "integer_pow" else (None,):
        x = sample(name, part, 200 if y else 1500)
        x = tuple(v[: v.size // 420 * 420] for v in x)
        seen: Seen = {}
        note = partial(_note, seen)
        index = np.arange(x[0].size, dtype=np.float64)
        note(index, long_arrays(name, y)(*x), "long")
        for size in range(1, 8):
            note(index, in_blocks(name, y, size, x), f"short {size}")
        plain = partial(values, name, **({} if y is None else {"y": y}))
        for i in range(0, x[0].size, max(1, x[0].size // 40)):
            for size in (1, 2, 3, 5, 8):
                some = tuple(jnp.asarray(v[i : i + size]) for v in x)
                note(index[i : i + size], plain(*some), f"no jit {size}")
                note(index[i : i + size], long_arrays(name, y)(*some), f"alone {size}")
        truths: dict[int, arb | None] = {}
        for i, high, low, how in seen.values():
            row = tuple(float(v[i]) for v in x) + (() if y is None else (float(y),))
            if i not in truths:
                truths[i] = in_balls(name, row)
            truth = truths[i]
            if truth is not None:
                total = total.worse(
                    Result(_error64(truth, high, low, _reduction(name, row[0], truth)), row, how, operands=1)
                )
        if FUNCTIONS[name].monotone:
            order = np.sort(x[0])
            total = total.worse(_falls(FUNCTIONS[name].monotone, order, np.asarray(long_arrays(name, y)(order)[0])))
    return total


def _reduction(name: str, x: float, truth: arb) -> arb:
    if name not in ("sin", "cos", "tan") or abs(x) < _elementary.LARGE_ANGLE:
        return arb(0)
    # Half of what the rules add, as everywhere.
    return arb(_elementary.REDUCTION) / 2 * (1 + truth * truth if name == "tan" else 1)


def _error64(truth: arb, high: float, low: float, absolute: arb) -> float:
    info = np.finfo(np.float64)
    largest = arb(float(info.max))
    if np.isnan(high):
        return np.inf
    got = arb(float(np.clip(high, -info.max, info.max))) + arb(low if np.isfinite(high) else 0.0)
    if abs(truth) > largest:
        truth = largest if truth > 0 else -largest
        got = got if abs(got) < largest else truth
    distance = abs(got - truth) - _elementary.ABSOLUTE * arb(float(info.tiny)) - absolute
    if distance < 0:
        return 0.0
    return float((distance / abs(truth)).upper()) / float(info.eps) if truth != 0 else np.inf


# Parts, state and table.


@cache
def key() -> str:
    """What a result depends on: the versions, the machine, and the code of the library's own functions."""
    folder = Path(_elementary.__file__).parent
    digest = hashlib.sha256()
    for name in ("_accurate", "_pairs", "_erfcx"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = ""  # a docstring
        digest.update(ast.dump(tree).encode())
    return f"jax {jax.__version__}, {jax.default_backend()}, {platform.machine()}, {digest.hexdigest()[:8]}"


def read(state: Path) -> dict[tuple[str, str, int], Result]:
    """The results in a state folder that hold for these versions."""
    file, found = state / "results.jsonl", {}
    if file.exists():
        for line in file.read_text().splitlines():
            row = json.loads(line)
            # A function that XLA evaluates does not depend on the digest of the library's own.
            own = _elementary.is_accurate(FUNCTIONS[row["function"]].primitive, np.dtype(row["dtype"]))
            here = key() if own else key().rpartition(",")[0]
            if row["key"].startswith(here):
                found[row["function"], row["dtype"], row["part"]] = Result(*row["result"])
    return found


class Progress:
    """Parts done, rate, and remaining time; silent if nobody watches."""

    def __init__(self, todo: int) -> None:
        self.todo, self.done, self.start = todo, 0, time.monotonic()

    def step(self, name: str, dtype: str) -> None:
        """Counts one part."""
        self.done += 1
        if sys.stderr.isatty():
            each = (time.monotonic() - self.start) / self.done
            left = int(each * (self.todo - self.done))
            text = f"{name} {dtype}: {self.done}/{self.todo} parts, {1 / each:.2f}/s, {left // 60}:{left % 60:02} left"
            print(f"\r\x1b[K{text}", end="" if self.done < self.todo else "\n", file=sys.stderr, flush=True)


def measure(names: list[str], which: tuple[int, int], state: Path) -> None:
    """Measures the parts that are not in the state folder yet."""
    state.mkdir(parents=True, exist_ok=True)
    known = read(state)
    todo = [
        (name, dtype, part)
        for name in names
        for dtype, n in PARTS.items()
        for part in range(n)
        if part % which[1] == which[0] - 1 and (name, dtype, part) not in known
    ]
    todo.sort(key=lambda job: job[1] == "float32" and (job[2] % 128) not in FIRST)
    progress = Progress(len(todo))
    with (state / "results.jsonl").open("a") as file:
        for name, dtype, part in todo:
            result = sweep(name, part) if dtype == "float32" else search(name, part)
            row = {"function": name, "dtype": dtype, "part": part, "result": result, "key": key()}
            file.write(json.dumps(row) + "\n")
            file.flush()
            progress.step(name, dtype)


def table(state: Path) -> str:
    """The table of the largest errors, in Markdown."""
    known = read(state)
    lines = [
        "# Measured errors of the elementary functions",
        "",
        "Written by `python benchmarks/rounding_margins.py`, whose docstring says how it measures. The margins of the",
        "rules, in `intervals/_elementary.py`, are at least twice these figures. Unit: `eps·|true result|`. *XLA*: its",
        "own function; *pair*: the sum of two floats of `intervals/_accurate.py`. *Falls*: how often the value moves",
        "against a monotone function from one operand to the next; no enclosure relies on monotone values.",
        "",
        f"Measured with {key().rpartition(',')[0]} ({_processor()}), NumPy {np.__version__}, python-flint",
        f"{flint.__version__}.",
        "",
        "| function | dtype | evaluated by | largest error | at | in | falls | parts | operands |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, f in FUNCTIONS.items():
        for dtype, parts in PARTS.items():
            results = [r for (n, d, _), r in known.items() if (n, d) == (name, dtype)]
            if not results:
                continue
            worst = Result()
            for r in results:
                worst = worst.worse(r)
            by = "pair" if _elementary.is_accurate(f.primitive, np.dtype(dtype)) else "XLA"
            at = ", ".join(f"{v:.9g}" if dtype == "float32" else f"{v!r}" for v in worst.at)
            falls = f"{worst.falls}" if f.monotone else "–"
            cells = (
                name,
                dtype,
                by,
                f"{worst.error:.4f}",
                at,
                worst.how,
                falls,
                f"{len(results)}/{parts}",
                worst.operands,
            )
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--function", nargs="+", choices=list(FUNCTIONS), default=list(FUNCTIONS))
    parser.add_argument("--part", default="1/1", help="i/n: every n-th part, from the i-th")
    parser.add_argument("--state", type=Path, default=Path("runs/rounding_margins"))
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "margins.md")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    i, n = map(int, arguments.part.split("/"))
    if not 1 <= i <= n:
        parser.error(f"--part must be i/n with 1 ≤ i ≤ n, got {arguments.part}")
    if not arguments.table:
        measure(arguments.function, (i, n), arguments.state)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(table(arguments.state))


if __name__ == "__main__":
    main()
