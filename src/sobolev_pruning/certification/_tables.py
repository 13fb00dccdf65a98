"""A certificate as tables for the terminal.

What names of a user stand in is `Text`, since Rich would read `cost[/kg]` as markup.
"""

import math

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from .._reading import brief
from ..surrogate import Bound, Certificate, Claim, Verdict

_STYLES = {Verdict.PROVED: "green", Verdict.REFUTED: "red", Verdict.UNDECIDED: "yellow"}


def tables(certificate: Certificate) -> list[Table]:
    """What is guaranteed, next to what was found; then the verdicts; then the differences to other functions."""
    m, d = len(certificate.values), len(certificate.gradients[0])
    ranges = Table(title="Ranges over the region", title_justify="left", box=SIMPLE_HEAD)
    ranges.add_column("quantity", no_wrap=True)
    for name in ("guaranteed", "found", "excess"):
        ranges.add_column(name, justify="right", no_wrap=True)
    for k in range(m):
        _add(ranges, f"y{k}", certificate.values[k])
        for i in range(d):
            _add(ranges, f"∂y{k}/∂x{i}", certificate.gradients[k][i])
        ranges.add_row(
            Text(brief(f"|∇y{k}|")),
            f"≤ {_up(certificate.lipschitz[k].upper)}",
            f"≥ {_short(certificate.lipschitz[k].most)}",
            "",
        )
        if certificate.hessians:
            for i in range(d):
                _add(ranges, f"∂²y{k}/∂x{i}²", certificate.hessians[k][i][i])
            _add(ranges, f"curvature of y{k}", certificate.curvature[k])
    found = [ranges, _verdicts(certificate)]
    for name, difference in certificate.differences.items():
        table = Table(title=Text(f"Largest difference to {brief(name)}"), title_justify="left", box=SIMPLE_HEAD)
        table.add_column("quantity", no_wrap=True)
        for heading in ("guaranteed", "found"):
            table.add_column(heading, justify="right", no_wrap=True)
        for k in range(m):
            _add_error(table, f"y{k}", difference.values[k])
            for i in range(d):
                _add_error(table, f"∂y{k}/∂x{i}", difference.gradients[k][i])
        found.append(table)
    return found


def _verdicts(certificate: Certificate) -> Table:
    table = Table(title="Claims about the whole region", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("claim", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("false at")
    for k in range(len(certificate.values)):
        claims = list(certificate.monotone[k])
        if certificate.convex:
            claims += [*certificate.convex_in[k], certificate.convex[k]]
        for claim in claims:
            table.add_row(Text(brief(claim.statement)), _verdict(claim), _place(claim))
    return table


def _verdict(claim: Claim) -> Text:
    return Text(claim.verdict.value, _STYLES[claim.verdict])


def _place(claim: Claim) -> str:
    return "" if claim.witness is None else "(" + ", ".join(f"{x:.3g}" for x in claim.witness) + ")"


def _add(table: Table, name: str, bound: Bound) -> None:
    excess = f"{bound.excess:.3f}" if math.isfinite(bound.excess) else ""
    table.add_row(
        Text(brief(name)),
        Text(f"[{_down(bound.lower)}, {_up(bound.upper)}]"),
        Text(f"[{_short(bound.least)}, {_short(bound.most)}]"),
        excess,
    )


def _add_error(table: Table, name: str, bound: Bound) -> None:
    table.add_row(Text(brief(name)), f"≤ {_up(bound.magnitude)}", f"≥ {_short(bound.found)}")


def _short(x: float) -> str:
    return f"{x:.4g}"


def _up(x: float) -> str:
    """Four digits, rounded up, so that what is read is guaranteed as well."""
    return _outward(x, 1)


def _down(x: float) -> str:
    return _outward(x, -1)


def _outward(x: float, sign: int) -> str:
    if x == 0 or not math.isfinite(x):
        return f"{x:g}"
    shown = f"{x:.4g}"
    if sign * (float(shown) - x) >= 0:
        return shown
    step = 10.0 ** (math.floor(math.log10(abs(x))) - 3)
    return f"{x + sign * step:.4g}"
