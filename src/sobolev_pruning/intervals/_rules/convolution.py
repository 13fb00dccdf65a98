"""Interval rule for convolutions, by midpoints and radii (`_products.py`): two or three plain convolutions.

An entry of the result is a sum over the window and over the input features of its group, so of as many products as the
kernel has entries for one output feature. The error bound holds for every order of summation, but not for algorithms
that transform their operands (Winograd, fast Fourier), which libraries of accelerators may choose: there a convolution
is computed as a product of matrices.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive
from jax.typing import DTypeLike

from .._interval import Interval
from .._origins import Origin
from .._products import bilinear_form
from .._registry import UnsupportedPrimitiveError, defrule
from .._relations import laws, products
from .windows import windows


def _convolution(
    primitive: Primitive,
    x: Interval,
    kernel: Interval,
    *,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    **params: Any,
) -> Interval:
    if x.dtype != kernel.dtype:
        raise UnsupportedPrimitiveError(f"convolves {x.dtype} with {kernel.dtype}; convert one of them first")
    del precision, preferred_element_type
    product = convolution(x.dtype, dimension_numbers=dimension_numbers, **params)
    return bilinear_form(product, _terms(kernel.shape, dimension_numbers), x, kernel)


def _terms(kernel_shape: tuple[int, ...], dimension_numbers: Any) -> int:
    """How many products are summed to an entry."""
    return int(np.prod(kernel_shape)) // max(kernel_shape[dimension_numbers.rhs_spec[0]], 1)


def convolution(dtype: DTypeLike, **params: Any) -> Callable[[Array, Array], Array]:
    """A convolution of arrays whose sums are plain sums, in any order; `params` without the precisions."""

    def direct(a: Array, b: Array) -> Array:
        return lax.conv_general_dilated_p.bind(
            a,
            b,
            # Faster and less precise formats of accelerators would void the error bound.
            precision=(lax.Precision.HIGHEST, lax.Precision.HIGHEST),
            preferred_element_type=np.dtype(dtype),
            **params,
        )

    def unfolded(a: Array, b: Array) -> Array:
        return unfolded_convolution(a, b, **params)

    return lambda a, b: lax.platform_dependent(a, b, cpu=direct, default=unfolded)


def unfolded_convolution(
    x: Array,
    kernel: Array,
    *,
    dimension_numbers: Any,
    window_strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    feature_group_count: int,
    batch_group_count: int,
    **params: Any,
) -> Array:
    """A convolution as a product of matrices, with the parameters of `conv_general_dilated`."""
    x = x.transpose(dimension_numbers.lhs_spec)  # batch, feature, space
    kernel = kernel.transpose(dimension_numbers.rhs_spec)  # output feature, input feature, space
    out, inner, *window = kernel.shape
    groups = feature_group_count * batch_group_count
    if batch_group_count > 1:  # a group of the batch gives a group of the output features
        batch = x.shape[0] // batch_group_count
        x = x.reshape(batch_group_count, batch, *x.shape[1:])
        x = jnp.moveaxis(x, 0, 1).reshape(batch, -1, *x.shape[3:])
    batch = x.shape[0]
    entries = windows(
        x,
        0,
        window_dimensions=(1, 1, *window),
        window_strides=(1, 1, *window_strides),
        padding=((0, 0), (0, 0), *padding),
        base_dilation=(1, 1, *lhs_dilation),
        window_dilation=(1, 1, *rhs_dilation),
    )
    space = entries.shape[3:]
    size = int(np.prod(window))
    # window, batch, group, inner, space → group, inner·window, batch·space
    entries = entries.reshape(size, batch, groups, inner, -1).transpose(2, 3, 0, 1, 4).reshape(groups, inner * size, -1)
    result = jnp.matmul(
        kernel.reshape(groups, out // groups, inner * size),
        entries,
        precision=lax.Precision.HIGHEST,
        preferred_element_type=np.dtype(x.dtype),
    )
    result = jnp.moveaxis(result.reshape(out, batch, *space), 0, 1)
    return result.transpose(np.argsort(dimension_numbers.out_spec))


defrule(lax.conv_general_dilated_p, _convolution)


def _related(made: Origin, aval: Any) -> Callable[[Array, Array], Array]:
    params = {k: v for k, v in made.params.items() if k not in ("precision", "preferred_element_type")}
    return convolution(aval.dtype, **params)


laws[lax.conv_general_dilated_p] = products(
    lambda made: _terms(made.inputs[1].aval.shape, made.params["dimension_numbers"]), _related
)
