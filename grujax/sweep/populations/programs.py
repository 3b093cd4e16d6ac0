"""The compiled programs of a population: how its members start, and one round of all of them.

The states of the n members are stacked on the leading axis of one pytree, which is spread over the
devices and padded to a multiple of their number; everything else is small and replicated. A round
starts with the gather by which members take over states from others, the only time that states move
between devices; then each device runs its own members.
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
from jax.sharding import NamedSharding, PartitionSpec

from grujax.checks import describe
from grujax.sweep.contract import (
    Metrics,
    State,
    as_state,
    check_metrics,
    check_pure,
    check_same_state,
)
from grujax.sweep.fingerprints import Fingerprint, fingerprint
from grujax.sweep.plan import ROWS, Plan, add_axis, jax_settings, trial_key
from grujax.sweep.programs import compile_plan
from grujax.sweep.selection import Exploit, Explore

Values = dict[str, Array]

_ADVICE = (
    "All hyperparameters of a population are traced: none can set shapes, and Python itself cannot "
    "branch on one."
)


class Functions(NamedTuple):
    """The user's functions; see `grujax.sweep.population`."""

    init: Callable[..., State]
    step: Callable[..., State]
    evaluate: Callable[..., Metrics]
    exploit: Exploit | None = None
    explore: tuple[tuple[str, Explore], ...] = ()


class Shapes(NamedTuple):
    """Shapes and dtypes of one member."""

    state: State
    metrics: Metrics


class RoundProgram(NamedTuple):
    """The program of a round; arrays [n] are on the host, states [slots, ...] on the devices."""

    # (key data, round, members, states, values, scores) -> (parents, states, values, metrics)
    run: Callable[..., tuple[Array, State, Values, Metrics]]
    shapes: Shapes
    sharding: NamedSharding  # of the states


# Programs live as long as the step function does, and hold no reference to it.
_PROGRAMS: weakref.WeakKeyDictionary[Callable, dict[tuple, Any]] = weakref.WeakKeyDictionary()


def round_program(functions: Functions, plan: Plan) -> RoundProgram:
    """The compiled program of a round, from the cache if it is there."""
    return _cached(_compile_round, functions, plan)


def start_program(functions: Functions, plan: Plan) -> Callable[..., State]:
    """The compiled `(key data, members, values) -> states`, from the cache if it is there."""
    return _cached(_compile_start, functions._replace(exploit=None, explore=()), plan)


def _cached(build: Callable[[Functions, Plan], Any], functions: Functions, plan: Plan) -> Any:
    explore = dict(functions.explore)
    others = (functions.init, functions.evaluate, functions.exploit, *explore.values())
    try:
        programs = _PROGRAMS.setdefault(functions.step, {})
        references = tuple(None if f is None else weakref.ref(f) for f in others)
    except TypeError:  # a callable object without a hash, or without weak references
        return build(functions, plan)
    context = (build, references, tuple(explore), plan, *jax_settings())
    if context not in programs:
        programs[context] = build(functions, plan)
    return programs[context]


def padded_members(plan: Plan) -> np.ndarray:
    """`[slots]`: which of the n members each slot holds; the padding repeats the first."""
    slots = np.arange(plan.slots)
    return np.where(slots < plan.trials, slots, 0)


