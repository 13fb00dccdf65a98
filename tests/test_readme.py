"""The code that the README shows runs as it stands."""

import re
from pathlib import Path

import jax

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict = {}
    # A user has JAX's defaults, not the strict settings of these tests.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(compile(block, str(README), "exec"), names)
    basket, small, data = names["basket"], names["small"], names["data"]
    truth = basket.truth(data.x[:64])
    errors = truth.y - small.evaluate(data.x[:64]).y
    assert float(abs(errors).max()) < 0.02
    assert (tmp_path / "basket.safetensors").is_file()
    deltas = truth.dydx[0, 0]
    assert bool(names["sensitivities"].contains(small.gradient(data.x[0])[0]).all())
    assert float(abs(deltas - names["deltas"][0]).max()) < 0.02
