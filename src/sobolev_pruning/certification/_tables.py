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


# More claims than this are not read one by one.
_FEW_CLAIMS = 12


def tables(certificate: Certificate, *, every_claim: bool = False) -> list[Table]:
    """What is guaranteed, next to what was found; then the verdicts; then the differences to other functions.

    Args:
        certificate: what is to be shown.
        every_claim: give each claim a line, with the point that refutes it, also where there are many. Else these are
            gathered by output and verdict.
    """
    x, y = certificate.inputs, certificate.outputs
    ranges = Table(title="Ranges over the region", title_justify="left", box=SIMPLE_HEAD)
    ranges.add_column("quantity", overflow="fold")
    for name in ("guaranteed", "found", "excess"):
        ranges.add_column(name, justify="right", no_wrap=True)
    for k, output in enumerate(y):
        _add(ranges, output, certificate.values[k])
        for i, name in enumerate(x):
            _add(ranges, f"∂{output}/∂{name}", certificate.gradients[k][i])
        ranges.add_row(
            Text(brief(f"|∇{output}|")),
            f"≤ {_up(certificate.lipschitz[k].upper)}",
            f"≥ {_short(certificate.lipschitz[k].most)}",
            "",
        )
        if certificate.hessians:
            for i, name in enumerate(x):
                _add(ranges, f"∂²{output}/∂{name}²", certificate.hessians[k][i][i])
            _add(ranges, f"curvature of {output}", certificate.curvature[k])
    n_claims = len(y) * (len(x) + (len(x) + 1 if certificate.convex else 0))
    found = [ranges, _verdicts(certificate) if every_claim or n_claims <= _FEW_CLAIMS else _gathered(certificate)]
    for other, difference in certificate.differences.items():
        table = Table(title=Text(f"Largest difference to {brief(other)}"), title_justify="left", box=SIMPLE_HEAD)
        table.add_column("quantity", overflow="fold")
        for heading in ("guaranteed", "found"):
            table.add_column(heading, justify="right", no_wrap=True)
        for k, output in enumerate(y):
            _add_error(table, output, difference.values[k])
            for i, name in enumerate(x):
                _add_error(table, f"∂{output}/∂{name}", difference.gradients[k][i])
        found.append(table)
    return found


def _verdicts(certificate: Certificate) -> Table:
    table = Table(title="Claims about the whole region", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("claim", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("false at")
    for k in range(len(certificate.values)):
        claims = list(certificate.monotone[k])
        if certificate.convex:
            claims += [*certificate.convex_in[k], certificate.convex[k]]
        for claim in claims:
            table.add_row(Text(brief(claim.statement)), _verdict(claim), _place(claim))
    return table


def _gathered(certificate: Certificate) -> Table:
    """One line for all inputs of which the same is known: proved claims by what they say, the others together."""
    title = "Claims about the whole region (each of them: --all, or `monotone` and `convex` in the certificate)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("claim", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("in", overflow="fold")
    for k, output in enumerate(certificate.outputs):
        kinds = [(certificate.monotone[k], certificate.inputs, ("nondecreasing", "nonincreasing"), "monotone")]
        if certificate.convex:
            claims = (*certificate.convex_in[k], certificate.convex[k])
            kinds.append((claims, (*certificate.inputs, "all together"), ("convex", "concave"), "convex or concave"))
        for claims, names, verbs, either in kinds:
            by_line: dict[tuple[str, Verdict], list[str]] = {}
            for claim, name in zip(claims, names, strict=True):
                proved = (verb for verb in verbs if f"{output} is {verb} in " in claim.statement)
                what = next(proved) if claim.verdict is Verdict.PROVED else either
                by_line.setdefault((what, claim.verdict), []).append(name)
            for (what, verdict), some in by_line.items():
                table.add_row(Text(brief(f"{output} {what}")), _styled(verdict), Text(", ".join(map(brief, some))))
    return table


def _styled(verdict: Verdict) -> str:
    return f"[{_STYLES[verdict]}]{verdict.value}[/]"


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
