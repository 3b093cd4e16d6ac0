"""The Linen modules: parameter trees of Flax, and agreement with the functional core."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

import grujax
from grujax import linen
from tests.helpers import Draw, assert_close, assert_equal

B, T, I, H = 3, 6, 4, 5  # noqa: E741
DRAW = Draw("linen", "float32")
XS = DRAW.normal(B, T, I)
LENGTHS = np.int32([4, 1, 6])
RESETS = DRAW.bools(B, T)
KEY = jax.random.key(0)


def random_variables(module, *arguments):
    """Random values for all parameters: zero biases would hide a lost or swapped one."""
    draw = Draw("biases", "float32")
    shapes = jax.eval_shape(module.init, KEY, *arguments)
    return jax.tree.map(lambda leaf: draw.normal(*leaf.shape, scale=0.5), shapes)


def flax_bidirectional():
    return nn.Bidirectional(nn.RNN(nn.GRUCell(H)), nn.RNN(nn.GRUCell(H)), return_carry=True)


# --- same parameters as Flax ----------------------------------------------------------------------


def test_cell_parameters_from_flax_give_equal_outputs():
    theirs, ours = nn.GRUCell(H), linen.GRUCell(H)
    h, x = DRAW.normal(B, H), XS[:, 0]
    variables = random_variables(theirs, h, x)
    assert_close(ours.apply(variables, h, x), theirs.apply(variables, h, x), "float32")


@pytest.mark.parametrize("over_time", [False, True], ids=["a step", "a scan"])
def test_the_gradient_of_the_cell_compiles_to_no_more_than_that_of_flax(over_time):
    def instructions(cell):
        axes = {"variable_broadcast": "params", "split_rngs": {"params": False}}
        module = (nn.scan(cell, in_axes=1, out_axes=1, **axes) if over_time else cell)(H)
        h, xs = np.zeros((B, H), np.float32), XS if over_time else XS[:, 0]
        variables = random_variables(module, h, xs)

        def loss(variables, xs):
            return jnp.sum(module.apply(variables, h, xs)[1] ** 2)

        text = jax.jit(jax.grad(loss, (0, 1))).lower(variables, xs).compile().as_text()
        kinds = "fusion", "dot", "pad", "slice", "concatenate"
        return np.array([text.count(f" {kind}(") for kind in kinds])

    assert (instructions(linen.GRUCell) <= instructions(nn.GRUCell)).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_rnn_parameters_from_flax_give_equal_outputs(reverse):
    theirs = nn.RNN(nn.GRUCell(H), return_carry=True, reverse=reverse, keep_order=True)
    ours = linen.GRU(H, reverse=reverse)
    variables = random_variables(theirs, XS)
    assert_close(ours.apply(variables, XS), theirs.apply(variables, XS), "float32")
    last, hs = theirs.apply(variables, XS, seq_lengths=LENGTHS)
    valid = (np.arange(T) < LENGTHS[:, None])[..., None]
    want = last, np.where(valid, hs, 0)
    assert_close(ours.apply(variables, XS, lengths=LENGTHS), want, "float32")


def test_bidirectional_parameters_from_flax_give_equal_outputs():
    theirs, ours = flax_bidirectional(), linen.BidirectionalGRU(H)
    variables = random_variables(theirs, XS)
    assert_close(ours.apply(variables, XS), theirs.apply(variables, XS), "float32")


@pytest.mark.parametrize(
    ("theirs", "ours", "arguments"),
    [
        (nn.GRUCell(H), linen.GRUCell(H), (np.zeros((B, H), "float32"), XS[:, 0])),
        (nn.RNN(nn.GRUCell(H)), linen.GRU(H), (XS,)),
        (flax_bidirectional(), linen.BidirectionalGRU(H), (XS,)),
    ],
    ids=["cell", "rnn", "bidirectional"],
)
def test_the_same_key_draws_the_same_parameters_as_flax(theirs, ours, arguments):
    normal = {"bias_init": nn.initializers.normal(), "kernel_init": nn.initializers.normal()}
    assert_equal(ours.init(KEY, *arguments), theirs.init(KEY, *arguments))
    if isinstance(theirs, nn.GRUCell):
        theirs, ours = theirs.clone(**normal), ours.clone(**normal)
        assert_equal(ours.init(KEY, *arguments), theirs.init(KEY, *arguments))


def test_the_cell_works_inside_the_rnn_of_flax():
    ours, inside = linen.GRU(H), nn.RNN(linen.GRUCell(H), return_carry=True)
    variables = random_variables(inside, XS)
    assert_close(inside.apply(variables, XS), ours.apply(variables, XS), "float32")


# --- agreement with the functional core -----------------------------------------------------------


MASKS = {"lengths": LENGTHS, "resets": RESETS.T}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_equals_the_batch_major_function(reset_after, reverse):
    module = linen.GRU(H, reset_after=reset_after, reverse=reverse)
    h0 = DRAW.normal(H)
    variables = random_variables(module, XS)
    params = module.apply(variables, I, method="gru_params")
    assert params.reset_after is reset_after
    options = {**MASKS, "reset_state": h0, "reverse": reverse}
    last, hs = grujax.gru(params, XS.swapaxes(0, 1), h0, **options)
    got = module.apply(variables, XS, h0, lengths=LENGTHS, resets=RESETS, reset_state=h0)
    assert_close(got, (last, hs.swapaxes(0, 1)), "float32")


@pytest.mark.parametrize("merge", ["concat", "sum", lambda f, b: f - b])
def test_bidirectional_equals_the_batch_major_function(merge):
    module = linen.BidirectionalGRU(H, merge=merge)
    variables = random_variables(module, XS)
    params = module.apply(variables, I, method="gru_params")
    h0 = (DRAW.normal(H), DRAW.normal(B, H))
    options = {**MASKS, "reset_state": h0, "merge": merge}
    last, hs = grujax.bidirectional_gru(params, XS.swapaxes(0, 1), h0, **options)
    got = module.apply(variables, XS, h0, lengths=LENGTHS, resets=RESETS, reset_state=h0)
    assert_close(got, (last, hs.swapaxes(0, 1)), "float32")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 3, "residual": True},
        {"num_layers": 2, "bidirectional": True},
        {"num_layers": 2, "bidirectional": True, "merge": "mean", "residual": True},
        {"num_layers": 2, "bidirectional": True, "merge": lambda f, b: (f * b)[..., :3]},
    ],
)
def test_stacked_equals_the_batch_major_function(options):
    module = linen.StackedGRU(H, **options)
    variables = random_variables(module, XS)
    layers = module.apply(variables, I, method="gru_params")
    assert len(layers) == options.get("num_layers", 1)
    assert isinstance(layers[0], tuple) is options.get("bidirectional", False)
    functional = {name: options[name] for name in ("residual", "merge") if name in options}
    last, hs = grujax.stacked_gru(layers, XS.swapaxes(0, 1), **MASKS, **functional)
    got = module.apply(variables, XS, lengths=LENGTHS, resets=RESETS)
    assert_close(got, (last, hs.swapaxes(0, 1)), "float32")
    again = module.apply(variables, XS, last, lengths=LENGTHS)
    assert jax.tree.structure(again[0]) == jax.tree.structure(last)


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_any_number_of_batch_axes(batch):
    xs = DRAW.normal(*batch, T, I)
    module = linen.StackedGRU(H, num_layers=2, bidirectional=True)
    (_, (last, _)), hs = module.apply(module.init(KEY, xs), xs)
    assert (last.shape, hs.shape) == ((*batch, H), (*batch, T, 2 * H))


def test_one_step_at_a_time_equals_the_whole_sequence():
    layer, cell = linen.GRU(H), linen.GRUCell(H)
    variables = random_variables(layer, XS)
    inner = {"params": variables["params"]["cell"]}
    step = jax.jit(cell.apply)
    h, outputs = cell.initialize_carry(KEY, XS[:, 0].shape), []
    for t in range(T):
        h, output = step(inner, h, XS[:, t])
        outputs.append(output)
    assert_close((h, np.stack(outputs, axis=1)), layer.apply(variables, XS), "float32")


def test_two_segments_with_a_carried_state_equal_the_whole_sequence():
    layer = linen.StackedGRU(H, num_layers=2)
    variables = random_variables(layer, XS)
    h_last, first = layer.apply(variables, XS[:, :2])
    h_last, second = layer.apply(variables, XS[:, 2:], h_last)
    got = h_last, np.concatenate([first, second], axis=1)
    assert_close(got, layer.apply(variables, XS), "float32")


@pytest.mark.parametrize("name", ["GRU", "BidirectionalGRU", "StackedGRU"])
def test_options_reach_the_parameters_and_the_implementation(name):
    constant = nn.initializers.constant
    module = getattr(linen, name)(
        H,
        kernel_init=constant(1),
        recurrent_kernel_init=constant(2),
        bias_init=constant(3),
        update_bias_init=constant(4),
        reset_after=False,
        param_dtype=jnp.float16,
    )
    params = jax.tree.leaves(
        module.apply(module.init(KEY, XS), I, method="gru_params"),
        is_leaf=lambda node: isinstance(node, grujax.GRUParams),
    )
    for layer in params:
        assert not layer.reset_after
        assert {leaf.dtype.name for leaf in jax.tree.leaves(layer)} == {"float16"}
        assert [float(leaf.min()) for leaf in jax.tree.leaves(layer)] == [1, 2, 3, 3]
        assert layer.b_x[:, 0].tolist() == [3, 4, 3]
    variables, module = module.init(KEY, XS), module.clone(implementation="plain")
    program = jax.make_jaxpr(module.apply)(variables, XS)
    assert "custom_vjp_call" not in str(program)  # "plain" alone has none


# --- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module",
    [linen.GRU(H), linen.BidirectionalGRU(H), linen.StackedGRU(H, num_layers=2)],
    ids=lambda module: type(module).__name__,
)
@pytest.mark.parametrize(
    ("dtype", "param_dtype", "result"),
    [
        (jnp.bfloat16, jnp.float32, "bfloat16"),
        (jnp.bfloat16, jnp.bfloat16, "bfloat16"),
        (None, jnp.bfloat16, "float32"),
        (None, jnp.float32, "float32"),
    ],
)
def test_dtype_applies_to_the_computation_and_param_dtype_to_the_parameters(
    module, dtype, param_dtype, result
):
    module = module.clone(dtype=dtype, param_dtype=param_dtype)
    variables = jax.eval_shape(module.init, KEY, XS)
    outputs = jax.eval_shape(module.apply, variables, XS)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(outputs)} == {result}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(param_dtype)}


def test_a_bfloat16_cell_has_a_bfloat16_carry():
    cell = linen.GRUCell(H, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
    h = cell.initialize_carry(KEY, (B, I))
    h, output = cell.apply(cell.init(KEY, h, XS[:, 0]), h, XS[:, 0])
    assert (h.dtype, output.dtype) == (jnp.bfloat16, jnp.bfloat16)


# --- dropout --------------------------------------------------------------------------------------


def test_dropout_requires_deterministic_and_an_rng():
    module = linen.StackedGRU(H, num_layers=2, dropout=0.5)
    variables = module.init(KEY, XS, deterministic=True)
    with pytest.raises(ValueError, match="deterministic"):
        module.apply(variables, XS)
    with pytest.raises(Exception, match="dropout"):
        module.apply(variables, XS, deterministic=False)


def test_dropout_acts_when_not_deterministic():
    module = linen.StackedGRU(H, num_layers=2, dropout=0.5)
    variables = module.init(KEY, XS, deterministic=True)
    clean = linen.StackedGRU(H, num_layers=2).apply(variables, XS)
    assert_equal(module.apply(variables, XS, deterministic=True), clean)

    def run(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return module.apply(variables, XS, deterministic=False, rngs=rngs)

    assert_equal(run(1), run(1))
    assert not np.array_equal(run(1)[1], clean[1])
    assert not np.array_equal(run(1)[1], run(2)[1])
    fixed = module.clone(deterministic=True)
    assert_equal(fixed.apply(variables, XS), clean)


MODULES = ["GRU", "BidirectionalGRU", "StackedGRU"]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("rate", ["zoneout", "recurrent_dropout"])
def test_regularizers_act_when_not_deterministic(name, rate):
    make = partial(getattr(linen, name), H)
    variables = make().init(KEY, XS)
    module, rngs = make(**{rate: 0.5}), {"dropout": jax.random.key(1)}
    with pytest.raises(ValueError, match="deterministic"):
        module.apply(variables, XS)
    noisy = module.apply(variables, XS, deterministic=False, rngs=rngs)
    assert_equal(module.apply(variables, XS, deterministic=False, rngs=rngs), noisy)
    evaluated = module.apply(variables, XS, deterministic=True)
    assert not np.array_equal(noisy[1], evaluated[1])
    function = {
        "GRU": grujax.gru,
        "BidirectionalGRU": grujax.bidirectional_gru,
        "StackedGRU": grujax.stacked_gru,
    }[name]
    params = module.apply(variables, I, method="gru_params")
    _, want = function(params, XS.swapaxes(0, 1), **{rate: 0.5})
    assert_equal(evaluated[1], want.swapaxes(0, 1))


def test_a_rate_may_be_traced():
    variables = linen.GRU(H).init(KEY, XS)

    @jax.vmap
    def run(rate):
        module = linen.GRU(H, zoneout=rate, deterministic=True)
        return module.apply(variables, XS)[1]

    got = run(jnp.array([0.0, 0.5]))
    assert_close(got[0], linen.GRU(H).apply(variables, XS)[1], "float32")
    want = linen.GRU(H, zoneout=0.5, deterministic=True).apply(variables, XS)[1]
    assert_close(got[1], want, "float32")


# --- learned initial state, truncation, segments --------------------------------------------------


def test_a_learned_h0_is_a_parameter_and_the_default_initial_state():
    module = linen.StackedGRU(H, num_layers=2, bidirectional=True, learned_h0=True)
    variables = module.init(KEY, XS)
    params = variables["params"]["layers_1"]["backward_rnn"]
    assert set(params) == {"cell", "h0"}
    assert params["h0"].shape == (H,)
    without = linen.StackedGRU(H, num_layers=2, bidirectional=True)
    assert_equal(module.apply(variables, XS), without.apply(variables, XS))  # initially zero

    h0 = {"layers_0": {}, "layers_1": {}}
    for seed, (layer, direction) in enumerate(
        (layer, direction) for layer in h0 for direction in ("forward_rnn", "backward_rnn")
    ):
        h0[layer][direction] = jax.random.normal(jax.random.key(seed), (H,))
        variables["params"][layer][direction]["h0"] = h0[layer][direction]
    states = [tuple(layer.values()) for layer in h0.values()]
    options = {"lengths": LENGTHS, "resets": RESETS}
    got = module.apply(variables, XS, **options)
    want = without.apply(variables, XS, states, **options, reset_state=states)
    assert_equal(got, want)
    given = [(None, jnp.zeros(H)), None]  # a given state replaces the learned one
    want = without.apply(variables, XS, [(states[0][0], jnp.zeros(H)), states[1]])
    assert_equal(module.apply(variables, XS, given), want)
    gradient = jax.grad(lambda v: jnp.sum(module.apply(v, XS)[1]))(variables)
    assert np.any(gradient["params"]["layers_0"]["forward_rnn"]["h0"])


def test_truncation_and_reset_state_reach_the_function():
    module = linen.GRU(H, stop_gradient_every=2)
    variables = module.init(KEY, XS)

    def loss(module, xs):
        return jnp.sum(module.apply(variables, xs)[0])

    assert not np.any(jax.grad(partial(loss, module))(XS)[:, :4])
    assert np.all(jax.grad(partial(loss, linen.GRU(H)))(XS)[:, :4])
    initial = jnp.ones(H)
    run = partial(module.apply, variables, reset_state=initial)
    want = run(XS, initial, resets=RESETS)
    h, first = run(XS[:, :4], initial, resets=RESETS[:, :4])
    h, second = run(XS[:, 4:], h, resets=RESETS[:, 4:])
    assert_close((h, jnp.concatenate([first, second], axis=1)), want, "float32")


# --- training and checkpoints ---------------------------------------------------------------------


def test_gradients_under_jit_do_not_depend_on_the_padding():
    module = linen.StackedGRU(H, num_layers=2, bidirectional=True)
    variables = random_variables(module, XS)

    @jax.jit
    def gradients(variables, xs):
        def loss(variables):
            return jnp.sum(module.apply(variables, xs, lengths=LENGTHS)[1] ** 2)

        return jax.grad(loss)(variables)

    clean = gradients(variables, XS)
    padding = (np.arange(T) >= LENGTHS[:, None])[..., None]
    assert_equal(gradients(variables, np.where(padding, np.nan, XS)), clean)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(clean))


def test_an_orbax_checkpoint_round_trips(tmp_path):
    module = linen.StackedGRU(H, num_layers=2, bidirectional=True)
    variables = random_variables(module, XS)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", variables)
        checkpointer.wait_until_finished()
        empty = jax.eval_shape(module.init, KEY, XS)
        restored = checkpointer.restore(tmp_path / "checkpoint", empty)
    assert_equal(restored, variables)


def test_a_checkpoint_saved_by_flax_gives_the_same_outputs(tmp_path):
    theirs, ours = nn.RNN(nn.GRUCell(H), return_carry=True), linen.GRU(H)
    variables = random_variables(theirs, XS)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", variables)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "checkpoint", jax.eval_shape(ours.init, KEY, XS))
    assert_close(ours.apply(restored, XS), theirs.apply(variables, XS), "float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"xs": XS[0, 0]}, r"`xs` must have shape \[B, T, I\] or \[T, I\], got \[4\]"),
        ({"resets": RESETS.T}, r"`resets` has shape \[6, 3\].*\[3, 6\]"),
        ({"lengths": np.array([7, 1, 1])}, r"`lengths` must lie in \[0, T\] with T = 6"),
        ({"h0": np.ones((B, I), "float32")}, r"`h0` has shape \[3, 4\].*hidden size 5"),
    ],
)
def test_bad_input(arguments, message):
    module = linen.GRU(H)
    variables = module.init(KEY, XS)
    with pytest.raises(ValueError, match=message):
        module.apply(variables, **{"xs": XS, **arguments})


def test_parameters_of_another_input_size_raise():
    module = linen.GRU(H)
    variables = module.init(KEY, XS)
    with pytest.raises(ValueError, match=r"`cell/ir/kernel` has shape \[4, 5\] .* need \[2, 5\]"):
        module.apply(variables, XS[..., :2])
    with pytest.raises(ValueError, match=r"`cell/ir/kernel` has shape \[4, 5\] .* need \[4, 3\]"):
        linen.GRU(3).apply(variables, XS)
