"""Iterative pruning: the way down, the floor, and the way back where fine-tuning does not help."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pruning_networks import surrogate

from sobolev_pruning.pruning import (
    AbstractCriterion,
    Overall,
    PerLayer,
    Refit,
    Significance,
    Tolerance,
    prune_iteratively,
)
from sobolev_pruning.reference import FunctionReference, UniformBox
from sobolev_pruning.sobolev import DivergedError

ORIGINAL = surrogate((2, 8, 6, 1))
REFERENCE = FunctionReference(ORIGINAL, UniformBox(jnp.full(2, -1.0), jnp.full(2, 1.0)))
KEY = jax.random.key(0)


class Falling(AbstractCriterion):
    """The first node of each layer matters most; those of the second layer a little less than those of the first."""

    def nodes(self, surrogate):
        d, *hidden, m = surrogate.network.widths
        scores = [jnp.broadcast_to(2.0 ** -(jnp.arange(float(n)) + 0.5 * i), (m, n)) for i, n in enumerate(hidden)]
        return Significance(jnp.ones((m, d)), tuple(scores))

    def weights(self, surrogate):
        return tuple(jnp.ones_like(layer.weight) for layer in surrogate.network.layers)


def instead(holds):
    """Fine-tuning by decree: the pruned network as it is where `holds(hidden widths)`, else a constant one."""

    def fine_tuning(pruned, reference, *, key):
        if holds(pruned.network.widths[1:-1]):
            return pruned
        return eqx.tree_at(lambda s: s.network, pruned, jax.tree.map(jnp.zeros_like, pruned.network))

    return fine_tuning


LOOSE = Tolerance(values=0.9)


def run(target, holds=lambda hidden: True, tolerance=LOOSE, **options):
    given = {"steps": 2, "key": KEY, "criterion": Falling(), "held_out": 64, "fine_tuning": instead(holds)}
    return prune_iteratively(ORIGINAL, REFERENCE, target, tolerance=tolerance, **(given | options))


def hidden(result):
    return [tuple(step.candidate.widths[1:-1]) for step in result.steps]


def test_nodes_fall_by_equal_factors_to_the_target():
    result = run(PerLayer((2, 6)), tolerance=None)
    assert hidden(result) == [(4, 6), (2, 6)]
    assert [step.step for step in result.steps] == [0, 1]
    assert result.final is result.steps[-1].candidate
    assert result.held == ()


def test_one_step_is_one_shot():
    assert hidden(run(PerLayer((4, 6)), steps=1, tolerance=None)) == [(4, 6)]


def test_overall_the_least_significant_go_wherever_they_are():
    # Scores of the layers interleave, so that the same number of nodes stays in each, but never below the floor.
    assert hidden(run(Overall(7), steps=1, tolerance=None)) == [(4, 3)]
    assert hidden(run(Overall(12), steps=1, floor=6, tolerance=None)) == [(6, 6)]


class Equal(Falling):
    """No node matters more than another, as where many are dead."""

    def nodes(self, surrogate):
        return jax.tree.map(jnp.zeros_like, super().nodes(surrogate))


@pytest.mark.parametrize(("nodes", "floor"), [(6, 1), (7, 3), (2, 1)])
def test_overall_as_many_stay_as_asked_for(nodes, floor):
    """Also where all scores are equal, and where the highest leave a layer below its floor."""
    for criterion in (Equal(), Falling()):
        (widths,) = hidden(run(Overall(nodes), steps=1, floor=floor, tolerance=None, criterion=criterion))
        assert sum(widths) == nodes
        assert min(widths) >= floor


def test_without_a_tolerance_only_what_diverges_is_rolled_back():
    def fine_tuning(pruned, reference, *, key):
        if pruned.network.widths[1] < 6:
            raise DivergedError(0, pruned, np.zeros(0))
        return pruned

    result = run(PerLayer((4, 3)), steps=1, tolerance=None, fine_tuning=fine_tuning)
    assert tuple(result.final.widths[1:-1]) == (6, 3)
    assert result.held == (0,)
    assert not result.steps[0].accepted


def test_what_cannot_be_repaired_is_rolled_back_and_its_layer_kept():
    """The first layer does not hold below 5 nodes: 8 → 4 fails, 6 holds, and nothing more is asked of it."""
    result = run(PerLayer((2, 4)), holds=lambda hidden: hidden[0] >= 5)
    assert hidden(result)[:3] == [(4, 5), (4, 6), (6, 6)]
    assert [step.accepted for step in result.steps[:3]] == [False, False, True]
    assert result.held == (0,)
    assert tuple(result.final.widths[1:-1]) == (6, 4)
    assert result.final.within


def test_a_network_that_cannot_give_up_a_node_is_returned_as_it_is():
    result = run(PerLayer((6, 6)), holds=lambda hidden: False, steps=1)
    assert result.final is result.original
    assert not any(step.accepted for step in result.steps)
    # One attempt with all that was asked, then half of it.
    assert hidden(result) == [(6, 6), (7, 6)]


def test_fine_tuning_by_default_repairs_in_single_precision():
    single = jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_array(a) else a, ORIGINAL)
    result = prune_iteratively(
        single,
        REFERENCE,
        PerLayer((4, 4)),
        key=KEY,
        steps=1,
        tolerance=Tolerance(values=1e-3, gradients=1e-2),
        criterion=Falling(),
        fine_tuning=Refit(samples=128, max_steps=40, starts=1),
        held_out=64,
    )
    assert tuple(result.final.widths[1:-1]) == (4, 4)
    assert result.final.surrogate.network.layers[0].weight.dtype == jnp.float32


NOT_FINITE = eqx.tree_at(lambda s: s.network.layers[1].bias, ORIGINAL, jnp.full(6, jnp.nan))
CASES = {
    "no nodes": (lambda: run(PerLayer((0, 3))), r"`nodes\[0\]` asks for 0 nodes"),
    "more than there are": (lambda: run(PerLayer((8, 7))), r"`nodes\[1\]` asks for 7 .* 6, the nodes that there are"),
    "below the floor": (lambda: run(PerLayer((8, 2)), floor=3), "from 3, the floor"),
    "another number of layers": (lambda: run(PerLayer((8,))), "names 1 hidden layers, the network has 2"),
    "no nodes overall": (lambda: run(Overall(1)), "`nodes` is 1; it must be from 2"),
    "too many overall": (lambda: run(Overall(15)), "`nodes` is 15; .* to 14"),
    "a floor above a layer": (lambda: run(Overall(14), floor=7), "`floor` is 7, above the 6 nodes of hidden layer 1"),
    "no number for each layer": (lambda: PerLayer(3), "`nodes` is 3; it must be a sequence of integers"),
    "weights that are not finite": (
        lambda: prune_iteratively(NOT_FINITE, REFERENCE, PerLayer((4, 4)), key=KEY),
        "layer 1 of the network has a weight or bias that is not finite",
    ),
    "no steps": (lambda: run(PerLayer((8, 6)), steps=0), "`steps` is 0"),
}


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", CASES)
def test_is_refused(name):
    call, match = CASES[name]
    with pytest.raises((ValueError, TypeError), match=match):
        call()
