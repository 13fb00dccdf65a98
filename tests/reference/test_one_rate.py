"""One risk-free rate for drift, discount and early exercise, wherever it is given; a contradiction is refused."""

import formulas
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import (
    CEV,
    ArithmeticAverage,
    Bachelier,
    Barrier,
    Bermudan,
    BlackScholes,
    Call,
    Control,
    CorrelatedAssets,
    DeltaHedge,
    Digital,
    GeometricAverage,
    Heston,
    LikelihoodRatio,
    ModelStep,
    Option,
    Portfolio,
    Problem,
    Put,
    StochasticReference,
    correlated_basket,
    fit_exercise_policy,
)

RATE, CORRELATION = 0.05, np.array([[1.0, 0.4], [0.4, 1.0]])
START, PAIR = jnp.array([1.1]), jnp.array([1.1, 0.9])


def spots(key, n):
    return jax.random.uniform(key, (n, 1), minval=0.8, maxval=1.2)


def at_the_money(key, n):
    return jnp.ones((n, 1))


def labels(model, payoff, rate, *, start=lambda x: x, n_steps=2, **options):
    """Samples with a rate at the places that say one."""
    reference = StochasticReference(
        lambda x: Problem(model, start(x), payoff, 1.0, rate), spots, n_steps=n_steps, scheme=ModelStep(), **options
    )
    return jax.jit(lambda: reference.sample(jax.random.key(1), 64))()


