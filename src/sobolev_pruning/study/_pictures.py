"""From the stages of a study to its figures, with their titles and captions."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ..reference import BachelierBasket, smoothed_call
from ._figures import (
    errors_by_stage,
    loss_curves,
    network_before_after,
    payoff_smoothing,
    predictions,
    sample_paths,
    significance,
)
from ._figures._numbers import grouped
from ._stages import Stage, Study
from ._summary import PUBLISHED, is_published_case, summarise

_LABELS = {
    "oversized": "oversized",
    "pruned": "pruned",
    "finetuned_vanilla": "vanilla fine-tuning",
    "finetuned_nn_data": "Sobolev on NN data",
    "finetuned_nn_curvature": "with curvature, on NN data",
    "finetuned_reference": "Sobolev on the reference",
}


@final
@dataclass(frozen=True)
class Picture:
    """A figure with what stands above and below it.

    Attributes:
        name: of its files.
        title: above it.
        caption: below it; what is drawn, and where from.
        figure: itself.
    """

    name: str
    title: str
    caption: str
    figure: Figure


def draw(study: Study, stages: Sequence[Stage]) -> list[Picture]:
    """All figures of a finished study, in the order in which a reader needs them."""
    basket = study.basket
    summary = summarise(stages, study.config.seed, 0.0)
    oversized = stages[0]
    pictures = [_paths(study), _payoff(study, stages[-1])]
    scores = next(iter(study.prunings.values())).scores
    of_nodes = [np.asarray(s) for s in scores.of_nodes()]
    of_inputs = np.asarray(jnp.max(scores.inputs, axis=0))
    for size, pruning in study.prunings.items():
        own = {stage.name: stage for stage in stages if stage.size == size}
        kept = [None if nodes is None else np.array(nodes) for nodes in pruning.kept.hidden]
        final = own["finetuned_reference"].surrogate.network
        pictures += [
            Picture(
                f"significance_{size}",
                f"Significance of the oversized network's nodes, and what {size} keeps",
                "Width of each node's enclosure times its largest adjoint, the largest over "
                f"{study.config.pruning.regions} trust regions of {study.config.pruning.region_scale:.1%} of the box "
                "of the training data. Nodes are kept by significance, discounting what kept nodes already say.",
                significance(of_inputs, of_nodes, kept, [f"S{i + 1}" for i in range(basket.dim_in)]),
            ),
            Picture(
                f"network_{size}",
                f"From {grouped(oversized.surrogate.network.n_parameters)} parameters to {grouped(final.n_parameters)}",
                "Left, the oversized network with its nodes coloured by significance; right, what is left after "
                "pruning and Sobolev fine-tuning on the reference, with its weights.",
                network_before_after(
                    oversized.widths,
                    own["pruned"].widths,
                    kept,
                    of_nodes,
                    weights=[np.asarray(layer.weight) for layer in final.layers],
                ),
            ),
            Picture(
                f"predictions_{size}",
                f"Prediction against truth, {size}",
                "Values, deltas and gammas over the basket value on the published evaluation set: independent spots, "
                "uniform over the cube.",
                predictions(
                    study.cube,
                    {_LABELS[s.name]: s.prediction for s in stages if s.size == size or s is oversized},
                    np.asarray(basket.weights),
                    f"Prediction against truth on the published evaluation set, {size}",
                    r2={_LABELS[s.name]: s.cube.table()["r2"] for s in stages if s.size == size or s is oversized},
                ),
            ),
            Picture(
                f"training_{size}",
                f"Vanilla against Sobolev fine-tuning, {size}",
                "Left, the training losses, which are defined differently and cannot be compared with each other; the "
                "others, errors against the closed form while training, which can.",
                loss_curves(
                    {_LABELS[n]: s.course.losses for n, s in own.items() if s.course is not None},
                    {
                        _LABELS[n]: {q: (s.course.steps, e) for q, e in s.course.unexplained.items()}
                        for n, s in own.items()
                        if s.course is not None
                    },
                ),
            ),
        ]
    pictures += [
        Picture(
            "errors_by_stage",
            "Unexplained variance by stage",
            "1 − R² on the published evaluation set; lower is better. Bars are the published values.",
            errors_by_stage(summary["stages"], PUBLISHED if is_published_case(summary) else None),
        ),
        Picture(
            "errors_by_stage_training_law",
            "Unexplained variance by stage, over the training law",
            "1 − R² over the model's own, correlated law of the spots, wings included; nothing was published on it.",
            errors_by_stage(summary["stages"], None, block="training_law"),
        ),
    ]
    return pictures


def _paths(study: Study) -> Picture:
    basket = study.basket
    times, paths = eqx.filter_jit(BachelierBasket.paths)(basket, jax.random.key(study.config.seed), 1500, 100)
    return Picture(
        "sample_paths",
        "Sample paths of the basket",
        "Up to the exposure date the spots are spread by the volatility multiplier, so that the surrogate sees the "
        "wings; from there the payoff's paths run to maturity.",
        sample_paths(
            np.asarray(times), np.asarray(paths), np.asarray(basket.weights), basket.strike, basket.exposure_date
        ),
    )


def _payoff(study: Study, final: Stage) -> Picture:
    basket = study.basket
    x = study.training_law.x[:1500]
    value = x @ basket.weights
    one_path = dataclasses.replace(basket, n_paths=1, antithetic=False)
    payoffs = eqx.filter_jit(BachelierBasket.label)(one_path, jax.random.key(study.config.seed), x)
    widths = [share * basket.basket_volatility for share in (0.1, 0.25, 0.5)]
    return Picture(
        "payoff_smoothing",
        "The payoff, smoothed",
        "Left, the kinked payoff at maturity and its sigmoidal smoothing u / (1 + exp(−u / w)); right, payoffs of one "
        "path each over the basket at the exposure date, their conditional expectation, which is the price, and the "
        "price that the smallest surrogate learned.",
        payoff_smoothing(
            np.asarray(value),
            np.asarray(payoffs.y[:, 0]),
            np.asarray(study.training_law.y[:1500, 0]),
            basket.strike,
            {f"w = {w:.2g}": np.asarray(smoothed_call(value, basket.strike, w)) for w in widths},
            recovered=np.asarray(final.surrogate.evaluate(x).y[:, 0]),
        ),
    )
