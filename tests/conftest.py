import atexit
import hashlib
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


@pytest.fixture
def archive(tmp_path_factory, monkeypatch):
    """A small archive of rated sentences in the place of the real one, for experiments on them."""
    from vader_archive import make_archive

    from experiments.common import vader

    folder = tmp_path_factory.mktemp("data")
    path = folder / vader.ARCHIVE.filename
    make_archive(path)
    small = vader.ARCHIVE._replace(sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(vader, "ARCHIVE", small)
    monkeypatch.setenv("GRUJAX_DATA", str(folder))
    return small


@pytest.fixture
def debian(tmp_path_factory, monkeypatch):
    """A small index of package descriptions in the place of Debian's."""
    from debian_descriptions import write_index

    folder = tmp_path_factory.mktemp("debian")
    write_index(folder)
    monkeypatch.setenv("GRUJAX_DATA", str(folder))
    return folder
