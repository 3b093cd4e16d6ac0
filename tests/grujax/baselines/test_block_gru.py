"""The GRU in blocks equals a dense GRU with block-diagonal recurrent matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import block_diag

import grujax
from grujax.baselines import BlockGRUParams, block_gru, count_parameters, init_block_gru
from tests.helpers import Draw, assert_close

T, B, I, K, P = 6, 3, 2, 3, 4  # noqa: E741
H = K * P
REVERSE = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def draw_params(draw: Draw) -> BlockGRUParams:
    return BlockGRUParams(
        draw.normal(K, 3, I, P, scale=0.6),
        draw.normal(K, 3, P, P, scale=0.6),
        draw.normal(K, 3, P, scale=0.5),
        draw.normal(K, P, scale=0.5),
    )


def dense(params: BlockGRUParams) -> grujax.GRUParams:
    def join(leaf):  # [K, ..., P] -> [..., H]
        return jnp.moveaxis(leaf, 0, -2).reshape(*leaf.shape[1:-1], H)

    w_h = jnp.stack([block_diag(*params.w_h[:, gate]) for gate in range(3)])
    return grujax.GRUParams(join(params.w_x), w_h, join(params.b_x), join(params.b_hn))


def outputs_and_gradients(run, arguments, draw):
    outputs, pull_back = jax.vjp(jax.jit(run), *arguments)
    return outputs, pull_back(jax.tree.map(lambda leaf: draw.normal(*leaf.shape), outputs))


@REVERSE
def test_outputs_and_gradients_equal_the_dense_gru(x64, reverse):
    draw = Draw("blocks")
    params, xs, h0 = draw_params(draw), draw.normal(T, B, I), draw.normal(B, H)
    options = {
        "lengths": np.array([T, 2, 0]),
        "mask": draw.bools(T, B, rate=0.8),
        "reverse": reverse,
    }
    if not reverse:
        options |= {"resets": draw.bools(T, B, rate=0.3), "reset_state": draw.normal(H)}
    arguments = params, xs, h0
    got = outputs_and_gradients(
        lambda p, xs, h0: block_gru(p, xs, h0, **options), arguments, Draw("cotangents")
    )
    want = outputs_and_gradients(
        lambda p, xs, h0: grujax.gru(dense(p), xs, h0, **options), arguments, Draw("cotangents")
    )
    assert_close(got, want, "float64", tolerance=1e-12)


@pytest.mark.parametrize("implementation", [None, "scan"])
@pytest.mark.parametrize("batch", [(), (B,), (2, 2)])
def test_any_batch_axes(batch, implementation):
    draw = Draw("batch", "float32")
    params, xs, h0 = draw_params(draw), draw.normal(T, *batch, I), draw.normal(H)
    got = block_gru(params, xs, h0, implementation=implementation)
    assert_close(got, grujax.gru(dense(params), xs, h0), "float32")


def test_one_block_is_the_gru():
    params = init_block_gru(jax.random.key(0), I, H, blocks=1)
    xs = Draw("one", "float32").normal(T, B, I)
    one = grujax.GRUParams(params.w_x[0], params.w_h[0], params.b_x[0], params.b_hn[0])
    assert_close(block_gru(params, xs), grujax.gru(one, xs), "float32")


def test_parameters():
    constant = jax.nn.initializers.constant
    params = init_block_gru(
        jax.random.key(0), I, H, K, dtype=jnp.bfloat16, update_bias_init=constant(2)
    )
    assert (params.input_size, params.hidden_size) == (I, H)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"bfloat16"}
    assert count_parameters(params) == 3 * (I * H + H**2 // K) + 4 * H
    assert params.b_x[:, :, 0].tolist() == [[0, 2, 0]] * K
    for gate in np.asarray(params.w_h, "float32").reshape(-1, P, P):
        np.testing.assert_allclose(gate @ gate.T, np.eye(P), atol=0.05)
    assert len({matrix.tobytes() for matrix in np.asarray(params.w_h).reshape(-1, P, P)}) == 3 * K


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"h0": np.ones((B, P))}, r"`h0` has shape \[3, 4\] but `params` expect hidden size 12"),
        ({"xs": np.ones((T, B, 3))}, r"`xs` has shape \[6, 3, 3\].*input size 2"),
        ({"params": {}}, "`params` must be an instance of BlockGRUParams"),
        ({"resets": np.ones((T, 2), bool)}, r"`resets` has shape \[6, 2\]"),
    ],
)
def test_bad_sequences(options, message):
    draw = Draw("bad", "float32")
    arguments = {"params": draw_params(draw), "xs": draw.normal(T, B, I), **options}
    with pytest.raises(ValueError, match=message):
        block_gru(**arguments)


def test_the_blocks_divide_the_units():
    with pytest.raises(ValueError, match="`blocks` must divide `hidden_size` 12, got 5"):
        init_block_gru(jax.random.key(0), I, H, 5)
