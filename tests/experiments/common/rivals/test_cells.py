"""The rivals of a GRU: steps and runs agree, stacks are layers, and both directions are read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.cells import CELLS
from experiments.common.rivals.cells import RIVALS, init_both_ways, read_both_ways, stack
from tests.helpers import Draw, assert_close, assert_equal

T, B, I, H = 5, 3, 2, 4  # noqa: E741
LENGTHS = np.array([5, 2, 1])
XS = Draw("sequence", "float32").normal(T, B, I)
every_rival = pytest.mark.parametrize("name", RIVALS)


@pytest.mark.parametrize("name", ["lstm", "min_gru"])
def test_a_stack_is_its_layers_one_after_another(name):
    cell, stacked = CELLS[name], stack(CELLS[name], 3)
    params = stacked.init(jax.random.key(0), I, H)
    assert [layer.w_x.shape[-2] for layer in params.layers] == [I, H, H]
    assert params.hidden_size == H
    state0 = jax.tree.map(
        lambda leaf: Draw("state", "float32").normal(*leaf.shape),
        stacked.initial_state((B, H), "float32"),
    )
    time = {"lengths": LENGTHS, "resets": Draw("time").bools(T, B)}
    hs, states = XS, []
    for layer, start in zip(params.layers, state0, strict=True):
        state, hs = cell.run(layer, hs, start, **time)
        states.append(state)
    assert_equal(stacked.run(params, XS, state0, **time), (tuple(states), hs))
    zeros = stacked.initial_state((B, H), "float32")
    assert_equal(stacked.run(params, XS), stacked.run(params, XS, zeros))


@every_rival
def test_a_run_is_one_step_after_the_other(name):
    rival = RIVALS[name]
    params = rival.init(jax.random.key(0), I, H)
    state = rival.initial_state((B, H), jnp.float32)
    want_state, want = rival.run(params, XS, state)
    step, outputs = jax.jit(rival.step), []
    for x in XS:
        state = step(params, state, x)
        outputs.append(rival.output(state))
    assert_close(jnp.stack(outputs), want, "float32", tolerance=1e-4)
    assert_close(state, want_state, "float32", tolerance=1e-4)


@every_rival
def test_no_rival_reads_ahead(name):
    rival = RIVALS[name]
    params = rival.init(jax.random.key(0), I, H)
    changed = np.concatenate([XS[:3], XS[:2]])
    outputs = [rival.run(params, xs)[1] for xs in (XS, changed)]
    assert_close(outputs[0][:3], outputs[1][:3], "float32")
    assert not np.allclose(outputs[0][3:], outputs[1][3:])


@every_rival
def test_read_both_ways_the_first_output_depends_on_the_last_valid_step(name):
    params = init_both_ways(name, jax.random.key(0), I, H)
    read = jax.jit(lambda xs, lengths: read_both_ways(name, params, xs, lengths))
    last, outputs = read(XS, LENGTHS)
    assert outputs.shape == (T, B, H if name == "transformer" else 2 * H)
    assert not np.where((np.arange(T)[:, None] < LENGTHS)[..., None], 0, outputs).any()
    for row, length in enumerate(LENGTHS):
        ends = [outputs[length - 1, row, :H], outputs[0, row, H:]]  # nothing is in the second half
        assert_equal(last[row], jnp.concatenate(ends))  # of a Transformer
        for step in range(T):
            changed = XS.copy()
            changed[step, row] += 1
            is_read = not np.allclose(read(changed, LENGTHS)[1][0, row], outputs[0, row], atol=1e-6)
            assert is_read == (step < length)


def test_two_directions_are_two_runs():
    forward, backward = params = init_both_ways("lstm", jax.random.key(0), I, H)
    assert not np.allclose(forward.w_x, backward.w_x)
    runs = [
        RIVALS["lstm"].run(direction, XS, reverse=reverse)[1]
        for direction, reverse in ((forward, False), (backward, True))
    ]
    last, outputs = read_both_ways("lstm", params, XS)
    assert_equal(outputs, jnp.concatenate(runs, -1))
    assert_equal(last, jnp.concatenate([runs[0][-1], runs[1][0]], -1))
