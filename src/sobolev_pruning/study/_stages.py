"""The case study from the reference model to small surrogates, stage by stage."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ..metrics import Errors, errors_between
from ..pruning import Kept, LeastSquares, Significance, choose_layers, prune, rank_distinct, significance
from ..reference import (
    AbstractDirections,
    AbstractReferenceModel,
    BachelierBasket,
    DataSet,
    FunctionReference,
    Mixture,
    ModelLaw,
    Rademacher,
    Samples,
    UniformCube,
)
from ..regions import TrustRegions
from ..sobolev import (
    AbstractLoss,
    Checkpoints,
    ProgressReporter,
    SobolevLoss,
    ValueLoss,
    fit,
    fit_levenberg_marquardt,
    has_curvature,
)
from ..surrogate import ACTIVATIONS, MLP, Normalisation, Surrogate
from ._config import ConfigError, FinetuningConfig, StudyConfig, TrainingConfig
from ._course import Course, CourseWatch
from ._recorded import RecordedStages

_N_CHUNKS = 20
_N_NORMALISATION = 65536


def short_widths(widths: Sequence[int]) -> str:
    """Widths with equal hidden layers gathered, such as `7-128×6-1`."""
    hidden = widths[1:-1]
    if len(hidden) > 2 and len(set(hidden)) == 1:
        return f"{widths[0]}-{hidden[0]}×{len(hidden)}-{widths[-1]}"
    return "-".join(map(str, widths))


@final
@dataclass(frozen=True)
class Stage:
    """A surrogate and how good it is.

    Attributes:
        name: `oversized`, `pruned`, `finetuned_vanilla`, `finetuned_nn_data`, `finetuned_nn_curvature` or
            `finetuned_reference`.
        surrogate: after the stage.
        seconds: that the stage took, compilation included, evaluation not.
        cube: errors on the published evaluation set, the uniform cube.
        training_law: errors over the model's own law of the spots, wings included.
        prediction: values and derivatives on the published evaluation set.
        course: of the training, if the stage trained.
    """

    name: str
    surrogate: Surrogate
    seconds: float
    cube: Errors
    training_law: Errors
    prediction: Samples
    course: Course | None

    @property
    def widths(self) -> list[int]:
        """Nodes of every layer."""
        return self.surrogate.network.widths

    @property
    def size(self) -> str:
        """The widths as they are written, such as `7-3-3-1`."""
        return "-".join(map(str, self.widths))


@final
@dataclass(frozen=True)
class Pruning:
    """What was removed for one of the pruned networks, and why."""

    scores: Significance
    kept: Kept


class Study:
    """The published case study on a Bachelier basket, with everything random drawn from one seed.

    Attributes:
        config: what was asked for.
        basket: the reference model, sampled as in fine-tuning.
        cube, training_law: truth on the two evaluation sets.
        prunings: by the size of the pruned network; filled while `run` goes on.
    """

    def __init__(self, config: StudyConfig, progress: ProgressReporter | None = None) -> None:
        config.check()
        self.config = config
        self._progress = progress
        names = ("model", "cube", "law", "normalisation", "network", "oversized", "prune", "teacher", "finetune")
        self._keys = dict(zip(names, jax.random.split(jax.random.key(config.seed), len(names)), strict=True))
        self.basket = _basket(config, self._keys["model"])
        n = config.evaluation.points
        self.cube = self._truth(UniformCube(), self._keys["cube"], n)
        self.training_law = self._truth(ModelLaw(), self._keys["law"], n)
        self.prunings: dict[str, Pruning] = {}
        self._recorded = RecordedStages(None, getattr(jax.nn, config.network.activation))

    def _truth(self, law: UniformCube | ModelLaw, key: PRNGKeyArray, n: int) -> Samples:
        basket = dataclasses.replace(self.basket, spot_law=law)
        return basket.truth(basket.spots(key, n))

    def run(self, unfinished: Path | None = None) -> Iterator[Stage]:
        """Every stage, as soon as it is done: the oversized network, then five for each pruned size.

        Args:
            unfinished: folder where stages are kept, and from which those are taken that it holds already.

        The fine-tunings start from the pruned network, not from one another, and have the same number of steps and
        samples, so that they can be compared: values alone beside values and gradients of the reference; gradients
        beside gradients and curvature of the oversized network. That one has curvature to learn from, while a payoff
        with a kink has none. Without `curvature_weight`, and with an activation that has no curvature, there are four.
        """
        config = self.config
        self._recorded = RecordedStages(unfinished, getattr(jax.nn, config.network.activation))
        oversized = self._train_oversized()
        yield oversized
        scores, x = self._significance(oversized.surrogate)
        ranking = rank_distinct(scores, oversized.surrogate, x[: config.pruning.refit_samples // 2])
        compensation = LeastSquares(x, config.pruning.gradient_weight)
        teacher = FunctionReference(oversized.surrogate, self.basket.spots)
        fine = config.finetuning
        nn_data = DataSet(_sample(teacher, self._keys["teacher"], fine.teacher_samples))
        sobolev = SobolevLoss(fine.gradient_weight)
        second_order = SobolevLoss(fine.gradient_weight, fine.curvature_weight, Rademacher())
        nn_curvature = None
        if fine.curvature_weight > 0 and has_curvature(oversized.surrogate.network):
            directions = second_order.directions(oversized.surrogate.normalisation)
            nn_curvature = DataSet(_sample(teacher, self._keys["teacher"], fine.teacher_samples, directions))
        for widths in config.pruning.keep:
            begin = time.perf_counter()
            kept = (
                ranking.keep(widths)
                if len(widths) == len(config.network.hidden)
                else choose_layers(oversized.surrogate, ranking, widths, compensation)
            )
            pruned = prune(oversized.surrogate, kept, compensation)
            pruned = self._stage("pruned", pruned, time.perf_counter() - begin, None)
            self.prunings[pruned.size] = Pruning(scores, kept)
            yield pruned
            yield self._finetune("finetuned_vanilla", pruned.surrogate, self.basket, ValueLoss())
            yield self._finetune("finetuned_nn_data", pruned.surrogate, nn_data, sobolev)
            if nn_curvature is not None:
                yield self._finetune("finetuned_nn_curvature", pruned.surrogate, nn_curvature, second_order)
            yield self._finetune("finetuned_reference", pruned.surrogate, self.basket, sobolev)

    def untrained(self) -> Surrogate:
        """The oversized network as it is drawn, with units learned from samples."""
        config = self.config
        samples = _sample(self._basket_of_oversized(), self._keys["normalisation"], _N_NORMALISATION)
        network = MLP.create(
            [self.basket.dim_in, *config.network.hidden, self.basket.dim_out],
            activation=ACTIVATIONS[config.network.activation],
            key=self._keys["network"],
        )
        try:
            units = Normalisation.from_samples(samples)
        except ValueError as error:
            raise ConfigError(f"reference: the basket's samples have no units ({error})") from None
        return Surrogate(network, units)

    def _basket_of_oversized(self) -> BachelierBasket:
        return dataclasses.replace(self.basket, n_paths=self.config.oversized.paths)

    def _train_oversized(self) -> Stage:
        return self._fit_first_order(
            "oversized", self.untrained(), self._basket_of_oversized(), ValueLoss(), self.config.oversized
        )

    def _significance(self, surrogate: Surrogate) -> tuple[Significance, Float[Array, "n d"]]:
        pruning = self.config.pruning
        x = self.basket.spots(self._keys["prune"], pruning.refit_samples)
        # Both laws of the mixture come in turn, so that a part of the points holds both.
        x = x[jax.random.permutation(self._keys["prune"], x.shape[0])]
        box = TrustRegions.around(x, pruning.region_scale)
        return significance(surrogate, TrustRegions(x[: pruning.regions], box.radius)), x

    def _finetune(self, name: str, start: Surrogate, reference: AbstractReferenceModel, loss: AbstractLoss) -> Stage:
        if start.network.n_parameters > self.config.finetuning.second_order_below:
            return self._fit_first_order(name, start, reference, loss, self.config.finetuning)
        return self._kept(name, start, lambda _: self._fit_second_order(name, start, reference, loss))

    def _fit_second_order(
        self, name: str, start: Surrogate, reference: AbstractReferenceModel, loss: AbstractLoss
    ) -> tuple[Surrogate, float, Course]:
        """Begins anew where it was killed."""
        fine = self.config.finetuning
        if isinstance(reference, BachelierBasket):
            # The samples are used in every step, so their labels are made quieter than fresh ones have to be.
            reference = dataclasses.replace(reference, n_paths=fine.second_order_paths)
        samples = _sample(reference, self._keys["finetune"], fine.second_order_samples)
        watch = CourseWatch(self.cube)
        result = fit_levenberg_marquardt(
            start,
            samples,
            loss,
            max_steps=fine.second_order_steps,
            progress=self._progress,
            title=f"{short_widths(start.network.widths)} {name}",
            on_step=watch.every(-(-fine.second_order_steps // _N_CHUNKS)),
        )
        return result.surrogate, watch.seconds(), watch.course(result.losses)

    def _fit_first_order(
        self,
        name: str,
        start: Surrogate,
        reference: AbstractReferenceModel,
        loss: AbstractLoss,
        training: TrainingConfig | FinetuningConfig,
    ) -> Stage:
        schedule = optax.cosine_decay_schedule(training.learning_rate, training.steps)

        def trained(checkpoints: Checkpoints | None) -> tuple[Surrogate, float, Course]:
            watch = CourseWatch(self.cube)
            result = fit(
                start,
                reference,
                loss,
                key=self._keys[name if name == "oversized" else "finetune"],
                steps=training.steps,
                batch_size=training.batch_size,
                # Muon (K. Jordan, 2024) moves every weight matrix by an orthogonal one, so that its thin directions
                # learn as fast as its thick ones; measured against Adam in `benchmarks/optimisers.py`.
                optimizer=optax.contrib.muon(schedule, weight_decay=training.weight_decay),
                steps_per_chunk=-(-training.steps // _N_CHUNKS),
                progress=self._progress,
                title=f"{short_widths(start.network.widths)} {name}",
                evaluation=watch.evaluate,
                checkpoints=checkpoints,
            )
            return result.surrogate, watch.seconds(), CourseWatch.evaluated(result.history)

        return self._kept(name, start, trained)

    def _kept(
        self,
        name: str,
        start: Surrogate,
        train: Callable[[Checkpoints | None], tuple[Surrogate, float, Course]],
    ) -> Stage:
        """A stage that trains: read back if it was done before the run was killed, else done and kept."""
        called = f"{'-'.join(map(str, start.network.widths))}-{name}"
        found = self._recorded.read(called)
        if found is None:
            try:
                found = train(self._recorded.checkpoints(called))
            except OSError as error:  # before anything is trained: the disk takes no checkpoint
                self._recorded.give_up(error)
                found = train(None)
            self._recorded.write(called, *found)
        return self._stage(name, *found)

    def _stage(self, name: str, surrogate: Surrogate, seconds: float, course: Course | None) -> Stage:
        prediction = surrogate.evaluate(self.cube.x)
        return Stage(
            name,
            surrogate.with_provenance(study="bachelier", stage=name, seed=str(self.config.seed)),
            seconds,
            errors_between(prediction, self.cube),
            errors_between(surrogate.evaluate(self.training_law.x), self.training_law),
            prediction,
            course,
        )


@eqx.filter_jit
def _sample(
    reference: AbstractReferenceModel, key: PRNGKeyArray, n: int, directions: AbstractDirections | None = None
) -> Samples:
    return reference.sample(key, n, directions=directions)


def _basket(config: StudyConfig, key: PRNGKeyArray) -> BachelierBasket:
    """The configured basket; what the configuration does not give is drawn."""
    given = config.reference
    drawn = BachelierBasket.random(key, given.dim)

    def chosen(name: str) -> Float[np.ndarray, "..."]:
        value = getattr(given, name)
        return np.asarray(getattr(drawn, name) if value is None else value, np.float64)

    try:
        return BachelierBasket(
            chosen("weights"),
            chosen("correlation"),
            chosen("volatilities"),
            basket_volatility=given.basket_volatility,
            strike=given.strike,
            exposure_date=given.exposure_date,
            maturity_date=given.maturity_date,
            spot_volatility_multiplier=given.spot_volatility_multiplier,
            spot_law=Mixture(UniformCube(), ModelLaw(), config.spots.cube_share),
            n_paths=config.finetuning.paths,
        )
    except ValueError as error:
        # What only the model can see, such as a correlation matrix that is none.
        raise ConfigError(f"reference: {error}") from None
