"""The margins of the rules are at least twice what the table in `docs/margins.md` says was measured."""

from pathlib import Path

import flint
import numpy as np
import pytest
from flint import arb
from jax import lax

from sobolev_pruning.intervals import _accurate, _elementary

flint.ctx.prec = 300

TABLE = Path(__file__).resolve().parents[2] / "docs" / "margins.md"


def rows():
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    return [dict(zip(header, (c.strip() for c in line.strip("|").split("|")), strict=True)) for line in lines[2:]]


ROWS = rows()
BY_NAME = {primitive.name: primitive for primitive in _elementary.MARGINS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['function']} {row['dtype']}")
def test_margins_are_twice_the_measured_errors(row):
    primitive, dtype = BY_NAME[row["function"]], np.dtype(row["dtype"])
    assert row["evaluated by"] == ("pair" if _elementary.is_accurate(primitive, dtype) else "XLA")
    used = _elementary.MARGINS[primitive]._asdict()[dtype.name]
    if primitive is lax.sqrt_p:  # correctly rounded, which needs no doubling
        assert float(row["largest error"]) <= used
    else:
        assert 2 * float(row["largest error"]) <= used


def test_the_table_is_complete():
    assert {(row["function"], row["dtype"]) for row in ROWS} == {
        (n, d) for n in BY_NAME for d in ("float32", "float64")
    }


def test_constants():
    for value, exact in (
        (_accurate.LN2, arb.const_log2()),
        (_accurate.PI, arb.pi()),
        (_accurate.TWO_OVER_SQRT_PI, 2 / arb.pi().sqrt()),
        *zip(_accurate.ATAN_OF_QUARTERS, [(arb(k) / 4).atan() for k in range(5)], strict=True),
    ):
        assert abs(arb(value.numerator) / value.denominator - exact) < arb(10) ** -50
