"""Classifiers without a neural network: the majority class, VADER's rule, logistic regression."""

from collections.abc import Iterable
from functools import partial

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union

from experiments.common.data.splits import Split
from experiments.sentiment.phrases import Phrases
from experiments.sentiment.vader import FILMS, Sentences, film_snippets, sentence_features

FILM_WEIGHT = 0.1  # of film snippets in the regressions' loss; better on validation sets than 0.3
PHRASE_WEIGHT = 0.1  # of the phrases; likewise


def predict_baselines(
    sentences: Sentences, split: Split, test_texts: np.ndarray, phrases: Phrases
) -> dict[str, np.ndarray]:
    """The predictions of each baseline for N test texts, int [N].

    They learn from the training and validation sets together, the regressions also from the film
    snippets and the phrases.
    """
    rated = np.concatenate([split.train, split.validation])
    known = np.concatenate([rated, film_snippets(sentences, split.test)])
    weights = np.where(sentences.domains[known] == FILMS, FILM_WEIGHT, 1.0)
    weights = np.concatenate([weights, np.full(len(phrases.texts), PHRASE_WEIGHT)])
    texts = np.concatenate([sentences.texts[known], phrases.texts])
    labels = np.concatenate([sentences.labels[known], phrases.labels])
    majority = np.bincount(sentences.labels[rated]).argmax()
    scores, test_scores = sentence_features(texts), sentence_features(test_texts)
    regression = partial(tfidf_logistic_regression, texts, labels, test_texts, weights=weights)
    return {
        "majority class": np.full(len(test_texts), majority),
        "VADER's rule": vader_rule(test_scores),
        "TF-IDF + logistic regression": regression(),
        "TF-IDF + VADER's scores + logistic regression": regression(scores, test_scores),
    }


def vader_rule(scores: np.ndarray) -> np.ndarray:
    """VADER's published rule: compound >= 0.05 is positive, <= -0.05 negative, else neutral.

    Args:
      scores: [N, 4], from `sentence_features`.

    Returns: int [N]: 0 negative, 1 neutral, 2 positive.
    """
    compound = scores[:, 0]
    return np.where(compound >= 0.05, 2, np.where(compound <= -0.05, 0, 1))


def tfidf_logistic_regression(
    train_texts: Iterable[str],
    train_labels: np.ndarray,
    test_texts: Iterable[str],
    train_features: np.ndarray | None = None,
    test_features: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """TF-IDF of words, word pairs and character n-grams, then logistic regression.

    Character n-grams and balanced classes were chosen on validation sets: each helps.

    Args:
      train_texts, train_labels, test_texts: N texts, their classes [N], M texts.
      train_features, test_features: [N, F] and [M, F], dense features to append to the TF-IDF.
      weights: [N], of the texts in the loss; by default 1.

    Returns: int [M], the predicted classes.
    """
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=3
    )
    vectorizer = make_union(words, characters)
    train, test = vectorizer.fit_transform(train_texts), vectorizer.transform(test_texts)
    if train_features is not None and test_features is not None:
        train = hstack([train, csr_matrix(train_features)]).tocsr()
        test = hstack([test, csr_matrix(test_features)]).tocsr()
    model = LogisticRegression(C=1.0, max_iter=500, class_weight="balanced")
    return model.fit(train, train_labels, weights).predict(test)