def check_functions(functions: Functions, plan: Plan, scores: jax.ShapeDtypeStruct) -> Shapes:
    """Traces all functions. Returns: the shapes and dtypes of one member's state and metrics.

    Raises:
        ValueError: a function is not pure; `step` does not keep the kind of state that `init`
            makes; `evaluate` does not return a dict of scalars; or `exploit` or `explore` return
            other shapes, or kinds of numbers.
    """
    key = plan.key.wrap(jnp.zeros(plan.key.shape, plan.key.dtype))

    def check(name: str, call: Callable, *arguments: Any) -> Any:
        try:
            return check_pure(call, *arguments, name=name, advice=_ADVICE)
        except ValueError as error:  # such as that of a bound that does not fit its hyperparameter
            error.add_note(f"It was raised when `{name}` was traced.")
            raise

    values = plan.values
    state = check("init", lambda v: as_state(functions.init(key, **v), "init"), values)
    after = check("step", lambda s, v: as_state(functions.step(key, s, **v), "step"), state, values)
    check_same_state(state, after)
    metrics = check("evaluate", lambda s, v: _evaluate(functions, key, s, v), state, values)
    if functions.exploit is not None:
        exploit = functions.exploit
        parents = check("exploit", lambda s: _as_returned("exploit", exploit(key, s)), scores)
        if parents.shape != scores.shape or not jnp.issubdtype(parents.dtype, jnp.integer):
            raise ValueError(
                f"`exploit` must return an integer for each of {plan.trials} members, got "
                f"{parents.dtype} {list(parents.shape)}."
            )
    for name, function in functions.explore:
        label = f"explore[{name!r}]"
        changed = check(
            label, lambda v, f=function, n=label: _as_returned(n, f(key, v)), values[name]
        )
        if changed.shape != ():
            raise ValueError(
                f"`{label}` must return one value for one, got shape {list(changed.shape)}."
            )
        if not np.can_cast(changed.dtype, values[name].dtype, "same_kind"):
            raise ValueError(
                f"`{label}` must return a value of the kind that it is given, got {changed.dtype} "
                f"for {values[name].dtype}; `.astype(value.dtype)` converts it."
            )
    return Shapes(state, metrics)


def fingerprint_functions(functions: Functions, plan: Plan) -> dict[str, Fingerprint]:
    """What each of the functions computes, by the argument that it is given as."""

    def call(function: Callable, name: str) -> Callable[..., State]:
        def with_key(data: Array, *arguments: Any) -> State:
            *states, values = arguments
            return as_state(function(plan.key.wrap(data), *states, **values), name)

        return with_key

    def draw(function: Callable, name: str) -> Callable[[Array, Array], State]:
        return lambda data, values: as_state(function(plan.key.wrap(data), values), name)

    key, values = plan.key.struct, plan.values
    state = jax.eval_shape(call(functions.init, "init"), key, values)
    scores = jax.ShapeDtypeStruct((plan.trials,), jax.dtypes.canonicalize_dtype(np.float64))
    found = {"init": fingerprint(functions.init, call(functions.init, "init"), key, values)}
    for name in ("step", "evaluate"):
        function = getattr(functions, name)
        found[name] = fingerprint(function, call(function, name), key, state, values)
    if functions.exploit is not None:
        exploit = functions.exploit
        found["exploit"] = fingerprint(exploit, draw(exploit, "exploit"), key, scores)
    for name, function in functions.explore:
        label = f"explore[{name!r}]"
        found[label] = fingerprint(function, draw(function, label), key, values[name])
    return found


def _as_returned(name: str, value: Any) -> Array:
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must return an array, got {describe(value)}.") from None


def _evaluate(functions: Functions, key: Array, state: State, values: Values) -> Metrics:
    return check_metrics(functions.evaluate(key, state, **values), "evaluate", scalars=True)


def _compile_round(functions: Functions, plan: Plan) -> RoundProgram:
    scores = jax.ShapeDtypeStruct((plan.trials,), jax.dtypes.canonicalize_dtype(np.float64))
    shapes = check_functions(functions, plan, scores)
    replicated = NamedSharding(plan.mesh, PartitionSpec())
    spread = NamedSharding(plan.mesh, ROWS)
    arguments = (
        plan.key.struct,
        jax.ShapeDtypeStruct((), jnp.int32),
        jax.ShapeDtypeStruct((plan.trials,), jnp.int32),
        add_axis(plan.slots, shapes.state),
        add_axis(plan.trials, plan.values),
        scores,
    )

    def lower(plan: Plan) -> jax.stages.Lowered:
        run = jax.jit(
            _make_round(functions, plan),
            in_shardings=(replicated, replicated, replicated, spread, replicated, replicated),
            out_shardings=(replicated, spread, replicated, spread),
        )
        return run.lower(*arguments)

    return RoundProgram(compile_plan(plan, lower), shapes, spread)


