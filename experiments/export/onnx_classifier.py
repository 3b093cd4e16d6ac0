"""The sentiment classifier, `experiments.sentiment.Classifier`, as an ONNX model."""

from typing import Any

import numpy as np
import onnx

from experiments.common.data.text import NUM_SUBWORDS, PADDING
from experiments.common.onnx.models import (
    build_model,
    dense_weights,
    input_size,
    read_stack,
    set_metadata,
)
from experiments.sentiment import NGRAM_SCALE, NGRAMS

# In ONNX's textual syntax; {features}, {subwords}, {scores} and {classes} are sizes. Names that are
# read but not defined are weights. The nodes of the GRU, which map xs and lengths to hs, come in
# between. {ngram_inputs} and {add_ngrams} are the linear branch, if the classifier has one.
EMBED = """
embed (int32[B,T] words, int32[B,T,{subwords}] subwords, float[B,T,{features}] token_features)
  => (float[T,B,I] xs)
{{
  word = Gather (word_table, words)
  parts = Gather (subword_table, subwords)
  subword_axis = Constant <value = int64[1] {{2}}> ()
  sum_of_parts = ReduceSum <keepdims = 0> (parts, subword_axis)
  padding = Constant <value = int32 {{0}}> ()
  is_padding = Equal (subwords, padding)
  is_valid = Not (is_padding)
  valid = Cast <to = 1> (is_valid)
  number = ReduceSum <keepdims = 0> (valid, subword_axis)
  one = Constant <value = float {{1}}> ()
  at_least_one = Max (number, one)
  last_axis = Constant <value = int64[1] {{-1}}> ()
  divisor = Unsqueeze (at_least_one, last_axis)
  mean_of_parts = Div (sum_of_parts, divisor)
  embedded = Add (word, mean_of_parts)
  by_row = Concat <axis = -1> (embedded, token_features)
  xs = Transpose <perm = [1, 0, 2]> (by_row)
}}
"""
ANSWER = """
sentiment (float[T,B,W] hs, int32[B] lengths, float[B,{scores}] sentence_features{ngram_inputs})
  => (float[B,{classes}] probabilities, float[B] rating, float[B,T] attention)
{{
  hs_by_row = Transpose <perm = [1, 0, 2]> (hs)
  projected = MatMul (hs_by_row, attention_kernel)
  shifted = Add (projected, attention_bias)
  activated = Tanh (shifted)
  weighted = MatMul (activated, energy_kernel)
  energy_column = Add (weighted, energy_bias)
  energy = Squeeze (energy_column, last_axis)
  energy_shape = Shape (energy)
  zero = Constant <value = int64 {{0}}> ()
  step = Constant <value = int64 {{1}}> ()
  steps = Gather (energy_shape, step)
  time = Range (zero, steps, step)
  lengths_as_int64 = Cast <to = 7> (lengths)
  ends = Unsqueeze (lengths_as_int64, last_axis)
  in_sentence = Less (time, ends)
  masked = Constant <value = float {{-1e9}}> ()
  masked_energy = Where (in_sentence, energy, masked)
  attention = Softmax <axis = -1> (masked_energy)
  step_axis = Constant <value = int64[1] {{1}}> ()
  attention_row = Unsqueeze (attention, step_axis)
  pooled_row = MatMul (attention_row, hs_by_row)
  pooled = Squeeze (pooled_row, step_axis)
  features = Concat <axis = -1> (pooled, sentence_features)
  gru_logits = Gemm (features, class_kernel, class_bias)
  gru_rating = Gemm (features, rating_kernel, rating_bias)
  {add_ngrams}
  probabilities = Softmax <axis = -1> (logits)
  rating = Squeeze (rating_column, last_axis)
}}
"""
NGRAM_INPUTS = ", int32[B,M] ngrams, float[B,M] ngram_weights"
ADD_NGRAMS = """
  ngram_row = Unsqueeze (ngram_weights, step_axis)
  logits_of_ngrams = Gather (class_ngrams, ngrams)
  rating_of_ngrams = Gather (rating_ngrams, ngrams)
  logit_row = MatMul (ngram_row, logits_of_ngrams)
  rating_row = MatMul (ngram_row, rating_of_ngrams)
  ngram_logits = Squeeze (logit_row, step_axis)
  ngram_rating = Squeeze (rating_row, step_axis)
  logits = Add (gru_logits, ngram_logits)
  rating_column = Add (gru_rating, ngram_rating)
"""
ADD_NOTHING = """
  logits = Identity (gru_logits)
  rating_column = Identity (gru_rating)
"""


def build_classifier(params: dict[str, Any], metadata: dict[str, Any]) -> onnx.ModelProto:
    """Builds the whole classifier, from ids to probabilities, mean rating and attention.

    Batch and time are symbolic. The inputs have the names and shapes of the classifier's inputs.

    Args:
      params: all parameters of a `Classifier`.
      metadata: JSON values to store in the model.
    """
    tree = params["params"]
    weights = _weights(tree)
    layers = read_stack(tree["StackedGRU_0"])
    features = input_size(layers) - weights["word_table"].shape[1]
    scores = len(weights["class_kernel"]) - len(weights["attention_kernel"])
    has_ngrams = "class_ngrams" in weights
    model = build_model(
        layers,
        ANSWER.format(
            scores=scores,
            classes=len(weights["class_bias"]),
            ngram_inputs=NGRAM_INPUTS if has_ngrams else "",
            add_ngrams=ADD_NGRAMS if has_ngrams else ADD_NOTHING,
        ),
        weights,
        EMBED.format(subwords=NUM_SUBWORDS, features=features),
        with_lengths=True,
    )
    return set_metadata(model, **metadata)


def _weights(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    """All weights but the GRU's, by the names that EMBED and ANSWER read."""
    embed, pool = tree["WordEmbedding_0"], tree["AttentionPooling_0"]
    subword_table = 2 * np.array(embed["Embed_1"]["embedding"])  # the model adds twice the mean
    subword_table[PADDING] = 0
    dense = {
        "attention": pool["Dense_1"],
        "energy": pool["Dense_0"],  # the outer layer; Flax numbers it first
        "class": tree["Dense_0"],
        "rating": tree["Dense_1"],
    }
    word_table = np.asarray(embed["Embed_0"]["embedding"])
    tables = {"word_table": word_table, "subword_table": subword_table}
    if NGRAMS in tree:
        table = NGRAM_SCALE * np.asarray(tree[NGRAMS]["table"])
        tables |= {"class_ngrams": table[:, :-1], "rating_ngrams": table[:, -1:]}
    return tables | dense_weights(dense)
