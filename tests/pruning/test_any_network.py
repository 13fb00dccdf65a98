"""Any network is pruned by what its program pairs."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.intervals import Interval
from sobolev_pruning.pruning import (
    Kept,
    Midpoint,
    find_groups,
    magnitude_of_groups,
    prune,
    prune_groups,
    significance,
    significance_of_groups,
    taylor_of_groups,
)
from sobolev_pruning.regions import Box
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

KEY = jax.random.key(0)
Linear, Conv2d = eqx.nn.Linear, eqx.nn.Conv2d


class Net(eqx.Module):
    """Layers by name, and what is done with them."""

    layers: dict[str, Any]
    run: Any = eqx.field(static=True)

    def __call__(self, x):
        return self.run(self.layers, x)


def residual(layers, x):
    x = layers["in"](x)
    for i in range(2):
        x = x + layers[f"down {i}"](jnp.tanh(layers[f"up {i}"](x)))
    return layers["out"](x)


def convolutional(layers, x):
    x = jax.nn.relu(layers["norm"](layers["first"](x)))
    x = jax.nn.silu(layers["each"](x)) + x
    return layers["out"](layers["pool"](x).ravel())


def concatenated(layers, x):
    both = jnp.concatenate([jnp.sin(layers["a"](x)), x, jnp.tanh(layers["b"](x))])
    return layers["out"](both)


def gated(layers, x):
    value, gate = jnp.split(layers["in"](x), 2)
    return layers["out"](value * jax.nn.sigmoid(gate))


def normed(layers, x):
    return layers["out"](layers["norm"](layers["in"](x)))


def recurrent(layers, x):
    def step(h, x):
        return jnp.tanh(layers["in"](x) + layers["back"](h)), None

    last, _ = jax.lax.scan(step, jnp.zeros(layers["back"].in_features, x.dtype), x)
    return layers["out"](last)


def gated_recurrent(layers, x):
    cell = layers["cell"]
    last, _ = jax.lax.scan(lambda h, x: (cell(x, h), None), jnp.zeros(cell.hidden_size, x.dtype), x)
    return layers["out"](last)


def between_places(layers, x):
    return layers["out"](jnp.tanh(layers["first"](x)).transpose(1, 0, 2).ravel())


def attention(layers, x):
    return layers["heads"](x, x, x)


class Stateful(eqx.Module):
    """Batch normalisation keeps its statistics in a state."""

    conv: Conv2d
    norm: eqx.nn.BatchNorm
    out: Conv2d

    def __init__(self):
        self.conv = Conv2d(1, 4, 2, key=KEY)
        self.norm = eqx.nn.BatchNorm(4, "batch", mode="batch")
        self.out = Conv2d(4, 2, 1, key=KEY)

    def __call__(self, x, state):
        x, state = self.norm(self.conv(x), state)
        return jnp.max(self.out(jnp.tanh(x)), axis=(1, 2)), state


def in_batches(pair, x):
    network, state = pair
    return jax.vmap(network, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)[0]


class Block(eqx.Module):
    """A module of a user's own, with sizes of its own."""

    weight: jax.Array
    width: int = eqx.field(static=True)
    repeats: int = eqx.field(static=True)

    def __call__(self, x):
        hidden = self.weight @ x
        assert hidden.shape == (self.width,)
        for _ in range(self.repeats):
            hidden = jnp.tanh(hidden)
        return hidden


@dataclass
class Case:
    """A network, one of its groups, and where the channels of the group go."""

    network: Any
    x: jax.Array
    path: str
    size: int
    outgoing: tuple[tuple[str, int], ...]
    kept: tuple[int, ...] = (0,)
    call: Any = None


def linear(n_in, n_out):
    return Linear(n_in, n_out, key=KEY)


