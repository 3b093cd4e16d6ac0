"""Sweeps on the CPU: trainings per second of `sweep.run`, compared with handwritten loops.

64 trainings of a small GRU on the adding problem, with different keys and learning rates:

    native   `grujax.sweep.run` with the native kernel and one CPU device per core
    sweep    the same with the scan
    loop     a Python loop over the jitted training with the scan
    naive    a jitted `jax.vmap` over the training with `flax.linen.RNN(GRUCell)`

Each contestant has its own process, because the number of CPU devices is fixed when JAX starts. The
loop uses JAX's default, one device with all cores. With this default the naive vmap can hang on two
cores: Flax draws the orthogonal weights of all trials by three QRs on batches of matrices, which
deadlock with jaxlib 0.10.0 to 0.11.0 unless XLA has more threads than that. With more devices it
has more threads, so the naive vmap gets several and uses the first. Only one process works at a
time. Each compiles first; then they take turns in rounds.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

import jax
import numpy as np
from tqdm import tqdm

import grujax
from experiments.common.report import format_table
from experiments.common.training.devices import available_cores
from experiments.memory import adding
from grujax import sweep

TRIALS = 64
NAIVE_DEVICES = 4  # it uses only the first, see above
TIMEOUT = 60.0  # seconds until a process counts as hung; a turn takes a few
CONTESTANTS = ("native", "sweep", "loop", "naive")


@dataclass(frozen=True)
class Shape:
    """The size of each training; one row of the table."""

    steps: int  # T
    batch_size: int  # B
    hidden_size: int  # H
    updates: int  # optimizer steps

    def __str__(self) -> str:
        return f"T{self.steps} B{self.batch_size} I2 H{self.hidden_size}, {self.updates} updates"


SHAPES = (Shape(50, 16, 16, 40), Shape(100, 32, 32, 20), Shape(100, 32, 64, 10))


def grujax_train(implementation: str, shape: Shape, key, learning_rate):
    """One training with `grujax.gru`, with metrics as `adding.train` returns them."""
    return adding.train(
        key,
        partial(grujax.init_gru, input_size=2, hidden_size=shape.hidden_size),
        lambda params, xs: grujax.gru(params, xs, implementation=implementation)[0],
        shape.hidden_size,
        learning_rate,
        steps=shape.steps,
        batch_size=shape.batch_size,
        updates=shape.updates,
    )


def flax_train(shape: Shape, key, learning_rate):
    """The same training with `flax.linen.RNN(GRUCell)`."""
    from flax import linen

    layer = linen.RNN(linen.GRUCell(shape.hidden_size), time_major=True, return_carry=True)
    xs = np.zeros((shape.steps, shape.batch_size, 2), np.float32)
    return adding.train(
        key,
        lambda key: layer.init(key, xs),
        lambda params, xs: layer.apply(params, xs)[0],
        shape.hidden_size,
        learning_rate,
        steps=shape.steps,
        batch_size=shape.batch_size,
        updates=shape.updates,
    )


def make_run(contestant: str, shape: Shape) -> Callable[[], np.ndarray]:
    """Returns a function that runs all trials and returns their errors `[TRIALS]`."""
    key = jax.random.key(0)
    rates = np.geomspace(1e-4, 1e-1, TRIALS).astype(np.float32)
    keys = jax.vmap(partial(sweep.trial_key, key))(np.arange(TRIALS))
    if contestant in ("native", "sweep"):
        train = partial(grujax_train, "native" if contestant == "native" else "scan", shape)
        trials = {"learning_rate": rates}
        return lambda: sweep.run(train, trials, key=key, progress=False).metrics["error"]
    if contestant == "loop":
        train_one = jax.jit(partial(grujax_train, "scan", shape))

        def loop():
            results = [train_one(key, rate) for key, rate in zip(keys, rates, strict=True)]
            return np.array([result["error"] for result in results])

        return loop
    train_all = jax.jit(jax.vmap(partial(flax_train, shape)))
    return lambda: np.asarray(train_all(keys, rates)["error"])


def work(contestant: str, shape: Shape, cores: int, pipe: Connection) -> None:
    """A contestant's process: compiles, then runs on each request and sends back the seconds."""
    jax.config.update("jax_platforms", "cpu")
    if contestant != "loop":
        jax.config.update("jax_num_cpu_devices", NAIVE_DEVICES if contestant == "naive" else cores)
    run = make_run(contestant, shape)
    run()  # compiles
    while pipe.recv():
        start = time.perf_counter()
        run()
        pipe.send(time.perf_counter() - start)


class Contestant:
    """A process that waits for its turns, and is replaced if it hangs."""

    def __init__(self, name: str, shape: Shape, cores: int):
        self.arguments = (name, shape, cores)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(*self.arguments, other))
        self.process.start()
        other.close()

    def take_turn(self) -> float:
        """Runs all trials once, after compilation. Returns: seconds."""
        self.pipe.send(True)
        while not self.pipe.poll(TIMEOUT):
            print(f"{self.arguments[0]} hangs; restarting its process.", file=sys.stderr)
            self.process.kill()
            self.process.join()
            self._start()
            self.pipe.send(True)
        return self.pipe.recv()

    def end(self) -> None:
        """Ends the process."""
        self.pipe.send(False)
        self.process.join()


def measure(
    shape: Shape, rounds: int, cores: int, names: Sequence[str] = CONTESTANTS
) -> dict[str, np.ndarray]:
    """Times all contestants in turns. Returns: the seconds for all trials, `[rounds]` each."""
    contestants = {name: Contestant(name, shape, cores) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    order = np.random.default_rng(0)
    for _ in range(rounds):
        for name in order.permutation(list(names)):
            seconds[name].append(contestants[name].take_turn())
    for contestant in contestants.values():
        contestant.end()
    return {name: np.array(values) for name, values in seconds.items()}


def report_sweeps(
    rounds: int, shapes: Sequence[Shape] = SHAPES, contestants: Sequence[str] = CONTESTANTS
) -> str:
    """Measures every shape. Returns: a table of trainings per second, and ratios of medians."""
    pairs = [("naive", "native"), ("naive", "sweep"), ("loop", "sweep")]
    pairs = [(slow, fast) for slow, fast in pairs if fast in contestants]
    rows = []
    for shape in tqdm(shapes, desc="benchmark", unit="shape"):
        seconds = measure(shape, rounds, available_cores(), contestants)
        medians = {name: float(np.median(values)) for name, values in seconds.items()}
        speeds = [f"{TRIALS / medians[name]:.1f}" for name in contestants]
        ratios = [f"{medians[slow] / medians[fast]:.2f}" for slow, fast in pairs]
        rows.append([str(shape), *speeds, *ratios])
    header = [f"{TRIALS} trainings", *(f"{name}/s" for name in contestants)]
    return format_table([*header, *(f"{fast} : {slow}" for slow, fast in pairs)], rows)
