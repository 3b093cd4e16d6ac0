"""Weights from and to Flax Linen; its modules are the reference."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
import grujax.linen
from grujax.convert import from_linen, to_linen
from tests.helpers import Draw, assert_close, assert_equal

T, B, I, H = 7, 4, 3, 5  # noqa: E741
LENGTHS = np.array([7, 4, 1, 6])
XS = Draw("xs", "float32").normal(B, T, I)


def random_variables(module, *arguments):
    """The variables of a module, with random weights and random biases."""
    draw = Draw("linen", "float32")
    variables = jax.eval_shape(module.init, jax.random.key(0), *arguments)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(*leaf.shape, scale=0.6)), variables)


def time_major(hs):
    return np.swapaxes(hs, 0, 1)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
def test_agrees_with_rnn(lengths):
    rnn = nn.RNN(nn.GRUCell(H), return_carry=True)
    variables = random_variables(rnn, XS)
    params = from_linen(variables)
    h_last, hs = rnn.apply(variables, XS, seq_lengths=lengths)
    exists = np.ones((B, T)) if lengths is None else np.arange(T) < lengths[:, None]
    want = h_last, time_major(hs * exists[..., None])
    assert_close(grujax.gru(params, time_major(XS), lengths=lengths), want, "float32")


def test_reads_a_cell_a_nested_cell_and_a_bare_tree():
    cell = nn.GRUCell(H)
    variables = random_variables(cell, jnp.zeros((B, H)), XS[:, 0])
    params = from_linen(variables)
    assert_equal(from_linen(variables["params"]), params)
    assert_equal(from_linen({"params": {"cell": variables["params"]}}), params)
    h = Draw("h", "float32").normal(B, H)
    assert_close(
        grujax.gru_cell(params, h, XS[:, 0]), cell.apply(variables, h, XS[:, 0])[0], "float32"
    )


def test_to_linen_runs_in_flax():
    params = Draw("params", "float32").params(I, H)
    tree = to_linen(params)["params"]
    rnn = nn.RNN(nn.GRUCell(H), return_carry=True)
    h_last, hs = rnn.apply({"params": {"cell": tree}}, XS)
    assert_close((h_last, time_major(hs)), grujax.gru(params, time_major(XS)), "float32")


def test_both_directions():
    bidirectional = nn.Bidirectional(nn.RNN(nn.GRUCell(H)), nn.RNN(nn.GRUCell(H)))
    variables = random_variables(bidirectional, XS)
    pair = from_linen(variables)
    want = time_major(bidirectional.apply(variables, XS))
    assert_close(grujax.bidirectional_gru(pair, time_major(XS))[1], want, "float32")
    assert_equal(to_linen(pair), variables)


@pytest.mark.parametrize(
    ("bidirectional", "merge"),
    [
        pytest.param(False, "concat", marks=pytest.mark.slow),
        (True, "concat"),
        pytest.param(True, "mean", marks=pytest.mark.slow),
    ],
)
def test_a_stack(bidirectional, merge):
    stack = grujax.linen.StackedGRU(H, num_layers=3, bidirectional=bidirectional, merge=merge)
    variables = random_variables(stack, XS)
    layers = from_linen(variables)
    assert_equal(layers, stack.apply(variables, I, method="gru_params"))
    assert_equal(to_linen(layers), variables)


def test_a_round_trip_is_exact():
    params = Draw("params", "float32").params(I, H)
    variables = to_linen(params)
    assert_equal(from_linen(variables), params)
    assert_equal(to_linen(from_linen(variables)), variables)


def test_conversion_can_be_traced():
    params = Draw("params", "float32").params(I, H)
    gradient = jax.grad(lambda variables: from_linen(variables).w_x[1].sum())(to_linen(params))
    assert gradient["params"]["iz"]["kernel"].all()
    assert not gradient["params"]["ir"]["kernel"].any()


def test_errors_name_the_layer():
    variables = to_linen(Draw("params", "float32").params(I, H))
    tree = variables["params"]
    with pytest.raises(ValueError, match=r"not of a GRU: `Dense_0`"):
        from_linen({**{k: v for k, v in tree.items() if k != "hn"}, "Dense_0": {}})
    with pytest.raises(ValueError, match=r"not of a GRU: `cell/hr/bias`"):
        from_linen({"cell": {**tree, "hr": {**tree["hr"], "bias": jnp.ones(H)}}})
    with pytest.raises(
        ValueError, match=r"`iz/kernel` has shape \[4, 5\], expected \[I, H\] .*I = 3"
    ):
        from_linen({**tree, "iz": {**tree["iz"], "kernel": jnp.ones((4, H))}})
    with pytest.raises(ValueError, match=r"misses `hn/kernel`, `hn/bias` of a GRU"):
        from_linen({name: layer for name, layer in tree.items() if name != "hn"})
    with pytest.raises(ValueError, match=r"misses `forward_rnn/cell/ir/kernel`, "):
        from_linen({"backward_rnn": {"cell": tree}})
    with pytest.raises(ValueError, match="not of a GRU: `Dense_0`"):
        from_linen({"layers_0": {"cell": tree}, "Dense_0": {}})
    with pytest.raises(ValueError, match=r"flax\.linen\.GRUCell .*`reset_after=True`"):
        to_linen(Draw("before", "float32").params(I, H, reset_after=False))
    with pytest.raises(ValueError, match=r"flax\.linen\.GRUCell .*`reset_after=True`"):
        to_linen([Draw("before", "float32").params(I, H, reset_after=False)])
    with pytest.raises(ValueError, match=r"`params` must be .* pair .*, got a tuple of 3"):
        to_linen((Draw("three", "float32").params(I, H),) * 3)


def test_a_learned_initial_state_is_refused():
    variables = grujax.linen.GRU(5, learned_h0=True).init(jax.random.key(0), jnp.ones((2, 3, 4)))
    with pytest.raises(ValueError, match=r"not of a GRU: `h0`.*a learned initial state"):
        from_linen(variables)


def test_two_directions_that_share_a_cell():
    cell = nn.GRUCell(H)
    module = nn.Bidirectional(nn.RNN(cell), nn.RNN(cell))
    variables = random_variables(module, XS)
    assert list(variables["params"]) == ["forward_rnn"]
    forward, backward = from_linen(variables)
    assert forward is backward
    want = time_major(module.apply(variables, XS))
    got = grujax.bidirectional_gru((forward, backward), time_major(XS))[1]
    assert_close(got, want, "float32")


class Model(nn.Module):
    @nn.compact
    def __call__(self, xs):
        xs = nn.BatchNorm(use_running_average=True)(nn.RNN(nn.GRUCell(H))(xs))
        return grujax.linen.StackedGRU(H, num_layers=2, name="stack")(nn.Dense(H)(xs))


def test_a_gru_inside_a_model():
    variables = jax.eval_shape(Model().init, jax.random.key(0), XS)
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), variables)
    tree = variables["params"]
    assert_equal(from_linen(variables, prefix="GRUCell_0"), from_linen(tree["GRUCell_0"]))
    assert_equal(from_linen(variables, prefix="stack/"), from_linen(tree["stack"]))
    assert_equal(from_linen(tree, prefix="stack/layers_1"), from_linen(tree["stack"]["layers_1"]))
    for prefix in ("", "Dense_0", "stac"):
        with pytest.raises(ValueError, match=r"under `prefix` 'GRUCell_0/', 'stack/'\."):
            from_linen(variables, prefix=prefix)
    with pytest.raises(ValueError, match=r"not of a GRU: `batch_stats/BatchNorm_0/mean`"):
        from_linen({"params": tree["stack"], "batch_stats": variables["batch_stats"]})


def test_partitioned_parameters_are_unboxed():
    init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    variables = nn.GRUCell(H, kernel_init=init).init(jax.random.key(0), jnp.zeros(H), XS[0, 0])
    assert_equal(from_linen(variables), from_linen(nn.unbox(variables)))