X = jnp.array([0.3, -0.7, 0.5])
IMAGE = jnp.sin(jnp.arange(36.0)).reshape(1, 6, 6)
CONVOLUTIONAL = Net(
    {
        "first": Conv2d(1, 4, 3, padding=1, key=KEY),
        "norm": eqx.nn.GroupNorm(2, 4),
        "each": Conv2d(4, 4, 3, padding=1, groups=4, key=KEY),
        "pool": eqx.nn.MaxPool2d(2, 2),
        "out": linear(36, 2),
    },
    convolutional,
)
RESIDUAL = Net(
    {
        "in": linear(3, 4),
        "up 0": linear(4, 5),
        "down 0": linear(5, 4),
        "up 1": linear(4, 6),
        "down 1": linear(6, 4),
        "out": linear(4, 2),
    },
    residual,
)
CONCATENATED = Net({"a": linear(3, 4), "b": linear(3, 2), "out": linear(9, 2)}, concatenated)
CASES = {
    "perceptron": Case(
        eqx.nn.MLP(3, 2, 5, 2, key=KEY), X, "layers[0].weight", 5, (("layers[1].weight", 1),), (1, 2, 4)
    ),
    "inside of a residual block": Case(
        RESIDUAL, X, "layers['up 1'].weight", 6, (("layers['down 1'].weight", 1),), (0, 5)
    ),
    "the residual stream": Case(
        RESIDUAL,
        X,
        "layers['in'].weight",
        4,
        (("layers['up 0'].weight", 1), ("layers['up 1'].weight", 1), ("layers['out'].weight", 1)),
        (1, 3),
    ),
    "convolutions in groups": Case(
        CONVOLUTIONAL, IMAGE, "layers['first'].weight", 2, (("layers['out'].weight", 1),), (1,)
    ),
    "a part of a concatenation": Case(
        CONCATENATED, X, "layers['a'].weight", 4, (("layers['out'].weight", 1),), (0, 1, 3)
    ),
    "a gate": Case(
        Net({"in": linear(3, 6), "out": linear(3, 2)}, gated),
        X,
        "layers['in'].weight",
        3,
        (("layers['out'].weight", 1),),
        (0, 2),
    ),
    "heads": Case(
        Net({"heads": eqx.nn.MultiheadAttention(2, 4, key=KEY)}, attention),
        jnp.sin(jnp.arange(12.0)).reshape(3, 4),
        "layers['heads'].query_proj.weight",
        2,
        (("layers['heads'].output_proj.weight", 1),),
        (1,),
    ),
    "channels between places": Case(
        Net({"first": Conv2d(1, 3, 2, key=KEY), "out": linear(12, 2)}, between_places),
        IMAGE[:, :3, :3],
        "layers['first'].weight",
        3,
        (("layers['out'].weight", 1),),
        (0, 2),
    ),
    "a recurrent state": Case(
        Net({"in": linear(3, 4), "back": linear(4, 4), "out": linear(4, 2)}, recurrent),
        jnp.stack([X, -X]),
        "layers['in'].weight",
        4,
        (("layers['back'].weight", 1), ("layers['out'].weight", 1)),
        (1, 3),
    ),
    "a gated recurrent state": Case(
        Net({"cell": eqx.nn.GRUCell(3, 4, key=KEY), "out": linear(4, 2)}, gated_recurrent),
        jnp.stack([X, -X]),
        "layers['cell'].bias_n",
        4,
        (("layers['cell'].weight_hh", 1), ("layers['out'].weight", 1)),
        (1, 3),
    ),
    "batch normalisation": Case(
        eqx.nn.inference_mode(eqx.nn.make_with_state(Stateful)()),
        IMAGE.reshape(4, 1, 3, 3),
        "[0].conv.weight",
        4,
        (("[0].out.weight", 1),),
        (0, 2, 3),
        in_batches,
    ),
    "a module with sizes of its own": Case(
        Net(
            {"in": Block(jnp.sin(jnp.arange(15.0)).reshape(5, 3), 5, 2), "out": linear(5, 2)},
            lambda n, x: n["out"](n["in"](x)),
        ),
        X,
        "layers['in'].weight",
        5,
        (("layers['out'].weight", 1),),
        (0, 3),
    ),
}


