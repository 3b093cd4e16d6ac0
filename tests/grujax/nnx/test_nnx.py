"""The NNX modules: parameter trees of Flax, and agreement with the functional core."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx as flax_nnx

import grujax
from grujax import nnx
from tests.helpers import Draw, assert_close, assert_equal

B, T, I, H = 3, 6, 4, 5  # noqa: E741
DRAW = Draw("nnx", "float32")
XS = DRAW.normal(B, T, I)
LENGTHS = np.int32([4, 1, 6])
RESETS = DRAW.bools(B, T)
MASKS = {"lengths": LENGTHS, "resets": RESETS.T}


def rngs():
    return flax_nnx.Rngs(0)


def parameters(module) -> dict:
    return flax_nnx.to_pure_dict(flax_nnx.state(module, flax_nnx.Param))


def load(module, values: dict) -> None:
    """Sets the parameters of a module, which must have the same tree as `values`."""
    assert jax.tree.structure(parameters(module)) == jax.tree.structure(values)
    state = flax_nnx.state(module, flax_nnx.Param)
    flax_nnx.replace_by_pure_dict(state, values)
    flax_nnx.update(module, state)


def randomize(module):
    """Random values for all parameters: zero biases would hide a lost or swapped one."""
    draw = Draw("biases", "float32")
    values = jax.tree.map(lambda leaf: draw.normal(*leaf.shape, scale=0.5), parameters(module))
    load(module, values)
    return module


def flax_rnn(**options):
    return flax_nnx.RNN(flax_nnx.GRUCell(I, H, rngs=rngs()), return_carry=True, **options)


# --- same parameters as Flax ----------------------------------------------------------------------


def test_cell_parameters_from_flax_give_equal_outputs():
    theirs = randomize(flax_nnx.GRUCell(I, H, rngs=rngs()))
    ours = nnx.GRUCell(I, H, recurrent_bias=False, rngs=rngs())
    load(ours, parameters(theirs))
    h, x = DRAW.normal(B, H), XS[:, 0]
    assert_close(ours(h, x), theirs(h, x), "float32")


@pytest.mark.parametrize("reverse", [False, True])
def test_rnn_parameters_from_flax_give_equal_outputs(reverse):
    theirs = randomize(flax_rnn(reverse=reverse, keep_order=True))
    ours = nnx.GRU(I, H, reverse=reverse, recurrent_bias=False, rngs=rngs())
    load(ours, parameters(theirs))
    assert_close(ours(XS), theirs(XS), "float32")


def test_bidirectional_parameters_from_flax_give_equal_outputs():
    theirs = randomize(flax_nnx.Bidirectional(flax_rnn(), flax_rnn(), return_carry=True))
    ours = nnx.BidirectionalGRU(I, H, recurrent_bias=False, rngs=rngs())
    load(ours, parameters(theirs))
    assert_close(ours(XS), theirs(XS), "float32")


def test_the_recurrent_bias_is_the_only_addition_to_the_parameters_of_flax():
    theirs = parameters(flax_nnx.GRUCell(I, H, rngs=rngs()))
    ours = parameters(nnx.GRUCell(I, H, rngs=rngs()))
    assert ours.pop("b_hn").shape == (H,)
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs)


def test_the_recurrent_bias_acts():
    module = randomize(nnx.GRUCell(I, H, rngs=rngs()))
    h, x = DRAW.normal(B, H), XS[:, 0]
    before, _ = module(h, x)
    module.b_hn[...] = module.b_hn[...] + 1
    assert np.max(np.abs(module(h, x)[0] - before)) > 0.01


def test_the_cell_works_inside_the_rnn_of_flax():
    ours = randomize(nnx.GRU(I, H, rngs=rngs()))
    inside = flax_nnx.RNN(ours.cell, return_carry=True)
    assert_close(inside(XS), ours(XS), "float32")
    last, _ = inside(XS, seq_lengths=LENGTHS)
    assert_close(last, ours(XS, lengths=LENGTHS)[0], "float32")


# --- agreement with the functional core -----------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_equals_the_batch_major_function(reset_after, reverse):
    module = randomize(nnx.GRU(I, H, reset_after=reset_after, reverse=reverse, rngs=rngs()))
    h0 = DRAW.normal(H)
    params = module.gru_params()
    assert params.reset_after is reset_after
    options = {**MASKS, "reset_state": h0, "reverse": reverse}
    last, hs = grujax.gru(params, XS.swapaxes(0, 1), h0, **options)
    got = module(XS, h0, lengths=LENGTHS, resets=RESETS, reset_state=h0)
    assert_close(got, (last, hs.swapaxes(0, 1)), "float32")


@pytest.mark.parametrize("merge", ["concat", "mul", lambda f, b: f - b])
def test_bidirectional_equals_the_batch_major_function(merge):
    module = randomize(nnx.BidirectionalGRU(I, H, merge=merge, rngs=rngs()))
    h0 = (DRAW.normal(H), DRAW.normal(B, H))
    options = {**MASKS, "reset_state": h0, "merge": merge}
    last, hs = grujax.bidirectional_gru(module.gru_params(), XS.swapaxes(0, 1), h0, **options)
    got = module(XS, h0, lengths=LENGTHS, resets=RESETS, reset_state=h0)
    assert_close(got, (last, hs.swapaxes(0, 1)), "float32")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 3, "residual": True},
        {"num_layers": 2, "bidirectional": True},
        {"num_layers": 2, "bidirectional": True, "merge": "mean", "residual": True},
    ],
)
def test_stacked_equals_the_batch_major_function(options):
    module = randomize(nnx.StackedGRU(I, H, **options, rngs=rngs()))
    layers = module.gru_params()
    assert len(layers) == options.get("num_layers", 1)
    assert isinstance(layers[0], tuple) is options.get("bidirectional", False)
    functional = {name: options[name] for name in ("residual", "merge") if name in options}
    last, hs = grujax.stacked_gru(layers, XS.swapaxes(0, 1), **MASKS, **functional)
    got = module(XS, lengths=LENGTHS, resets=RESETS)
    assert_close(got, (last, hs.swapaxes(0, 1)), "float32")
    again, _ = module(XS, last, lengths=LENGTHS)
    assert jax.tree.structure(again) == jax.tree.structure(last)


def test_layers_and_directions_draw_different_numbers():
    module = nnx.StackedGRU(H, H, num_layers=2, bidirectional=True, merge="sum", rngs=rngs())
    kernels = [np.asarray(p.w_x).tobytes() for pair in module.gru_params() for p in pair]
    assert len(set(kernels)) == 4


def test_the_recurrent_matrix_of_each_gate_is_orthogonal():
    params = nnx.GRU(I, 16, rngs=rngs()).gru_params()
    for gate in np.asarray(params.w_h):
        np.testing.assert_allclose(gate @ gate.T, np.eye(16), atol=1e-5)


def test_the_input_weights_have_the_variance_of_one_gate():
    zeros = jax.nn.initializers.zeros
    cell = nnx.GRUCell(400, 100, recurrent_kernel_init=zeros, rngs=rngs())
    np.testing.assert_allclose(np.std(cell.gru_params().w_x), 400**-0.5, rtol=0.02)


def test_one_step_at_a_time_equals_the_whole_sequence():
    layer = randomize(nnx.GRU(I, H, rngs=rngs()))
    h, outputs = layer.cell.initialize_carry(XS[:, 0].shape), []
    for t in range(T):
        h, output = layer.cell(h, XS[:, t])
        outputs.append(output)
    assert_close((h, np.stack(outputs, axis=1)), layer(XS), "float32")


def test_a_carry_may_be_drawn():
    cell = nnx.GRUCell(I, H, rngs=rngs())
    drawn = cell.initialize_carry((B, I), rngs(), jax.nn.initializers.normal())
    assert drawn.shape == (B, H)
    assert np.all(drawn != 0)
    with pytest.raises(ValueError, match="`carry_init` needs `rngs`"):
        cell.initialize_carry((B, I), carry_init=jax.nn.initializers.normal())


@pytest.mark.parametrize("name", ["GRU", "BidirectionalGRU", "StackedGRU"])
def test_options_reach_the_parameters_and_the_implementation(name):
    constant = jax.nn.initializers.constant
    module = getattr(nnx, name)(
        I,
        H,
        kernel_init=constant(1),
        recurrent_kernel_init=constant(2),
        bias_init=constant(3),
        update_bias_init=constant(4),
        reset_after=False,
        param_dtype=jnp.float16,
        implementation="plain",
        rngs=rngs(),
    )
    layers = jax.tree.leaves(
        module.gru_params(), is_leaf=lambda node: isinstance(node, grujax.GRUParams)
    )
    for layer in layers:
        assert not layer.reset_after
        assert {leaf.dtype.name for leaf in jax.tree.leaves(layer)} == {"float16"}
        assert [float(leaf.min()) for leaf in jax.tree.leaves(layer)] == [1, 2, 3, 3]
        assert layer.b_x[:, 0].tolist() == [3, 4, 3]
    assert "custom_vjp_call" not in str(jax.make_jaxpr(module)(XS))  # "plain" alone has none


@pytest.mark.parametrize("name", ["GRU", "BidirectionalGRU", "StackedGRU"])
@pytest.mark.parametrize(
    ("dtype", "param_dtype", "result"),
    [
        (jnp.bfloat16, jnp.float32, "bfloat16"),
        (jnp.bfloat16, jnp.bfloat16, "bfloat16"),
        (None, jnp.bfloat16, "float32"),
    ],
)
def test_dtype_applies_to_the_computation_and_param_dtype_to_the_parameters(
    name, dtype, param_dtype, result
):
    module = getattr(nnx, name)(I, H, dtype=dtype, param_dtype=param_dtype, rngs=rngs())
    outputs = jax.eval_shape(module, XS)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(outputs)} == {result}
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters(module))} == {jnp.dtype(param_dtype)}


# --- dropout --------------------------------------------------------------------------------------


def test_dropout_acts_in_training_and_not_in_evaluation():
    module = nnx.StackedGRU(I, H, num_layers=2, dropout=0.5, rngs=rngs())
    layers, xs = module.gru_params(), XS.swapaxes(0, 1)
    clean = grujax.stacked_gru(layers, xs)[1].swapaxes(0, 1)
    first, second = module(XS)[1], module(XS)[1]
    assert not np.array_equal(first, clean)
    assert not np.array_equal(first, second)  # the stream advances
    module.eval()
    assert_close(module(XS)[1], clean, "float32")
    module.train()
    assert not np.array_equal(module(XS)[1], clean)
    assert_close(module(XS, deterministic=True)[1], clean, "float32")


def test_dropout_is_reproducible_by_its_stream():
    def run(seed):
        streams = flax_nnx.Rngs(0, dropout=seed)
        return nnx.StackedGRU(I, H, num_layers=2, dropout=0.5, rngs=streams)(XS)

    assert_equal(run(1), run(1))
    assert not np.array_equal(run(1)[1], run(2)[1])


@pytest.mark.parametrize("name", ["GRU", "BidirectionalGRU", "StackedGRU"])
@pytest.mark.parametrize("rate", ["zoneout", "recurrent_dropout"])
def test_regularizers_act_in_training_and_not_in_evaluation(name, rate):
    module = getattr(nnx, name)(I, H, **{rate: 0.5}, rngs=rngs())
    first, second = module(XS)[1], module(XS)[1]
    assert not np.array_equal(first, second)
    module.eval()
    evaluated = module(XS)[1]
    function = {
        "GRU": grujax.gru,
        "BidirectionalGRU": grujax.bidirectional_gru,
        "StackedGRU": grujax.stacked_gru,
    }[name]
    want = function(module.gru_params(), XS.swapaxes(0, 1), **{rate: 0.5})[1]
    assert_equal(evaluated, want.swapaxes(0, 1))
    assert_equal(module(XS, deterministic=True)[1], evaluated)
    module.train()
    assert not np.array_equal(module(XS)[1], evaluated)


# --- learned initial state, truncation, segments --------------------------------------------------


def test_a_learned_h0_is_a_parameter_and_the_default_initial_state():
    module = nnx.StackedGRU(I, H, num_layers=2, bidirectional=True, learned_h0=True, rngs=rngs())
    assert set(parameters(module)["layers"][1]["backward_rnn"]) == {"cell", "h0"}
    without = nnx.StackedGRU(I, H, num_layers=2, bidirectional=True, rngs=rngs())
    assert_equal(module(XS), without(XS))  # initially zero
    randomize(module)
    layers, states = module.gru_params(), module.learned_h0()
    assert all(np.all(leaf != 0) for leaf in jax.tree.leaves(states))
    last, hs = module(XS, lengths=LENGTHS, resets=RESETS)
    options = {**MASKS, "reset_state": states}
    want = grujax.stacked_gru(layers, XS.swapaxes(0, 1), states, **options)
    assert_equal((last, hs.swapaxes(0, 1)), want)
    given = [(None, jnp.zeros(H)), None]  # a given state replaces the learned one
    want = grujax.stacked_gru(layers, XS.swapaxes(0, 1), [(states[0][0], jnp.zeros(H)), states[1]])
    assert_equal(module(XS, given)[0], want[0])


def test_truncation_and_reset_state_reach_the_function():
    module = nnx.GRU(I, H, stop_gradient_every=2, rngs=rngs())
    gradient = jax.grad(lambda xs: jnp.sum(module(xs)[0]))(XS)
    assert not np.any(gradient[:, :4])
    assert np.all(gradient[:, 4:])
    initial = jnp.ones(H)
    run = partial(module, reset_state=initial)
    want = run(XS, initial, resets=RESETS)
    h, first = run(XS[:, :4], initial, resets=RESETS[:, :4])
    h, second = run(XS[:, 4:], h, resets=RESETS[:, 4:])
    assert_close((h, jnp.concatenate([first, second], axis=1)), want, "float32")


# --- training and checkpoints ---------------------------------------------------------------------


def test_gradients_under_jit_do_not_depend_on_the_padding():
    module = randomize(
        nnx.StackedGRU(I, H, num_layers=2, bidirectional=True, dropout=0.1, rngs=rngs())
    )

    @flax_nnx.jit
    def gradients(module, xs):
        def loss(module):
            return jnp.sum(module(xs, lengths=LENGTHS)[1] ** 2)

        return flax_nnx.grad(loss)(module)

    padding = (np.arange(T) >= LENGTHS[:, None])[..., None]
    module.eval()
    clean = flax_nnx.to_pure_dict(gradients(module, XS))
    dirty = flax_nnx.to_pure_dict(gradients(module, np.where(padding, np.nan, XS)))
    assert_equal(dirty, clean)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(clean))
    module.train()
    noisy = flax_nnx.to_pure_dict(gradients(module, XS))
    assert not np.array_equal(jax.tree.leaves(noisy)[0], jax.tree.leaves(clean)[0])


def save(path, module) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, parameters(module))


def restore(path, module):
    """Restores strictly: Orbax raises if the checkpoint has another tree than the module."""
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), parameters(module)
    )
    with ocp.StandardCheckpointer() as checkpointer:
        load(module, checkpointer.restore(path, abstract))
    return module


def test_an_orbax_checkpoint_round_trips(tmp_path):
    def new():
        return nnx.StackedGRU(I, H, num_layers=2, bidirectional=True, rngs=rngs())

    module = randomize(new())
    save(tmp_path / "checkpoint", module)
    restored = restore(tmp_path / "checkpoint", new())
    assert_equal(parameters(restored), parameters(module))
    assert_equal(restored(XS), module(XS))


def test_a_checkpoint_saved_by_flax_restores_strictly_without_the_recurrent_bias(tmp_path):
    theirs = randomize(flax_rnn())
    save(tmp_path / "checkpoint", theirs)
    ours = nnx.GRU(I, H, recurrent_bias=False, rngs=rngs())
    restore(tmp_path / "checkpoint", ours)
    assert_close(ours(XS), theirs(XS), "float32")
    with pytest.raises(ValueError, match="b_hn"):
        restore(tmp_path / "checkpoint", nnx.GRU(I, H, rngs=rngs()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"xs": XS[..., :2]}, r"`xs` has shape \[6, 3, 2\].*input size 4"),
        ({"xs": XS[0, 0]}, r"`xs` must have shape \[B, T, I\] or \[T, I\], got \[4\]"),
        ({"resets": RESETS.T}, r"`resets` has shape \[6, 3\].*\[3, 6\]"),
        ({"lengths": np.array([7, 1, 1])}, r"`lengths` must lie in \[0, T\] with T = 6"),
        ({"h0": np.ones((B, I), "float32")}, r"`h0` has shape \[3, 4\].*hidden size 5"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        nnx.GRU(I, H, rngs=rngs())(**{"xs": XS, **arguments})
