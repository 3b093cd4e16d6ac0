"""The kernels' primitives under a mesh, in a process with four CPU devices."""

import subprocess
import sys

import pytest

from tests.helpers import ROOT

PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import grujax

reset_after = sys.argv[1] == "after"
params = grujax.init_gru(jax.random.key(0), 3, 5, reset_after=reset_after)
xs = jax.random.normal(jax.random.key(1), (7, 8, 3))
h0 = jax.random.normal(jax.random.key(2), (8, 5))
lengths = jnp.array([7, 3, 0, 5, 6, 1, 2, 4])

@jax.jit
def value_and_gradients(params, xs, h0, lengths):
    def loss(params, xs, h0):
        h_last, hs = grujax.gru(params, xs, h0, lengths=lengths)
        return jnp.sum(jnp.sin(h_last)) + jnp.sum(hs**2)
    return jax.value_and_grad(loss, argnums=(0, 1, 2))(params, xs, h0)

want = value_and_gradients(params, xs, h0, lengths)
mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))

def place(array, *spec):
    return jax.device_put(array, NamedSharding(mesh, P(*spec)))

with jax.set_mesh(mesh):
    got = value_and_gradients(
        jax.tree.map(place, params),
        place(xs, None, "batch"), place(h0, "batch"), place(lengths, "batch"),
    )
for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
_, (_, d_xs, d_h0) = got
assert {shard.data.shape for shard in d_xs.addressable_shards} == {(7, 2, 3)}, d_xs.sharding
"""


@pytest.mark.parametrize("form", ["after", "before"])
def test_each_device_runs_its_rows_and_weight_gradients_are_summed(form):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, form], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


SPREAD_MODELS = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
import grujax

models = jax.vmap(lambda key: grujax.init_gru(key, 3, 5))(jax.random.split(jax.random.key(0), 4))
xs = jax.random.normal(jax.random.key(1), (7, 4, 3))

def loss(params):
    return jnp.sum(grujax.gru(params, xs, implementation=sys.argv[1])[1] ** 2)

def derivatives(models):
    each = jax.vmap(lambda params: jax.jvp(jax.grad(loss), (params,), (params,)))(models)
    return each, jax.grad(lambda models: jax.vmap(loss)(models).sum())(models)

want = jax.jit(derivatives)(models)
with jax.set_mesh(jax.make_mesh((2,), ("models",))) as mesh:
    spread = NamedSharding(jax.sharding.get_mesh(), P("models"))
    got = jax.jit(derivatives)(jax.device_put(models, spread))
for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert a.sharding.spec[0] == "models", a.sharding
"""


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["scan", "native"])
def test_models_that_are_spread_over_devices_stay_so_in_all_derivatives(implementation):
    run = subprocess.run(
        [sys.executable, "-c", SPREAD_MODELS, implementation],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
