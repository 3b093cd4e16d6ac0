"""Questions about stories: GRUs read the sentences, episodic attention finds those that matter.

A story tells who went where and took or dropped what; six kinds of question ask for one, two or
three of its sentences at once, for a count, for a list, for yes or no. One network learns all six
from questions and answers alone. A GRU reads each sentence, a second one, in both directions, the
sentences of the story; then the network goes over the story three times. Each time attention,
guided by the question and by what was found before, picks sentences, and the memory is updated.

    python -m experiments.question_answering                     16 minutes on 2 busy CPU cores
    python -m experiments.question_answering --quick             2 minutes: it begins to learn
    python -m experiments.question_answering --ask "Where is the milk?" --story "John went to the
        kitchen. John took the milk. John moved to the garden."

Measured: right answers to 1,000 questions of each task, about stories that are not in the training
set. One supporting fact 100.0%, two 99.9%, three 92.0%, yes or no 100.0%, counting 99.8%, lists
100.0%; a bag of words has 35 to 63%. In some pass the network looks most at the one sentence that
decides, always, and at 94% of the two. What it takes is that attention knows where it looked
before: without that, two facts stayed at 74%.

The episodic memory is that of dynamic memory networks (Kumar et al. 2016,
https://arxiv.org/abs/1506.07285; Xiong et al. 2016, https://arxiv.org/abs/1603.01417, whose fusion
layer and features of attention are used here).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jax import Array

from experiments.common import training
from experiments.common.command import run_command
from experiments.common.data.text import build_vocabulary
from experiments.common.report import format_table, plots
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.question_answering.reading import Reader, encode, tokens
from experiments.question_answering.scores import attended_support, baselines, right_by_task
from experiments.question_answering.stories import ANSWERS, TASKS, Question, draw_questions

COMMAND = "python -m experiments.question_answering"
MODEL = "model.msgpack"
MINUTES = 16  # of the default settings on 2 busy CPU cores
STORY = "John went to the kitchen. John took the milk. John moved to the garden."
ASKED = "Where is the milk?"


@dataclass(frozen=True)
class Settings:
    """What determines a trained network."""

    hidden_size: int = 64  # of words, sentences and the memory
    passes: int = 3  # over the story
    num_examples: int = 15_000  # training questions of each task
    batch_size: int = 64
    epochs: int = 12
    learning_rate: float = 4e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 1e-4
    max_gradient_norm: float = 1.0
    dropout: float = 0.1  # of the sentences' vectors and of the last memory


def make_reader(settings: Settings, words: list[str]) -> Reader:
    """The network of these sizes."""
    return Reader(
        len(words),
        len(ANSWERS),
        features=settings.hidden_size,
        passes=settings.passes,
        dropout=settings.dropout,
    )


def answer(model: Reader, params: Any, inputs: dict[str, Any]) -> tuple[Array, Array]:
    """The answers' numbers [N], and the attention [N, passes, S]."""
    read = partial(model.apply, params, train=False)
    logits, attention = training.map_batches(read, inputs, batch_size=128)
    return logits.argmax(-1), attention


