"""A sweep resumes only with code that computes the same, wherever it stands and runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import sweep
from grujax.implementations import native
from grujax.sweep import fingerprints, running
from grujax.sweep.fingerprints import Fingerprint, fingerprint
from tests.fixtures import populations
from tests.fixtures.sweep_trainings import assert_same, descend, run
from tests.helpers import ROOT

RATE = jax.ShapeDtypeStruct((), jnp.float32)
LARGE = np.arange(5000.0, dtype=np.float32)


def digests(function, *arguments) -> tuple[str, str]:
    found = fingerprint(function, function, *(arguments or (RATE,)))
    return found.program, found.constants


def close_over(array, how="directly"):
    def add(x):
        if how == "in a jitted function":
            return jax.jit(lambda y: y + jnp.sum(array * y))(x)
        if how == "in a loop":
            return jax.lax.fori_loop(0, 3, lambda i, y: y + jnp.sum(array * y), x)
        return x + jnp.sum(array * x)

    return add


def test_names_do_not_matter():
    def renamed(rate):
        @jax.jit
        def other(rate):
            return rate * jnp.tanh(rate)

        return other(rate)

    def original(x):
        @jax.jit
        def inner(x):
            return x * jnp.tanh(x)

        return inner(x)

    assert digests(renamed) == digests(original)


@pytest.mark.parametrize(
    "changed",
    [
        lambda x: x * jnp.sinh(x),
        lambda x: jnp.tanh(x) + x,
        lambda x: x * jnp.tanh(x) * 1.0000001,
        lambda x: x.astype(jnp.bfloat16) * jnp.tanh(x),
        lambda x: {"loss": x * jnp.tanh(x)},
    ],
)
def test_operations_and_literals_matter(changed):
    assert digests(changed) != digests(lambda x: x * jnp.tanh(x))


@pytest.mark.parametrize("how", ["directly", "in a jitted function", "in a loop"])
def test_each_value_of_a_large_constant_matters(how):
    other = LARGE.copy()
    other[2500] += 1
    first, second = (digests(close_over(array, how)) for array in (LARGE, other))
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert digests(close_over(jnp.array(LARGE), how)) == first


def test_random_keys_that_a_function_closes_over_matter():
    def draw(seed):
        key = jax.random.key(seed)
        return lambda x: x + jax.random.normal(key)

    assert digests(draw(0)) == digests(draw(0))
    assert digests(draw(0)) != digests(draw(1))


def test_programs_that_cannot_be_exported_have_fingerprints():
    def show(factor, array=LARGE):
        def call(x):
            jax.debug.print("{x}", x=x)
            return factor * x + jnp.sum(jnp.asarray(array))

        return call

    other = LARGE.copy()
    other[2500] += 1
    assert digests(show(2)) == digests(show(2))
    assert digests(show(2)) != digests(show(3))
    assert digests(show(2)) != digests(show(2, other))


def gru_loss(implementation, data):
    key = jax.random.wrap_key_data(data)
    xs = jax.random.normal(key, (6, 16, 3))

    def loss(params):
        return grujax.gru(params, xs, implementation=implementation)[0].sum()

    return jax.tree.leaves(jax.grad(loss)(grujax.init_gru(key, 3, 32)))


def test_kernels_do_not_matter(monkeypatch):
    data = jax.ShapeDtypeStruct((2,), jnp.uint32)
    found = digests(partial(gru_loss, None), data)
    if native.is_installed():
        assert digests(partial(gru_loss, "native"), data) == found
    monkeypatch.setattr(native, "is_installed", lambda: False)
    assert digests(partial(gru_loss, None), data) == found


SOURCE = """
import jax, jax.numpy as jnp, numpy as np
from grujax import sweep
from tests.fixtures.sweep_trainings import KEY, TRIALS, descend

TARGET = np.arange(3000, dtype=np.float32)

def train(key, learning_rate):
    metrics = descend(key, learning_rate)
    return {"loss": 0.5 * metrics["loss"] + jnp.asarray(TARGET)[:2900].mean() * learning_rate}
"""

# Writes two chunks, and is killed before the third.
KILLED = """
import os, signal
from grujax.sweep import running

def write_chunk(directory, chunk, original=running.write_chunk):
    if chunk.indices[0] == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    original(directory, chunk)

