"""Whether derivatives are those of the values beside them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import final

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from .._samples import Samples
from ._factors import Factors, factors
from ._order import are_unrelated, better_order, sizes
from ._pairs import Pairs

# A factor that is zero but for rounding.
_NOTHING = 1e-9
# What labels are multiplied by, by mistake, and what it is called.
_KNOWN = (
    (-1.0, "the other sign"),
    (180 / math.pi, "degrees for radians"),
    (math.pi / 180, "radians for degrees"),
    (23.0605, "eV for kcal/mol"),
    (1 / 23.0605, "kcal/mol for eV"),
    (27.2114, "hartree for eV"),
    (1 / 27.2114, "eV for hartree"),
    (627.509, "hartree for kcal/mol"),
    (1 / 627.509, "kcal/mol for hartree"),
    (4.184, "calories for joules"),
    (1 / 4.184, "joules for calories"),
    *((factor, "") for factor in (1e-3, 1e-2, 0.1, 0.5, 2.0, 10.0, 100.0, 1e3)),
)
# Differences of second derivatives are taken for so many first derivatives at most.
_MOST_FIRST = 32


class ContradictionWarning(UserWarning):
    """Derivatives contradict the values beside them; see `check_derivatives`."""


@final
@dataclasses.dataclass(frozen=True)
class DerivativeCheck:
    """What neighbouring samples say of the derivatives.

    Attributes:
        factors: by what the derivatives of each output by each input would have to be multiplied to fit the values,
            `(m, d)`; near one where they fit, NaN where the samples cannot tell.
        messages: one sentence for each fault; none where nothing contradicts.
    """

    factors: Float[np.ndarray, "m d"]
    messages: tuple[str, ...]


def check_derivatives(
    samples: Samples, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> DerivativeCheck:
    """Compare derivatives with the differences of values between neighbouring samples.

    Between neighbours a and b the values differ by about `½ (∇y_a + ∇y_b) · (x_b − x_a)`. A regression of the
    differences on what each column contributes tells by which factor it would fit: −1 for a wrong sign, 57.3 for
    derivatives by degrees in place of radians. Where other columns, the transposed Jacobian or no derivative at all
    fits better, that is told, too. Second derivatives are compared with the differences of the first ones.

    `fit`, `fit_levenberg_marquardt`, the estimator and the command `fit` call this before they train, and warn.

    Something is told only if it is no accident: derivatives that are noisy estimates, such as those of one path, few
    samples, jumps and kinks give no message, and hide a fault if they are worse than it. Inputs that hardly matter are
    not judged. The time grows little with the number of samples: of many, some thousand pairs are compared.

    Args:
        samples: in any units; labels of weight zero play no part.
        inputs: names of the inputs, for the messages.
        outputs: names of the outputs, for the messages.

    Returns:
        Factors, and what contradicts. Without first derivatives, or under `jit`, nothing is compared.
    """
    x, y, dydx = samples.x, samples.y, samples.dydx
    m, d = y.shape[1], x.shape[1]
    unknown = np.full((m, d), np.nan)
    if dydx is None or samples.n == 0 or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(samples)):
        return DerivativeCheck(unknown, ())
    a = [f"x{i}" for i in range(d)] if inputs is None else list(inputs)
    b = [f"y{k}" for k in range(m)] if outputs is None else list(outputs)
    known = {name: _known(samples, name) for name in ("y", "dydx", "d2ydx2")}
    x, y, dydx = (np.asarray(part, np.float64) for part in (x, y, dydx))
    found, messages = _check(x, y, dydx, known["y"], known["dydx"], a, b, whole=True)
    if samples.d2ydx2 is not None and m * d <= _MOST_FIRST:
        n = samples.n
        first = dydx.reshape(n, m * d)
        second = np.asarray(samples.d2ydx2, np.float64).reshape(n, m * d, d)
        of_first = [f"∂{output}/∂{name}" for output in b for name in a]
        known_first, known_second = known["dydx"].reshape(n, m * d), known["d2ydx2"].reshape(n, m * d, d)
        _, more = _check(x, first, second, known_first, known_second, a, of_first, whole=False)
        messages += more
    return DerivativeCheck(unknown if found is None else found, tuple(messages))


def _known(samples: Samples, name: str) -> np.ndarray:
    part = getattr(samples, name)
    weights = getattr(samples.weights, name, None)
    shape = (0,) if part is None else part.shape
    return np.ones(shape, bool) if weights is None else np.asarray(weights) > 0


def _check(
    x: np.ndarray,
    y: np.ndarray,
    gradients: np.ndarray,
    known_y: np.ndarray,
    known_gradients: np.ndarray,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    whole: bool,
) -> tuple[Float[np.ndarray, "m d"] | None, list[str]]:
    """Factors and messages; `whole` also looks for other orders of columns and rows."""
    # An output without values says nothing, and must not take the others along.
    told = known_y.mean(axis=0) >= 0.5
    m, d = gradients.shape[1:]
    if not told.any() or not known_gradients.any():
        return None, []
    index = np.flatnonzero(told).tolist()
    pairs = Pairs.of(x, y[:, index], gradients[:, index], known_y[:, index], known_gradients[:, index])
    if pairs is None:
        return None, []
    found = [factors(pairs, k) for k in range(len(index))]
    values = np.full((m, d), np.nan)
    values[index] = [one.values for one in found]
    if whole and len(index) == m and not pairs.unknown.any():
        better = better_order(pairs)
        free = np.abs(np.stack([one.residuals for one in found], 1)).sum()
        free /= max(float(np.abs(pairs.differences).sum()), 1e-300)
        # Factors are free numbers, so an order that explains nearly as much is the likelier cause.
        if better is not None and better[1] < 1.5 * free + 0.02:
            return values, [_of_order(better, inputs, outputs)]
    names = [outputs[k] for k in index]
    messages = [text for name, one in zip(names, found, strict=True) for text in _of_factors(name, one, inputs)]
    if whole and not messages:
        messages = [_of_rows(name) for k, name in enumerate(names) if _is_no_better_than_mean(pairs, k)]
    return values, messages


def _is_no_better_than_mean(pairs: Pairs, output: int) -> bool:
    one = dataclasses.replace(
        pairs,
        y=pairs.y[:, [output]],
        gradients=pairs.gradients[:, [output]],
        unknown=pairs.unknown[[output]],
        units=pairs.units[[output]],
    )
    if one.unknown.any():
        return False
    mean = np.broadcast_to(one.gradients.mean(axis=0), one.slopes.shape)
    return sizes(one, one.slopes) > 0.8 * sizes(one, mean) and are_unrelated(pairs, output)


def _of_factors(output: str, found: Factors, inputs: Sequence[str]) -> list[str]:
    messages = []
    left = np.flatnonzero(found.wrong).tolist()
    while left:
        factor = found.values[left[0]]
        same = [i for i in left if i == left[0] or abs(found.values[i] - factor) <= 0.15 * abs(factor)]
        left = [i for i in left if i not in same]
        names = ", ".join(f"'{inputs[i]}'" for i in same)
        if abs(factor) < _NOTHING:
            messages.append(
                f"the derivatives of '{output}' by {names} are not zero, but its values do not vary with these inputs."
            )
            continue
        factor = float(np.median(found.values[same]))
        exact, called = min(_KNOWN, key=lambda known: abs(factor / known[0] - 1))
        is_known = abs(factor / exact - 1) < 0.08
        factor, guess = (exact, f", {called}" if called else "") if is_known else (factor, "")
        messages.append(
            f"the derivatives of '{output}' by {names} contradict its values at neighbouring samples; multiplied by "
            f"{factor:.3g}{guess}, they would fit."
        )
    for i in np.flatnonzero(found.zero).tolist():
        messages.append(
            f"the derivatives of '{output}' by '{inputs[i]}' are zero in all samples, but its values vary with "
            f"'{inputs[i]}'."
        )
    return messages


def _of_order(better: tuple[str, float, list[int]], inputs: Sequence[str], outputs: Sequence[str]) -> str:
    kind, _, order = better
    begin = "the derivatives contradict the values at neighbouring samples"
    if kind == "transposed":
        return f"{begin}; the transposed Jacobian would fit: the output comes before the input, `(n, m, d)`."
    names = inputs if kind == "inputs" else outputs
    moved = [f"'{names[j]}' stands that by '{names[i]}'" for i, j in enumerate(order) if i != j]
    if kind == "outputs":
        moved = [f"'{names[j]}' stands that of '{names[i]}'" for i, j in enumerate(order) if i != j]
    return f"{begin}; in another order of the {kind} they would fit: in the place of {', of '.join(moved)}."


def _of_rows(output: str) -> str:
    return (
        f"the derivatives of '{output}' have nothing to do with its values at neighbouring samples: the values bend, "
        "and the derivatives vary in another way. Are their rows in another order, or are they of another function?"
    )
