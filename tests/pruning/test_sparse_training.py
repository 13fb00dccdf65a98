"""Optimizers that keep weights at exact zeros, and those that move the zeros: each against its published algorithm."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pruning_networks import surrogate

from sobolev_pruning.pruning import (
    ErdosRenyiSparsity,
    GlobalSparsity,
    Masks,
    UniformSparsity,
    cubic_pruning,
    fixed_masks,
    random_masks,
    rigl,
    sparse_evolution,
)

NETWORK = surrogate((2, 6, 5, 1)).network
MASKS = random_masks(NETWORK, UniformSparsity(0.5), key=jax.random.key(3))
KEY = jax.random.key(9)
# It moves weights that have no gradient: by momentum, and by their own size.
ADAMW = optax.adamw(1e-2, weight_decay=0.1)
STEPS = 24


def loss(network, key):
    x = jax.random.normal(key, (16, 2), network.layers[0].bias.dtype)
    return jnp.mean((jax.vmap(network)(x)[:, 0] - jnp.sin(x[:, 0]) * x[:, 1]) ** 2)


def trained(optimizer, network, steps=STEPS):
    """Gradients, and parameters and states after every step, as one compiled scan; all with a leading axis."""
    params, static = eqx.partition(network, eqx.is_inexact_array)

    def step(carry, key):
        params, state = carry
        gradient = jax.grad(lambda p: loss(eqx.combine(p, static), key))(params)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (gradient, params, state)

    @jax.jit
    def run(params):
        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(jax.random.key(5), steps))[1]

    with jax.numpy_dtype_promotion("standard"):
        return run(params)


def weights(tree):
    return [np.asarray(layer.weight) for layer in tree.layers]


def kept(state):
    """For each step and layer, `(steps, layers)`."""
    return np.stack([np.asarray(mask).sum(axis=(1, 2)) for mask in state.masks.weights], axis=1)


OPTIMIZERS = {
    "fixed": fixed_masks(ADAMW, MASKS),
    "cubic": cubic_pruning(ADAMW, UniformSparsity(0.5), begin=2, end=12, every=4),
    "SET": sparse_evolution(ADAMW, MASKS, every=5, key=KEY),
    "RigL": rigl(ADAMW, MASKS, every=5, until=20),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_what_is_masked_is_exactly_zero_and_the_rest_learns(optimizer):
    """From a network that is not masked yet, too; in single precision, since the other tests are in double."""
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), NETWORK)
    _, params, state = trained(optimizer, network)
    for weight, mask in zip(weights(params), state.masks.weights, strict=True):
        assert weight.dtype == np.float32
        outside = weight[~np.asarray(mask)]
        assert outside.size
        assert np.all(outside == 0)
        assert not np.any(np.signbit(outside))
    last = jax.tree.map(lambda leaf: leaf[-1], params)
    assert tuple(kept(state)[-1]) == MASKS.n_kept
    # A weight that has grown into a node which nothing reads has no gradient, and stays zero.
    assert sum(MASKS.n_kept) - 3 <= sum(Masks.of(last).n_kept) <= sum(MASKS.n_kept)
    first = jax.tree.map(lambda leaf: leaf[0], params)
    assert float(loss(last, KEY)) < float(loss(first, KEY))


def rewired(weight, mask, score, n):
    """One layer of Algorithm 1, with lists and sorting."""
    flat, old, score = weight.ravel(), mask.ravel(), score.ravel()
    active = sorted((i for i in range(flat.size) if old[i]), key=lambda i: (abs(flat[i]), -i))
    left = set(active[n:])
    free = sorted((i for i in range(flat.size) if i not in left), key=lambda i: (-score[i], i))
    new = np.zeros(flat.size, bool)
    new[list(left) + free[:n]] = True
    return new.reshape(mask.shape)


def test_rigl_is_algorithm_1():
    """Step by step in NumPy, with momentum, whose moments of new weights begin at zero."""
    rate, decay, every, until, share = 0.05, 0.9, 2, 21, 0.9
    optimizer = rigl(optax.sgd(rate, momentum=decay), MASKS, every=every, until=until, drop_fraction=share)
    gradients, params, state = trained(optimizer, MASKS.apply(NETWORK))
    weight, mask = weights(MASKS.apply(NETWORK)), [np.asarray(m) for m in MASKS.weights]
    moment = [np.zeros_like(w) for w in weight]
    once, again = [m.copy() for m in mask], 0
    for t in range(STEPS):
        for i, gradient in enumerate(weights(gradients)):
            if t and t % every == 0 and t < until:
                n = int(share / 2 * (1 + np.cos(np.pi * t / until)) * mask[i].sum())
                new = rewired(weight[i], mask[i], np.abs(gradient[t]), n)
                made = new & ~mask[i]
                again += (made & once[i]).sum()
                once[i] |= new
                weight[i] = np.where(new & mask[i], weight[i], 0)
                moment[i] = np.where(made, 0, moment[i])
                mask[i] = new
            else:
                moment[i] = gradient[t] * mask[i] + decay * moment[i]
                weight[i] = np.where(mask[i], weight[i] - rate * moment[i], 0)
            np.testing.assert_array_equal(np.asarray(state.masks.weights[i][t]), mask[i], err_msg=f"{t} {i}")
            np.testing.assert_allclose(weights(params)[i][t], weight[i], rtol=1e-12, atol=1e-15)
    # Where a weight comes back, its old moment would show.
    assert again > 4


def test_set_drops_the_smallest_and_grows_at_random():
    every, share = 4, 0.4
    _, params, state = trained(sparse_evolution(ADAMW, MASKS, every=every, drop_fraction=share, key=KEY), NETWORK)
    other = trained(sparse_evolution(ADAMW, MASKS, every=every, drop_fraction=share, key=jax.random.key(1)), NETWORK)
    grown = [0, 0]
    for i, weight in enumerate(weights(params)):
        mask = np.asarray(state.masks.weights[i])
        # The first update of all is no rewiring, the one after four others is.
        assert {t for t in range(1, STEPS) if np.any(mask[t] != mask[t - 1])} <= set(range(every, STEPS, every))
        for t in range(every, STEPS, every):
            n = int(share * MASKS.n_kept[i])
            active = np.sort(np.abs(weight[t - 1][mask[t - 1]]))
            survived = mask[t] & mask[t - 1]
            assert np.all(np.abs(weight[t - 1][mask[t - 1] & ~mask[t]]) <= active[n - 1]) or n == 0
            np.testing.assert_array_equal(weight[t], np.where(survived, weight[t - 1], 0))
            for run, masks in enumerate((state.masks, other[2].masks)):
                grown[run] += np.flatnonzero(np.asarray(masks.weights[i][t] & ~masks.weights[i][t - 1])).sum()
    assert np.all(kept(state) == MASKS.n_kept)
    assert grown[0] > 0
    assert grown[0] != grown[1]


def test_set_ends_where_it_is_told_to():
    _, _, state = trained(sparse_evolution(ADAMW, MASKS, every=4, until=9, key=KEY), NETWORK)
    changes = [any(np.any(m[t] != m[t - 1]) for m in state.masks.weights) for t in range(1, STEPS)]
    assert [t for t, changed in enumerate(changes, start=1) if changed] == [4, 8]


@pytest.mark.parametrize("sparsity", [ErdosRenyiSparsity(0.7), GlobalSparsity(0.7)], ids=["per layer", "global"])
def test_the_cubic_schedule(sparsity):
    begin, end, every, initial = 3, 17, 4, 0.2
    optimizer = cubic_pruning(ADAMW, sparsity, begin=begin, end=end, every=every, initial=initial)
    _, params, state = trained(optimizer, NETWORK)
    n = kept(state).sum(axis=1)
    total = sum(mask.size for mask in MASKS.weights)
    expected = [total] * begin
    for t in range(begin, STEPS):
        last = end if t >= end else t - (t - begin) % every
        expected.append(total * (1 - 0.7 + (0.7 - initial) * (1 - (last - begin) / (end - begin)) ** 3))
    # Each layer is rounded to the nearest weight.
    assert np.all(np.abs(n - expected) <= 0.5 * len(MASKS.weights))
    assert n[-1] == round(0.3 * total)
    if isinstance(sparsity, ErdosRenyiSparsity):
        assert tuple(kept(state)[-1]) == sparsity.kept([mask.shape for mask in MASKS.weights])
    for weight, mask in zip(weights(params), state.masks.weights, strict=True):
        mask = np.asarray(mask)
        assert not np.any(mask[1:] & ~mask[:-1])
        if not isinstance(sparsity, GlobalSparsity):
            for t in (begin + every, begin + 2 * every):
                gone = mask[t - 1] & ~mask[t]
                assert np.abs(weight[t - 1][gone]).max(initial=0) <= np.abs(weight[t - 1][mask[t]]).min()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cubic_pruning(ADAMW, UniformSparsity(0.5), begin=10, end=9), "begins at update 10 and ends at 9"),
        (lambda: cubic_pruning(ADAMW, UniformSparsity(0.5), begin=-1, end=9), "begins at update -1"),
        (lambda: cubic_pruning(ADAMW, UniformSparsity(0.5), end=9, every=0), "`every` is 0"),
        (lambda: cubic_pruning(ADAMW, UniformSparsity(0.5), end=9, initial=1.0), r"`initial` is 1.0; .* \[0, 1\)"),
        (lambda: cubic_pruning(ADAMW, UniformSparsity(0.5), end=9, initial=0.6), "`initial` is 0.6, .* only grow"),
        (lambda: cubic_pruning(ADAMW, UniformSparsity(0.99), end=9).init(NETWORK), "keeps 0 of 47 weights"),
        (lambda: rigl(ADAMW, MASKS, until=0), "`until` is 0; it must be at least 1"),
        (lambda: rigl(ADAMW, MASKS, until=100, drop_fraction=1.0), "`drop_fraction` is 1.0"),
        (lambda: sparse_evolution(ADAMW, MASKS, every=0, key=KEY), "`every` is 0; it must be at least 1"),
        (lambda: sparse_evolution(ADAMW, MASKS, drop_fraction=-0.1, key=KEY), "`drop_fraction` is -0.1"),
        (lambda: fixed_masks(ADAMW, EMPTY), "`masks` keep nothing in layer 1"),
        (lambda: rigl(ADAMW, EMPTY, until=100), "`masks` keep nothing in layer 1"),
        (lambda: fixed_masks(ADAMW, MASKS).init(surrogate((2, 6, 1)).network), "`masks` are of the shapes"),
        (lambda: update_without_parameters(), "`params` is None; a sparse optimizer needs the parameters"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_units_are_not_trained():
    with pytest.raises(TypeError, match=r"`params` is a `Surrogate`; .* `init\(surrogate.network\)`"):
        fixed_masks(ADAMW, MASKS).init(surrogate(NETWORK.widths))


EMPTY = Masks(tuple(mask & (i != 1) for i, mask in enumerate(MASKS.weights)))


def update_without_parameters():
    optimizer = fixed_masks(optax.sgd(0.1), MASKS)
    return optimizer.update(NETWORK, optimizer.init(NETWORK))
