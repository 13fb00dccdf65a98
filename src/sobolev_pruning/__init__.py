"""Small neural surrogates that are right in their derivatives.

Each part has one public face: `sobolev_pruning.intervals`, `.reference`, `.surrogate`, `.sobolev`, `.pruning`,
`.exchange` and `.study`. Nothing is imported here, so that each costs only what it needs.
"""

from ._version import __version__

__all__ = ["__version__"]
