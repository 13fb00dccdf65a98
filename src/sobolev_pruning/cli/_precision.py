"""In which precision a command computes."""


def enable_double_precision() -> None:
    """Compute in double where nothing else is said; models that are stored in single precision stay so."""
    import jax

    jax.config.update("jax_enable_x64", True)
