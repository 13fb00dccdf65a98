"""What is read of JAX beyond its documented functions, and the versions it was tried with.

Primitives, their parameters and where a primitive keeps the program that it calls may change with any version of JAX.
Everything that the library reads of them stands here. A primitive that comes with parameters which are not listed is
refused by name, never read in the hope that they do not matter (`misfit`); what two versions store in different ways is
read by one function (`body`, `scan_parts`, …).
"""

import inspect
import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, JaxprEqn, Primitive, primitives

# The whole suite passes with both; `pyproject.toml` names the same two. Others between them pass a part of it.
OLDEST = "0.10.2"
NEWEST = "0.12.0.1"
# What JAX raises where it is asked for a derivative that a function does not have; it has no error of its own for that.
# TypeError: a result of whole numbers, or a `custom_vjp` in forward mode. ValueError: a callback to Python, or a
# `while_loop` in reverse. NotImplementedError: a primitive without a rule.
NO_DERIVATIVE = (TypeError, ValueError, NotImplementedError)
# Set to anything, it silences the warning about a newer JAX.
UNTRIED = "SOBOLEV_PRUNING_UNTRIED_JAX"


class UntriedJaxWarning(UserWarning):
    """The installed JAX is newer than the newest that the library was tried with."""


def _parts(version: str) -> tuple[int, ...]:
    """The leading numbers of a version; a development version counts as the one that it leads to."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def check_version(version: str) -> None:
    """Compare a version of JAX with those that were tried.

    Raises:
        ImportError: it is older than the oldest.

    Warns:
        UntriedJaxWarning: it is newer than the newest.
    """
    if _parts(version) < _parts(OLDEST):
        raise ImportError(
            f"sobolev-pruning needs JAX {OLDEST} or later, and this is {version}. Update it: "
            f'`pip install "jax>={OLDEST},<={NEWEST}"`.'
        )
    if _parts(version) > _parts(NEWEST) and not os.environ.get(UNTRIED):
        warnings.warn(
            f"This is JAX {version}, and sobolev-pruning was tried with {OLDEST} to {NEWEST}. What has changed in "
            "the operations of a function is refused by name, but the rounding errors of elementary functions were not "
            f'measured with this version, so that enclosures are not proved. Install `"jax<={NEWEST}"`, look for a '
            f"newer sobolev-pruning, or set the environment variable {UNTRIED}=1 to go without this warning.",
            UntriedJaxWarning,
            stacklevel=2,
        )


check_version(jax.__version__)


# Parameters, and the primitives that have these and no others. With a question mark, some versions lack the parameter.
_PARAMETERS = {
    "": "abs acos acosh add_any add and asin asinh atan atan2 atanh bessel_i0e bessel_i1e ceil clamp copy cosh digamma "
    "div dynamic_update_slice eq eq_to erf erf_inv floor ge gt igamma igammac is_finite le le_to lgamma lt lt_to lu "
    "max min ne neg nextafter not one_minus_square optimization_barrier or pow regularized_incomplete_beta rem "
    "polygamma select_n sign sinh square stop_gradient sub xor zeta cholesky "
    "batch_first flush_down flush_up order",  # our own
    "?accuracy": "erfc",
    "?unroll": "polynomial",
    "_prim": "call_hi_primitive",
    "accuracy": "cbrt cos exp exp2 expm1 log log1p log2 logistic rsqrt sin sqrt tan tanh",
    "algorithm lower sort_eigenvalues subset_by_index": "eigh",
    "axes": "reduce_and reduce_or reduce_prod",
    "axes ?out_sharding": "reduce_max reduce_min",
    "axes index_dtype": "argmax argmin",
    "axes out_sharding": "reduce_sum",
    "axis": "stack unstack",
    "axis k ?is_stable": "top_k",
    "axis reverse": "cumlogsumexp cummax cummin cumprod cumsum",
    "axis sizes": "split",
    "base_dilation consts jaxpr padding window_dilation window_dimensions window_strides": "reduce_window",
    "base_dilation padding select_prim window_dilation window_dimensions window_strides": "select_and_gather_add",
    "base_dilation padding window_dilation window_dimensions window_strides": "reduce_window_max reduce_window_min "
    "reduce_window_sum",
    "batch_group_count dimension_numbers feature_group_count lhs_dilation out_sharding padding precision "
    "preferred_element_type rhs_dilation window_strides": "conv_general_dilated",
    "body_jaxpr body_nconsts cond_jaxpr cond_nconsts": "while",
    "branches ?branches_platforms": "cond",
    "broadcast_dimensions shape sharding": "broadcast_in_dim",
    "bwd call_jaxpr fwd_jaxpr_thunk num_consts out_trees symbolic_zeros": "custom_vjp_call",
    "call_jaxpr": "closed_call eval_jaxpr",
    "call_jaxpr jvp_jaxpr_fun num_consts symbolic_zeros": "custom_jvp_call",
    "computation dimensions jaxpr": "reduce",
    "conjugate_a left_side lower transpose_a unit_diagonal": "triangular_solve",
    "const_lengths jaxprs": "custom_linear_solve",
    "copy_semantics devices srcs": "device_put",
    "differentiated jaxpr policy prevent_cse": "remat2",
    "dimension": "concatenate",
    "dimension dtype shape sharding": "iota",
    "dimension is_stable num_keys": "sort",
    "dimension_numbers fill_value indices_are_sorted mode slice_sizes unique_indices": "gather",
    "dimension_numbers indices_are_sorted mode unique_indices update_consts update_jaxpr": "scatter scatter-add "
    "scatter-max scatter-min scatter-mul scatter-sub",
    "dimension_numbers out_sharding precision preferred_element_type": "dot_general",
    "dimensions": "rev squeeze",
    "dimensions new_sizes sharding": "reshape",
    "dtype memory_space": "empty2",
    "dtype out_sharding shape": "empty",
    "exponent_bits mantissa_bits": "reduce_precision",
    "function ?y": "accurate",  # our own
    "jaxpr length reverse unroll ?ft_in ?ft_out ?num_carry ?num_consts": "scan",
    "compiler_options_kvs ctx_mesh donated_invars in_layouts in_shardings inline jaxpr keep_unused name out_layouts "
    "out_shardings": "jit",
    "limit_indices start_indices strides": "slice",
    "name": "name",
    "new_dtype": "bitcast_convert_type",
    "new_dtype sharding weak_type": "convert_element_type",
    "out_dtype": "mul",
    "padding select_prim window_dimensions window_strides": "select_and_scatter_add",
    "padding_config": "pad",
    "permutation": "transpose",
    "permutation_size": "lu_pivots_to_permutation",
    "rounding_method": "round",
    "reps": "tile",
    "context_mesh layout sharding unconstrained_dims": "sharding_constraint",
    "slice_sizes": "dynamic_slice",
    "y": "integer_pow",
}


class Parameters(NamedTuple):
    """The names of the parameters of a primitive: those it must have, and all that are known."""

    needed: frozenset[str]
    known: frozenset[str]


def _listed() -> dict[str, Parameters]:
    listed = {}
    for text, names in _PARAMETERS.items():
        needed = frozenset(word for word in text.split() if not word.startswith("?"))
        known = frozenset(word.removeprefix("?") for word in text.split())
        for name in names.split():
            assert name not in listed, name
            listed[name] = Parameters(needed, known)
    return listed


PARAMETERS = _listed()


# A primitive of a user may have the name of one of these.
_OF_JAX = {p for names in (lax, lax.linalg, primitives) for p in vars(names).values() if isinstance(p, Primitive)}


class ChangedPrimitiveError(ValueError):
    """A primitive of JAX has parameters that no version had with which the library was tried."""


def misfit(primitive: Primitive, params: dict[str, Any]) -> str:
    """Why a primitive of JAX cannot be read: which of its parameters are not known, or missing. Empty if it can be."""
    listed = PARAMETERS.get(primitive.name) if primitive in _OF_JAX else None
    if listed is None or listed.needed <= params.keys() <= listed.known:
        return ""
    unknown, missing = sorted(params.keys() - listed.known), sorted(listed.needed - params.keys())
    faults = [f"has the unknown parameter{'s'[: len(unknown) > 1]} {_quoted(unknown)}"] if unknown else []
    faults += [f"lacks the parameter{'s'[: len(missing) > 1]} {_quoted(missing)}"] if missing else []
    return (
        f"{' and '.join(faults)} in JAX {jax.__version__}; sobolev-pruning reads it as it is from {OLDEST} to {NEWEST}"
    )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# Primitives without a public name: what some function traces to.
_NAMELESS = {eqn.primitive.name: eqn.primitive for eqn in jax.make_jaxpr(lambda: jnp.empty(()))().jaxpr.eqns}


def since(name: str) -> tuple[Primitive, ...]:
    """A primitive that only newer versions have, as a tuple of one or none."""
    primitive = getattr(lax, f"{name}_p", None) or _NAMELESS.get(name)
    return () if primitive is None else (primitive,)


# Programs inside of primitives.


def closed(jaxpr: Any) -> ClosedJaxpr:
    """A jaxpr with its constants, from either form that primitives carry."""
    return jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, ())


class Scan(NamedTuple):
    """A scan: the operands of its body are `n_consts` constants, `n_carry` values that are carried, and one step's."""

    body: ClosedJaxpr
    n_consts: int
    n_carry: int
    length: int
    reverse: bool
    unroll: int


