"""Classifiers without a neural network, to compare with."""

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union


def tfidf_logistic_regression(
    train_texts: Iterable[str],
    train_labels: np.ndarray,
    test_texts: Iterable[str],
    train_features: np.ndarray | None = None,
    test_features: np.ndarray | None = None,
) -> np.ndarray:
    """TF-IDF of words, word pairs and parts of words, then logistic regression.

    The choices were made on validation sets of the sentiment experiment: parts of words and
    balanced classes each make it stronger there.

    Args:
      train_texts, train_labels, test_texts: N texts, their classes [N], M texts.
      train_features, test_features: [N, F] and [M, F], dense features put beside the TF-IDF.

    Returns: int [M], the predicted classes.
    """
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    parts = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=3)
    vectorizer = make_union(words, parts)
    train, test = vectorizer.fit_transform(train_texts), vectorizer.transform(test_texts)
    if train_features is not None and test_features is not None:
        train = hstack([train, csr_matrix(train_features)]).tocsr()
        test = hstack([test, csr_matrix(test_features)]).tocsr()
    model = LogisticRegression(C=1.0, max_iter=500, class_weight="balanced")
    return model.fit(train, train_labels).predict(test)


def word_count_logistic_regression(
    train_texts: Iterable[str], train_labels: np.ndarray, test_texts: Iterable[str]
) -> np.ndarray:
    """Counts of words, which are what lies between spaces, then logistic regression.

    Args:
      train_texts, train_labels, test_texts: N texts, their classes [N], M texts.

    Returns: [M], the predicted classes.
    """
    counts = CountVectorizer(token_pattern=r"\S+")
    model = LogisticRegression(solver="newton-cg")
    model.fit(counts.fit_transform(train_texts), train_labels)
    return model.predict(counts.transform(test_texts))
