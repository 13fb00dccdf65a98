"""References that are functions: traced by JAX, called on the host, or well known from engineering."""