def make_training(
    settings: Settings, words: list[str], train: Sequence[Question], held_out: Sequence[Question]
) -> training.Training:
    """Builds the training of the network on all tasks at once."""
    model = make_reader(settings, words)

    def examples_of(questions: Sequence[Question]) -> dict[str, Array]:
        answers = np.array([ANSWERS.index(q.answer) for q in questions])
        return jax.tree.map(jnp.asarray, encode(questions, words) | {"answer": answers})

    examples, validation = examples_of(train), examples_of(held_out)

    def loss(params: Any, batch: dict[str, Array], key: Array) -> Array:
        outputs: Any = model.apply(params, batch, train=True, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(outputs[0], batch["answer"]).mean()

    def evaluate(params: Any) -> dict[str, Array]:
        right = answer(model, params, validation)[0] == validation["answer"]
        return {"validation_accuracy": right.mean()}

    return training.make_usual_training(
        settings,
        init_params=lambda key: model.init(key, {k: v[:1] for k, v in examples.items()}, False),
        loss=loss,
        evaluate=evaluate,
        score="validation_accuracy",
        examples=examples,
    )


def experiment(settings: Settings, num_test: int, out: Path) -> None:
    """Trains the network, and compares it with the baselines on stories that nobody has seen."""
    print(f"Training one network: {MINUTES} minutes by default, on 2 busy CPU cores.")
    train, held_out, test = draw_questions((settings.num_examples, num_test, num_test), seed=0)
    words = build_vocabulary(tokens(x) for q in train for x in (*q.story, q.question))
    record = {"settings": asdict(settings)}
    plan = make_training(settings, words, train, held_out)
    state = loop.run(plan, jax.random.key(0), out / "network", record, "network")
    save_model(out / MODEL, state.best_params, record, words)

    given, attention = ask(settings, words, state.best_params, test)
    answers = baselines(train, test) | {"episodic attention": given}
    scores = {name: right_by_task(test, row) for name, row in answers.items()}
    support = {
        task: attended_support(
            [q for q in test if q.task == task],
            attention[np.array([q.task == task for q in test])],
        )
        for task in TASKS
    }
    scores["its attention: needed sentences found"] = support
    columns = list(scores)
    rows = [[task, *(f"{scores[name][task]:.1%}" for name in columns)] for task in TASKS]
    print(f"\n{format_table(['right answers', *columns], rows)}")
    (out / "results.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    report_plots(test, given, attention, out)
    print(f'\nPlots and the model are in {out}. Try: {COMMAND} --ask "{ASKED}" --story "{STORY}"')


def report_plots(test: Sequence[Question], given: Sequence[str], attention: np.ndarray, out: Path):
    """Draws the learning curve, and where the network looked for a question of each task."""
    records = {"network": read_records(out / "network" / loop.METRICS)}
    plots.plot_learning_curves(out / "learning_curves.png", records, "validation_accuracy")
    examples = []
    for task in TASKS:
        chosen = [i for i, q in enumerate(test) if q.task == task and 5 <= len(q.story) <= 10]
        for i in chosen[:1]:
            title = f"{task}\n{test[i].question}\n{given[i]}"
            weights = attention[i, :, : len(test[i].story)]
            examples.append((title, test[i].story, weights, test[i].support))
    plots.plot_episodes(out / "attention.png", examples)


def ask(
    settings: Settings, words: list[str], params: Any, questions: Sequence[Question]
) -> tuple[list[str], np.ndarray]:
    """Asks a trained network. Returns: its N answers, and its attention [N, passes, S]."""
    model = make_reader(settings, words)
    numbers, attention = jax.jit(partial(answer, model))(params, encode(questions, words))
    return [ANSWERS[number] for number in numbers], np.asarray(attention)


def predict(out: Path, story: str, question: str) -> str:
    """The saved network's answer to a question about a story, and where it looked."""
    params, record, words = load_model(out / MODEL, COMMAND)
    sentences = tuple(part.strip() for part in story.split(".") if part.strip())
    if not sentences or not tokens(question):
        raise SystemExit("error: `--ask` needs a question, and `--story` one sentence or more.")
    unknown = {word for text in (*sentences, question) for word in tokens(text)} - set(words)
    if unknown:
        raise SystemExit(
            f"error: the network does not know {', '.join(sorted(unknown))}. "
            f"It knows {', '.join(sorted(words))}."
        )
    asked = Question("", sentences, f"{question.strip(' ?')} ?", "", ())
    [given], [attention] = ask(Settings(**record["settings"]), words, params, [asked])
    width = max(map(len, sentences))
    lines = [
        f"{sentence:{width}}  " + "  ".join(f"{weight:4.0%}" for weight in weights)
        for sentence, weights in zip(sentences, attention.T, strict=True)
    ]
    passes = "  ".join(f"  {i + 1}." for i in range(len(attention)))
    return "\n".join([given, f"{'looked at, in each pass':{width}}  {passes}", *lines])


@dataclass(frozen=True)
class Command:
    """Trains the network and compares it with baselines, or asks a trained one."""

    settings: tyro.conf.OmitArgPrefixes[Settings] = Settings()
    num_test: int = 1000  # test and validation questions of each task
    quick: bool = False  # fewer questions and epochs: not enough to learn the tasks
    out: Path = Path("runs/question_answering")  # where everything is written
    ask: str | None = None  # a question to answer with the saved network, instead of training
    story: str = STORY  # the sentences that the question is about, each ended by a full stop


def main(command: Command) -> None:
    """Runs the command."""
    if command.ask is not None:
        print(predict(command.out, command.story, command.ask))
        return
    settings = command.settings
    if command.quick:
        settings = replace(settings, num_examples=5000, epochs=5)
    experiment(settings, command.num_test, command.out)


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__, trains=True)
