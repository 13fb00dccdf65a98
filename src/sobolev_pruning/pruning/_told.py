"""What a user sees while networks are tried."""

import sys
from collections.abc import Callable

from rich.console import Console

from ._tolerance import Tolerance
from ._trials import Candidate


def candidate_line(candidate: Candidate, tolerance: Tolerance) -> str:
    """Widths, size and errors of a network, and whether these are within the tolerance, in one line."""
    listed = ", ".join(f"{n.replace('_', ' ')} {getattr(candidate.errors, n):.1e}" for n in tolerance.bounds)
    standing = "within" if candidate.within else "beyond"
    widths = "-".join(map(str, candidate.widths))
    return f"{widths}, {candidate.n_parameters} parameters: {standing}; {listed}"


def told_on_a_terminal(tolerance: Tolerance) -> Callable[[Candidate], None] | None:
    """Prints a line for each network where standard error is a terminal; None elsewhere."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    console = Console(stderr=True, highlight=False)
    return lambda candidate: console.print(candidate_line(candidate, tolerance), soft_wrap=True, markup=False)
