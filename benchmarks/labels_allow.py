"""Does second-order training reach what the labels allow? Three kinds of labels, five seeds.

    python benchmarks/labels_allow.py [--seeds 0 1 2 3 4] [--steps 240] [--only exact fixed fixed-plain fresh]

The Bachelier basket of seven assets, drawn anew for each seed, and networks 7-3-3-1 from scratch: on noise-free labels
and on a fixed set of 8 192 one-path samples by Levenberg–Marquardt, on fresh one-path labels by Levenberg–Marquardt on
two sets and then recursive Gauss–Newton. Noisy labels are fitted as they are, then weighed by the covariance of the
residuals that this leaves and fitted again; the first of the two is listed beside. Spots come half from the uniform
cube and half from the model's law, as in the case study. Writes `benchmarks/results/labels_allow.md`: unexplained
variance 1 − R² on the published evaluation set and on the model's law, and wall times of a first run in the process
(with compilation) and of the others (without).
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from sobolev_pruning.reference import BachelierBasket, Mixture, ModelLaw, Samples, UniformCube
from sobolev_pruning.sobolev import SobolevLoss, Whitened, fit_gauss_newton, fit_levenberg_marquardt
from sobolev_pruning.study import environment, errors_between
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

# The last digits of fresh labels are below the rounding errors of single precision.
jax.config.update("jax_enable_x64", True)

RESULTS = Path(__file__).parent / "results" / "labels_allow.md"
# Shares of the steps on fresh labels. The second begins anew: what the first gathers is linearised too far away.
PHASES = (0.25, 0.75)
QUANTITIES = ("values", "deltas", "gammas")
GOALS = {
    "exact": (1e-9, 1e-7, 1e-5),
    "fresh": (1e-7, 1e-6, 1e-4),
    "fixed": (4e-5, 2e-4, 2e-3),
    "fixed-plain": None,
}
LIMITS = {"exact": 60.0, "fresh": 120.0, "fixed": None, "fixed-plain": None}


@eqx.filter_jit
def _sample(basket: BachelierBasket, key: jax.Array, n: int) -> Samples:
    return basket.sample(key, n)


def _start(samples: Samples, key: jax.Array) -> Surrogate:
    return Surrogate(MLP.create([7, 3, 3, 1], key=key), Normalisation.from_samples(samples))


def exact(basket: BachelierBasket, key: jax.Array, steps: int) -> Surrogate:
    """4 096 noise-free values and deltas."""
    keys = jax.random.split(key, 3)
    known = basket.truth(basket.spots(keys[0], 4096))
    samples = Samples(known.x, known.y, known.dydx)
    return fit_levenberg_marquardt(
        _start(samples, keys[1]), samples, SobolevLoss(), key=keys[2], starts=4, max_steps=300, tolerance=1e-12
    ).surrogate


def fresh(basket: BachelierBasket, key: jax.Array, steps: int) -> Surrogate:
    """One path a label, no sample twice."""
    keys = jax.random.split(key, 4)
    few = _sample(basket, keys[0], 2**15)
    near = _plain(_start(few, keys[1]), few, keys[2], max_steps=30)
    loss = Whitened.from_residuals(SobolevLoss(), near, few)
    near = fit_levenberg_marquardt(near, few, loss, key=keys[2], starts=4, max_steps=60).surrogate
    # Only now is the network right enough for its residuals to show what is nearly free of noise, and along the valley
    # that this opens it has a long way to go.
    loss = Whitened.from_residuals(SobolevLoss(), near, few, floor=1e-6)
    many = _sample(basket, jax.random.fold_in(keys[0], 1), 2**18)
    near = fit_levenberg_marquardt(near, many, loss, key=keys[2], max_steps=30).surrogate
    for i, share in enumerate(PHASES):
        # What is full of noise has a millionth of the weight of what is not: the damping has to be far below that.
        near = fit_gauss_newton(
            near,
            basket,
            loss,
            key=jax.random.fold_in(keys[3], i),
            steps=round(share * steps),
            samples_per_step=2**19,
            damping=1e-12,
        ).surrogate
    return near


def fixed(basket: BachelierBasket, key: jax.Array, steps: int) -> Surrogate:
    """8 192 samples of one path each, used again and again."""
    keys = jax.random.split(key, 3)
    samples = _sample(basket, keys[0], 8192)
    return _weighed(_start(samples, keys[1]), samples, keys[2])


def fixed_plain(basket: BachelierBasket, key: jax.Array, steps: int) -> Surrogate:
    """The same by plain least squares."""
    keys = jax.random.split(key, 3)
    samples = _sample(basket, keys[0], 8192)
    return _plain(_start(samples, keys[1]), samples, keys[2])


def _plain(start: Surrogate, samples: Samples, key: jax.Array, max_steps: int = 60) -> Surrogate:
    return fit_levenberg_marquardt(start, samples, SobolevLoss(), key=key, starts=4, max_steps=max_steps).surrogate


def _weighed(start: Surrogate, samples: Samples, key: jax.Array) -> Surrogate:
    loss = Whitened.from_residuals(SobolevLoss(), _plain(start, samples, key), samples)
    return fit_levenberg_marquardt(start, samples, loss, key=key, starts=4, max_steps=60, ridge=1.0).surrogate


FITS: dict[str, Callable[[BachelierBasket, jax.Array, int], Surrogate]] = {
    "exact": exact,
    "fixed": fixed,
    "fixed-plain": fixed_plain,
    "fresh": fresh,
}
NAMES = {
    "exact": "noise-free labels",
    "fresh": "fresh one-path labels",
    "fixed": "8 192 one-path samples",
    "fixed-plain": "the same, not weighed",
}


def main() -> None:
    """Measure every kind of labels on every seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--only", nargs="+", choices=list(FITS), default=list(FITS))
    arguments = parser.parse_args()
    listed = " ".join(map(str, arguments.seeds))
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = [
        "# What the labels allow",
        "",
        f"{machine}.",
        "",
        f"Made by `python benchmarks/labels_allow.py --seeds {listed} --steps {arguments.steps}`; 7-3-3-1, medians",
        "over the seeds of 1 − R² for values / deltas / gammas. First: seconds of the first fit in the process,",
        "compilation included; other: median of the others.",
        "",
        "| labels | evaluated on | values | deltas | gammas | first (s) | other (s) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in arguments.only:
        seconds, found = [], {"published cube": [], "model's law": []}
        for seed in arguments.seeds:
            model_key, evaluation_key, key = jax.random.split(jax.random.key(seed), 3)
            basket = BachelierBasket.random(model_key, 7, spot_law=Mixture(UniformCube(), ModelLaw()))
            begin = time.perf_counter()
            surrogate = FITS[name](basket, key, arguments.steps)
            seconds.append(time.perf_counter() - begin)
            for law_name, law in (("published cube", UniformCube()), ("model's law", ModelLaw())):
                judged = dataclasses.replace(basket, spot_law=law)
                truth = judged.truth(judged.spots(evaluation_key, 4096))
                errors = errors_between(surrogate.evaluate(truth.x), truth)
                found[law_name].append([1 - getattr(errors, quantity).r2 for quantity in QUANTITIES])
            print(name, seed, f"{seconds[-1]:.1f} s", found["published cube"][-1], found["model's law"][-1], flush=True)
        asked, limit = GOALS[name], "" if LIMITS[name] is None else f"≤ {LIMITS[name]:g}"
        if asked is not None:
            goals = " | ".join(f"≤ {goal:.0e}" for goal in asked)
            lines.append(f"| {NAMES[name]} | goal | {goals} | {limit} | |")
        other = f"{np.median(seconds[1:]):.1f}" if len(seconds) > 1 else ""
        for law_name, measured in found.items():
            shown = " | ".join(f"{value:.1e}" for value in np.median(measured, axis=0))
            lines.append(f"| {NAMES[name]} | {law_name} | {shown} | {seconds[0]:.1f} | {other} |")
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
