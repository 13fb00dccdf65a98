"""Names of types that several files share."""

from jaxtyping import Array, Float

# A number of the user's, or one that depends on the input of a surrogate.
Scalar = Float[Array, ""] | float
