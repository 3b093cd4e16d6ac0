"""What the NNX modules take and refuse: bad values, unknown options, lists, empty batches."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx as flax_nnx

from grujax import nnx
from tests.grujax.flax.arguments import (
    BAD_CALLS,
    BAD_FIELDS,
    MODULES,
    XS,
    B,
    H,
    I,
    T,
    call_of,
    empty_calls,
    lists_of,
    one_name_each,
)
from tests.helpers import assert_close, assert_equal

NORMAL = jax.nn.initializers.normal()  # compiles faster than the default under vmap


def rngs() -> flax_nnx.Rngs:
    return flax_nnx.Rngs(0)


def draws(source: flax_nnx.Rngs) -> int:
    """How many keys have been drawn from the default stream."""
    return int(source.default.count[...])


def own_arguments(module: type) -> list[str]:
    """The arguments of the constructor itself."""
    parameters = inspect.signature(module.__init__).parameters
    return [name for name in parameters if name not in ("self", "rngs", "options")]


@pytest.mark.parametrize("name", ["GRUCell", *MODULES])
def test_every_argument_refuses_what_it_cannot_be_before_a_key_is_drawn(name):
    module, source = getattr(nnx, name), rngs()
    options = [] if name == "GRUCell" else [*nnx.Options.__annotations__]
    for argument in (*own_arguments(module), *options):
        bad_values = BAD_FIELDS[argument] + (None,) * (argument == "deterministic")
        for bad in bad_values:
            with pytest.raises(ValueError, match=f"^`{argument}` must be "):
                module(**{"in_features": I, "features": H, "rngs": source, argument: bad})
    assert draws(source) == 0


@pytest.mark.parametrize("name", ["GRUCell", *MODULES])
def test_rngs_must_have_the_streams_that_are_drawn_from(name):
    module = getattr(nnx, name)
    for bad in (None, 0, jax.random.key(0), "x", {}, rngs().params):
        with pytest.raises(ValueError, match="`rngs` must be an instance of Rngs"):
            module(I, H, rngs=bad)
    with pytest.raises(ValueError, match=r"`rngs` must have the stream \"params\" .*'dropout'"):
        module(I, H, rngs=flax_nnx.Rngs(dropout=0))
    if name != "GRUCell":
        module(I, H, rngs=flax_nnx.Rngs(params=0))
        with pytest.raises(ValueError, match=r"`rngs` must have the stream \"dropout\""):
            module(I, H, zoneout=0.1, rngs=flax_nnx.Rngs(params=0))


@pytest.mark.parametrize("name", MODULES)
def test_an_unknown_option_is_refused_with_the_nearest_and_the_list(name):
    module, source = getattr(nnx, name), rngs()
    with pytest.raises(TypeError, match=f"`zonout` is not an option of `{name}`.*`zoneout`") as e:
        module(I, H, zonout=0.1, rngs=source)
    assert "did you mean `zoneout`?" in str(e.value)
    assert all(f"`{option}`" in str(e.value) for option in nnx.Options.__annotations__)
    with pytest.raises(TypeError, match=f"`qqq` is not an option of `{name}`; the options are"):
        module(I, H, qqq=0.1, rngs=source)
    assert draws(source) == 0


@pytest.mark.parametrize("name", MODULES)
def test_options_of_other_libraries_are_unknown(name):
    for option in ("gate_fn", "return_carry", "use_bias", "go_backwards", "units"):
        with pytest.raises(TypeError, match=f"`{option}` is not an option of `{name}`"):
            getattr(nnx, name)(I, H, rngs=rngs(), **{option: 0.5})


def test_the_nearest_may_be_an_argument_that_is_not_shared():
    with pytest.raises(TypeError, match=r"did you mean `reverse`\?"):
        nnx.GRU(I, H, revers=True, rngs=rngs())
    with pytest.raises(TypeError, match=r"did you mean `residual`\?"):
        nnx.StackedGRU(I, H, residuals=True, rngs=rngs())
    with pytest.raises(TypeError, match="`reverse` is not an option of `BidirectionalGRU`"):
        nnx.BidirectionalGRU(I, H, reverse=True, rngs=rngs())


def test_a_cell_refuses_an_unknown_option_by_python():
    with pytest.raises(TypeError, match="unexpected keyword argument 'zonout'"):
        nnx.GRUCell(I, H, zonout=0.1, rngs=rngs())


def test_numbers_of_numpy_become_those_of_python():
    module = nnx.StackedGRU(
        np.int64(I), np.int32(H), np.int64(2), reset_after=np.False_, rngs=rngs()
    )
    cell = module.layers[0].cell
    assert [type(size) for size in (cell.in_features, cell.features)] == [int, int]
    assert cell.reset_after is False
    assert len(module.layers) == 2


@one_name_each
def test_a_call_refuses_what_it_cannot_take(name):
    module = getattr(nnx, name)(I, H, rngs=rngs())
    for argument, values in BAD_CALLS.items():
        for bad in values:
            with pytest.raises(ValueError, match=f"`{argument}`"):
                module(**{"xs": XS, argument: bad})


@pytest.mark.parametrize("name", MODULES)
def test_lists_are_arrays(name):
    module = getattr(nnx, name)(I, H, dtype=jnp.bfloat16, rngs=rngs())
    arguments = call_of(name)
    assert_equal(module(**lists_of(arguments)), module(**arguments))


@one_name_each
def test_batches_may_be_empty(name):
    module = getattr(nnx, name)(I, H, rngs=rngs())
    for arguments in empty_calls():
        _, hs = module(**arguments)
        assert hs.shape[:-1] == arguments["xs"].shape[:-1]


def test_a_cell_refuses_what_it_cannot_take():
    cell, h, x = nnx.GRUCell(I, H, rngs=rngs()), np.zeros((B, H), "float32"), XS[:, 0]
    for bad in (None, "x", 1.5, [], {}, [[1.0], [1.0, 2.0]], x > 0, h[:2], x, object()):
        with pytest.raises(ValueError, match="`carry`"):
            cell(bad, x)
    for bad in (None, "x", 1.5, [], {}, [[1.0], [1.0, 2.0]], x > 0, x[..., :2], object()):
        with pytest.raises(ValueError, match="`inputs`"):
            cell(h, bad)
    assert_equal(cell(h.tolist(), x.tolist()), cell(h, x))


def test_a_carry_needs_a_shape_and_what_it_is_drawn_with():
    cell = nnx.GRUCell(I, H, rngs=rngs())
    for bad in (None, 3, (), "ab", (B, -1), (B, 1.5), (None, I)):
        with pytest.raises(ValueError, match="`input_shape` must be"):
            cell.initialize_carry(bad)
    for bad in (0, "x", {}, jax.random.key(0)):
        with pytest.raises(ValueError, match="`rngs` must be an instance of Rngs"):
            cell.initialize_carry((B, I), bad)
    for bad in (0, "x", {}, XS):
        with pytest.raises(ValueError, match="`carry_init` must be a function"):
            cell.initialize_carry((B, I), rngs(), bad)
    with pytest.raises(ValueError, match=r"`carry_init` must return .* \[3, 5\], got None"):
        cell.initialize_carry((B, I), rngs(), lambda *_: None)
    assert cell.initialize_carry((B, I), rngs().carry, NORMAL).shape == (B, H)


# --- the checks leave the idioms of NNX alone -----------------------------------------------------


def test_a_module_may_be_made_from_shapes_split_and_merged():
    abstract = flax_nnx.eval_shape(lambda: nnx.GRU(I, H, zoneout=0.1, rngs=rngs()))
    graph, _ = flax_nnx.split(abstract)
    module = nnx.GRU(I, H, zoneout=0.1, rngs=rngs())
    again = flax_nnx.merge(graph, flax_nnx.state(module))
    assert_equal(again(XS, deterministic=True), module(XS, deterministic=True))


def test_modules_may_be_made_and_run_under_vmap_with_traced_rates():
    def make(rate, seed):
        options = {"zoneout": rate, "deterministic": True, "recurrent_kernel_init": NORMAL}
        return nnx.GRU(I, H, **options, rngs=flax_nnx.Rngs(seed))

    @flax_nnx.vmap
    def run(rate, seed):
        return make(rate, seed)(jnp.asarray(XS))[1]

    rates, keys = jnp.array([0.0, 0.5]), jax.random.split(jax.random.key(0))
    got = run(rates, keys)
    for hs, rate, key in zip(got, (0.0, 0.5), keys, strict=True):
        assert_close(hs, make(rate, key)(XS)[1], "float32")


def test_a_rate_may_be_an_array_of_a_module_under_jit():
    module = nnx.GRU(I, H, zoneout=jnp.float32(0.5), deterministic=True, rngs=rngs())
    want = nnx.GRU(I, H, zoneout=0.5, deterministic=True, rngs=rngs())(XS)
    assert_close(flax_nnx.jit(lambda module, xs: module(xs))(module, XS), want, "float32")


def test_many_models_may_be_made_under_vmap():
    @flax_nnx.split_rngs(splits=2)
    @flax_nnx.vmap
    def make(source):
        return nnx.StackedGRU(I, H, 2, dropout=0.1, recurrent_kernel_init=NORMAL, rngs=source)

    outputs = flax_nnx.vmap(lambda model, xs: model(xs)[1], in_axes=(0, None))(make(rngs()), XS)
    assert outputs.shape == (2, B, T, H)
