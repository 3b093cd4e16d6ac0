"""Recurrent PPO on the CPU: the same agent with a layer of grujax and with a scanned Flax cell.

The training is that of `experiments.memory_rl`, on its memory chain. The core of the agent is a
`grujax.linen.GRU`, which runs a whole sequence in one call, or a "ScannedRNN", as in PureJaxRL:
`nn.scan` over `flax.linen.GRUCell`, with a reset before each step. Both start from the same
weights. The table has the least times of

    acting      T steps of the agent and the environments, one at a time, and the advantages
    updates     all gradients of an iteration and their updates: 4 passes of up to 4 minibatches
    iteration   both
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from tqdm import tqdm

from experiments.common.report import format_table
from experiments.common.report.timing import Run, time_interleaved
from experiments.memory_rl import GRUCore, Settings, ppo_phases, ppo_training


class ScannedRNN(nn.Module):
    """A core for `experiments.memory_rl` on `flax.linen.GRUCell`."""

    features: int

    @nn.compact
    def __call__(self, carry: Array, xs: Array, resets: Array) -> tuple[Array, Array]:
        """carry [B, H], xs [T, B, I], resets [T, B] -> the last state, and all [T, B, H]."""

        def step(cell: nn.Module, h: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            x, reset = inputs
            return cell(jnp.where(reset[:, None], 0.0, h), x)

        run = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        return run(nn.GRUCell(self.features, name="cell"), carry, (xs, resets))

    @nn.nowrap
    def initialize_carry(self, batch: int) -> Array:
        """Zeros [B, H]."""
        return jnp.zeros((batch, self.features))


CORES = {"grujax": GRUCore, "flax.linen": ScannedRNN}


def make_settings(environments: int, steps: int = 128, hidden_size: int = 128) -> Settings:
    """One iteration of B environments, T steps and H units; three rows of the table."""
    return Settings(
        num_envs=environments,
        steps=steps,
        hidden_size=hidden_size,
        minibatches=min(4, environments),
        updates=1,
        updates_per_epoch=1,
    )


QUICK_SHAPES = (make_settings(16), make_settings(64))
SHAPES = (make_settings(1), *QUICK_SHAPES, make_settings(16, steps=1024))


class Programs(NamedTuple):
    """The compiled phases of a contestant; a call returns what its phase returns."""

    acting: Run
    updates: Run
    iteration: Run


def compile_programs(contestant: str, settings: Settings) -> Programs:
    """Compiles the phases, which start from the same weights for all contestants."""
    key = jax.random.key(0)
    phases = ppo_phases(settings, core=CORES[contestant])
    state = jax.jit(phases.init)(key)
    drawn = jax.jit(ppo_phases(settings, core=ScannedRNN).init)(key).params
    state = state._replace(params=share_weights(drawn, state.params))

    acting = _compile(phases.collect, state, key)
    _, batch = acting()
    updates = _compile(phases.learn, state, batch, key)
    iteration = _compile(ppo_training(settings, core=CORES[contestant]).epoch, state)
    return Programs(acting, updates, iteration)


def share_weights(params: Any, other: Any) -> Any:
    """`params` of an agent in the structure of `other`, with the other core."""
    return jax.tree.unflatten(jax.tree.structure(other), jax.tree.leaves(params))


def _compile(function: Callable[..., Any], *arguments: Any) -> Run:
    compiled = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def report_rl(seconds: float, shapes: Sequence[Settings]) -> str:
    """A table of the least milliseconds of each phase, and of Flax's time divided by grujax's.

    Args:
        seconds: of timing for each phase of a shape.
        shapes: three rows of the table for each, see `make_settings`.
    """
    rows = []
    for shape in tqdm(shapes, desc="benchmark", unit="shape"):
        programs = {name: compile_programs(name, shape) for name in CORES}
        for phase in Programs._fields:
            runs = {name: getattr(programs[name], phase) for name in CORES}
            times = time_interleaved(runs, seconds)
            ours, flax = (1e3 * float(np.min(times[name])) for name in CORES)
            size = f"{shape.num_envs} environments, T{shape.steps} H{shape.hidden_size}"
            rows.append([f"{size}, {phase}", f"{ours:.3g}", f"{flax:.3g}", f"{flax / ours:.2f}"])
    header = [*(f"{name} ms" for name in CORES), "flax.linen / grujax"]
    return format_table(["recurrent PPO", *header], rows)
