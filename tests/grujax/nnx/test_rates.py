"""Rates that change after an NNX module is made, the streams of its keys, and what Flax sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx as flax_nnx

from grujax import nnx
from tests.helpers import Draw, assert_equal

B, T, I, H = 3, 6, 4, 5  # noqa: E741
XS = Draw("rates", "float32").normal(B, T, I)
RATES = ("zoneout", "recurrent_dropout", "input_dropout")


def make(name, rngs=None, **options):
    if name == "StackedGRU":
        options = {"num_layers": 2, **options}
    return getattr(nnx, name)(I, H, rngs=rngs or flax_nnx.Rngs(0, dropout=1), **options)


def outputs(module):
    return np.asarray(module(XS)[1])


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        *(("GRU", rate) for rate in RATES),
        ("BidirectionalGRU", "zoneout"),
        *(("StackedGRU", rate) for rate in (*RATES, "dropout")),
    ],
)
def test_a_rate_raised_later_acts_in_training(name, rate):
    module = make(name)
    clean = outputs(module)
    setattr(module, rate, 0.5)
    assert getattr(module, rate) == 0.5
    first = outputs(module)
    assert not np.array_equal(first, clean)
    assert not np.array_equal(first, outputs(module))
    module.eval()
    assert_equal(outputs(module), outputs(module))
    setattr(module, rate, 0.0)
    module.train()
    assert_equal(outputs(module), clean)


def test_a_rate_set_in_one_layer_acts_there_alone():
    stack = make("StackedGRU", return_all_layers=True)
    _, (first, second) = stack(XS)
    stack.layers[1].zoneout = 0.5
    _, (same, other) = stack(XS)
    assert_equal(same, first)
    assert not np.array_equal(other, second)


def test_a_schedule_by_set_attributes_reaches_every_layer():
    model = flax_nnx.List([make("StackedGRU"), make("GRU")])
    model.set_attributes(zoneout=0.25)
    assert [layer.zoneout for layer in (*model[0].layers, model[1])] == [0.25] * 3


@pytest.mark.parametrize("name", ["GRU", "BidirectionalGRU", "StackedGRU"])
def test_without_a_stream_to_draw_from_a_raised_rate_is_an_error(name):
    module = make(name, flax_nnx.Rngs(0))
    assert not jax.tree.leaves(flax_nnx.state(module, flax_nnx.RngState))
    module.zoneout = 0.5
    with pytest.raises(ValueError, match=r"This `.*GRU` was made without rates, .* no stream"):
        module(XS)
    module.eval()
    module(XS)
    module.zoneout = 1.5
    with pytest.raises(ValueError, match=r"`zoneout` must be a number in \[0, 1\), got 1.5"):
        module(XS)


def test_rates_and_streams_do_not_change_what_the_parameters_are_drawn_from():
    def parameters(module):
        return jax.tree.leaves(flax_nnx.state(module, flax_nnx.Param))

    want = parameters(make("StackedGRU", flax_nnx.Rngs(0), bidirectional=True))
    for rngs, rate in ((flax_nnx.Rngs(0), 0.1), (flax_nnx.Rngs(0, dropout=1), 0.0)):
        assert_equal(parameters(make("StackedGRU", rngs, bidirectional=True, zoneout=rate)), want)


def test_the_layers_of_a_stack_draw_different_masks():
    stack = make("StackedGRU", flax_nnx.Rngs(0), zoneout=0.5, bidirectional=True)
    keys = jax.tree.leaves(flax_nnx.state(stack, flax_nnx.RngKey))
    assert len(keys) == 3  # the stack and its layers; the directions draw from their layer's
    assert len({jax.random.key_data(key).tobytes() for key in keys}) == 3


# --- what Flax's tools see ------------------------------------------------------------------------


@pytest.fixture
def restored_classes():
    """Undoes what `nnx.tabulate` leaves: methods that a class inherits become its own.

    `nnx.capture` then wraps the method `sow`, which calls itself without end.
    """
    classes = (nnx.StackedGRU, nnx.GRU, nnx.BidirectionalGRU, nnx.GRUCell, flax_nnx.Linear)
    own = [set(vars(kind)) for kind in classes]
    yield
    for kind, names in zip(classes, own, strict=True):
        for name in set(vars(kind)) - names:
            delattr(kind, name)


@pytest.mark.usefixtures("restored_classes")
def test_a_table_lists_each_layer_with_its_outputs():
    options = {"force_terminal": False, "width": 160}
    for bidirectional, kind in ((False, "GRU"), (True, "BidirectionalGRU")):
        stack = make("StackedGRU", flax_nnx.Rngs(0), bidirectional=bidirectional)
        table = flax_nnx.tabulate(stack, jnp.asarray(XS), console_kwargs=options)
        rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in table.splitlines()]
        paths = [row for row in rows if len(row) == 2 and row[1]]
        assert paths == [["", "StackedGRU"], ["layers/0", kind], ["layers/1", kind]]


def test_the_outputs_of_the_layers_may_be_captured():
    stack = make("StackedGRU", flax_nnx.Rngs(0), return_all_layers=True)
    run = flax_nnx.capture(stack, flax_nnx.Intermediate, method_outputs=flax_nnx.Intermediate)
    (h_last, hs), captured = run(jnp.asarray(XS))
    layers = flax_nnx.to_pure_dict(captured)["layers"]
    for index in range(2):
        ((last, of_layer),) = layers[index]["__call__"]
        assert_equal((last, of_layer), (h_last[index], hs[index]))
