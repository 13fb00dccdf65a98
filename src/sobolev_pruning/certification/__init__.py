"""What can be proved of a surrogate over a whole region: ranges, errors, monotonicity, convexity."""

from ._bar import CertificationBar, Progress
from ._certify import certify
from ._tables import tables

__all__ = ["CertificationBar", "Progress", "certify", "tables"]
