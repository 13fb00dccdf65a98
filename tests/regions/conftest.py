import jaxtyping
import pytest


@pytest.fixture
def unchecked_shapes():
    """Without jaxtyping's checks, which would be faster than the library's own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
