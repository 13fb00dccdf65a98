"""An empty enclosure proves nothing: functions that ought to be defined, and are not."""

import jax
import jax.numpy as jnp
import pytest

from sobolev_pruning.intervals import (
    Interval,
    inclusion,
    interval_adjoints,
    interval_grad,
    interval_hessian,
    interval_hvp,
    interval_jacobian,
    interval_jvp,
    interval_value_and_grad,
    interval_vjp,
    mean_value,
    tap,
)

# f, box, and what nothing may be concluded of: f is defined nowhere on the box, though its derivative may be.
UNDEFINED = {
    "log": (lambda x: jnp.log(x[0]) + x[1], [-2.0, 0.0], [-1.0, 1.0]),
    "root": (lambda x: jnp.sqrt(-1.0 - x[0] * x[0]) + x[1], [1.0, 0.0], [2.0, 1.0]),
    "units of zero": (lambda x: jnp.tanh((x[0] - 1.0) / jnp.zeros(())) + x[1], [1.0, 0.0], [2.0, 1.0]),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_nothing_is_concluded_of_a_function_that_is_defined_nowhere(name):
    f, *ends = UNDEFINED[name]
    box = Interval(*map(jnp.asarray, ends))
    assert inclusion(f)(box).is_empty  # set-based: the range of the part where it is defined
    ones = jnp.ones(2)

    def everything(box):
        return (
            mean_value(f)(box),
            interval_grad(f)(box),
            interval_value_and_grad(f)(box),
            interval_jacobian(f)(box),
            interval_jacobian(f, mode="forward")(box),
            interval_hessian(f)(box),
            interval_hvp(f)(box, ones),
            interval_jvp(f)(box, ones),
            interval_vjp(f)(box, jnp.ones(())),
            interval_adjoints(lambda x: f(tap(x, "x")))(box).adjoints,
        )

    compiled = jax.jit(everything)
    for out in jax.tree.leaves(compiled(box), is_leaf=_is_interval):
        assert out.is_entire.all()
    for out in jax.tree.leaves(compiled(Interval.empty((2,))), is_leaf=_is_interval):
        assert out.is_empty.all()


def _is_interval(x):
    return isinstance(x, Interval)