def scan_parts(params: dict[str, Any]) -> Scan:
    """What a scan does, by its parameters."""
    if "num_consts" in params:
        n_consts, n_carry = params["num_consts"], params["num_carry"]
    else:  # since JAX 0.12, a tree of the operands
        n_consts, n_carry, _ = map(len, params["ft_in"].unpack())
    return Scan(closed(params["jaxpr"]), n_consts, n_carry, params["length"], params["reverse"], params["unroll"])


# Where a primitive keeps the program that it calls, if it does nothing else. Derivatives of a function's own have been
# taken when a program is read.
_CALLED: dict[Primitive, str] = {
    primitives.jit_p: "jaxpr",
    primitives.closed_call_p: "call_jaxpr",
    primitives.remat_p: "jaxpr",
    primitives.custom_jvp_call_p: "call_jaxpr",
    primitives.custom_vjp_call_p: "call_jaxpr",
}


def _horner(x: Array, *coefficients: Array) -> Array:
    total = coefficients[-1]
    for c in coefficients[-2::-1]:
        total = total * x + c
    return total


# Primitives of newer versions, by the operations that the older ones have in their place.
_DEFINED: dict[str, Callable[..., Array]] = {
    "log2": lambda x: lax.log(x) / lax.log(lax.full_like(x, 2)),
    "polynomial": _horner,
}
_WRITTEN_OUT: dict[Primitive, Callable[..., Array]] = {p: f for name, f in _DEFINED.items() for p in since(name)}

