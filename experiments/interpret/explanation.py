"""Explains a prediction of the sentiment classifier by gradients, occlusion and gates."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments import sentiment
from experiments.common.data import text
from experiments.common.rivals.settings import require_gru
from experiments.common.training.models import load_model
from experiments.sentiment import WordEmbedding
from grujax import analysis
from grujax.linen import StackedGRU

# parts of the input, and the classifier's names
INPUTS = {
    "features": "token_features",
    "sentence": "sentence_features",
    "ngrams": "ngram_weights",
}


class Explanation(NamedTuple):
    """A prediction, and the contribution of each of the T tokens."""

    tokens: list[str]
    probabilities: np.ndarray  # [3]
    attention: np.ndarray  # [T], sums to 1
    gradients: np.ndarray  # [T], integrated
    sentence: np.ndarray  # [], integrated, for VADER's scores of the whole sentence
    ngrams: np.ndarray  # [], integrated, for the n-grams of the whole sentence
    completeness_error: np.ndarray  # [], of the integrated gradients
    occlusion: np.ndarray  # [T]
    relevance: np.ndarray  # [T], according to the gates
    update_gates: tuple[np.ndarray, ...]  # [T, H] of the top layer, forward and backward


class Model(NamedTuple):
    """A trained classifier, its vocabulary, and whether it uses VADER's lexicon."""

    module: sentiment.Classifier
    params: Any
    vocabulary: list[str]
    lexicon: bool


def load(out: Path) -> Model:
    """Loads what `experiments.sentiment` saved in `out`; raises FileNotFoundError if missing.

    Raises:
      InputError: it has another cell than a GRU.
    """
    path = out / "lexicon-fold0-seed0" / sentiment.MODEL
    params, record, vocabulary = load_model(path, sentiment.COMMAND)
    settings = sentiment.Settings.of(record)
    require_gru(settings.cell, "The explanation")
    module = sentiment.Classifier(settings, len(vocabulary))
    return Model(module, params, vocabulary, record["lexicon"])


def explain(model: Model, sentence: str) -> Explanation:
    """Runs the model on a text and explains its prediction."""
    settings = model.module.settings
    tokens = text.tokenize(sentence)[: settings.max_tokens]
    inputs = sentiment.encode([sentence], model.vocabulary, model.lexicon, settings)
    over_time = ("words", "subwords", "token_features")
    inputs |= {name: inputs[name][:, : len(tokens)] for name in over_time}  # no padding
    compute = jax.jit(partial(compute_explanation, model))  # one program compiles fastest
    return Explanation(tokens, *jax.tree.map(np.asarray, compute(inputs)))


def compute_explanation(model: Model, inputs: dict[str, Array]) -> tuple:
    """All fields of `Explanation` but the tokens."""
    (logits, _, attention), parts = classify(model, inputs)
    contrast = jax.nn.one_hot(logits[0].argmax(), 3) * 1.5 - 0.5  # minus the mean of the others

    def score(parts: dict[str, Array]) -> Array:
        return classify(model, inputs, parts)[0][0][0] @ contrast

    values, _, completeness_error = analysis.integrated_gradients(score, parts)
    ngrams = values["ngrams"].sum() if "ngrams" in values else jnp.zeros(())
    gradients = values["embedded"].sum((0, 2)) + values["features"].sum((0, 2))
    return (
        nn.softmax(logits[0]),
        attention[0],
        gradients,
        values["sentence"].sum(),
        ngrams,
        completeness_error,
        occlude(score, parts),
        *trace_top_layer(model, parts, attention[0], contrast),
    )


def classify(
    model: Model, inputs: dict[str, Array], parts: dict[str, Array] | None = None
) -> tuple[tuple[Array, Array, Array], dict[str, Array]]:
    """Runs the classifier, optionally with other floating-point parts of its input.

    Returns: its outputs (logits, rating, attention), and the parts that it used: "embedded"
    [1, T, E], "features" [1, T, F], "sentence" [1, S] and, if it reads n-grams, "ngrams" [1, M].
    """
    used = {}

    def embed(next_function, arguments, keywords, context):
        if not isinstance(context.module, WordEmbedding) or context.method_name != "__call__":
            return next_function(*arguments, **keywords)
        used["embedded"] = parts["embedded"] if parts else next_function(*arguments, **keywords)
        return used["embedded"]

    if parts:
        inputs = inputs | {INPUTS[name]: part for name, part in parts.items() if name in INPUTS}
    with nn.intercept_methods(embed):
        outputs: Any = model.module.apply(model.params, inputs, train=False)
    used |= {part: inputs[name] for part, name in INPUTS.items() if name in inputs}
    return outputs, used


def occlude(score: Any, parts: dict[str, Array]) -> Array:
    """`analysis.occlusion` [T] of the tokens; scores and n-grams of the sentence do not change."""

    def score_of_tokens(tokens: dict[str, Array]) -> Array:
        batch_major = jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), tokens)
        return score(parts | batch_major)

    tokens = {name: jnp.swapaxes(parts[name], 0, 1) for name in ("embedded", "features")}
    return analysis.occlusion(score_of_tokens, tokens)


def trace_top_layer(
    model: Model, parts: dict[str, Array], attention: Array, contrast: Array
) -> tuple[Array, tuple[Array, ...]]:
    """Gate-based relevance [T], and the update gates [T, H] of the top layer's two directions."""
    settings = model.module.settings
    xs = jnp.concatenate([parts["embedded"], parts["features"]], -1)[0]  # [T, I]
    stack = StackedGRU(settings.hidden_size, num_layers=settings.num_layers, bidirectional=True)
    weights = {"params": model.params["params"]["StackedGRU_0"]}
    layers: Any = stack.apply(weights, xs.shape[-1], method="gru_params")
    top_xs = analysis.layer_inputs(layers, xs)[-1]

    pooled_size = 2 * settings.hidden_size
    kernel = jnp.asarray(model.params["params"]["Dense_0"]["kernel"])[:pooled_size]
    readout = attention[:, None] * (kernel @ contrast)  # [T, 2H]: the weight of each state
    relevance, gates = jnp.zeros(len(xs)), []
    readouts = jnp.split(readout, 2, axis=-1)
    for params, part, reverse in zip(layers[-1], readouts, (False, True), strict=True):
        trace = analysis.trace_gates(params, top_xs, reverse=reverse)
        relevance += analysis.gate_relevance(trace, part, reverse=reverse).sum(-1)
        gates.append(trace.update)
    return relevance, tuple(gates)
