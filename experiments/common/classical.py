"""Classifiers without a neural network, to compare with."""

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression


def tfidf_logistic_regression(
    train_texts: Iterable[str],
    train_labels: np.ndarray,
    test_texts: Iterable[str],
    train_features: np.ndarray | None = None,
    test_features: np.ndarray | None = None,
) -> np.ndarray:
    """TF-IDF of words and word pairs, then logistic regression. Returns: int [len(test_texts)].

    Args:
      train_texts, train_labels, test_texts: N texts, their classes [N], M texts.
      train_features, test_features: [N, F] and [M, F], dense features put beside the TF-IDF.
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    train, test = vectorizer.fit_transform(train_texts), vectorizer.transform(test_texts)
    if train_features is not None and test_features is not None:
        train = hstack([train, csr_matrix(train_features)]).tocsr()
        test = hstack([test, csr_matrix(test_features)]).tocsr()
    return LogisticRegression(C=2.0, max_iter=500).fit(train, train_labels).predict(test)
