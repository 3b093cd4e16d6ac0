"""Recurrent PPO where the observation does not say enough: what memory is worth.

Agents with a GRU, without memory, and with a stack of the last four observations learn the same
task with the same algorithm, which `ppo.py` has in one file. `--environment` names the task:

    memory_chain            a bit is shown, and asked for after --memory-length steps (bsuite)
    repeat_previous_easy    name the card of three steps before; also _medium and _hard (POPGym)
    repeat_first_easy, autoencode_easy, count_recall_easy                             (POPGym)
    cartpole, pendulum      the positions alone are seen (POPGym); cartpole_full, pendulum_full: all
    umbrella_chain, bernoulli_bandit, meta_maze                  by gymnax, of the extra `rl`

    python -m experiments.memory_rl                    the memory chain, 64 steps, five seeds
    python -m experiments.memory_rl --quick            a chain of 8 steps, one seed
    python -m experiments.memory_rl --environment cartpole --updates 120    positions alone
    python -m experiments.memory_rl --lengths 4 8 16 32 64 128    the return by the chain's length
    python -m experiments.memory_rl --play             an episode of the trained GRU, step by step

Expected of the memory chain: the GRU answers right in every seed, a return of 1; without memory,
and with the last four observations, the return is that of a coin, 0.

Writes returns.png, results.json, the table and for each core a run with its checkpoints and the
agents of all seeds to runs/memory_rl/ENVIRONMENT, and resumes there if interrupted.
"""

from dataclasses import asdict, replace
from pathlib import Path

import jax
import numpy as np
from flax.serialization import from_state_dict, to_state_dict

from experiments.common.command import InputError
from experiments.common.outputs import write_results, write_text
from experiments.common.provenance import command_line
from experiments.common.report import format_table
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.memory_rl.environments import Environment, make_environment
from experiments.memory_rl.play import play
from experiments.memory_rl.ppo import evaluate, ppo_training
from experiments.memory_rl.report import Result, make_table, plot_lengths, plot_returns
from experiments.memory_rl.seeds import side_by_side
from experiments.memory_rl.settings import Command, Settings
from grujax.baselines import count_parameters

COMMAND = "python -m experiments.memory_rl"
MODEL = "agents.msgpack"
EPISODES = 200  # new ones, for the reported return of a seed
BASELINES = ("none", "frames")
NAMES = {"none": "no memory", "frames": "last {} observations"}


def train_agents(
    settings: Settings, environment: Environment, seeds: int, directory: Path
) -> Result:
    """Trains agents with several seeds side by side, saves them, and lets each play."""
    record = {"settings": asdict(settings), "seeds": seeds}
    plan = side_by_side(ppo_training(settings, environment), seeds)
    state = loop.run(plan, jax.random.key(0), directory, record, directory.name)
    params = state.carried.params
    save_model(directory / MODEL, to_state_dict(params), record, [])

    score = jax.vmap(lambda params, key: evaluate(settings, params, key, EPISODES, environment))
    returns = jax.jit(score)(params, jax.random.split(jax.random.key(1), seeds))
    records = read_records(directory / loop.METRICS)
    names = [f"mean_return_{seed}" for seed in range(seeds)]
    times = [epoch["seconds"] for epoch in read_records(directory / loop.TIMES)]
    return Result(
        name=NAMES.get(settings.cell, settings.cell).format(settings.frames),
        curves=np.array([[epoch[name] for name in names] for epoch in records]),
        returns=np.asarray(returns).mean(axis=1),
        parameters=count_parameters(params) // seeds,
        steps_per_epoch=settings.num_envs * settings.steps * settings.updates_per_epoch,
        seconds=float(np.median(times)),
    )


def random_return(environment: Environment) -> float:
    """The mean return of random actions: those of an untrained policy without memory, sampled."""
    settings = Settings(cell="none", num_envs=64, steps=4 * environment.max_steps)
    settings = replace(settings, learning_rate=0.0, updates=1, updates_per_epoch=1, passes=1)
    plan = ppo_training(settings, environment)
    state = jax.jit(plan.init)(jax.random.key(2))
    return float(jax.jit(lambda state: plan.epoch(state)[1]["mean_return"])(state))


def compare_cores(settings: Settings, seeds: int, out: Path) -> list[Result]:
    """Trains agents with the core of the settings and the baselines, prints and draws returns."""
    environment = make_environment(settings.environment, settings.memory_length)
    results = [
        train_agents(replace(settings, cell=cell), environment, seeds, out / cell)
        for cell in dict.fromkeys((settings.cell, *BASELINES))
    ]
    table = make_table(results, random_return(environment), environment.optimum)
    number = "one seed" if seeds == 1 else f"{seeds} seeds, mean and 95% interval"
    print(f"\n{settings.environment}, {number}:\n{table}")
    write_text(out / "table.txt", table + "\n")
    write_results(
        out / "results.json",
        {result.name: {"returns": result.returns.tolist()} for result in results},
    )
    plot_returns(out / "returns.png", results, environment.optimum)
    return results


def compare_lengths(settings: Settings, lengths: tuple[int, ...], seeds: int, out: Path) -> None:
    """Trains agents on memory chains of several lengths, and prints and draws their returns."""
    returns: dict[str, dict[int, np.ndarray]] = {}
    for length in lengths:
        # A rollout of two whole episodes.
        chain = replace(settings, memory_length=length, steps=2 * (length + 1))
        for result in compare_cores(chain, seeds, out / str(length)):
            returns.setdefault(result.name, {})[length] = result.returns
    rows = [
        [name, *(f"{values.mean():.3f}" for values in by_length.values())]
        for name, by_length in returns.items()
    ]
    print(f"\nReturn by the length of the memory:\n{format_table(['', *map(str, lengths)], rows)}")
    plot_lengths(out / "lengths.png", returns)


def play_saved(settings: Settings, out: Path, seed: int) -> str:
    """Plays an episode with the first saved agent of `settings.cell`."""
    stacked, record, _ = load_model(out / settings.cell / MODEL, COMMAND)
    settings = Settings(**record["settings"])
    environment = make_environment(settings.environment, settings.memory_length)
    like = jax.eval_shape(ppo_training(settings, environment).init, jax.random.key(0)).params
    first = jax.tree.map(lambda x: x[0], stacked)
    return play(settings, environment, from_state_dict(like, first), seed)


def main(command: Command) -> None:
    """Runs the command."""
    settings, out = command.settings, command.out / command.settings.environment
    try:
        ppo_training(settings)
    except (ValueError, ImportError) as error:
        raise InputError(str(error)) from error
    if command.play:
        print(play_saved(settings, out, command.play_seed))
    elif command.lengths:
        compare_lengths(settings, command.lengths, command.seeds, out)
    else:
        compare_cores(settings, command.seeds, out)
        print(f"\nAgents and returns.png are in {out}. Try: {command_line(COMMAND, '--play')}")
