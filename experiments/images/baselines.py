"""Classifiers of images without a neural network, for comparison."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from experiments.vision.digits import Digits


def logistic_regression(train: Digits, images: np.ndarray) -> np.ndarray:
    """Fits a linear model of the pixels. Returns: int [M], the digits in `images` [M, 28, 28]."""
    model = LogisticRegression(C=0.03, max_iter=300)  # the best C of a few on validation data
    return model.fit(_pixels(train.images), train.labels).predict(_pixels(images))


def support_vector_machine(train: Digits, images: np.ndarray) -> np.ndarray:
    """Fits a support vector machine with a Gaussian kernel. Returns: int [M], as above."""
    model = SVC(C=10.0, gamma=0.02)
    return model.fit(_pixels(train.images), train.labels).predict(_pixels(images))


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255.0
