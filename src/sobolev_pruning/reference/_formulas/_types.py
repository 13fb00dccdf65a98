"""What every formula returns."""

from jaxtyping import Array, Float

ScalarArray = Float[Array, ""]
