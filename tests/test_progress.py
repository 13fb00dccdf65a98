"""Progress is shown on a terminal and nowhere else, and `Silent()` shows none."""

import io
import sys

import jax
import jax.numpy as jnp
import pytest

from sobolev_pruning.certification import certify
from sobolev_pruning.pruning import Candidate, SurrogateErrors, Tolerance
from sobolev_pruning.pruning._told import told_on_a_terminal
from sobolev_pruning.reference import Samples
from sobolev_pruning.regions import Box
from sobolev_pruning.sobolev import Silent, ValueLoss, fit_levenberg_marquardt
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

SURROGATE = Surrogate(MLP.create([1, 2, 1], key=jax.random.key(0)), Normalisation.identity(1, 1))
X = jnp.linspace(-1.0, 1.0, 20)[:, None]


class Terminal(io.StringIO):
    """Standard error that is, or is not, a terminal."""

    def __init__(self, is_one):
        super().__init__()
        self.is_one = is_one

    def isatty(self):
        return self.is_one


@pytest.fixture
def shown(monkeypatch):
    """What is shown on a standard error that is a terminal, or is none."""

    def call(work, is_terminal):
        stream = Terminal(is_terminal)
        with monkeypatch.context() as patch:
            patch.setenv("TERM", "xterm")
            patch.setattr(sys, "stderr", stream)
            work()
        return stream.getvalue()

    return call


def test_a_fit_shows_a_bar_on_a_terminal_alone(shown):
    def train(**options):
        fit_levenberg_marquardt(SURROGATE, Samples(X, X**2), ValueLoss(), max_steps=2, **options)

    assert "loss" in shown(train, True)
    assert shown(train, False) == ""
    assert shown(lambda: train(progress=Silent()), True) == ""


def test_a_certification_shows_a_bar_on_a_terminal_alone(shown):
    def prove(**options):
        certify(SURROGATE, Box(X[0], X[-1]), seconds=0.1, order=1, boxes_at_once=8, **options)

    assert "of 0.1s" in shown(prove, True)
    assert shown(lambda: prove(progress=Silent()), True) == ""


def test_a_search_tells_of_its_networks_on_a_terminal_alone(shown):
    tolerance = Tolerance(values=1e-3)

    def tell():
        told = told_on_a_terminal(tolerance)
        if told is not None:
            told(Candidate(SURROGATE, SurrogateErrors(2e-3, None, None, 0.1, None, None), False))

    assert "1-2-1, 7 parameters: beyond; values 2.0e-03" in shown(tell, True)
    assert shown(tell, False) == ""
