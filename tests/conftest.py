import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings

# No deadline: the first example compiles. The same examples in every run.
settings.register_profile("grujax", deadline=None, max_examples=20, derandomize=True, database=None)
settings.load_profile("grujax")

# Programs for environments of their own, and cases for a process with eight devices, which
# `tests.helpers.run_on_eight_devices` starts.
collect_ignore = ["fixtures/machine/by_jax2onnx.py", "fixtures/machine/by_wandb_and_mlflow.py"]
if os.environ.get("JAX_NUM_CPU_DEVICES") != "8":
    collect_ignore_glob = ["fixtures/machine/*on_meshes.py"]

# LLVM takes longer to optimize programs as small as these than they run. XLA's own passes stay on.
# JAX reads the flags when it first compiles, here and in the processes that tests start. The later
# of two values counts: `XLA_FLAGS=--xla_backend_optimization_level=3` compiles as users do.
_QUICK = "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"
if _QUICK not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{_QUICK} {os.environ.get('XLA_FLAGS', '')}"

# Most of the time is compilation. All processes of a run share one cache, so that equal programs
# compile once.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.mkdtemp(prefix="grujax-tests-")
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": _cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_configure(config):
    """Builds the native kernel before any test runs, so that all of them, in every process that
    they start, see the same default implementation."""
    from grujax.implementations.native import building, loading
    from tests.helpers import COMPILER

    is_first = not hasattr(config, "workerinput")
    if is_first and COMPILER is not None and all(loading.refusals().values()):
        building.build()


def pytest_collection_modifyitems(items):
    """Skips the tests of the native kernel where nothing can build it. The example of a docstring
    sees `jax`, `jnp`, `np`, and what its own module defines; it imports the rest, whatever the
    module itself imports."""
    from tests.helpers import COMPILER

    usual = {"jax": jax, "jnp": jnp, "np": np}

    for item in items:
        if isinstance(item, pytest.DoctestItem):
            module = item.dtest.globs["__name__"]
            item.dtest.globs = usual | {
                name: value
                for name, value in item.dtest.globs.items()
                if name == "__name__" or getattr(value, "__module__", None) == module
            }
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if COMPILER is None and parameters.get("implementation") == "native":
            item.add_marker(pytest.mark.skip(reason="there is no C++ compiler"))


@pytest.fixture(autouse=True)
def compile_quickly(request):
    """Half the optimization for Newton's method, whose programs are large and run in no time."""
    jax.config.update("jax_disable_most_optimizations", "newton" in request.path.parts)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def forget_programs():
    """Each compiled program takes memory, and maps of it: Linux gives a process at most 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 10_000:
        jax.clear_caches()


@pytest.fixture
def x64():
    """float64 inside the test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def stop_after(monkeypatch):
    """A function: calls `run` and interrupts it just after the checkpoint of an epoch, as Ctrl-C
    does."""
    from experiments.common.training.checkpoints import Checkpoints

    save = Checkpoints.save

    def stop(epochs: int, run: Callable[[], object]) -> None:
        def save_and_stop(self, epoch, *content):
            save(self, epoch, *content)
            if epoch == epochs:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save", save_and_stop)
            with pytest.raises(KeyboardInterrupt):
                run()

    return stop


@pytest.fixture
def in_place(monkeypatch):
    """A function: small archives in a folder take the places of the real ones, by their names."""

    def put(folder: Path, *places: tuple[object, str]) -> Path:
        for module, name in places:
            archive = getattr(module, name)
            content = (folder / archive.filename).read_bytes()
            small = archive._replace(sha256=hashlib.sha256(content).hexdigest())
            monkeypatch.setattr(module, name, small)
        monkeypatch.setenv("GRUJAX_DATA", str(folder))
        return folder

    return put


@pytest.fixture
def archive(tmp_path_factory, in_place):
    """A small archive of rated sentences in the place of the real one, for experiments on them."""
    from experiments.sentiment import vader
    from tests.fixtures.archives.vader import make_archive

    folder = tmp_path_factory.mktemp("data")
    make_archive(folder / vader.ARCHIVE.filename)
    in_place(folder, (vader, "ARCHIVE"))
    return vader.ARCHIVE


@pytest.fixture
def debian(tmp_path_factory, monkeypatch):
    """A small index of package descriptions in the place of Debian's."""
    from tests.fixtures.archives.debian_descriptions import write_index

    folder = tmp_path_factory.mktemp("debian")
    write_index(folder)
    monkeypatch.setenv("GRUJAX_DATA", str(folder))
    return folder


@pytest.fixture
def books(tmp_path_factory, in_place):
    """Small archives of books in the place of the Bible and of Shakespeare's works."""
    from experiments.text_generation import prose
    from tests.fixtures.archives.prose import make_archives

    folder = tmp_path_factory.mktemp("books")
    make_archives(folder)
    return in_place(folder, (prose, "BIBLE"), (prose, "SHAKESPEARE"))


@pytest.fixture
def forecast_archives(tmp_path_factory, in_place):
    """Small archives of made-up weather, prices and traffic in the places of the real ones."""
    from experiments.forecasting.studies import stocks, traffic, weather
    from tests.fixtures.archives.forecast import write_stocks, write_traffic, write_weather

    folder = tmp_path_factory.mktemp("forecasts")
    write_weather(folder / weather.ARCHIVE.filename)
    write_stocks(folder / stocks.ARCHIVE.filename)
    write_traffic(folder / traffic.ARCHIVE.filename)
    return in_place(folder, *((study, "ARCHIVE") for study in (weather, stocks, traffic)))


@pytest.fixture
def spoken(tmp_path_factory, in_place):
    """A small archive of spoken digits in the place of the real one."""
    from experiments.speech import spoken_digits
    from tests.fixtures.archives.spoken_digits import make_archive

    folder = tmp_path_factory.mktemp("spoken")
    make_archive(folder / spoken_digits.ARCHIVE.filename)
    return in_place(folder, (spoken_digits, "ARCHIVE"))


@pytest.fixture
def wrist(tmp_path_factory, in_place):
    """A small archive of wrist recordings in the place of the real one."""
    from experiments.exercises import wrist_sensor
    from tests.fixtures.archives.wrist import make_archive

    folder = tmp_path_factory.mktemp("wrist")
    make_archive(folder / wrist_sensor.ARCHIVE.filename)
    return in_place(folder, (wrist_sensor, "ARCHIVE"))


@pytest.fixture
def handwritten(tmp_path_factory, in_place):
    """A small archive of handwritten digits in the place of the real one."""
    from experiments.vision import digits
    from tests.fixtures.archives.handwritten import make_archive

    folder = tmp_path_factory.mktemp("handwritten")
    make_archive(folder / digits.ARCHIVE.filename)
    return in_place(folder, (digits, "ARCHIVE"))
