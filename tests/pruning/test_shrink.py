"""The search: it finds the width of a teacher, says what it tried, and refuses what cannot be met."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pruning_networks import with_layers

from sobolev_pruning.pruning import (
    AbstractCriterion,
    Candidate,
    Refit,
    ShrinkResult,
    Significance,
    SurrogateErrors,
    Tolerance,
    shrink,
)
from sobolev_pruning.pruning._recorded import RecordedTrials
from sobolev_pruning.reference import FunctionReference, RowSplit, Samples, UniformBox
from sobolev_pruning.sobolev import CheckpointWarning
from sobolev_pruning.surrogate import MLP, Dense, Normalisation, Surrogate, save_record

TEACHER = with_layers(([[1.0, -0.5], [0.3, 1.2]], [0.2, -0.4]), ([[1.5, -0.8]], [0.1]))
REFERENCE = FunctionReference(TEACHER, UniformBox(jnp.array([-2.0, -2.0]), jnp.array([2.0, 2.0])))
TOLERANCE = Tolerance(values=1e-5, gradients=1e-4, curvature=1e-2)
QUICK = Refit(samples=128, max_steps=60, starts=3)
KEY = jax.random.key(0)


def split(surrogate):
    """The same function with every hidden node twice, each of half the weight."""
    first, last = surrogate.network.layers
    twice = Dense(jnp.tile(first.weight, (2, 1)), jnp.tile(first.bias, 2))
    halved = Dense(jnp.tile(last.weight, (1, 2)) / 2, last.bias)
    return dataclasses.replace(surrogate, network=MLP((twice, halved), surrogate.network.activation))


class Alike(AbstractCriterion):
    """Every node is as good as another; the ranking still takes distinct ones first."""

    def nodes(self, surrogate):
        d, *hidden, m = surrogate.network.widths
        return Significance(jnp.ones((m, d)), tuple(jnp.ones((m, width)) for width in hidden))

    def weights(self, surrogate):
        return tuple(jnp.ones_like(layer.weight) for layer in surrogate.network.layers)


OPTIONS = {"key": KEY, "criterion": Alike(), "fine_tuning": QUICK, "held_out": 256}


@pytest.fixture(scope="module")
def found():
    seen = []
    result = shrink(split(TEACHER), REFERENCE, tolerance=TOLERANCE, progress=seen.append, **OPTIONS)
    return result, seen


def test_the_width_of_the_teacher_is_found(found):
    result, seen = found
    assert result.smallest.widths == [2, 2, 1]
    assert result.smallest.within
    assert result.complete
    assert list(result.trials) == seen
    assert [c.widths for c in result.trials] == [[2, 1, 1], [2, 2, 1]]


def test_errors_are_those_of_the_surrogate_on_points_of_its_own(found):
    result, _ = found
    x = REFERENCE.inputs(jax.random.key(9), 512)
    truth, mine = REFERENCE.truth(x), result.smallest.surrogate.evaluate(x)
    assert np.max(np.abs(mine.y - truth.y)) < 0.01
    unexplained = np.sum((mine.dydx - truth.dydx) ** 2) / np.sum((truth.dydx - truth.dydx.mean(axis=0)[None]) ** 2)
    assert unexplained < 2 * TOLERANCE.gradients
    assert result.trials[0].errors.values > TOLERANCE.values


def test_the_result_says_which_samples_it_was_judged_by(found):
    """Fresh ones of a reference, and as many that played no part in the choice."""
    result, _ = found
    choice, unseen = result.rows.choice, result.rows.unseen
    assert (choice.n, unseen.n) == (256, 256)
    assert not {row.tobytes() for row in np.asarray(choice.x)} & {row.tobytes() for row in np.asarray(unseen.x)}
    assert result.unseen_errors == SurrogateErrors.of(result.smallest.surrogate, unseen)
    assert "256 fresh samples" in result.rows.said


def test_a_table_is_divided_as_the_surrogate_was_trained():
    x = np.random.default_rng(2).uniform(-2, 2, (250, 2))
    rows = RowSplit.draw(x, 0.2, seed=0)
    samples = REFERENCE.truth(jnp.asarray(x))
    known = split(TEACHER).with_provenance(split=rows.to_text())
    given = jax.tree.map(lambda part: part[:45], samples)
    cases = (
        (known, samples, None, x[rows.held_out(x)], "50 rows that were not trained on"),
        (split(TEACHER), samples, None, None, "does not say which rows it was trained on"),
        (known, samples, given, x[:45], "45 samples that were given"),
    )
    for network, reference, held_out, expected, said in cases:
        options = OPTIONS | ({} if held_out is None else {"held_out": held_out}) | {"max_trials": 1}
        result = shrink(network, reference, tolerance=Tolerance(values=1e-5), **options)
        judged = np.concatenate([result.rows.choice.x, result.rows.unseen.x])
        assert said in result.rows.said
        if expected is not None:
            np.testing.assert_array_equal(np.sort(judged, axis=0), np.sort(expected, axis=0))


def test_the_front_is_sorted_and_holds_what_was_rolled_back(found):
    result, _ = found
    sizes = [c.n_parameters for c in result.front]
    assert sizes == sorted(sizes)
    assert [2, 1, 1] in [c.widths for c in result.front]
    assert result.smallest in result.front


def test_limits_end_the_search_and_are_told():
    result = shrink(split(TEACHER), REFERENCE, tolerance=TOLERANCE, max_trials=1, **OPTIONS)
    assert not result.complete
    assert result.smallest is result.original
    assert len(result.trials) == 1


def candidate(width, error, within=True):
    network = MLP.create([2, width, 1], key=KEY)
    return Candidate(
        Surrogate(network, Normalisation.identity(2, 1)), SurrogateErrors(error, error, None, 1.0, 1.0, None), within
    )


def test_the_front_leaves_out_what_is_beaten():
    original, worse, better, tiny = (
        candidate(9, 1e-6),
        candidate(5, 1e-2),
        candidate(4, 1e-4),
        candidate(1, 1e-1, False),
    )
    result = ShrinkResult(better, original, (worse, better, tiny), True)
    assert result.front == (tiny, better, original)


def test_what_is_beyond_the_tolerance_beats_nothing_within():
    """Its largest error may be what is beyond it, and that is no part of the front."""
    original, beyond, smallest = candidate(9, 1e-6), candidate(2, 1e-5, False), candidate(3, 2e-5)
    assert ShrinkResult(smallest, original, (beyond, smallest), True).front == (beyond, smallest, original)


X = jnp.linspace(-1.0, 1.0, 40).reshape(20, 2)
LINE = Samples(X, X @ jnp.array([[1.0], [2.0]]))
SHALLOW = Surrogate(MLP.create([2, 1], key=KEY), Normalisation.identity(2, 1))
OTHER = Surrogate(MLP.create([3, 4, 1], key=KEY), Normalisation.identity(3, 1))
CASES = {
    "an original beyond the tolerance": (
        lambda: shrink(with_layers(([[1.0, 0.0]], [0.0]), ([[1.0]], [0.0])), REFERENCE, tolerance=TOLERANCE, **OPTIONS),
        ValueError,
        r"misses the tolerance before .* `values` is .* times the 1e-05 allowed",
    ),
    "a floor above a layer": (
        lambda: shrink(split(TEACHER), REFERENCE, tolerance=TOLERANCE, floor=5, **OPTIONS),
        ValueError,
        "`floor` is 5, above the 4 nodes of hidden layer 0",
    ),
    "no floor": (
        lambda: shrink(split(TEACHER), REFERENCE, tolerance=TOLERANCE, floor=0, **OPTIONS),
        ValueError,
        "`floor` is 0",
    ),
    "no trials": (
        lambda: shrink(TEACHER, REFERENCE, tolerance=TOLERANCE, max_trials=0, key=KEY),
        ValueError,
        "`max_trials` is 0",
    ),
    "no time": (
        lambda: shrink(TEACHER, REFERENCE, tolerance=TOLERANCE, seconds=0.0, key=KEY),
        ValueError,
        "`seconds` is 0.0",
    ),
    "labels that are not there": (
        lambda: shrink(TEACHER, LINE, tolerance=Tolerance(gradients=0.1), key=KEY),
        ValueError,
        r"`gradients` of the tolerance bounds what there are no labels of.*\(`dydx`\)",
    ),
    "no hidden layer": (
        lambda: shrink(SHALLOW, LINE, tolerance=Tolerance(values=0.1), key=KEY),
        ValueError,
        "without a hidden layer",
    ),
    "another number of inputs": (
        lambda: shrink(OTHER, LINE, tolerance=Tolerance(values=0.1), key=KEY),
        ValueError,
        "maps 2 inputs to 1 outputs, the network 3 to 1",
    ),
    "no bound": (Tolerance, ValueError, "bounds nothing"),
    "a bound of zero": (lambda: Tolerance(values=0.0), ValueError, "`values` of the tolerance is 0.0"),
    "too few to judge by": (
        lambda: shrink(TEACHER, REFERENCE, tolerance=TOLERANCE, key=KEY, held_out=1),
        ValueError,
        "`held_out` is 1",
    ),
    "no starts": (lambda: Refit(starts=0), ValueError, "`starts` is 0"),
    "no learning": (lambda: Refit(learning_rate=0.0), ValueError, "`learning_rate` is 0"),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused(name):
    call, error, match = CASES[name]
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    ("argument", "match"),
    [({"tolerance": 1e-5}, "must be `Tolerance`"), ({"criterion": "magnitude"}, "AbstractCriterion")],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_other_types_are_refused(argument, match):
    with pytest.raises(TypeError, match=match):
        shrink(TEACHER, REFERENCE, **({"tolerance": TOLERANCE, "key": KEY} | argument))


class Killed(BaseException):
    """What a test ends a search with."""


def killed_after(n, folder):
    seen = []

    def progress(candidate):
        seen.append(candidate)
        if len(seen) == n:
            raise Killed

    with pytest.raises(Killed):
        shrink(split(TEACHER), REFERENCE, tolerance=TOLERANCE, progress=progress, checkpoints=folder, **OPTIONS)


def leaves(candidate):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(candidate.surrogate)]


def same(result, other):
    assert [c.errors for c in result.trials] == [c.errors for c in other.trials]
    assert [c.widths for c in result.front] == [c.widths for c in other.front]
    for one, two in zip((result.smallest, *result.trials), (other.smallest, *other.trials), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(leaves(one), leaves(two), strict=True))


def test_a_search_that_was_killed_goes_on_after_its_last_trial(found, tmp_path, monkeypatch):
    from sobolev_pruning.pruning._trials import Trials

    whole, _ = found
    n = len(whole.trials)
    assert n > 1
    killed_after(n - 1, tmp_path)
    repaired, numbers = Trials.repaired, []
    monkeypatch.setattr(Trials, "repaired", lambda self, s, k: (numbers.append(k), repaired(self, s, k))[1])
    seen = []
    options = {"tolerance": TOLERANCE, "checkpoints": tmp_path, **OPTIONS}
    same(shrink(split(TEACHER), REFERENCE, progress=seen.append, **options), whole)
    assert numbers == [n - 1]
    assert len(seen) == n
    # What has ended is read back, and a trial that is damaged or edited is repeated.
    trial = tmp_path / "trials" / "trial-0000.safetensors"
    trial.write_bytes(trial.read_bytes()[:-3] + b"\x00\x01\x02")
    numbers.clear()
    with pytest.warns(CheckpointWarning, match=r"trial-0000\.safetensors.* That trial is repeated"):
        same(shrink(split(TEACHER), REFERENCE, **options), whole)
    assert numbers == [0]


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_trial_whose_errors_are_no_numbers_is_repeated(tmp_path):
    errors = dataclasses.asdict(SurrogateErrors(0.1, 0.1, None, 0.1, 0.1, None))
    facts = {"number": 0, "hidden": [1, 1], "errors": errors | {"values": [0.1]}, "within": True}
    save_record(tmp_path / "trial-0000.safetensors", TEACHER, facts)
    with pytest.warns(CheckpointWarning, match=r"errors are not numbers\)\. That trial is repeated"):
        assert RecordedTrials(tmp_path, TEACHER.network.activation).read(0, (1, 1)) is None


def test_another_search_is_not_gone_on_with(tmp_path):
    killed_after(1, tmp_path)
    options = {"tolerance": TOLERANCE, "checkpoints": tmp_path, **OPTIONS}
    others = {
        "key": {"key": jax.random.key(9)},
        "tolerance": {"tolerance": Tolerance(values=1e-4)},
        "held_out": {"held_out": 128},
        "fine_tuning": {"fine_tuning": Refit(samples=129)},
    }
    for name, changed in others.items():
        with pytest.raises(ValueError, match=rf"the unfinished search in .* is another one: it differs in {name} \("):
            shrink(split(TEACHER), REFERENCE, **options | changed)
    with pytest.raises(ValueError, match=r"differs in network \("):
        shrink(TEACHER, REFERENCE, **options)
    wider = FunctionReference(TEACHER, UniformBox(jnp.array([-2.0, -2.0]), jnp.array([2.0, 2.5])))
    with pytest.raises(ValueError, match=r"differs in reference \("):
        shrink(split(TEACHER), wider, **options)