# What calls or stands for a program.
CALLS: frozenset[Primitive] = frozenset({*_CALLED, *_WRITTEN_OUT})


def body(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """The program that an equation stands for, if it does nothing else; None if it is an operation of its own.

    Raises:
        ChangedPrimitiveError: the primitive cannot be read in this version of JAX.
    """
    primitive = eqn.primitive
    why = misfit(primitive, eqn.params)
    if why:
        raise ChangedPrimitiveError(f"`{primitive.name}` {why}")
    if primitive in _CALLED:
        if is_gaussian(eqn):
            return _traced(lambda x: lax.exp(-lax.square(x)), eqn)
        return closed(eqn.params[_CALLED[primitive]])
    if primitive in _WRITTEN_OUT:
        result: Any = eqn.outvars[0].aval

        def definition(*operands: Array) -> Array:
            last = result.ndim
            whole = [lax.broadcast_in_dim(x, result.shape, tuple(range(last - x.ndim, last))) for x in operands]
            return _WRITTEN_OUT[primitive](*whole)

        return _traced(definition, eqn)
    prim: Any = eqn.params.get("_prim")
    if primitive.name == "call_hi_primitive" and all(hasattr(prim, name) for name in ("expand", "in_tree", "out_tree")):
        # An operation with its own rules for derivatives and batches, in which JAX writes the larger ones since 0.12.

        def expanded(*operands: Array) -> list[Any]:
            return prim.out_tree.flatten_up_to(prim.expand(*prim.in_tree.unflatten(operands)))

        return _traced(expanded, eqn)
    return None


def _traced(function: Callable[..., Any], eqn: JaxprEqn) -> ClosedJaxpr:
    operands: list[Any] = [x.aval for x in eqn.invars]
    with source_info_util.user_context(eqn.source_info.traceback):  # the user's line, not ours
        return jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in operands))


# The derivative of erf.

_SOURCE = str(Path(inspect.getfile(jax)).parent)


def is_gaussian(eqn: JaxprEqn) -> bool:
    """Whether an equation calls JAX's own `exp(−x²)`, of which the derivatives of erf and erfc consist since 0.12.

    It is computed from the bits of x there. No function of a user comes from a file of JAX.
    """
    if eqn.primitive is not primitives.custom_jvp_call_p:
        return False
    name, _, place = (closed(eqn.params["call_jaxpr"]).jaxpr.debug_info.func_src_info or "").partition(" at ")
    return name == "exp_neg_sq" and place.startswith(_SOURCE)


# Where the derivative of that function takes x for 0, since `exp(−x²)` is below the smallest number; by bits of x.
GAUSSIAN_ENDS = {32: 11, 64: 28}
