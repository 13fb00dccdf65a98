"""Networks, their units, what is proved of them, and how all of that is stored."""

from ._activations import ACTIVATIONS, has_kinks
from ._certificate import Bound, Certificate, Claim, Difference, Verdict, fingerprint
from ._conversion import check_finite, check_network, check_surrogate, is_defined_everywhere
from ._guarded import GuardedSurrogate, Outside, OutsideRegionError, OutsideRegionWarning
from ._mlp import MLP, Dense
from ._normalisation import Normalisation
from ._records import load_record, save_record
from ._storage import SurrogateChangedError, load, load_certificate, save, store_certificate
from ._surrogate import Surrogate

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Bound",
    "Certificate",
    "Claim",
    "Dense",
    "Difference",
    "GuardedSurrogate",
    "Normalisation",
    "Outside",
    "OutsideRegionError",
    "OutsideRegionWarning",
    "Surrogate",
    "SurrogateChangedError",
    "Verdict",
    "check_finite",
    "check_network",
    "check_surrogate",
    "fingerprint",
    "has_kinks",
    "is_defined_everywhere",
    "load",
    "load_certificate",
    "load_record",
    "save",
    "save_record",
    "store_certificate",
]
