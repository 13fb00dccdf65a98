"""What can be proved of a surrogate over a whole region: ranges, errors, monotonicity, convexity."""

from ._bar import CertificationBar
from ._certify import Progress, certify
from ._tables import tables

__all__ = ["CertificationBar", "Progress", "certify", "tables"]
