"""Payoffs by hand, what they declare of themselves, and which labels are refused for them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import (
    ArithmeticAverage,
    Asset,
    Barrier,
    Basket,
    BestOf,
    BlackScholes,
    Call,
    Control,
    DeltaHedge,
    Digital,
    EulerMaruyama,
    GeometricAverage,
    ItoSDE,
    LikelihoodRatio,
    Line,
    Milstein,
    Mixed,
    ModelStep,
    Option,
    Pathwise,
    Portfolio,
    Problem,
    PseudoRandom,
    Put,
    Rademacher,
    Smoothed,
    Smoothing,
    StochasticReference,
    Terminal,
    TerminalPayoff,
    WorstOf,
    smoothed_call,
)

# Two assets on three dates after the start.
PATH = np.array([[1.0, 2.0], [1.2, 1.8], [0.7, 2.4], [1.3, 1.1]])


def on_path(payoff):
    carry = payoff.init(jnp.asarray(PATH[0]))
    for date, prices in enumerate(PATH[1:], start=1):
        carry = payoff.update(carry, float(date), jnp.asarray(prices))
    return payoff.value(carry)


CALL = Option(Call(1.0))
# Payoff, amount on the path by hand, Lipschitz, kinked.
PAYOFFS = {
    "call": (CALL, 0.3, True, True),
    "put": (Option(Put(1.5)), 0.2, True, True),
    "digital": (Option(Digital(1.25, 2.0)), 2.0, False, True),
    "digital below": (Option(Digital(1.35)), 0.0, False, True),
    "forward": (Option(Line(0.5, 2.0, 1.0)), 1.1, True, False),
    "second asset": (Option(Call(1.0), Terminal(Asset(1))), 0.1, True, True),
    "asian": (Option(Call(1.0), ArithmeticAverage()), 3.2 / 3 - 1, True, True),
    "geometric asian": (Option(Call(1.0), GeometricAverage()), (1.2 * 0.7 * 1.3) ** (1 / 3) - 1, True, True),
    "basket": (Option(Call(1.0), Terminal(Basket(jnp.array([0.5, 0.5])))), 0.2, True, True),
    "asian basket": (Option(Line(0.0, 1.0), ArithmeticAverage(Basket(jnp.array([1.0, 1.0])))), 8.5 / 3, True, False),
    "best of": (Option(Call(1.0), Terminal(BestOf())), 0.3, True, True),
    "worst of": (Option(Line(0.0, 1.0), Terminal(WorstOf())), 1.1, True, True),
    "smoothed worst of": (Option(Line(0.0, 1.0), Terminal(WorstOf(1e-3))), 1.1, True, False),
    "up and out, alive": (Barrier(CALL, 1.35, up=True, out=True), 0.3, False, True),
    "up and out, dead": (Barrier(CALL, 1.15, up=True, out=True), 0.0, False, True),
    "up and in": (Barrier(CALL, 1.15, up=True, out=False), 0.3, False, True),
    "down and out": (Barrier(CALL, 0.8, up=False, out=True), 0.0, False, True),
    "down and in": (Barrier(CALL, 0.8, up=False, out=False), 0.3, False, True),
    "down and in, not reached": (Barrier(CALL, 0.6, up=False, out=False), 0.0, False, True),
    "watched elsewhere": (Barrier(CALL, 2.3, up=True, out=True, quote=Asset(1)), 0.0, False, True),
    "smoothed barrier": (Barrier(CALL, 1.15, up=True, out=False, width=1e-3), 0.3, True, True),
    "all smoothed": (Barrier(Option(Call(1.0).smooth(1e-3)), 1.15, up=True, out=False, width=1e-3), 0.3, True, False),
    "function": (TerminalPayoff(lambda s: s[0] * s[1], is_lipschitz=True, is_kinked=False), 1.43, True, False),
}


@pytest.mark.parametrize("name", PAYOFFS)
def test_amounts_and_declarations(name):
    payoff, amount, lipschitz, kinked = PAYOFFS[name]
    np.testing.assert_allclose(on_path(payoff), amount, rtol=1e-12, atol=1e-12)
    assert (payoff.lipschitz, payoff.kinked) == (lipschitz, kinked)


def test_a_portfolio_pays_all():
    payoffs = [PAYOFFS[name][0] for name in ("call", "digital")]
    portfolio = Portfolio(payoffs)
    np.testing.assert_allclose(on_path(portfolio), [0.3, 2.0])
    assert (portfolio.lipschitz, portfolio.kinked) == (False, True)


def test_smoothing_between_any_two_functions():
    """It reports where it is, tends to both sides, and the smoothed call is a case of it."""
    u = jnp.linspace(0.5, 1.5, 11)
    call = Call(1.0).smooth(0.05)
    np.testing.assert_allclose(jax.vmap(call)(u), smoothed_call(u, 1.0, 0.05), rtol=1e-12, atol=1e-15)
    assert call.smoothings == (Smoothing(1.0, 0.05),)
    blend = Smoothed(jnp.sin, jnp.cos, 1.0, 1e-3)
    np.testing.assert_allclose(blend(jnp.asarray(0.5)), np.sin(0.5), rtol=1e-12)
    np.testing.assert_allclose(blend(jnp.asarray(1.0)), 0.5 * (np.sin(1.0) + np.cos(1.0)), rtol=1e-12)
    np.testing.assert_allclose(blend(jnp.asarray(1.5)), np.cos(1.5), rtol=1e-12)
    np.testing.assert_allclose(
        jax.vmap(Put(1.0).smooth(0.05))(u), smoothed_call(-u, -1.0, 0.05), rtol=1e-11, atol=1e-15
    )
    barrier = Barrier(Option(call), 1.2, up=True, out=True, width=0.01)
    assert barrier.smoothings == (Smoothing(1.2, 0.01), Smoothing(1.0, 0.05))


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize(
    "make",
    [Call(1.0).smooth, BestOf, WorstOf, lambda width: Barrier(CALL, 1.0, up=True, out=True, width=width)],
    ids=["call", "best of", "worst of", "barrier"],
)
def test_bad_widths_are_refused(make, width):
    with pytest.raises(ValueError, match="`width`"):
        make(width)


def spots(key, n):
    return jax.random.uniform(key, (n, 2), minval=0.9, maxval=1.1)


def reference(payoff=CALL, problem=None, inputs=spots, **options):
    def usual(x):
        return Problem(BlackScholes(0.2), x[:1], payoff, 1.0)

    options = {"n_steps": 2, "scheme": ModelStep()} | options
    return StochasticReference(usual if problem is None else problem, inputs, **options)


DIGITAL, SMOOTH = Option(Digital(1.0)), Option(Call(1.0).smooth(0.01))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"payoff": DIGITAL}, r"`labels` is Pathwise.*not Lipschitz.*jumps.*Smooth.*`labels=LikelihoodRatio\(\)`"),
        ({"payoff": DIGITAL, "labels": Mixed()}, "`labels` is Mixed.*not Lipschitz"),
        ({"scheme": Milstein(), "labels": LikelihoodRatio()}, "needs the density of a step, and Milstein"),
        (
            {
                "problem": lambda x: Problem(BlackScholes(0.2), x[:1], Option(Digital(x[1])), 1.0),
                "labels": LikelihoodRatio(),
            },
            "a jump, depends on the input itself.*start at spot/strike",
        ),
        (
            {"problem": lambda x: Problem(BlackScholes(0.2), x[:1], Option(Call(x[1])), 1.0), "labels": Mixed()},
            "a kink, depends on the input itself",
        ),
        ({"controls": [Control(DIGITAL, lambda x: x[0])]}, "`controls` holds Control of a payoff with a jump"),
    ],
    ids=["digital", "mixed digital", "no density", "digital strike", "mixed strike", "control"],
)
def test_labels_that_would_be_wrong_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        reference(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"`labels` is Pathwise, and the payoff has a kink.*`labels=Mixed\(\)`"),
        ({"payoff": DIGITAL, "labels": LikelihoodRatio()}, r"`labels` is LikelihoodRatio, which gives first"),
        (
            {"payoff": SMOOTH, "controls": [Control(CALL, lambda x: x[0])]},
            "`controls` holds Control of a payoff with a kink",
        ),
    ],
    ids=["kink", "likelihood ratio", "control"],
)
def test_second_derivatives_that_would_be_wrong_are_refused(options, message):
    model = reference(**options)
    with pytest.raises(ValueError, match=message):
        model.sample(jax.random.key(0), 2, directions=Rademacher())


def test_smoothing_too_narrow_for_float32_is_refused_for_second_derivatives():
    narrow = Option(Call(1.0).smooth(1e-5))
    with jax.enable_x64(False):
        model = reference(narrow, inputs=lambda key, n: jnp.ones((n, 2)))
        with pytest.raises(
            ValueError, match="the width 1e-05 around 1, and in float32 second derivatives need at least"
        ):
            model.sample(jax.random.key(0), 2, directions=Rademacher())
        assert reference(Option(Call(1.0).smooth(1e-3)), inputs=lambda key, n: jnp.ones((n, 2)))._too_narrow is None
    assert reference(narrow)._too_narrow is None


def two_states(t, s):
    return jnp.eye(2)


BAD = {
    "n_steps": ({"n_steps": 0}, "`n_steps` is 0"),
    "n_paths": ({"n_paths": 0}, "`n_paths` is 0"),
    "pilot": ({"pilot_paths": 10}, "no `controls`"),
    "inputs": ({"inputs": lambda key, n: jnp.ones(n)}, r"`inputs` returns shape \(4,\)"),
    "maturity": ({"problem": lambda x: Problem(BlackScholes(0.2), x[:1], CALL, x[0] * 0.0)}, "`maturity` is 0.0"),
    "start": ({"problem": lambda x: Problem(BlackScholes(0.2), x[0], CALL, 1.0)}, "`start` of the problem"),
    "diffusion": (
        {"problem": lambda x: Problem(ItoSDE(lambda t, s: s, lambda t, s: s), x[:1], CALL, 1.0)},
        r"`diffusion` of the model returns shape \(1,\).*\(1, 1\)",
    ),
    "drift": (
        {"problem": lambda x: Problem(ItoSDE(lambda t, s: s[0], two_states, 2), x, CALL, 1.0)},
        r"`drift` of the model returns shape \(\)",
    ),
    "asset": ({"payoff": Option(Call(1.0), Terminal(Asset(1)))}, "`number` of the asset is 1"),
    "weights": (
        {"payoff": Option(Call(1.0), Terminal(Basket(jnp.ones(3))))},
        r"`weights` of the basket has shape \(3,\)",
    ),
    "delta": ({"controls": [DeltaHedge(lambda t, s: jnp.ones(3))]}, r"`delta` returns shape \(3,\)"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_arguments_are_named(name):
    options, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        reference(**options)


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_is_no_problem_is_refused():
    with pytest.raises(TypeError, match="`problem` returns float"):
        reference(problem=lambda x: 1.0)
    with pytest.raises(TypeError, match="`problem` is int"):
        StochasticReference(1, spots, n_steps=1, scheme=ModelStep())
    with pytest.raises(ValueError, match="`payoffs` is empty"):
        Portfolio(())
    with pytest.raises(ValueError, match="`brownian_motions` is -1"):
        ItoSDE(lambda t, s: s, two_states, -1)


def test_replace_looks_again():
    model = reference()
    assert dataclasses.replace(model, n_paths=4, scheme=EulerMaruyama()).n_paths == 4
    with pytest.raises(ValueError, match="`n_steps` is 0"):
        dataclasses.replace(model, n_steps=0)
    assert (model.noise, model.labels) == (PseudoRandom(), Pathwise())
