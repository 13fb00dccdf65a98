"""The code that the documentation shows runs as it stands."""

import re
from pathlib import Path

import jax
import pytest

from sobolev_pruning.intervals import _registry

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in sorted(DOCS.glob("*.md")) if "```python" in page.read_text(encoding="utf-8")]


@pytest.fixture
def _registered():
    """The rules that a page registers are taken back."""
    saved = dict(_registry._rules)
    yield
    _registry._rules.clear()
    _registry._rules.update(saved)
    _registry._unproved.intersection_update(saved)


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_run(page):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    names: dict = {}
    # A user has JAX's defaults, not the strict settings of these tests.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(compile(block, str(page), "exec"), names)
