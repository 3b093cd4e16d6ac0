"""What Flax's tools see of the Linen modules: layers of a stack, one cell for two directions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import ScopeParamNotFoundError

import grujax
from grujax import linen
from tests.helpers import Draw, assert_close, assert_equal

B, T, I, H = 3, 6, 4, 5  # noqa: E741
XS = Draw("submodules", "float32").normal(B, T, I)
LENGTHS = np.int32([4, 0, 6])
KEY = jax.random.key(0)


def random_variables(module):
    draw = Draw("submodules' variables", "float32")
    shapes = jax.eval_shape(module.init, KEY, XS)
    return jax.tree.map(lambda leaf: draw.normal(*leaf.shape, scale=0.5), shapes)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_intermediates_are_the_outputs_of_the_layers_and_nothing_else(bidirectional):
    stack = linen.StackedGRU(H, num_layers=3, bidirectional=bidirectional, return_all_layers=True)
    variables = random_variables(stack)
    (h_last, hs), captured = stack.apply(variables, XS, lengths=LENGTHS, capture_intermediates=True)
    want = {f"layers_{i}": {"__call__": ((h_last[i], hs[i]),)} for i in range(3)}
    want["__call__"] = ((h_last, hs),)
    assert_equal(captured["intermediates"], want)


def test_a_table_lists_each_layer_with_its_outputs():
    stack = linen.StackedGRU(H, num_layers=2)
    options = {"force_terminal": False, "width": 100}
    table = stack.tabulate(KEY, XS, depth=1, console_kwargs=options)
    rows = [[cell.strip() for cell in line.split("│")[1:5]] for line in table.splitlines()]
    assert ["layers_0", "GRU", "- float32[3,6,4]", "- float32[3,5]"] in rows
    assert ["layers_1", "GRU", "- float32[3,6,5]", "- float32[3,5]"] in rows
    assert ["", "", "- None", "- float32[3,6,5]"] in rows
    methods = [row[1] for row in rows if len(row) > 1 and "(" in row[1]]
    assert methods == []


def test_a_table_lists_the_parameters_of_each_gate():
    table = linen.GRU(H).tabulate(KEY, XS, console_kwargs={"force_terminal": False, "width": 100})
    for path in ("cell", *(f"cell/{kind}{gate}" for kind in "ih" for gate in "rzn")):
        assert f" {path} " in table


def test_a_stack_is_the_function_on_its_parameters():
    """The layers run one by one; the program between them is that of `stacked_gru`."""
    stack = linen.StackedGRU(H, num_layers=2, residual=True)
    variables = random_variables(stack)
    layers = stack.apply(variables, I, method="gru_params")
    want_last, want = grujax.stacked_gru(layers, XS.swapaxes(0, 1), residual=True)
    assert_equal(stack.apply(variables, XS), (want_last, want.swapaxes(0, 1)))


# --- one cell for both directions -----------------------------------------------------------------


def test_a_checkpoint_of_two_directions_with_one_cell():
    cell = nn.GRUCell(H)
    theirs = nn.Bidirectional(nn.RNN(cell), nn.RNN(cell), return_carry=True)
    variables = random_variables(theirs)
    assert set(variables["params"]) == {"forward_rnn"}
    ours = linen.BidirectionalGRU(H)
    assert_close(ours.apply(variables, XS), theirs.apply(variables, XS), "float32")
    forward, backward = ours.apply(variables, I, method="gru_params")
    assert_equal(forward, backward)

    def gradient(variables):
        return jax.grad(lambda variables: ours.apply(variables, XS)[1].sum())(variables)["params"]

    forward = variables["params"]["forward_rnn"]
    of_two = gradient({"params": {"forward_rnn": forward, "backward_rnn": forward}})
    both = jax.tree.map(jnp.add, of_two["forward_rnn"], of_two["backward_rnn"])
    assert_close(gradient(variables), {"forward_rnn": both}, "float32")


def test_one_cell_is_shared_in_a_stack_too_and_two_are_drawn():
    stack = linen.StackedGRU(H, num_layers=2, bidirectional=True, learned_h0=True)
    variables = random_variables(stack)
    assert set(variables["params"]["layers_0"]) == {"forward_rnn", "backward_rnn"}
    shared = jax.tree.map(lambda leaf: leaf, variables)
    for layer in ("layers_0", "layers_1"):
        variables["params"][layer]["backward_rnn"] = variables["params"][layer]["forward_rnn"]
        del shared["params"][layer]["backward_rnn"]
    assert_equal(stack.apply(shared, XS), stack.apply(variables, XS))


def test_a_missing_forward_direction_is_not_shared():
    layer = linen.BidirectionalGRU(H)
    variables = random_variables(layer)
    del variables["params"]["forward_rnn"]
    with pytest.raises(ScopeParamNotFoundError, match="kernel"):
        layer.apply(variables, jnp.asarray(XS))
