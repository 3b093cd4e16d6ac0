"""What the Linen modules take and refuse: bad values, NumPy's types, lists, empty batches."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax import flax_common, linen
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
from tests.helpers import assert_equal

KEY = jax.random.key(0)


def fields_of(module: type) -> list[str]:
    return [field.name for field in dataclasses.fields(module) if field.name not in OF_FLAX]


OF_FLAX = ("parent", "name")


@pytest.mark.parametrize("name", ["GRUCell", *MODULES])
def test_every_field_refuses_what_it_cannot_be(name):
    module = getattr(linen, name)
    assert set(fields_of(module)) <= set(flax_common.CHECKS)
    for field in fields_of(module):
        for bad in BAD_FIELDS[field]:
            with pytest.raises(ValueError, match=f"^`{field}` must be "):
                module(**{"features": H, field: bad})
            with pytest.raises(ValueError, match=f"^`{field}` must be "):
                module(features=H).clone(**{field: bad})


def test_an_unknown_field_is_refused_by_python():
    with pytest.raises(TypeError, match="unexpected keyword argument 'zonout'"):
        linen.GRU(H, zonout=0.1)


def test_numbers_of_numpy_become_those_of_python():
    module = linen.StackedGRU(np.int64(H), num_layers=np.int32(2), reset_after=np.False_)
    assert [type(value) for value in (module.features, module.num_layers)] == [int, int]
    assert module.reset_after is False
    assert module == linen.StackedGRU(H, num_layers=2, reset_after=False)


def with_variables(name: str):
    module = getattr(linen, name)(H)
    return module, module.init(KEY, XS)


@one_name_each
def test_a_call_refuses_what_it_cannot_take(name):
    module, variables = with_variables(name)
    for argument, values in BAD_CALLS.items():
        for bad in values:
            with pytest.raises(ValueError, match=f"`{argument}`"):
                module.apply(variables, **{"xs": XS, argument: bad})


@pytest.mark.parametrize("name", MODULES)
def test_lists_are_arrays(name):
    module, variables = with_variables(name)
    module, arguments = module.clone(dtype=jnp.bfloat16), call_of(name)
    got = module.apply(variables, **lists_of(arguments))
    assert_equal(got, module.apply(variables, **arguments))


@one_name_each
def test_batches_may_be_empty(name):
    module, variables = with_variables(name)
    for arguments in empty_calls():
        _, hs = module.apply(variables, **arguments)
        assert hs.shape[:-1] == arguments["xs"].shape[:-1]
    with pytest.raises(ValueError, match=r"`xs` must have .*, got \[3, 6, 0\] without features"):
        module.init(KEY, XS[..., :0])


@one_name_each
def test_a_method_refuses_an_input_size_that_is_none(name):
    module, variables = with_variables(name)
    for bad in (None, 0, -1, 1.5, True, "4", [4]):
        with pytest.raises(ValueError, match="`input_size` must be a positive integer"):
            module.apply(variables, bad, method="gru_params")


def test_the_mode_is_said_once_and_training_needs_a_key():
    module, fixed = linen.GRU(H, zoneout=0.5), linen.GRU(H, zoneout=0.5, deterministic=True)
    variables = fixed.init(KEY, XS)
    with pytest.raises(ValueError, match=r"`deterministic` must be .* got it in neither of them"):
        module.apply(variables, XS)
    with pytest.raises(ValueError, match=r"`deterministic` must be .* got it in both of them"):
        fixed.apply(variables, XS, deterministic=False)
    with pytest.raises(ValueError, match='`rngs` of `apply` must hold a key for "dropout"'):
        module.apply(variables, XS, deterministic=False)
    module.init(KEY, XS, deterministic=False)  # Flax draws from the key of the parameters


def test_a_cell_refuses_what_it_cannot_take():
    cell, h, x = linen.GRUCell(H), np.zeros((B, H), "float32"), XS[:, 0]
    variables = cell.init(KEY, h, x)
    for bad in (None, "x", 1.5, [], {}, [[1.0], [1.0, 2.0]], x > 0, h[:2], x, object()):
        with pytest.raises(ValueError, match="`carry`"):
            cell.apply(variables, bad, x)
    for bad in (None, "x", 1.5, [], {}, [[1.0], [1.0, 2.0]], x > 0, x[..., :0], object()):
        with pytest.raises(ValueError, match="`inputs`"):
            cell.apply(variables, h, bad)
    want = cell.apply(variables, h, x)
    assert_equal(cell.apply(variables, h.tolist(), x.tolist()), want)


def test_a_carry_needs_a_key_and_a_shape():
    cell = linen.GRUCell(H)
    for bad in (None, 0, "x", np.ones(2), jax.random.split(KEY)):
        with pytest.raises(ValueError, match="`rng` must be one JAX random key"):
            cell.initialize_carry(bad, (B, I))
    for bad in (None, 3, (), "ab", (B, -1), (B, 1.5), (None, I)):
        with pytest.raises(ValueError, match="`input_shape` must be"):
            cell.initialize_carry(KEY, bad)
    with pytest.raises(ValueError, match=r"`carry_init` must return .* \[3, 5\], got None"):
        linen.GRUCell(H, carry_init=lambda *_: None).initialize_carry(KEY, (B, I))


# --- the checks leave Flax's idioms alone ---------------------------------------------------------


class Parent(nn.Module):
    """Holds a module that `setup` makes, and one that the call makes."""

    def setup(self):
        self.lower = linen.GRU(H, zoneout=0.1, deterministic=True)

    @nn.compact
    def __call__(self, xs):
        return linen.BidirectionalGRU(H)(self.lower(xs)[1])[1]


def lift(transform, **options):
    return transform(linen.GRU, **options)(H)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (Parent(), (B, T, 2 * H)),
        (lift(nn.remat), (B, T, H)),
        (lift(nn.jit), (B, T, H)),
        (lift(nn.vmap, variable_axes={"params": 0}, split_rngs={"params": True}), (B, T, H)),
        (nn.RNN(linen.GRUCell(H)), (B, T, H)),
    ],
    ids=["parent", "remat", "jit", "vmap", "RNN"],
)
def test_modules_work_inside_others_and_under_transforms(module, shape):
    outputs = jax.eval_shape(lambda: module.init_with_output(KEY, jnp.asarray(XS))[0])
    assert jax.tree.leaves(outputs)[-1].shape == shape


def test_a_cell_may_be_scanned():
    scan = nn.scan(
        linen.GRUCell,
        variable_broadcast="params",
        split_rngs={"params": False},
        in_axes=1,
        out_axes=1,
    )
    _, hs = jax.eval_shape(lambda: scan(features=H).init_with_output(KEY, jnp.zeros((B, H)), XS)[0])
    assert hs.shape == (B, T, H)


def test_a_module_may_be_initialized_from_shapes_alone():
    variables = linen.GRU(H).lazy_init(KEY, jax.ShapeDtypeStruct(XS.shape, XS.dtype))
    assert variables["params"]["cell"]["ir"]["kernel"].shape == (I, H)


def test_a_batch_may_have_a_symbolic_size():
    cell = linen.GRUCell(H)
    variables = cell.init(KEY, jnp.zeros((B, H)), XS[:, 0])

    @jax.jit
    def step(x):
        return cell.apply(variables, cell.initialize_carry(KEY, x.shape), x)[0]

    (rows,) = jax.export.symbolic_shape("rows")
    exported = jax.export.export(step)(jax.ShapeDtypeStruct((rows, I), "float32"))
    assert exported.out_avals[0].shape == (rows, H)
