"""The compiled programs of a population: how its members begin, and one round of all of them.

The states of the n members lie on the leading axis of one pytree, spread over a mesh with the one
axis `trials` and filled up to a multiple of the devices; all else is small and lies everywhere.
A round begins with the gather by which members take over others' states, the only time that states
cross devices; then each device runs its own members, as in `grujax.sweep.programs`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from grujax.sweep.population_contract import (
    Functions,
    Shapes,
    State,
    Values,
    as_metrics,
    as_state,
    check_functions,
)
from grujax.sweep.population_storage import fill_places
from grujax.sweep.programs import as_key, precision, trial_key
from grujax.sweep.purity import Metrics


class Plan(NamedTuple):
    """All that the programs depend on besides the functions."""

    members: int  # n
    values: tuple[tuple[str, str], ...]  # hyperparameters and their dtypes
    key: tuple[tuple[int, ...], str, str | None]  # shape and dtype of its data, implementation
    strategy: str
    devices: tuple[jax.Device, ...]

    @property
    def slots(self) -> int:
        """n, filled up to a multiple of the devices."""
        return len(fill_places(self.members, len(self.devices)))


class Programs(NamedTuple):
    """The compiled programs; arrays [n] lie on the host, states [slots, ...] on the devices."""

    # (key data, members, values) -> states
    begin: Callable[..., State]
    # (key data, round, members, states, values, scores) -> (parents, states, values, metrics)
    advance: Callable[..., tuple[Array, State, Values, Metrics]]
    shapes: Shapes
    own: NamedSharding  # of the states


# Programs live as long as the step function does, and hold no reference to it.
_PROGRAMS: weakref.WeakKeyDictionary[Callable, dict[tuple, Programs]] = weakref.WeakKeyDictionary()


def programs_for(functions: Functions, plan: Plan) -> Programs:
    """The compiled programs; from the cache if they are there."""
    names = tuple(name for name, _ in functions.explore)
    others = (
        functions.init,
        functions.evaluate,
        functions.exploit,
        *dict(functions.explore).values(),
    )
    try:
        programs = _PROGRAMS.setdefault(functions.step, {})
        references = tuple(None if f is None else weakref.ref(f) for f in others)
    except TypeError:  # a callable object without a hash, or that cannot be referred to weakly
        return _compile(functions, plan)
    context = (references, names, plan, *precision())
    if context not in programs:
        programs[context] = _compile(functions, plan)
    return programs[context]


def _compile(functions: Functions, plan: Plan) -> Programs:
    data = jax.ShapeDtypeStruct(*plan.key[:2])
    scores = jax.ShapeDtypeStruct((plan.members,), jax.dtypes.canonicalize_dtype(np.float64))
    value = {name: jax.ShapeDtypeStruct((), np.dtype(dtype)) for name, dtype in plan.values}
    any_key = as_key(jnp.zeros(data.shape, data.dtype), plan.key[2])
    shapes = check_functions(functions, any_key, value, scores)
    mesh = Mesh(np.array(plan.devices), ("trials",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    own = NamedSharding(mesh, PartitionSpec("trials"))
    members = jax.ShapeDtypeStruct((plan.members,), jnp.int32)
    values = _with_axis(plan.members, value)
    begin = jax.jit(
        _make_begin(functions, plan, mesh), in_shardings=everywhere, out_shardings=own
    ).lower(data, members, values)
    states = _with_axis(plan.slots, shapes.state)
    advance = jax.jit(
        _make_advance(functions, plan, mesh),
        in_shardings=(everywhere, everywhere, everywhere, own, everywhere, everywhere),
        out_shardings=(everywhere, own, everywhere, own),
    ).lower(data, jax.ShapeDtypeStruct((), jnp.int32), members, states, values, scores)
    return Programs(begin.compile(), advance.compile(), shapes, own)


def _make_begin(functions: Functions, plan: Plan, mesh: Mesh) -> Callable:
    def begin(data: Array, members: Array, values: Values) -> State:
        def one(key: Array, own: tuple[Array, Values]) -> State:
            member, values = own
            return as_state(functions.init(trial_key(key, member), **values), "init")

        root = _roots(data, plan)[0]
        return _spread(one, plan, mesh)(root, _fill((members, values), plan))

    return begin


def _make_advance(functions: Functions, plan: Plan, mesh: Mesh) -> Callable:
    whole = plan.slots == plan.members

    def advance(
        data: Array, number: Array, members: Array, states: State, values: Values, scores: Array
    ) -> tuple[Array, State, Values, Metrics]:
        _, step_root, *roots = _roots(data, plan)
        exploit_key, explore_key, evaluate_key = (trial_key(root, number) for root in roots)
        parents = jnp.arange(plan.members)
        if functions.exploit is not None:
            chosen = functions.exploit(exploit_key, scores)
            parents = jnp.where(number == 0, parents, chosen.astype(parents.dtype))
            values = _explore(functions, explore_key, parents, values)
            sources = jnp.concatenate([parents, jnp.arange(plan.members, plan.slots)])
            states = jax.tree.map(lambda leaf: leaf[sources], states)

        def one(common: tuple[Array, Array], own: tuple) -> tuple[State, Metrics]:
            step_key, evaluate_key = common
            member, place, state, values = own

            def go(state: State) -> tuple[State, Metrics]:
                own_key = trial_key(trial_key(step_key, member), number)
                state = as_state(functions.step(own_key, state, **values), "step")
                return state, as_metrics(functions.evaluate(evaluate_key, state, **values))

            def rest(state: State) -> tuple[State, Metrics]:
                metrics = jax.eval_shape(go, state)[1]
                return state, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), metrics)

            return go(state) if whole else lax.cond(place < plan.members, go, rest, state)

        filled_members, filled_values = _fill((members, values), plan)
        own = (filled_members, jnp.arange(plan.slots), states, filled_values)
        states, metrics = _spread(one, plan, mesh)((step_root, evaluate_key), own)
        return parents, states, values, metrics

    return advance


def _explore(functions: Functions, key: Array, parents: Array, values: Values) -> Values:
    """The hyperparameters of the parents, changed where those are others."""
    replaced = parents != jnp.arange(len(parents))
    values = {name: array[parents] for name, array in values.items()}
    for position, (name, function) in enumerate(functions.explore):
        keys = jax.random.split(trial_key(key, position), len(parents))
        changed = jax.vmap(function)(keys, values[name])
        values[name] = jnp.where(replaced, changed.astype(values[name].dtype), values[name])
    return values


def _spread(one: Callable, plan: Plan, mesh: Mesh) -> Callable:
    """`(common, own [slots, ...])`: each device runs `one(common, own[i])` for its own slots."""

    def share(common: Any, own: Any) -> Any:
        each = partial(one, common)
        return lax.map(each, own) if plan.strategy == "map" else jax.vmap(each)(own)

    own = PartitionSpec("trials")
    specs = (PartitionSpec(), own)
    # Without check_vma, or scans whose carry begins as a constant would be refused.
    return jax.shard_map(share, mesh=mesh, in_specs=specs, out_specs=own, check_vma=False)


def _roots(data: Array, plan: Plan) -> tuple[Array, ...]:
    """Keys for what is drawn: initial states, steps, parents, explorations, evaluations."""
    return tuple(jax.random.split(as_key(data, plan.key[2]), 5))


def _fill(tree: Any, plan: Plan) -> Any:
    """Arrays [n] up to [slots]."""
    places = fill_places(plan.members, len(plan.devices))
    return jax.tree.map(lambda array: array[places], tree)


def _with_axis(size: int, tree: Any) -> Any:
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct((size, *s.shape), s.dtype), tree)
