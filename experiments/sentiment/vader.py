"""VADER: its rated sentences, its word lists and its scores.

Reference: Hutto and Gilbert, 2014, "VADER: a parsimonious rule-based model for sentiment analysis
of social media text". The archive holds its authors' four collections of rated sentences.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from vaderSentiment.vaderSentiment import BOOSTER_DICT, NEGATE, SentimentIntensityAnalyzer

from experiments.common.data import Archive, fetch, read_member
from experiments.common.data.splits import Split, merge_groups, stratified_group_splits
from experiments.common.data.text import encode_words, tokenize, word_form

ARCHIVE = Archive(
    "vaderSentiment==3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
MEMBERS = (
    "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
    "hutto_ICWSM_2014/{}_GroundTruth.txt",  # lines: document_sentence, mean rating, text
)
RATED = ("tweets", "Amazon", "NYT")  # the 13,098 sentences of the task
FILMS = "films"  # 10,605 more snippets, only 5% of them neutral
FILES = {
    "tweets": "tweets",
    "Amazon": "amazonReviewSnippets",
    "NYT": "nytEditorialSnippets",
    FILMS: "movieReviewSnippets",
}
CLASSES = ("negative", "neutral", "positive")
_ANALYZER = SentimentIntensityAnalyzer()


class Sentences(NamedTuple):
    """N rated sentences."""

    texts: np.ndarray  # str [N]
    ratings: np.ndarray  # float [N], mean over raters, -4 to 4
    labels: np.ndarray  # int [N], 0, 1, 2: mean rating <= -0.5, between, >= 0.5
    domains: np.ndarray  # str [N]
    groups: np.ndarray  # int [N]: the same for equal documents or equal texts


def read_sentences() -> Sentences:
    """Reads the sentences of all four collections from the archive."""
    content = fetch(ARCHIVE)
    rows = []
    for domain, name in FILES.items():
        lines = read_member(content, MEMBERS[0], MEMBERS[1].format(name)).decode("utf-8-sig")
        rows += [(domain, *line.split("\t")) for line in lines.splitlines() if line.strip()]
    texts = [row[3] for row in rows]
    ratings = np.array([float(row[2]) for row in rows])
    documents = [(row[0], row[1].split("_")[0]) for row in rows]
    return Sentences(
        texts=np.array(texts, object),
        ratings=ratings,
        labels=np.where(ratings >= 0.5, 2, np.where(ratings <= -0.5, 0, 1)),
        domains=np.array([row[0] for row in rows]),
        groups=merge_groups(documents, [plain_words(text) for text in texts]),
    )


def split_rated(
    sentences: Sentences, num_folds: int, validation_parts: int, seed: int
) -> list[Split]:
    """Splits all sentences except the film snippets, see `stratified_group_splits`."""
    rated = np.flatnonzero(sentences.domains != FILMS)
    labels, groups = sentences.labels[rated], sentences.groups[rated]
    splits = stratified_group_splits(labels, groups, num_folds, validation_parts, seed)
    return [Split(*(rated[part] for part in split)) for split in splits]


def film_snippets(sentences: Sentences, unseen: np.ndarray) -> np.ndarray:
    """The increasing indices of the film snippets that share no group with the rows `unseen`."""
    groups = sentences.groups[unseen]
    is_film = sentences.domains == FILMS
    return np.flatnonzero(is_film & ~np.isin(sentences.groups, groups))


def plain_words(text: str) -> str:
    """The words of a text without case and punctuation, to find duplicates."""
    return " ".join(form for form in map(word_form, tokenize(text)) if form[0].isalnum()) or text


def soft_labels(ratings: np.ndarray, width: float) -> np.ndarray:
    """The class probabilities [N, 3] if the mean ratings [N] have normal noise of sd `width`."""
    below, above = norm.cdf((-0.5 - ratings) / width), norm.cdf((ratings - 0.5) / width)
    return np.stack([below, 1 - below - above, above], -1).astype(np.float32)


def sentence_features(texts: Iterable[str]) -> np.ndarray:
    """VADER's scores: compound (-1 to 1), positive, negative, neutral. Returns: float32 [N, 4]."""
    names = ("compound", "pos", "neg", "neu")
    scores = map(_ANALYZER.polarity_scores, texts)
    rows = [[score[name] for name in names] for score in scores]
    return np.array(rows, np.float32).reshape(-1, len(names))


def token_features(sentences: Sequence[Sequence[str]], length: int) -> np.ndarray:
    """The features of each token in VADER's word lists, for N tokenized sentences, T = `length`.

    Returns: float32 [N, T, 4]: valence / 2 (-2 to 2), listed, negation, booster (-1 to 1).
    """
    features = np.zeros((len(sentences), length, 4), np.float32)
    for i, tokens in enumerate(sentences):
        for t, token in enumerate(tokens[:length]):
            word = token.lower()
            valence = _ANALYZER.lexicon.get(word, 0.0)
            negation = word in NEGATE or word.endswith("n't")
            booster = BOOSTER_DICT.get(word, 0.0) * 3
            features[i, t] = valence / 2, word in _ANALYZER.lexicon, negation, booster
    return features


def encode(
    texts: Iterable[str], vocabulary: Sequence[str], lexicon: bool, length: int, buckets: int
) -> dict[str, np.ndarray]:
    """Converts N texts to a classifier's inputs.

    Returns: the arrays of `text.encode_words`, T = `length`, with `case` replaced by:
      token_features: [N, T, 2], the case; with `lexicon` [N, T, 6]: also `token_features`.
      sentence_features: [N, 0]; with `lexicon` [N, 4]: `sentence_features`.
    """
    tokens = [tokenize(text) for text in texts]
    inputs = encode_words(tokens, vocabulary, length, buckets)
    features, scores = [inputs.pop("case")], np.zeros((len(tokens), 0), np.float32)
    if lexicon:
        features.append(token_features(tokens, length))
        scores = sentence_features(texts)
    inputs["token_features"] = np.concatenate(features, -1)
    inputs["sentence_features"] = scores
    return inputs
