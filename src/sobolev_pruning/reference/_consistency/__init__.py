"""Whether derivatives are those of the values beside them."""

from ._check import ContradictionWarning, DerivativeCheck, check_derivatives

__all__ = ["ContradictionWarning", "DerivativeCheck", "check_derivatives"]
