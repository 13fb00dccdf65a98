"""A process may train for days: what it has compiled is used again where it can be, and forgotten where it cannot."""

import gc
import threading

import jax
import jax.numpy as jnp
import optax
import pytest

from sobolev_pruning import _programs
from sobolev_pruning.reference import Samples
from sobolev_pruning.sobolev import ValueLoss, fit
from sobolev_pruning.sobolev._fingerprint import shared
from sobolev_pruning.surrogate import MLP

needs_linux = pytest.mark.skipif(not _programs._LIMIT.exists(), reason="only Linux limits the mappings of a process")


@pytest.fixture(autouse=True)
def without_what_others_compiled():
    """A program that another worker of the tests has compiled is mapped in another way."""
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", True)


@pytest.fixture
def allowed(tmp_path, monkeypatch):
    """Makes the system allow a number of mappings beside those of other tests, and every call count them."""
    limit = tmp_path / "max_map_count"
    monkeypatch.setattr(_programs, "_LIMIT", limit)
    monkeypatch.setattr(_programs, "_SECONDS_BETWEEN_COUNTS", 0.0)
    monkeypatch.setattr(_programs, "_guard", _programs._Guard())
    count = _programs._n_mappings

    def allow(n):
        jax.clear_caches()
        gc.collect()
        others = count()
        monkeypatch.setattr(_programs, "_n_mappings", lambda: max(count() - others, 0))
        limit.write_text(f"{4 * n}\n")
        _programs._guard.kept = 0
        return n

    return allow


def train(width, optimizer=None):
    x = jnp.linspace(0.0, 1.0, 8)[:, None]
    network = MLP.create([1, width, 1], key=jax.random.key(width))
    optimizer = optax.adam(1e-2) if optimizer is None else optimizer
    options = {"steps": 4, "batch_size": 4, "steps_per_chunk": 2}
    return fit(network, Samples(x, x**2), ValueLoss(), key=jax.random.key(0), optimizer=optimizer, **options)


@needs_linux
def test_fits_of_many_widths_stay_below_a_bound(allowed):
    train(2)
    most = allowed(5000)
    before = _programs._n_mappings()
    train(3)
    for_one = _programs._n_mappings() - before
    assert for_one > 50, "a fit of a new width compiles"
    most = allowed(2 * for_one)
    for width in range(4, 10):
        train(width)
        assert _programs._n_mappings() <= most + for_one


@needs_linux
def test_what_others_keep_mapped_is_no_reason_to_forget_again_and_again(allowed, monkeypatch):
    allowed(10_000)
    _programs._guard.kept = 0
    monkeypatch.setattr(_programs, "_n_mappings", lambda: 30_000)
    forgotten = []
    monkeypatch.setattr(jax, "clear_caches", lambda: forgotten.append(None))
    for _ in range(5):
        _programs.limit_programs()
    assert len(forgotten) == 1


def test_a_system_that_does_not_say_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(_programs, "_LIMIT", tmp_path / "absent")
    monkeypatch.setattr(_programs, "_MAPPINGS", tmp_path / "absent")
    monkeypatch.setattr(_programs, "_guard", _programs._Guard())
    _programs.limit_programs()


@needs_linux
def test_nothing_is_forgotten_while_jax_traces(allowed, monkeypatch):
    allowed(1)
    monkeypatch.setattr(_programs, "_n_mappings", lambda: 30_000)
    forgotten = []
    monkeypatch.setattr(jax, "clear_caches", lambda: forgotten.append(None))

    @jax.jit
    def traced(x):
        _programs.limit_programs()
        return x

    traced(1.0)
    assert not forgotten
    _programs.limit_programs()
    assert forgotten


@needs_linux
def test_threads_may_train_while_another_forgets(allowed):
    """Every call of each forgets what the others have compiled."""
    whole = [train(width) for width in (2, 3)]
    allowed(1)
    results = {}

    def trained(width):
        results[width] = train(width)

    threads = [threading.Thread(target=trained, args=(width,)) for width in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[width].losses.tolist() for width in (2, 3)] == [result.losses.tolist() for result in whole]


def network(width=3):
    return MLP.create([1, width, 1], key=jax.random.key(0))


def test_optimizers_that_do_the_same_are_one():
    """Every `optax.adam(0.01)` makes new functions, by which compiled steps would not be found again."""
    first = shared(optax.adam(optax.cosine_decay_schedule(0.01, 100)), network())
    assert shared(optax.adam(optax.cosine_decay_schedule(0.01, 100)), network()) is first
    assert shared(optax.adam(optax.cosine_decay_schedule(0.01, 101)), network()) is not first
    assert shared(optax.adam(optax.cosine_decay_schedule(0.0100001, 100)), network()) is not first
    assert shared(optax.adam(optax.cosine_decay_schedule(0.01, 100)), network(4)) is not first


def test_optimizers_that_differ_in_double_precision_alone_are_two():
    close = [optax.sgd(0.01), optax.sgd(0.01 + 1e-12)]
    assert shared(close[0], network()) is not shared(close[1], network())
    with jax.enable_x64(False):
        narrow = jax.tree.map(lambda leaf: leaf, network())
        _ = [shared(optimizer, narrow) for optimizer in close]
    assert shared(close[0], network()) is not shared(close[1], network())


def test_optimizers_that_call_the_host_stay_apart():
    def told(seen):
        def update(updates, state, params=None):
            jax.debug.callback(lambda: seen.append(None))
            return updates, state

        return optax.chain(optax.sgd(0.01), optax.GradientTransformation(lambda params: (), update))

    seen = [], []
    for each in seen:
        train(2, told(each))
    jax.effects_barrier()
    assert len(seen[0]) == len(seen[1]) == 4
