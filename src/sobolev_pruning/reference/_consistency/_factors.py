"""By which factor every column of derivatives would have to be multiplied to fit the values."""

import dataclasses
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from ._pairs import Pairs

_ROUNDS = 25
# Standard errors, of thousands of columns that are looked at in a year, beyond which one is no accident.
_SIGNIFICANT = 6.0
# The rule of the mean slope is of second order: neighbours far apart leave that much of a factor.
_TOLERANCE = 0.2
_LEAST_RELIABILITY = 0.25


@final
@dataclasses.dataclass(frozen=True)
class Factors:
    """Factors of one output.

    Attributes:
        values: the estimates, `(d,)`; NaN where the column says nothing.
        wrong: whether a factor is significantly another than one, `(d,)`.
        zero: whether labels are zero throughout although the values vary with the input, `(d,)`.
        residuals: what remains of the differences, `(p,)`.
    """

    values: Float[np.ndarray, " d"]
    wrong: Bool[np.ndarray, " d"]
    zero: Bool[np.ndarray, " d"]
    residuals: Float[np.ndarray, " p"]


def factors(pairs: Pairs, output: int) -> Factors:
    """Regress the differences of values on what each column contributes to them.

    Two things pull a factor away from one though labels are right. Noise of the labels shrinks it: with the share s of
    a label's square that neighbours have in common, to `2s / (1 + s)`. And where neighbours are far apart slopes
    between them are lower than at them. So a column counts as wrong only if neither the factor nor the factor without
    that shrinkage comes near one, by many standard errors. Differences across a jump or a kink are few and far off;
    they are weighted down (P. Huber, *Robust Estimation of a Location Parameter*, 1964).
    """
    steps, slopes = pairs.steps, pairs.slopes[:, output]
    target = pairs.differences[:, output]
    d = steps.shape[1]
    contributions = slopes * steps
    sizes = np.sqrt(np.mean(contributions**2, axis=0))
    is_zero = ~pairs.unknown[output] & ~np.any(pairs.gradients[:, output], axis=0)
    # Where there are no labels, the step itself may explain what it can.
    design = np.where(pairs.unknown[output] | is_zero, steps, contributions)
    scale = np.sqrt(np.mean(design**2, axis=0))
    used = scale > 1e-9 * max(float(np.sqrt(np.mean(target**2))), float(scale.max(initial=0.0)))
    nothing = np.zeros(d, bool)
    if not used.any() or len(target) < 3 * used.sum():
        return Factors(np.full(d, np.nan), nothing, nothing, target - contributions.sum(axis=1))
    # Where nothing changes and nothing is said to, there is nothing to learn of the size of errors.
    told = (target != 0) | np.any(design != 0, axis=1)
    rows = np.stack([pairs.first, pairs.second], 1)[told]
    unit = design[:, used] / scale[used]
    # Beginning at the labels as they are, so that few differences across jumps count for little from the start.
    found, error = _robust(
        unit[told], target[told], np.where(is_zero | pairs.unknown[output], 0.0, 1.0)[used] * scale[used], rows
    )
    values, errors = np.full(d, np.nan), np.full(d, np.inf)
    values[used], errors[used] = found / scale[used], error / scale[used]
    residuals = target - unit @ found

    reliability = np.clip(pairs.reliability()[output], 1e-9, 1.0)
    unshrunk = (1 + reliability) / (2 * reliability)
    lower = np.minimum(values, values * unshrunk) - _SIGNIFICANT * errors * unshrunk
    upper = np.maximum(values, values * unshrunk) + _SIGNIFICANT * errors * unshrunk
    judged = used & ~is_zero & ~pairs.unknown[output] & (reliability > _LEAST_RELIABILITY) & (sizes > 0)
    with np.errstate(invalid="ignore"):
        wrong = judged & ((lower > 1 + _TOLERANCE) | (upper < 1 - _TOLERANCE))
        zero = is_zero & used & (np.abs(values) > 2 * _SIGNIFICANT * errors) & (np.abs(values) > 0.05)
    return Factors(np.where(judged, values, np.nan), wrong, zero, residuals)


def _robust(
    design: Float[np.ndarray, "p k"],
    target: Float[np.ndarray, " p"],
    start: Float[np.ndarray, " k"],
    rows: Int[np.ndarray, "p 2"],
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Coefficients by Huber's loss, and their standard errors for errors of any variance that pairs of a row share."""
    found = start
    floor = 1e-12 * float(np.abs(target).max(initial=0.0)) + 1e-300
    for _ in range(_ROUNDS):
        residuals = target - design @ found
        size = np.abs(residuals)
        bend = 1.5 * float(np.median(size)) + floor
        weighted = design * np.minimum(1.0, bend / np.maximum(size, floor))[:, None]
        new = np.linalg.pinv(weighted.T @ design, rcond=1e-10, hermitian=True) @ (weighted.T @ target)
        change, found = np.abs(new - found).max(), new
        if change < 1e-6 * (1 + np.abs(found).max()):
            break
    residuals = target - design @ found
    size = np.abs(residuals)
    bend = 1.5 * float(np.median(size)) + floor
    # Huber's loss is curved within its bend alone.
    inside = design[size <= bend]
    curvature = inside.T @ inside
    curvature += 1e-12 * max(float(np.trace(curvature)), 1e-300) * np.eye(len(curvature))
    inverse = np.linalg.inv(curvature)
    scores = design * np.clip(residuals, -bend, bend)[:, None]
    of_rows = np.zeros((rows.max(initial=0) + 1, design.shape[1]))
    for end in rows.T:
        np.add.at(of_rows, end, scores)
    single = scores.T @ scores
    # Of pairs that share a row (P. Aronow, C. Samii, V. Assenova, 2015), or of single ones where that is larger.
    variances = [np.diag(inverse @ meat @ inverse) for meat in (of_rows.T @ of_rows - single, 2 * single)]
    freedom = max(len(of_rows) - design.shape[1], 1) / len(of_rows)
    return found, np.sqrt(np.maximum(*variances) / freedom)
