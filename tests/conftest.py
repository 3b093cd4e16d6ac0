import atexit
import shutil
import tempfile

import jax
import pytest
from hypothesis import settings

# No deadline: the first example compiles. The same examples in every run.
settings.register_profile("grujax", deadline=None, max_examples=20, derandomize=True, database=None)
settings.load_profile("grujax")

# Compiling is most of the work here, and outside jit every call of `gru` is a new function to JAX:
# with this cache, for this process alone, equal programs compile once. It halves the time.
_cache = tempfile.mkdtemp(prefix="grujax-tests-")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", _cache)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture
def x64():
    """float64 inside the test."""
    with jax.enable_x64(True):
        yield
