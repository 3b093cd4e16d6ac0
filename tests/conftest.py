import jax
import pytest
from hypothesis import settings

# No deadline: the first example compiles. The same examples in every run.
settings.register_profile("grujax", deadline=None, max_examples=20, derandomize=True, database=None)
settings.load_profile("grujax")


@pytest.fixture
def x64():
    """float64 inside the test."""
    with jax.enable_x64(True):
        yield
