"""Why the sentiment model says so: a page that explains its answer to any sentence.

    python -m experiments.sentiment                       trains the model first: 3 minutes
    python -m experiments.interpret --text "not bad at all, I would buy it again"

It takes a few seconds and writes runs/interpret/report.html, which needs nothing but a browser: the
tokens coloured by what they contribute, the update gates of both directions, and all numbers. What
is explained is the logit of the answer less the mean of the other two classes, in three ways:

    integrated gradients    from blank tokens to these ones; adds up to the score (within 1%)
    occlusion               by how much the score falls when one token is blanked
    gates                   what each token wrote into the state, and the gates kept until it was
                            read; attention and gates are taken as given

They answer different questions, so they may disagree; a word's own entry in VADER's lexicon is part
of its token, and VADER's verdict on the whole sentence, which the model also reads, is a line of
its own.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments import sentiment
from experiments.common.command import run_command
from experiments.common.data import text
from experiments.common.training.models import load_model
from experiments.interpret import html_report
from experiments.sentiment import vader
from experiments.sentiment.modules import WordEmbedding
from grujax import analysis
from grujax.linen import StackedGRU


class Explanation(NamedTuple):
    """An answer, and what each of the T tokens has to do with it."""

    tokens: list[str]
    probabilities: np.ndarray  # [3]
    attention: np.ndarray  # [T], sums to 1
    gradients: np.ndarray  # [T], integrated
    sentence: np.ndarray  # [], of VADER's scores of the whole sentence, by the same gradients
    completeness_error: np.ndarray  # [], of the integrated gradients
    occlusion: np.ndarray  # [T]
    relevance: np.ndarray  # [T], by the gates
    update_gates: tuple[np.ndarray, ...]  # of the top layer, [T, H], forward and backward


class Model(NamedTuple):
    """The trained classifier and what belongs to it."""

    module: sentiment.Classifier
    params: Any
    vocabulary: list[str]
    lexicon: bool


def load(out: Path) -> Model:
    """Loads what `experiments.sentiment` saved in `out`; raises FileNotFoundError if nothing."""
    path = out / "lexicon-fold0-seed0" / sentiment.MODEL
    params, record, vocabulary = load_model(path, sentiment.COMMAND)
    settings = sentiment.Settings(**record["settings"])
    module = sentiment.Classifier(settings, len(vocabulary))
    return Model(module, params, vocabulary, record["lexicon"])


def explain(model: Model, sentence: str) -> Explanation:
    """Asks the model and looks inside it."""
    settings = model.module.settings
    tokens = text.tokenize(sentence)[: settings.max_tokens]
    inputs = sentiment.encode([sentence], model.vocabulary, model.lexicon, settings)
    over_time = ("words", "subwords", "token_features")
    inputs |= {name: inputs[name][:, : len(tokens)] for name in over_time}  # no padding
    look = jax.jit(partial(look_inside, model))  # compiled at once, which is faster than piecewise
    return Explanation(tokens, *jax.tree.map(np.asarray, look(inputs)))


def look_inside(model: Model, inputs: dict[str, Array]) -> tuple:
    """All fields of `Explanation` but the tokens."""
    (logits, _, attention), parts = answer(model, inputs)
    contrast = jax.nn.one_hot(logits[0].argmax(), 3) * 1.5 - 0.5  # less the mean of the others

    def score(parts: dict[str, Array]) -> Array:
        return answer(model, inputs, parts)[0][0][0] @ contrast

    values, _, completeness_error = analysis.integrated_gradients(score, parts)
    gradients = values["embedded"].sum((0, 2)) + values["features"].sum((0, 2))
    return (
        nn.softmax(logits[0]),
        attention[0],
        gradients,
        values["sentence"].sum(),
        completeness_error,
        occlude(score, parts),
        *look_at_gates(model, parts, attention[0], contrast),
    )


def answer(
    model: Model, inputs: dict[str, Array], parts: dict[str, Array] | None = None
) -> tuple[tuple[Array, Array, Array], dict[str, Array]]:
    """What the classifier returns, and the floating-point parts of its input: "embedded" [1, T, E],
    "features" [1, T, F] and "sentence" [1, S]. Given parts take the place of the input's own."""
    seen = {}

    def embed(next_function, arguments, keywords, context):
        if not isinstance(context.module, WordEmbedding) or context.method_name != "__call__":
            return next_function(*arguments, **keywords)
        seen["embedded"] = parts["embedded"] if parts else next_function(*arguments, **keywords)
        return seen["embedded"]

    if parts:
        own = {"token_features": parts["features"], "sentence_features": parts["sentence"]}
        inputs = inputs | own
    with nn.intercept_methods(embed):
        answered: Any = model.module.apply(model.params, inputs, train=False)
    given = {"features": inputs["token_features"], "sentence": inputs["sentence_features"]}
    return answered, seen | given