def _compile_start(functions: Functions, plan: Plan) -> Callable:
    members = jax.ShapeDtypeStruct((plan.trials,), jnp.int32)

    def lower(plan: Plan) -> jax.stages.Lowered:
        start = jax.jit(
            _make_start(functions, plan),
            in_shardings=NamedSharding(plan.mesh, PartitionSpec()),
            out_shardings=NamedSharding(plan.mesh, ROWS),
        )
        return start.lower(plan.key.struct, members, add_axis(plan.trials, plan.values))

    return compile_plan(plan, lower)


def _make_start(functions: Functions, plan: Plan) -> Callable:
    def start(data: Array, members: Array, values: Values) -> State:
        def start_member(key: Array, row: tuple[Array, Values]) -> State:
            member, values = row
            return as_state(functions.init(trial_key(key, member), **values), "init")

        root = _root_keys(data, plan)[0]
        return _for_each(start_member, plan)(root, _pad((members, values), plan))

    return start


def _make_round(functions: Functions, plan: Plan) -> Callable:
    is_padded = plan.slots > plan.trials

    def run_round(
        data: Array, number: Array, members: Array, states: State, values: Values, scores: Array
    ) -> tuple[Array, State, Values, Metrics]:
        _, step_root, *roots = _root_keys(data, plan)
        exploit_key, explore_key, evaluate_key = (trial_key(root, number) for root in roots)
        parents = jnp.arange(plan.trials)
        if functions.exploit is not None:
            chosen = functions.exploit(exploit_key, scores)
            parents = jnp.where(number == 0, parents, chosen.astype(parents.dtype))
            values = _explore(functions, explore_key, parents, values)
            sources = jnp.concatenate([parents, jnp.arange(plan.trials, plan.slots)])
            states = jax.tree.map(lambda leaf: leaf[sources], states)

        def advance_member(keys: tuple[Array, Array], row: tuple) -> tuple[State, Metrics]:
            step_key, evaluate_key = keys
            member, slot, state, values = row

            def train(state: State) -> tuple[State, Metrics]:
                member_key = trial_key(trial_key(step_key, member), number)
                state = as_state(functions.step(member_key, state, **values), "step")
                return state, _evaluate(functions, evaluate_key, state, values)

            def skip(state: State) -> tuple[State, Metrics]:
                metrics = jax.eval_shape(train, state)[1]
                return state, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), metrics)

            return lax.cond(slot < plan.trials, train, skip, state) if is_padded else train(state)

        padded_ids, padded_values = _pad((members, values), plan)
        rows = (padded_ids, jnp.arange(plan.slots), states, padded_values)
        states, metrics = _for_each(advance_member, plan)((step_root, evaluate_key), rows)
        return parents, states, values, metrics

    return run_round


def _explore(functions: Functions, key: Array, parents: Array, values: Values) -> Values:
    """The parents' hyperparameters, changed for members that took over from another one."""
    replaced = parents != jnp.arange(len(parents))
    values = {name: array[parents] for name, array in values.items()}
    for position, (name, function) in enumerate(functions.explore):
        keys = jax.random.split(trial_key(key, position), len(parents))
        changed = jax.vmap(function)(keys, values[name])
        values[name] = jnp.where(replaced, changed.astype(values[name].dtype), values[name])
    return values


def _for_each(call: Callable, plan: Plan) -> Callable:
    """`(common, rows [slots, ...])`: each device runs `call(common, row)` for its own slots."""

    def share(common: Any, rows: Any) -> Any:
        each = partial(call, common)
        return lax.map(each, rows) if plan.strategy == "map" else jax.vmap(each)(rows)

    return plan.spread(share)


def _root_keys(data: Array, plan: Plan) -> tuple[Array, ...]:
    """Keys for initial states, steps, exploitation, exploration and evaluation."""
    return tuple(jax.random.split(plan.key.wrap(data), 5))


def _pad(tree: Any, plan: Plan) -> Any:
    """Arrays [n, ...] as [slots, ...]."""
    return jax.tree.map(lambda array: array[padded_members(plan)], tree)
