"""The functions of one variable whose exact ranges are known: activations and their derivatives.

They are built with the algebra of `_forms`, from the same constants that `jax.nn` rounds to float32 or float64, so
that what is enclosed is the function that the program computes and not its idealisation. Two functions that differ by
a factor, an added constant or a scaled argument share one entry: tanh is σ, any Swish is SiLU, and Softplus'
derivatives are σ's.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from . import _identities as identities
from ._critical import CRITICAL
from ._forms import ONE, Polynomial, Variable
from ._slopes import derivative

# How many derivatives of each are enclosed by their ranges.
ORDERS = {
    "sigmoid": 3,
    "silu": 3,
    "gelu": 3,
    "gelu_tanh": 3,
    "mish": 2,
    "tanh_softplus": 0,
    "x_tanh": 0,
    "tanh_shrink": 0,
}


class KnownFunction(NamedTuple):
    """A function of one variable, with its critical points and values as decimals of the variable of `in_base`."""

    name: str
    form: Polynomial
    critical: tuple[tuple[str, str], ...]


def constants(dtype: str) -> dict[str, Fraction]:
    """The constants of `jax.nn.gelu` and of JAX's derivative of erf, as floats of this dtype."""
    kind = np.dtype(dtype).type
    return {
        "sqrt_half": Fraction(float(kind(np.sqrt(0.5)))),
        "sqrt_2_over_pi": Fraction(float(kind(np.sqrt(2 / np.pi)))),
        "cubic": Fraction(float(kind(0.044715))),
        "erf_slope": Fraction(float(kind(2.0 / np.sqrt(np.pi)))),
    }


def definitions(dtype: str) -> dict[str, Polynomial]:
    """The activations themselves."""
    x = Polynomial.of(Variable(0))
    c = constants(dtype)
    s = identities.logistic(x)
    gauss = identities.erfc(-x.scaled(c["sqrt_half"]))
    t = identities.tanh((x + (x**3).scaled(c["cubic"])).scaled(c["sqrt_2_over_pi"]))
    assert s is not None
    assert gauss is not None
    assert t is not None
    return {
        "sigmoid": s,
        "silu": x * s,
        "gelu": (x * gauss).scaled(Fraction(1, 2)),
        "gelu_tanh": (x * (ONE + t)).scaled(Fraction(1, 2)),
        "mish": x * identities.tanh_softplus(x),
        "tanh_softplus": identities.tanh_softplus(x),
        "x_tanh": x * (s.scaled(Fraction(2)) - ONE),
        "tanh_shrink": x - s.scaled(Fraction(4)),
    }


def known_forms(dtype: str) -> Iterator[tuple[str, Polynomial]]:
    """Name and form of every function and its derivatives."""
    erf_slope = constants(dtype)["erf_slope"]
    for name, form in definitions(dtype).items():
        for order in range(ORDERS[name] + 1):
            yield f"{name}{chr(39) * order}", form
            form = derivative(form, erf_slope)  # as JAX differentiates it


def known_functions(dtype: str) -> Iterator[KnownFunction]:
    """All functions with their critical points."""
    for name, form in known_forms(dtype):
        if (dtype, name) in CRITICAL:
            yield KnownFunction(name, form, CRITICAL[dtype, name])