def occlude(score: Any, parts: dict[str, Array]) -> Array:
    """`analysis.occlusion` of the tokens; the sentence's own scores stay as they are."""

    def score_of_tokens(tokens: dict[str, Array]) -> Array:
        batch_major = jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), tokens)
        return score(parts | batch_major)

    tokens = {name: jnp.swapaxes(parts[name], 0, 1) for name in ("embedded", "features")}
    return analysis.occlusion(score_of_tokens, tokens)


def look_at_gates(
    model: Model, parts: dict[str, Array], attention: Array, contrast: Array
) -> tuple[Array, tuple[Array, ...]]:
    """Gate-based relevance [T], and the top layer's update gates of both directions."""
    settings = model.module.settings
    xs = jnp.concatenate([parts["embedded"], parts["features"]], -1)[0]  # [T, I]
    stack = StackedGRU(settings.hidden_size, num_layers=settings.num_layers, bidirectional=True)
    weights = {"params": model.params["params"]["StackedGRU_0"]}
    layers: Any = stack.apply(weights, xs.shape[-1], method="gru_params")
    top_xs = analysis.layer_inputs(layers, xs)[-1]

    pooled_size = 2 * settings.hidden_size
    kernel = jnp.asarray(model.params["params"]["Dense_0"]["kernel"])[:pooled_size]
    readout = attention[:, None] * (kernel @ contrast)  # [T, 2H]: how each state counts
    relevance, gates = jnp.zeros(len(xs)), []
    readouts = jnp.split(readout, 2, axis=-1)
    for params, part, reverse in zip(layers[-1], readouts, (False, True), strict=True):
        trace = analysis.trace_gates(params, top_xs, reverse=reverse)
        relevance += analysis.gate_relevance(trace, part, reverse=reverse).sum(-1)
        gates.append(trace.update)
    return relevance, tuple(gates)


def report(sentence: str, found: Explanation) -> str:
    """The page."""
    answered = vader.CLASSES[int(found.probabilities.argmax())]
    colours = "Red speaks for the answer, blue against it; hover for the number."
    ways = {
        "integrated gradients": found.gradients,
        "occlusion": found.occlusion,
        "gates": found.relevance,
        "attention": found.attention,
    }
    notes = {
        "integrated gradients": f"They add up to the score within {found.completeness_error:.2%}; "
        f"VADER's scores of the whole sentence contribute {found.sentence:+.2f}. {colours}",
        "occlusion": "By how much the score falls when a token is blanked.",
        "gates": "What each token wrote into the state, and the gates kept until it was read.",
        "attention": "The weight with which each token's state is read.",
    }
    sections = [
        html_report.quote(sentence),
        html_report.chances(vader.CLASSES, found.probabilities),
    ]
    for name, values in ways.items():
        coloured = html_report.coloured_tokens(found.tokens, values)
        sections.append(html_report.section(name.capitalize(), notes[name], coloured))
    for name, gate in zip(("forward", "backward"), found.update_gates, strict=True):
        note = "Full colour keeps the state, blank overwrites it; a row is a unit, slow ones above."
        drawn = html_report.heat_map(found.tokens, gate, f"update gates, {name}")
        sections.append(html_report.section(f"Update gates, {name}", note, drawn))
    table = html_report.numbers(found.tokens, ways)
    sections.append(html_report.section("Numbers", "Contributions to the score, by token.", table))
    return html_report.page(f"Why {answered}?", sections)


@dataclass(frozen=True)
class Command:
    """Explains what the trained sentiment model says of a text."""

    text: str = sentiment.EXAMPLES[1]  # what to explain
    model: Path = Path("runs/sentiment")  # where experiments.sentiment wrote
    out: Path = Path("runs/interpret")  # where the report is written


def main(command: Command) -> None:
    """Runs the command."""
    found = explain(load(command.model), command.text)
    command.out.mkdir(parents=True, exist_ok=True)
    path = command.out / "report.html"
    path.write_text(report(command.text, found), encoding="utf-8")
    answered = int(found.probabilities.argmax())
    print(f"{vader.CLASSES[answered]} {found.probabilities[answered]:.0%}")
    order = np.argsort(-np.abs(found.gradients))[:5]
    print(
        "because of:  " + "  ".join(f"{found.tokens[t]} {found.gradients[t]:+.2f}" for t in order)
    )
    print(f"The whole explanation is in {path}.")


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__)
