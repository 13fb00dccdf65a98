"""Fixtures of the interval tests."""

import pytest

from sobolev_pruning.intervals import _registry


@pytest.fixture
def registry():
    """The private table of rules, restored afterwards."""
    saved = dict(_registry._rules)
    yield _registry._rules
    _registry._rules.clear()
    _registry._rules.update(saved)
    _registry._unproved.intersection_update(saved)