running.write_chunk = write_chunk
sweep.run(train, TRIALS, key=KEY, chunk=2, directory={directory!r}, progress=False)
"""


def load_train(source):
    names = {}
    exec(compile(source, "train.py", "exec"), names)
    return names["train"]


def test_after_a_kill_the_same_code_resumes_and_changed_code_is_refused(
    tmp_path, monkeypatch, chunks_run
):
    """The killed process has other source lines, another hash seed, and three devices."""
    start = "import jax\njax.config.update('jax_num_cpu_devices', 3)\n" + 20 * "\n"
    process = subprocess.run(
        [sys.executable, "-c", start + SOURCE + KILLED.format(directory=str(tmp_path))],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "77", "JAX_PLATFORMS": "cpu"},
    )
    assert process.returncode == -signal.SIGKILL
    before = sorted(path.name for path in tmp_path.glob("*.npz"))
    assert before == ["chunk-000000.npz", "chunk-000002.npz", "trials.npz"]
    again = partial(run, directory=tmp_path, chunk=2)
    code = load_train(SOURCE.replace("0.5 *", "0.25 *"))
    constant = load_train(SOURCE.replace("dtype=np.float32)", "dtype=np.float32) + 1"))
    with pytest.raises(ValueError, match=r"`train` computes something else here. All versions are"):
        again(code)
    with pytest.raises(ValueError, match=r"`train` closes over arrays with other values here. All"):
        again(constant)
    message = rf"else here. jax is {jax.__version__} there and 99.1 here: that, or changed code"
    with monkeypatch.context() as patch:
        patch.setattr(fingerprints.jax, "__version__", "99.1")
        with pytest.raises(ValueError, match=message):
            again(code)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == before
    assert not chunks_run
    with monkeypatch.context() as patch:
        patch.setattr(fingerprints.jax, "__version__", "99.1")  # alone it does not matter
        result = again(load_train(SOURCE))
    assert chunks_run == [[4, 5], [6]]
    whole = run(load_train(SOURCE), chunk=2)
    np.testing.assert_allclose(result.metrics["loss"], whole.metrics["loss"], rtol=1e-6)


def doubled(key, learning_rate):
    return jax.tree.map(lambda x: 2 * x, descend(key, learning_rate))


def test_resume_anyway_keeps_finished_trials_and_runs_the_others(tmp_path, chunks_run):
    whole, other = run(chunk=2), run(doubled, chunk=2)
    run(directory=tmp_path, chunk=2)
    (tmp_path / "chunk-000004.npz").unlink()
    chunks_run.clear()
    result = run(doubled, directory=tmp_path, chunk=2, resume="anyway")
    assert chunks_run == [[4, 5]]
    expected = np.where(np.isin(np.arange(7), [4, 5]), other.metrics["loss"], whole.metrics["loss"])
    np.testing.assert_array_equal(result.metrics["loss"], expected)
    for train in (descend, doubled):
        with pytest.raises(ValueError, match="`train` computes something else here"):
            run(train, directory=tmp_path)
    with pytest.warns(UserWarning, match="trials 4, 5 were computed by another program than trial"):
        assert_same(sweep.SweepResult.load(tmp_path), result)
    with pytest.raises(ValueError, match='`resume` must be "checked" or "anyway", got \'always\''):
        run(directory=tmp_path, resume="always")


def test_a_changed_program_is_found_in_each_group(tmp_path):
    def steps_matter(key, learning_rate, steps):
        metrics = descend(key, learning_rate, steps)
        return metrics if steps == 2 else jax.tree.map(jnp.abs, metrics)

    trials = sweep.grid(learning_rate=[0.1, 0.2], steps=[2, 4])
    options = {"trials": trials, "static": ("steps",), "directory": tmp_path}
    run(descend, **options)
    with pytest.raises(ValueError, match="it is `descend` there and `test_a_changed"):
        run(steps_matter, **options)
    assert_same(run(lambda *a, **k: descend(*a, **k), **options), run(**options))


def test_results_of_earlier_versions_are_kept_with_a_warning(tmp_path, monkeypatch, chunks_run):
    trials = sweep.grid(learning_rate=[0.1, 0.2], steps=[2, 3])
    options = {"trials": trials, "static": ("steps",), "directory": tmp_path}
    with monkeypatch.context() as patch:
        patch.setattr(running, "origin_of", lambda *arguments: None)
        whole = run(**options)
    about = json.loads((tmp_path / "sweep.json").read_text())
    (tmp_path / "sweep.json").write_text(json.dumps({"train": "an_old_name"} | about))
    (tmp_path / "chunk-000002.npz").unlink()
    chunks_run.clear()
    with pytest.warns(UserWarning, match="results of an earlier grujax, which did not") as caught:
        assert_same(run(**options), whole)
    assert len(caught) == 1
    assert chunks_run == [[2]]


def test_an_origin_reads_back():
    found = Fingerprint("f", "1", "2")
    origin = fingerprints.Origin("3", {"train": found}, fingerprints.versions())
    assert fingerprints.Origin.from_json(origin.to_json()) == origin
    assert set(origin.versions) >= {"jax", "jaxlib", "grujax", "platform"}


def fall(key, state, learning_rate):
    return populations.walk(key, state, -learning_rate)


CHANGES = {
    "init": lambda key, learning_rate: populations.start_walk(jax.random.fold_in(key, 2), 0),
    "step": fall,
    "evaluate": lambda key, state, learning_rate: {"loss": 2 * state["w"]},
    "exploit": sweep.truncation(0.4),
    "explore": {"learning_rate": sweep.perturb(1e-3, 1.0)},
}


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The directory of a population after one round."""
    directory = tmp_path_factory.mktemp("population")
    populations.run(**populations.WALK, directory=directory, rounds=1)
    return directory


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_function_of_a_population_is_refused(walked, name):
    before = (walked / "round-000001.npz").read_bytes()
    changed = populations.WALK | {name: CHANGES[name]}
    with pytest.raises(ValueError, match=rf"`{name}\S* computes something else here"):
        populations.run(**changed, directory=walked, rounds=2)
    assert (walked / "round-000001.npz").read_bytes() == before
    assert not list(walked.glob("round-000002.npz"))


def test_a_population_resumes_with_renamed_functions_or_anyway(walked, tmp_path):
    whole = populations.run(**populations.WALK, rounds=2)
    shutil.copytree(walked, tmp_path, dirs_exist_ok=True)
    renamed = populations.WALK | {
        "init": lambda *a, **k: populations.start_walk(*a, **k),
        "exploit": lambda key, scores: sweep.truncation()(key, scores),
    }
    populations.assert_same(populations.run(**renamed, directory=tmp_path, rounds=2), whole)
    changed = populations.WALK | {"step": fall}
    populations.run(**changed, directory=tmp_path, rounds=3, resume="anyway")
    populations.run(**changed, directory=tmp_path, rounds=3)