MODELS = {
    "Black and Scholes": (lambda *rate: BlackScholes(0.2, *rate), lambda x: x),
    "CEV": (lambda *rate: CEV(0.2, 0.7, *rate), lambda x: x),
    "Heston": (lambda *rate: Heston(1.0, 0.04, 0.5, -0.7, *rate), lambda x: jnp.stack([x[0], 0.04 + 0 * x[0]])),
    "two assets": (
        lambda *rate: CorrelatedAssets([BlackScholes(0.2, *rate), BlackScholes(0.3, *rate)], CORRELATION),
        lambda x: jnp.stack([x[0], 1.0 + 0 * x[0]]),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_rate_holds_wherever_it_is_given(name):
    """Once to the problem, once to the model, or to both: the same samples, and not those of another rate."""
    model, start = MODELS[name]
    payoffs = [Option(Call(1.0)), Option(Put(1.0), ArithmeticAverage())]
    both = labels(model(RATE), payoffs, RATE, start=start)
    for made, rate in ((model(), RATE), (model(RATE), None)):
        for part in ("y", "dydx"):
            np.testing.assert_allclose(
                getattr(labels(made, payoffs, rate, start=start), part), getattr(both, part), rtol=1e-14
            )
    none = labels(model(), payoffs, None, start=start)
    assert np.abs(none.y - both.y).mean() > 0.01
    with pytest.raises(ValueError, match=r"`rate` of the problem is 0.05, `rate` of .*there is one risk-free rate"):
        labels(model(0.03), payoffs, RATE, start=start)


def test_the_price_is_that_of_the_formula():
    """The case of the issue: 0.0762 without the drift."""
    payoffs = [Option(Call(1.0)), Option(Put(1.0)), Option(Call(1.0), GeometricAverage())]
    reference = StochasticReference(
        lambda x: Problem(BlackScholes(0.2), x, payoffs, maturity=1.0, rate=RATE),
        at_the_money,
        n_steps=2,
        scheme=ModelStep(),
    )
    y = np.asarray(jax.jit(lambda: reference.sample(jax.random.key(0), 2**16))().y)
    market = (1.0, 0.2, RATE)
    exact = [formulas.call(*market), formulas.put(*market), formulas.geometric_asian_call(*market, n_dates=2)]
    assert float(exact[0]) == pytest.approx(0.1045, abs=1e-4)
    error = y.std(axis=0) / np.sqrt(len(y))
    assert np.all(np.abs(y.mean(axis=0) - np.array(exact)) < 4 * error)
    assert np.all(error < 1e-3)


def test_scores_and_controls_see_the_one_rate():
    """Likelihood ratios of a digital, and controls whose expectation is the formula's."""
    digital = labels(BlackScholes(0.2), Option(Digital(1.0)), RATE, labels=LikelihoodRatio())
    same = labels(BlackScholes(0.2, RATE), Option(Digital(1.0)), RATE, labels=LikelihoodRatio())
    np.testing.assert_allclose(digital.dydx, same.dydx, rtol=1e-13)

    def price(x):
        return formulas.call(x[0], 0.2, RATE)

    hedge = DeltaHedge(lambda t, s: jnp.exp(-RATE * (1.0 - t)) * 0.6 + 0 * s)
    for control in (Control(Option(Call(1.0)), price), hedge):
        found = labels(BlackScholes(0.2), Option(Call(1.0)), RATE, controls=[control], n_steps=2)
        same = labels(BlackScholes(0.2, RATE), Option(Call(1.0)), RATE, controls=[control], n_steps=2)
        np.testing.assert_allclose(found.y, same.y, rtol=1e-12)
    # A call less its price, on its own paths: the price, without any noise.
    found = labels(BlackScholes(0.2), Option(Call(1.0)), RATE, controls=[Control(Option(Call(1.0)), price)], n_steps=1)
    np.testing.assert_allclose(found.y[:, 0], jax.vmap(price)(found.x), rtol=1e-12)


def test_early_exercise_is_discounted_at_the_rate_of_the_problem():
    def problem(rate):
        return lambda x: Problem(BlackScholes(0.3), x, Option(Put(1.0)), 1.0, rate)

    policy = fit_exercise_policy(
        problem(RATE), spots, Put(1.0), key=jax.random.key(0), n_dates=3, scheme=ModelStep(), n_paths=512
    )
    plain = Bermudan(Put(1.0), policy, width=0.01)
    said = Bermudan(Put(1.0), policy, RATE, width=0.01)
    other = Bermudan(Put(1.0), policy, 0.01, width=0.01)
    found, same = (labels(BlackScholes(0.3), payoff, RATE, n_steps=3) for payoff in (plain, said))
    np.testing.assert_allclose(found.y, same.y, rtol=1e-14)
    for payoff in (other, Barrier(other, 0.5, up=False, out=True, width=0.1), Portfolio((plain, other))):
        with pytest.raises(ValueError, match=r"`rate` of Bermudan is 0\.01"):
            labels(BlackScholes(0.3), payoff, RATE, n_steps=3)
    for n_steps in (1, 2, 4, 6):
        with pytest.raises(ValueError, match="it must be 3"):
            labels(
                BlackScholes(0.3),
                Portfolio((Barrier(plain, 0.5, up=False, out=True, width=0.1),)),
                RATE,
                n_steps=n_steps,
            )


def test_a_rate_that_is_an_input_is_the_rate_everywhere():
    """Its derivative goes through drift and discount; a model that holds another one at some input is refused."""

    def inputs(key, n):
        return jnp.broadcast_to(jnp.array([1.0, 0.05]), (n, 2))

    def reference(make):
        return StochasticReference(make, inputs, n_steps=1, scheme=ModelStep())

    plain, double = (
        reference(lambda x, given=given: Problem(BlackScholes(0.2, *given(x)), x[:1], Option(Call(1.0)), 1.0, x[1]))
        for given in (lambda x: (), lambda x: (x[1],))
    )
    a, b = (jax.jit(lambda r=r: r.sample(jax.random.key(0), 32))() for r in (plain, double))
    np.testing.assert_allclose(a.dydx, b.dydx, rtol=1e-14)
    with pytest.raises(ValueError, match="there is one risk-free rate"):
        reference(lambda x: Problem(BlackScholes(0.2, 0.02), x[:1], Option(Call(1.0)), 1.0, x[1]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Problem(BlackScholes(0.2), START, Option(Call(1.0)), 1.0, float("nan")), "must be finite"),
        (
            lambda: correlated_basket(
                [BlackScholes(0.2, 0.01), BlackScholes(0.3, 0.02)], CORRELATION, Option(Call(1.0))
            ),
            r"is \[0\.01, 0\.02\]: there is one risk-free rate",
        ),
        (
            lambda: correlated_basket([BlackScholes(0.2, 0.01), BlackScholes(0.3)], CORRELATION, Option(Call(1.0))),
            "all with a rate of their own or all without",
        ),
    ],
)
def test_rates_that_contradict_each_other_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_models_without_a_risk_free_rate_keep_their_drift():
    """A forward has none; its payoff is discounted all the same."""
    drifting = labels(Bachelier(0.2, 0.01), Option(Call(1.0)), RATE)
    undiscounted = labels(Bachelier(0.2, 0.01), Option(Call(1.0)), None)
    np.testing.assert_allclose(drifting.y, undiscounted.y * np.exp(-RATE), rtol=1e-14)
    assert correlated_basket([BlackScholes(0.2)] * 2, CORRELATION, Option(Call(1.0)), rate=RATE).dim_in == PAIR.size


@pytest.mark.parametrize("payoff", [Call(1.0), [Option(Call(1.0)), Put(1.0)], jnp.sum], ids=["one", "two", "f"])
def test_what_is_no_payoff_is_refused_with_the_way_to_make_one(payoff):
    with pytest.raises(TypeError, match=r"`payoff` is \w+; .*`Option\(Call\(1.0\)\)`"):
        Problem(BlackScholes(0.2), START, payoff, 1.0)
