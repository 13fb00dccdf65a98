"""Training on the deltas of a basket of fifty assets, which is published to have collapsed to a constant."""

import jax
import optax
import pytest

from sobolev_pruning.reference import BachelierBasket, DataSet
from sobolev_pruning.sobolev import SobolevLoss, fit_seeds
from sobolev_pruning.study import errors_between
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate


@pytest.mark.slow
def test_no_seed_of_ten_collapses():
    model_key, sample_key, network_key, fit_key, test_key = jax.random.split(jax.random.key(0), 5)
    basket = BachelierBasket.random(model_key, 50)
    samples = basket.sample(sample_key, 16384)
    start = Surrogate(MLP.create([50, 20, 20, 20, 20, 1], key=network_key), Normalisation.from_samples(samples))
    results = fit_seeds(
        start,
        DataSet(samples),
        SobolevLoss(),
        keys=jax.random.split(fit_key, 10),
        steps=1600,
        batch_size=1024,
        optimizer=optax.adam(optax.cosine_decay_schedule(3e-3, 1600)),
    )
    truth = basket.truth(basket.spots(test_key, 4096))
    for result in results:
        assert result.failure is None
        errors = errors_between(result.surrogate.evaluate(truth.x), truth)
        # A constant explains nothing.
        assert errors.values.r2 > 0.99
        assert errors.deltas.r2 > 0.95
