"""A GRU that tells whether a sentence is negative, neutral or positive, in plain Flax and Optax.

The data are those of `experiments.sentiment`, which does the same with everything that improves
it. This file shows the steps, from sentences to a trained model, and nothing else.

    python -m experiments.tutorial         half a minute on 2 CPU cores, to an accuracy of 58%
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.data import text
from experiments.sentiment import vader
from experiments.tutorial.settings import Command
from grujax.linen import GRU


class Classifier(nn.Module):
    """Words, a GRU that reads them, and three classes."""

    num_words: int
    hidden_size: int

    @nn.compact
    def __call__(self, words, lengths):
        """words [B, T] and the number of words of each sentence [B] -> logits [B, 3]."""
        xs = nn.Embed(self.num_words, self.hidden_size)(words)  # [B, T, I]
        h_last, _ = GRU(self.hidden_size)(xs, lengths=lengths)  # [B, H], after the last word
        return nn.Dense(3)(h_last)


def main(command: Command) -> None:
    """Trains a classifier, and prints its accuracy on sentences that it has not seen."""
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, num_folds=5, validation_parts=4, seed=0)[0]
    tokens = [text.word_forms(sentence) for sentence in sentences.texts]
    vocabulary = text.build_vocabulary([tokens[i] for i in split.train], min_count=2)
    ids = {word: i for i, word in enumerate(vocabulary, start=2)}  # 0: padding, 1: unknown

    def encode(indices):
        rows = [[ids.get(word, text.UNKNOWN) for word in tokens[i]] for i in indices]
        lengths = np.array([min(len(row), command.max_words) for row in rows])
        return text.pad(rows, command.max_words), lengths, sentences.labels[indices]

    model = Classifier(len(vocabulary) + 2, command.hidden_size)
    optimizer = optax.adam(command.learning_rate)

    def loss(params, words, lengths, labels):
        logits = model.apply(params, words, lengths)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def train_step(params, state, batch):
        value, gradient = jax.value_and_grad(loss)(params, *batch)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    @jax.jit
    def accuracy(params, words, lengths, labels):
        return jnp.mean(model.apply(params, words, lengths).argmax(-1) == labels)

    train, validation, test = map(encode, split)
    params = model.init(jax.random.key(command.seed), train[0][:1], train[1][:1])
    state = optimizer.init(params)
    shuffle = np.random.default_rng(command.seed)
    for epoch in range(command.epochs):
        order = shuffle.permutation(len(train[0]))
        for i in range(0, len(order) - command.batch_size + 1, command.batch_size):
            batch = [array[order[i : i + command.batch_size]] for array in train]
            params, state, value = train_step(params, state, batch)
        correct = accuracy(params, *validation)
        print(f"epoch {epoch + 1}: loss {value:.2f}, validation {correct:.1%}")
    most_frequent = np.bincount(test[2]).max() / len(test[2])
    print(f"test {accuracy(params, *test):.1%}, the most frequent class alone {most_frequent:.1%}")
