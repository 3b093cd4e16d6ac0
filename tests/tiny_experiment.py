"""A small experiment that tests start as a command: a GRU adds up what it sees.

Its sequences differ in length, and the loss is a mean over steps: rows weigh differently.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import grujax
from experiments.common import loop, training
from experiments.common.command import run_command
from experiments.common.gradients import Mean
from experiments.common.metrics import read_records

ROWS, STEPS, HIDDEN = 64, 6, 4


def make_training(epochs=3, batch_size=16) -> training.Training:
    xs_key, length_key = jax.random.split(jax.random.key(7))
    xs = jax.random.normal(xs_key, (ROWS, STEPS, 1))
    examples = {"xs": xs, "lengths": jax.random.randint(length_key, ROWS, 1, STEPS + 1)}

    def init_params(key):
        return {"gru": grujax.init_gru(key, 1, HIDDEN), "out": jnp.full(HIDDEN, 0.1, jnp.float32)}

    def error(params, batch, key):
        xs = batch["xs"]
        keep = 1.0 if key is None else jax.random.bernoulli(key, 0.8, xs.shape)
        inputs = (keep * xs).swapaxes(0, 1).astype(params["out"].dtype)
        _, hs = grujax.gru(params["gru"], inputs, lengths=batch["lengths"])
        exists = jnp.arange(STEPS)[:, None] < batch["lengths"]
        errors = (hs @ params["out"] - xs[..., 0].T.cumsum(0)) ** 2
        return Mean(jnp.where(exists, errors, 0).sum(), exists.sum())

    return training.make_training(
        init_params=init_params,
        loss=error,
        evaluate=lambda params: {"score": -error(params, examples, None).value()},
        score="score",
        optimizer=optax.sgd(0.1, momentum=0.9),
        examples=examples,
        batch_size=batch_size,
        epochs=epochs,
        patience=epochs,
    )


@dataclass(frozen=True)
class Command:
    epochs: int = 3
    batch_size: int = 16
    pause: float = 0.0  # seconds after each epoch
    out: Path = Path("runs/tiny")


def main(command: Command) -> None:
    print("training")
    save = loop.Checkpoints.save

    def save_and_wait(self, epoch, state):
        save(self, epoch, state)
        time.sleep(command.pause)

    loop.Checkpoints.save = save_and_wait
    plan = make_training(command.epochs, command.batch_size)
    settings = {"epochs": command.epochs, "batch_size": command.batch_size}
    state = loop.run(plan, jax.random.key(0), command.out / "run", settings, "tiny")
    leaves = enumerate(jax.tree.leaves(state.best_params))
    assert len(read_records(command.out / "run" / loop.METRICS)) == command.epochs
    np.savez(command.out / "run" / "best.npz", **{str(number): leaf for number, leaf in leaves})
    print("done")


if __name__ == "__main__":
    run_command(main, Command, __doc__, trains=True)
