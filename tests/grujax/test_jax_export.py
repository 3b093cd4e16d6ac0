"""`jax.export` of a whole module to a file, which another process runs without the module."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import grujax.linen
from tests.helpers import Draw, assert_close

pytest.importorskip("flatbuffers", reason="jax.export serializes with it")

I, H = 3, 5  # noqa: E741

# Runs in a folder of its own, where neither grujax nor Flax is imported.
RUN = """
import sys
import numpy as np
from jax import export

exported = export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
results = {}
for name in sys.argv[1:]:
    inputs = np.load(f"{name}.npz")
    h_last, hs = exported.call(inputs["xs"], inputs["lengths"])
    (f0, b0), (f1, b1) = h_last
    np.savez(f"{name}-out.npz", hs=hs, h_last=np.stack([f0, b0, f1, b1]))
assert not {"grujax", "flax"} & set(sys.modules)
"""


def exported_stack(implementation=None):
    """The function of a stack with its weights, and its export for symbolic batch and time."""
    module = grujax.linen.StackedGRU(
        H, num_layers=2, bidirectional=True, implementation=implementation
    )
    draw = Draw("export", "float32")
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.ones((1, 1, I)))
    variables = jax.tree.map(lambda leaf: draw.normal(*leaf.shape, scale=0.6), shapes)

    @jax.jit
    def apply(xs, lengths):
        return module.apply(variables, xs, lengths=lengths)

    batch, time = export.symbolic_shape("batch, time")
    return apply, export.export(apply, platforms=("cpu", "cuda", "tpu"))(
        jax.ShapeDtypeStruct((batch, time, I), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )


def test_a_file_runs_in_another_process_without_the_module(tmp_path):
    apply, exported = exported_stack()
    assert exported.platforms == ("cpu", "cuda", "tpu")
    (tmp_path / "model.stablehlo").write_bytes(exported.serialize())
    draw = Draw("data", "float32")
    cases = {
        "many": (draw.normal(4, 40, I), np.int32([40, 0, 7, 39])),
        "one": (draw.normal(1, 1, I), np.int32([1])),
        "empty": (draw.normal(2, 3, I), np.int32([0, 0])),
    }
    for name, (xs, lengths) in cases.items():
        np.savez(tmp_path / f"{name}.npz", xs=xs, lengths=lengths)
    subprocess.run([sys.executable, "-c", RUN, *cases], cwd=tmp_path, check=True)
    for name, inputs in cases.items():
        got = np.load(tmp_path / f"{name}-out.npz")
        h_last, hs = apply(*inputs)
        want = np.stack(jax.tree.leaves(h_last)), hs
        assert_close((got["h_last"], got["hs"]), want, "float32")


@pytest.mark.parametrize("implementation", ["plain", "scan"])
def test_plain_and_scan_are_exported_for_every_platform(implementation):
    apply, exported = exported_stack(implementation)
    xs, lengths = Draw("data", "float32").normal(3, 35, I), np.int32([35, 2, 0])
    again = export.deserialize(bytearray(exported.serialize()))
    assert_close(again.call(xs, lengths), apply(xs, lengths), "float32")