def without(network, group, removed, places):
    """The network with zeros in the slices of some channels."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(network)
    changed = []
    for path, leaf in leaves:
        for s in group.slices:
            if (s.path, s.axis) in places and jax.tree_util.keystr(path).lstrip(".") == s.path:
                leaf = leaf.at[(slice(None),) * s.axis + (s.indices[removed].ravel(),)].set(0)
        changed.append(leaf)
    return jax.tree.unflatten(tree, changed)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_channels_without_outgoing_weights_go_without_a_trace(case):
    group = find_groups(case.network, case.x, call=case.call).of(case.path)
    assert (group.size, group.mixed_by) == (case.size, ())
    removed = np.setdiff1d(np.arange(group.size), case.kept)
    zeroed = without(case.network, group, removed, case.outgoing)
    small = prune_groups(zeroed, {group: case.kept}, case.x, call=case.call)
    run = eqx.filter_jit(case.call or (lambda network, x: network(x)))
    np.testing.assert_allclose(run(small, case.x), run(zeroed, case.x), rtol=1e-12, atol=1e-14)
    lengths = {(s.path, s.axis): s.indices.shape[1] * len(case.kept) for s in group.slices}
    again = find_groups(small, case.x, call=case.call)
    if len(case.kept) > 1:
        assert {(s.path, s.axis): s.indices.size for s in again.of(case.path).slices} == lengths


def test_sizes_beside_the_arrays_follow():
    group = find_groups(CONVOLUTIONAL, IMAGE).of("layers['first'].weight")
    small = prune_groups(CONVOLUTIONAL, {group: [1]}, IMAGE).layers
    assert (small["first"].out_channels, small["first"].groups) == (2, 1)
    assert (small["norm"].channels, small["norm"].groups) == (2, 1)
    assert (small["each"].in_channels, small["each"].groups) == (2, 2)
    assert small["out"].in_features == 18
    case = CASES["a module with sizes of its own"]
    block = prune_groups(case.network, {find_groups(case.network, X).of(case.path): [0, 3]}, X).layers["in"]
    # The repeats have the length that another axis had by chance, and stay.
    assert (block.width, block.repeats) == (2, 2)


NORMS = {
    "layer": eqx.nn.LayerNorm(4),
    "root mean square without weights": eqx.nn.RMSNorm(4, use_weight=False, use_bias=False),
    "one group": eqx.nn.GroupNorm(1, 4),
}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())
def test_normalised_channels_are_pruned_and_said_to_be_mixed(norm):
    network = Net({"in": linear(3, 4), "norm": norm, "out": linear(4, 2)}, normed)
    (group,) = find_groups(network, X)
    assert any("reduce_sum" in place for place in group.mixed_by)
    small = prune_groups(network, {group: [0, 2]}, X)
    assert small(X).shape == (2,)


def test_several_groups_at_once():
    groups = find_groups(CONCATENATED, X)
    a, b = groups.of("layers['a'].weight"), groups.of("layers['b'].weight")
    small = prune_groups(CONCATENATED, {a: [0, 2], b: [1]}, X)
    assert small.layers["out"].weight.shape == (2, 6)
    np.testing.assert_array_equal(
        small.layers["out"].weight, CONCATENATED.layers["out"].weight[:, jnp.array([0, 2, 4, 5, 6, 8])]
    )


def test_a_dense_network_is_pruned_as_by_prune():
    surrogate = Surrogate(MLP.create([2, 3, 1], activation=jnp.tanh, key=KEY), Normalisation.identity(2, 1))
    x = X[:2]
    (group,) = find_groups(surrogate.network, x)
    small = prune_groups(surrogate.network, {group: [0, 2]}, x, samples=x[None])
    # Over a box that is a point, the midpoints are the means of that one sample.
    same = prune(surrogate, Kept(((0, 2),), (3,)), Midpoint(Box(x, x))).network
    assert jax.tree.structure(small) == jax.tree.structure(same)
    for ours, theirs in zip(jax.tree.leaves(small), jax.tree.leaves(same), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def constant_channels(layers, x):
    return layers["second"](jnp.tanh(layers["first"](x))).ravel()


def test_constant_channels_are_folded_into_the_next_bias():
    layers = {"first": Conv2d(1, 3, 2, key=KEY), "second": Conv2d(3, 1, 2, key=KEY)}
    network = Net(layers, constant_channels)
    network = eqx.tree_at(lambda n: n.layers["first"].weight, network, replace_fn=lambda w: w.at[1].set(0))
    group = find_groups(network, IMAGE).of("layers['first'].weight")
    samples = jnp.stack([IMAGE, IMAGE**2])
    small = prune_groups(network, {group: [0, 2]}, IMAGE, samples=samples)
    np.testing.assert_allclose(small(IMAGE), network(IMAGE), rtol=1e-12, atol=1e-14)
    dropped = prune_groups(network, {group: [0, 2]}, IMAGE)
    assert np.abs(dropped(IMAGE) - network(IMAGE)).max() > 1e-3


def test_float32_stays_float32():
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), MLP.create([3, 4, 2], key=KEY))
    x = X.astype(jnp.float32)
    (group,) = find_groups(network, x)
    small = prune_groups(network, {group: [0, 3]}, x, samples=x[None])
    assert {leaf.dtype for leaf in jax.tree.leaves(small)} == {jnp.dtype("float32")}
    for scores in (
        magnitude_of_groups(network, (group,)),
        taylor_of_groups(network, (group,), lambda n: jnp.sum(n(x) ** 2)),
        significance_of_groups(network, (group,), Interval(x, x + jnp.float32(0.1))),
    ):
        assert scores[group].dtype == jnp.float32


def test_scores_by_weights():
    network = eqx.tree_at(lambda n: n.layers[0].bias, MLP.create([3, 4, 2], key=KEY), jnp.arange(4.0))
    (group,) = find_groups(network, X)

    def loss(network):
        return jnp.sum(network(X) ** 2)

    slope = jax.grad(loss)(network)
    for score, of_weight in (
        (magnitude_of_groups(network, (group,))[group] ** 2, lambda w, g: w**2),
        (taylor_of_groups(network, (group,), loss)[group], lambda w, g: (w * g) ** 2),
    ):
        into, out = jax.tree.map(of_weight, network, slope).layers
        np.testing.assert_allclose(score, into.weight.sum(axis=1) + into.bias + out.weight.sum(axis=0))


def test_significance_of_a_dense_network_is_that_of_its_nodes():
    network = MLP.create([2, 3, 2, 1], activation=jnp.tanh, key=KEY)
    box = Interval(X[:2] - 0.1, X[:2] + 0.1)
    groups = find_groups(network, X[:2]).prunable
    found = significance_of_groups(network, groups, box, domain="interval")
    surrogate = Surrogate(network, Normalisation.identity(2, 1))
    scores = significance(surrogate, Box(box.lower, box.upper), domain="interval")
    for group, wanted in zip(groups, scores.hidden, strict=True):
        np.testing.assert_allclose(found[group], wanted, rtol=1e-6)


def test_significance_of_a_convolutional_network():
    layers = {"first": Conv2d(1, 2, 2, key=KEY), "out": linear(8, 2)}
    network = Net(layers, lambda n, x: n["out"](jnp.tanh(n["first"](x)).ravel()))
    image = IMAGE[:, :3, :3]
    (group,) = find_groups(network, image)
    network = without(network, group, [1], (("layers['out'].weight", 1),))
    scores = significance_of_groups(network, (group,), Interval(image - 0.1, image + 0.1))[group]
    assert scores.shape == (2, 2)
    assert (scores[:, 1] < 1e-300).all()  # zero, but for the adjoint's rounding away from it
    # Frozen at one image of the box, the channel moves the output by no more than its score at another.
    change = {i: jnp.tanh(network.layers["first"](image + i))[0].ravel() for i in (-0.1, 0.1)}
    moved = network.layers["out"].weight[:, :4] @ (change[0.1] - change[-0.1])
    assert (scores[:, 0] >= jnp.abs(moved)).all()
    assert (scores[:, 0] <= 20 * jnp.abs(moved).max()).all()


FIXED = {
    "an unknown primitive": (lambda h: jnp.fft.fft(h).real, r"used by `fft` at .*test_any_network.py"),
    "an order": (jnp.cumsum, r"order that matters to `cumsum` at .*test_any_network.py"),
    "a counted axis": (lambda h: h * jnp.argmax(h).astype(h.dtype), r"counted along by `argmax`"),
    "numbers": (lambda h: h * jnp.arange(4.0), r"numbers counted by `iota`|written into the program"),
    "a constant array": (lambda h: h * jnp.asarray([1.0, 2.0, 3.0, 4.0]), "written into the program as a constant"),
}


@pytest.mark.parametrize(("middle", "reason"), FIXED.values(), ids=FIXED.keys())
def test_what_cannot_be_pruned_is_named(middle, reason):
    network = Net({"in": linear(3, 4), "out": linear(4, 2)}, lambda n, x: n["out"](middle(n["in"](x))))
    groups = find_groups(network, X)
    assert len(groups) == 0
    with pytest.raises(ValueError, match=rf"axis 0 of `layers\['in'\].weight` cannot be pruned: it .*({reason})"):
        groups.of("layers['in'].weight")


def test_inputs_and_outputs_are_fixed():
    groups = find_groups(RESIDUAL, X)
    for path, axis, what in (("layers['in'].weight", 1, "input"), ("layers['out'].bias", 0, "output")):
        with pytest.raises(ValueError, match=f"it is that of an {what}"):
            groups.of(path, axis)
    with pytest.raises(ValueError, match="is shared by 2 groups"):
        find_groups(CONCATENATED, X).of("layers['out'].weight", 1)
    with pytest.raises(ValueError, match="name axis 0 of `weight`; the network has"):
        groups.of("weight")


WRITTEN = Net(
    {"in": linear(3, 6), "out": linear(3, 2)}, lambda n, x: n["out"](n["in"](x)[:3] * jnp.tanh(n["in"](x)[3:6]))
)
REPEATED = Net({"in": linear(3, 4), "out": linear(4, 2)}, lambda n, x: n["out"](n["in"](x).reshape(2, 2).reshape(4)))

# The channels take turns, so that those that stay may change places.
TURNS = Net(
    {"in": linear(3, 6), "a": linear(3, 2), "b": linear(3, 2)},
    lambda n, x: n["a"](n["in"](x)[::2]) + n["b"](n["in"](x)[1::2]),
)


def refused():
    first, second = find_groups(RESIDUAL, X).prunable[:2]
    (written,) = find_groups(WRITTEN, X)
    (repeated,) = find_groups(REPEATED, X)
    even, odd = find_groups(TURNS, X)
    return {
        "nothing kept": (RESIDUAL, {first: []}, {}, ValueError, "keeps no channel"),
        "too many": (RESIDUAL, {first: [0, 9]}, {}, ValueError, r"increasing integers in \[0, "),
        "twice": (RESIDUAL, {first: [1, 1]}, {}, ValueError, "increasing"),
        "another network": (CONCATENATED, {second: [0]}, {}, ValueError, "this network has no such array"),
        "not a mapping": (RESIDUAL, [first], {}, TypeError, "`kept` is list"),
        "not a group": (RESIDUAL, {"up": [0]}, {}, TypeError, "a group is str"),
        "written bounds": (WRITTEN, {written: [0, 2]}, {}, ValueError, "the network does not run: .*written bounds"),
        "a written shape": (REPEATED, {repeated: [1]}, {}, ValueError, "the network does not run"),
        "changed places": (TURNS, {even: [0, 1], odd: [1, 2]}, {}, ValueError, "meets channels of .* not meet before"),
        "samples of another shape": (RESIDUAL, {first: [0]}, {"samples": X}, ValueError, "`samples` has shapes"),
    }


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", refused())
def test_misuse_is_refused(name):
    network, kept, options, error, message = refused()[name]
    with pytest.raises(error, match=message):
        prune_groups(network, kept, X, **options)


@pytest.mark.usefixtures("unchecked_shapes")
def test_scores_of_another_network_are_refused():
    first, last = find_groups(RESIDUAL, X).prunable[:2]
    smaller = prune_groups(RESIDUAL, {first: [0]}, X)
    for score in (lambda *pair: magnitude_of_groups(*pair), lambda *pair: taylor_of_groups(*pair, lambda n: n(X)[0])):
        with pytest.raises(ValueError, match=r"entries on axis .* of .* and this network has shape"):
            score(smaller, (last, first))


def test_networks_that_cannot_be_looked_at():
    with pytest.raises(TypeError, match="Say how it is used by `call`"):
        find_groups({"weight": X}, X)
    with pytest.raises(ValueError, match="holds no JAX arrays"):
        find_groups(jnp.sin, X)
