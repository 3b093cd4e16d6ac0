"""The command, end to end on tiny agents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import training
from experiments.common.command import InputError
from experiments.common.report.intervals import interval
from experiments.memory_rl import ppo
from experiments.memory_rl.play import held_until
from experiments.memory_rl.report import Result, describe, make_table
from experiments.memory_rl.seeds import side_by_side
from experiments.memory_rl.settings import Command, Settings
from experiments.memory_rl.train import main

SIZES = {
    "memory_length": 2,
    "hidden_size": 4,
    "num_envs": 4,
    "steps": 6,
    "updates": 4,
    "updates_per_epoch": 2,
    "passes": 1,
    "minibatches": 1,
}


@pytest.mark.slow
def test_the_command_trains_resumes_and_plays(tmp_path, capsys):
    command = Command(Settings(**SIZES), seeds=2, out=tmp_path)
    main(command)
    printed = capsys.readouterr().out
    for name in ("gru", "no memory", "last 4 observations", "random actions", "optimum"):
        assert f"\n{name} " in printed
    out = tmp_path / "memory_chain"
    assert (out / "returns.png").read_bytes().startswith(b"\x89PNG")
    assert len((out / "gru" / "metrics.jsonl").read_text().splitlines()) == 2
    results = (out / "results.json").read_bytes()

    main(command)
    assert "already trained (2 epochs" in capsys.readouterr().err
    assert (out / "results.json").read_bytes() == results

    main(Command(out=tmp_path, play=True))
    printed = capsys.readouterr().out
    assert printed.startswith("step   0  sees  1.00")
    assert "of 4 units hold what step 0 wrote" in printed


@pytest.mark.slow
def test_lengths_are_compared(tmp_path, capsys):
    main(Command(Settings(**SIZES, cell="none"), seeds=1, lengths=(1, 2), out=tmp_path))
    assert "\nReturn by the length of the memory:\n" in capsys.readouterr().out
    assert (tmp_path / "memory_chain" / "lengths.png").exists()


def test_what_cannot_be_trained_is_one_line(tmp_path):
    with pytest.raises(InputError, match="must be a multiple of `minibatches`"):
        main(Command(Settings(num_envs=5), out=tmp_path))


@pytest.mark.slow
def test_seeds_side_by_side_are_those_alone():
    settings = ppo.Settings(**SIZES)
    plan = ppo.ppo_training(settings)
    both, metrics = jax.jit(lambda key: training.train(side_by_side(plan, 2), key))(
        jax.random.key(0)
    )
    keys = jax.random.split(jax.random.split(jax.random.key(0))[1], 2)
    for seed, key in enumerate(keys):
        alone, single = jax.jit(lambda key: training.train(plan, key))(key)
        for got, want in zip(
            jax.tree.leaves(both.carried.params), jax.tree.leaves(alone.params), strict=True
        ):
            np.testing.assert_allclose(got[seed], want, atol=1e-4)
        np.testing.assert_allclose(metrics[f"mean_return_{seed}"], single["mean_return"], atol=1e-5)
    assert both.epoch == plan.epochs


def test_the_interval_is_that_of_student():
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert abs(interval(values) - 2.776 * 2.5**0.5 / 5**0.5) < 1e-3
    assert interval(values[:1]) == 0


def test_a_row_has_the_last_epoch_and_the_new_episodes():
    result = Result("gru", np.array([[0.0, 0.0], [0.5, 0.7]]), np.array([0.8, 1.0]), 12, 500, 2.0)
    row = describe(result)
    assert row[0] == "gru"
    assert row[1:3] == ["12", "0.600 ± 1.271"]
    assert row[3:] == ["0.900 ± 1.271", "0.800", "500"]
    assert "optimum" not in make_table([result], -0.5, None)


def test_a_unit_holds_until_half_is_gone():
    update = jnp.array([[0.0, 0.5, 1.0], [0.9, 0.4, 1.0], [0.6, 1.0, 1.0], [0.9, 1.0, 1.0]])
    assert held_until(np.asarray(update)).tolist() == [2, 0, 3]
