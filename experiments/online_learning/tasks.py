"""Five tasks in one form: a stream that is cut into windows, with one update after each window.

copy       copy memory, see `experiments.memory.copy_memory`: a window is a sequence
adding     the adding problem, see `experiments.memory.adding`: a window is a sequence
digits     classify a digit, four pixels at each step: a window is a picture
flip_flop  the 3-bit flip-flop, see `experiments.flip_flop`: a stream without end
recall     keep a bit until it is asked for: a stream without end. There are more steps from a bit
           to its question than in a window, so no path within one window joins them

In a stream the state passes from window to window; in the other tasks it begins anew in each.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from experiments.flip_flop import BITS, draw_sequences
from experiments.memory import adding, copy_memory
from experiments.online_learning.settings import Settings, Split, TaskName
from experiments.vision import digits

SIDE, PIXELS = 14, 4  # digits are shrunk to 14 × 14 pixels, and read 4 at a time
RECALL_INPUTS = 3  # the bit, a mark beside it, and the question


class Window(NamedTuple):
    """Some steps of B rows. Several windows have one more axis, before the others."""

    xs: Array  # [T, B, I]
    targets: Array  # [T, B] or [T, B, O]
    weights: Array  # [T, B], of the losses; zero where nothing is asked


Draw = Callable[[Split, Array, int, int], Window]  # (split, key, N, B) -> N windows in order


class Task(NamedTuple):
    """A task for a network with linear outputs [O]."""

    draw: Draw
    losses: Callable[[Array, Array], Array]  # (outputs [..., O], targets [...]) -> [...]
    errors: Callable[[Array, Array], Array]  # the same
    steps: int  # T, of a window
    input_size: int  # I
    num_outputs: int  # O
    guessing: float  # the mean error of the best answer that ignores the input
    is_stream: bool = False  # the state passes from window to window
    history: int = 0  # earlier windows through which BPTT goes back


def make_task(name: TaskName, settings: Settings) -> Task:
    """Builds a task; "digits" downloads the pictures if they are not cached yet."""
    makers: dict[TaskName, Callable[[Settings], Task]] = {
        "copy": _make_copy,
        "adding": _make_adding,
        "digits": _make_digits,
        "flip_flop": _make_flip_flop,
        "recall": _make_recall,
    }
    return makers[name](settings)


def _make_copy(settings: Settings) -> Task:
    delay, symbols = settings.copy_delay, settings.copy_symbols
    steps, classes = copy_memory.num_steps(delay, symbols), copy_memory.ALPHABET

    def draw(split: Split, key: Array, num: int, rows: int) -> Window:
        xs, answers = copy_memory.draw_batch(key, delay, symbols, num * rows)
        return _split_rows(xs, answers, num)

    size = copy_memory.INPUT_SIZE
    return Task(draw, _cross_entropies, _are_wrong, steps, size, classes, 1 - 1 / classes)


def _make_adding(settings: Settings) -> Task:
    def draw(split: Split, key: Array, num: int, rows: int) -> Window:
        xs, sums = adding.draw_batch(key, settings.adding_steps, num * rows)
        return _split_rows(xs, sums[None], num)

    def losses(outputs: Array, targets: Array) -> Array:
        return (outputs[..., 0] - targets) ** 2

    def errors(outputs: Array, targets: Array) -> Array:
        return 6 * losses(outputs, targets)  # the targets' variance is 1/6

    return Task(draw, losses, errors, settings.adding_steps, 2, 1, 1.0)


def _make_digits(settings: Settings) -> Task:
    del settings
    splits = digits.split_three_ways(digits.read_digits())._asdict()
    steps = SIDE * SIDE // PIXELS

    def draw(split: Split, key: Array, num: int, rows: int) -> Window:
        images, labels = splits[split]
        chosen = jax.random.randint(key, (num * rows,), 0, len(labels))
        pixels = jnp.asarray(digits.as_pixels(images, SIDE))[chosen] / 255.0
        xs = pixels.reshape(num * rows, steps, PIXELS).swapaxes(0, 1)
        return _split_rows(xs, jnp.asarray(labels)[chosen][None], num)

    size = digits.CLASSES
    return Task(draw, _cross_entropies, _are_wrong, steps, PIXELS, size, 1 - 1 / size)


def _make_flip_flop(settings: Settings) -> Task:
    steps = settings.window

    def draw(split: Split, key: Array, num: int, rows: int) -> Window:
        pulses, memory = draw_sequences(key, rows, num * steps, settings.pulse_rate)
        xs, targets = pulses.swapaxes(0, 1), memory.swapaxes(0, 1)
        return _split_time(Window(xs, targets, jnp.full(xs.shape[:2], 1 / steps)), num)

    def losses(outputs: Array, targets: Array) -> Array:
        return ((outputs - targets) ** 2).mean(-1)

    def errors(outputs: Array, targets: Array) -> Array:
        return jnp.where(outputs * targets > 0, 0.0, 1.0).mean(-1)  # NaN is wrong, too

    history = settings.history
    return Task(draw, losses, errors, steps, BITS, BITS, 0.5, is_stream=True, history=history)


def _make_recall(settings: Settings) -> Task:
    lag, steps = settings.recall_lag, settings.window

    def draw(split: Split, key: Array, num: int, rows: int) -> Window:
        """Each row shows a new bit every `lag` steps, and asks for it at the last of them."""
        bit_key, phase_key = jax.random.split(key)
        total = num * steps
        time = jnp.arange(total)[:, None] + jax.random.randint(phase_key, (rows,), 0, lag)
        bits = jax.random.rademacher(bit_key, (total // lag + 2, rows), jnp.float32)
        bit = jnp.take_along_axis(bits, time // lag, axis=0)
        is_shown, is_asked = time % lag == 0, time % lag == lag - 1
        is_known = jnp.arange(total)[:, None] >= lag - 1  # the stream has shown the bit
        xs = jnp.stack([jnp.where(is_shown, bit, 0), is_shown, is_asked], -1)
        weights = jnp.where(is_asked & is_known, lag / steps, 0.0)  # about one per window
        return _split_time(Window(xs, bit, weights), num)

    def losses(outputs: Array, targets: Array) -> Array:
        return jax.nn.softplus(-outputs[..., 0] * targets)

    def errors(outputs: Array, targets: Array) -> Array:
        return jnp.where(outputs[..., 0] * targets > 0, 0.0, 1.0)

    sizes, history = (RECALL_INPUTS, 1), -(-lag // steps)
    return Task(draw, losses, errors, steps, *sizes, 0.5, is_stream=True, history=history)


def join(windows: Window, is_stream: bool) -> Window:
    """N windows [N, T, B, ...] as one: of a stream [N·T, B, ...], otherwise [T, N·B, ...]."""
    if is_stream:
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), windows)
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(x.shape[1], -1, *x.shape[3:]), windows)


def _split_time(stream: Window, num: int) -> Window:
    """A stream [N·T, B, ...] as N windows [N, T, B, ...]."""
    return jax.tree.map(lambda x: x.reshape(num, -1, *x.shape[1:]), stream)


def _split_rows(xs: Array, answers: Array, num: int) -> Window:
    """Sequences [T, N·B, I], whose answers [S, N·B] are due at the last S steps, as N windows."""
    targets = jnp.zeros(xs.shape[:2], answers.dtype).at[-len(answers) :].set(answers)
    weights = jnp.zeros(xs.shape[:2]).at[-len(answers) :].set(1 / len(answers))
    rows = Window(xs, targets, weights)
    return jax.tree.map(lambda x: x.reshape(len(x), num, -1, *x.shape[2:]).swapaxes(0, 1), rows)


def _cross_entropies(outputs: Array, targets: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)


def _are_wrong(outputs: Array, targets: Array) -> Array:
    return jnp.where(outputs.argmax(-1) == targets, 0.0, 1.0)
