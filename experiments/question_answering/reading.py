"""A network that reads a story and a question: GRUs, or other cells, and episodic attention.

The episodic memory follows dynamic memory networks (Kumar et al. 2016,
https://arxiv.org/abs/1506.07285); the fusion layer and the attention features follow Xiong et al.
2016, https://arxiv.org/abs/1603.01417.
"""

import re
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.data.text import PADDING, UNKNOWN, pad
from experiments.common.rivals.layers import last_output, make_layer, make_layers
from experiments.question_answering.stories import Question
from grujax.linen import GRU, BidirectionalGRU


def tokens(sentence: str) -> list[str]:
    """The words of a sentence, and its question mark."""
    return re.findall(r"\w+(?:['’-]\w+)*|\?", sentence.lower())


def encode(questions: Sequence[Question], words: list[str]) -> dict[str, np.ndarray]:
    """Converts N questions to arrays; `words` is the vocabulary in the order of its ids.

    S is the number of sentences of the longest story.

    Returns: the word ids "story" int32 [N, S, W] and "question" int32 [N, Q], their counts
    "story_words" [N, S] and "question_words" [N], and "story_sentences" [N].
    """
    ids = {word: number for number, word in enumerate(words, start=UNKNOWN + 1)}
    asked = [[ids.get(word, UNKNOWN) for word in tokens(q.question)] for q in questions]
    told = [[[ids.get(w, UNKNOWN) for w in tokens(s)] for s in q.story] for q in questions]
    num_sentences = max(map(len, told))
    width = max(len(sentence) for story in told for sentence in story)
    blank: list[list[int]] = [[]] * num_sentences
    stories = np.stack([pad((story + blank)[:num_sentences], width) for story in told])
    question = pad(asked, max(map(len, asked)))
    return {
        "story": stories,
        "question": question,
        "story_words": (stories != PADDING).sum(-1),
        "question_words": (question != PADDING).sum(-1),
        "story_sentences": np.array([len(story) for story in told]),
    }


def latest_relevant(energy: Array) -> Array:
    """Attention weights [..., S] that prefer the latest relevant sentence, from energies [..., S].

    With the relevance g = σ(energy), the weight of sentence i is gᵢ times the product of 1 − gⱼ
    over the later sentences j. It is the contribution of sentence i to the last state of a GRU that
    reads the sentences with the update gate 1 − g.
    """
    forgotten = jax.lax.cumsum(nn.log_sigmoid(-energy), energy.ndim - 1, reverse=True)
    return jnp.exp(nn.log_sigmoid(energy) + forgotten - nn.log_sigmoid(-energy))


class RivalReader(nn.Module):
    """Another cell in the place of the GRUs of `Reader`: each has as many parameters as its GRU.

    A matrix follows each, since the vectors of `Reader` have the size of the GRU.

    Attributes:
      cell: one of RIVALS, but for the GRU.
      features: H.
    """

    cell: str
    features: int

    def setup(self) -> None:
        self.words = make_layer(self.cell, self.features)
        self.sentences = make_layers(self.cell, self.features, bidirectional=True)
        self.of_words = nn.Dense(self.features, use_bias=False)  # so that padding stays zero
        self.of_sentences = nn.Dense(self.features, use_bias=False)

    def read(self, words: Array, lengths: Array) -> Array:
        """Summarizes words [..., W, I], of which `lengths` [...] are valid: [..., H]."""
        carry, _ = self.words(words.reshape(-1, *words.shape[-2:]), lengths=lengths.reshape(-1))
        summary = self.of_words(last_output(self.cell, carry))
        return summary.reshape(*words.shape[:-2], self.features)

    def fuse(self, sentences: Array, lengths: Array) -> Array:
        """Reads sentences [B, S, H], of which `lengths` [B] are valid: [B, S, H]."""
        return self.of_sentences(self.sentences(sentences, lengths=lengths)[1])


class Reader(nn.Module):
    """Encodes sentences and question, adds context, attends in several passes, and answers.

        words of the sentences [B, S, W]          words of the question [B, Q]
          → embedding, GRU [B, S, H]                → the same embedding and GRU [B, H]
          → bidirectional GRU: facts [B, S, H]
          → in each pass, with question and memory: attention [B, S] → context, memory [B, H]
          → the last memory and the question → logits of the answers [B, A]

    Attributes:
      num_words, num_answers: the size of the vocabulary, and the number of possible answers.
      features: H, the size of word vectors, sentence vectors and memory.
      passes: attention passes over the story.
      dropout: the dropout rate of the sentence vectors and of the last memory.
      cell: what reads; a GRU, or what stands in the place of both, see `RivalReader`.
    """

    num_words: int
    num_answers: int
    features: int
    passes: int
    dropout: float
    cell: str = "gru"

    @nn.compact
    def __call__(self, inputs: dict[str, Array], train: bool) -> tuple[Array, Array]:
        """inputs: from `encode`. Returns: logits [B, A], attention [B, passes, S]."""
        size, drop = self.features, nn.Dropout(self.dropout)
        embed = nn.Embed(self.num_words + 2, size)
        length = inputs["story_sentences"]
        if self.cell == "gru":
            gru, both_ways = GRU(size), BidirectionalGRU(size, merge="sum")
            sentences, _ = gru(embed(inputs["story"]), lengths=inputs["story_words"])  # [B, S, H]
            question, _ = gru(embed(inputs["question"]), lengths=inputs["question_words"])  # [B, H]
            fused = both_ways(drop(sentences, not train), lengths=length)[1]
        else:
            rival = RivalReader(self.cell, size)
            sentences = rival.read(embed(inputs["story"]), inputs["story_words"])
            question = rival.read(embed(inputs["question"]), inputs["question_words"])
            fused = rival.fuse(drop(sentences, not train), length)
        facts = sentences + fused  # [B, S, H]
        valid = jnp.arange(facts.shape[1]) < length[:, None]

        memory, attention = question, []
        weights = jnp.zeros(facts.shape[:2])
        for _ in range(self.passes):
            guides = question[:, None], memory[:, None]
            features = [x for a in guides for x in (facts * a, jnp.abs(facts - a))]
            is_later = jnp.cumsum(weights, axis=1)  # 0 before the last attended sentence, 1 after
            features.append(jnp.stack([weights, is_later], -1))
            energy = nn.Dense(1)(nn.tanh(nn.Dense(size)(jnp.concatenate(features, -1))))[..., 0]
            weights = latest_relevant(jnp.where(valid, energy, -1e9))  # [B, S]
            context = jnp.einsum("bs,bsh->bh", weights, facts)  # [B, H]
            memory = nn.relu(nn.Dense(size)(jnp.concatenate([memory, context, question], -1)))
            attention.append(weights)
        answer = jnp.concatenate([drop(memory, not train), question], -1)
        return nn.Dense(self.num_answers)(answer), jnp.stack(attention, 1)
