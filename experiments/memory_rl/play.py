"""One episode of a trained agent as text, and the units of a GRU that keep the first observation.

What a unit wrote at the first step remains in its state, multiplied by every later update gate. A
unit holds it while at least half of it remains.
"""

from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.memory_rl import ppo
from experiments.memory_rl.environments import Environment
from experiments.memory_rl.ppo import Settings, begin, make_network
from grujax.analysis import GateTrace, gate_relevance, trace_gates

UNITS = 8  # that are printed


def play(settings: Settings, environment: Environment, params: Any, seed: int) -> str:
    """Plays an episode with the most likely actions, and describes it."""
    network = make_network(settings, environment, None)
    reset_key, key = jax.random.split(jax.random.key(seed))
    act = partial(ppo.act, environment, network, params, greedy=True)
    keys = jax.random.split(key, environment.max_steps)
    _, rollout = jax.jit(
        lambda: jax.lax.scan(act, begin(environment, network, reset_key, 1), keys)
    )()
    rollout = rollout._replace(carries=())
    ends = np.asarray(rollout.terminated | rollout.truncated)[:, 0]
    steps = jax.tree.map(lambda x: np.asarray(x)[: ends.argmax() + 1, 0], rollout)
    lines = [
        f"step {t:3d}  sees {_numbers(seen)}  does {action:.3g}  gets {reward:+.3f}"
        for t, (seen, action, reward) in enumerate(
            zip(steps.observations, steps.actions, steps.rewards, strict=True)
        )
    ]
    lines.append(f"return {steps.rewards.sum():.3f}, {len(steps.rewards)} steps")
    if settings.cell == "gru":
        xs = network.apply(params, steps.observations, method="encode")
        gru = network.apply(params, method="gru_params")
        lines.append(describe_units(trace_gates(gru, xs)))
    return "\n".join(lines)


def held_until(update: np.ndarray) -> np.ndarray:
    """Per unit the last step at which half of what the first step wrote remains: [T, H] -> [H]."""
    remaining = np.cumprod(update[1:], axis=0)
    return np.sum(remaining >= 0.5, axis=0)


def describe_units(trace: GateTrace) -> str:
    """Which units still have most of what the first step wrote at the end, and how long."""
    remains = np.asarray(gate_relevance(trace))[0]
    held, last = held_until(np.asarray(trace.update)), len(trace.update) - 1
    most = np.argsort(-np.abs(remains), kind="stable")[:UNITS]
    units = [f"  unit {i:3d}  {remains[i]:+.2f}, held until step {held[i]}" for i in most]
    return "\n".join(
        [
            f"{np.sum(held == last)} of {len(held)} units hold what step 0 wrote to step {last}. "
            "By the gates, this remains of it:",
            *units,
        ]
    )


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:5.2f}" for value in values)
