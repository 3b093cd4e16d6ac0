"""Forty sentences of our own with negations, contrasts and idioms, and the class of each.

They were written before any model had answered them. Most have words of the opposite sentiment.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.sentiment import vader


class Check(NamedTuple):
    """A sentence that a classifier should get right."""

    kind: str  # "negation", "contrast" or "idiom"
    label: str  # "positive", "negative" or "neutral"
    text: str


CHECKS = (
    Check("negation", "positive", "Not bad at all."),
    Check("negation", "positive", "I have no complaints about this camera."),
    Check("negation", "positive", "You can't go wrong with this one."),
    Check("negation", "positive", "I couldn't be happier with it."),
    Check("negation", "positive", "It never lets me down."),
    Check("negation", "negative", "I can't say I loved it."),
    Check("negation", "negative", "It isn't worth the money."),
    Check("negation", "negative", "The food was not good and the waiters were not friendly."),
    Check("negation", "negative", "Nobody in our family enjoyed the trip."),
    Check("negation", "negative", "I don't recommend it to anyone."),
    Check("negation", "neutral", "It is neither good nor bad."),
    Check("negation", "neutral", "I have not tried the blue one yet."),
    Check("negation", "neutral", "The meeting won't be held on Monday."),
    Check("negation", "neutral", "I wouldn't call it great, but it's not terrible either."),
    Check("contrast", "positive", "Great plot, awful acting, still I'd go again."),
    Check("contrast", "positive", "It looks cheap, but it works perfectly."),
    Check("contrast", "positive", "I was afraid it would break, yet it still runs like new."),
    Check("contrast", "positive", "The start was slow, but the ending is wonderful."),
    Check("contrast", "positive", "Although the delivery took weeks, I love these shoes."),
    Check("contrast", "negative", "Lovely design, but it broke after a week."),
    Check("contrast", "negative", "I wanted to like this phone, but it is useless."),
    Check("contrast", "negative", "The trailer was exciting; the film is a bore."),
    Check("contrast", "negative", "Despite the good reviews, it is the worst hotel I know."),
    Check("contrast", "neutral", "Good camera, bad battery."),
    Check("contrast", "neutral", "Some people love it, some people hate it."),
    Check("contrast", "neutral", "The first half is great and the second half is awful."),
    Check("contrast", "neutral", "It has strengths and weaknesses."),
    Check("idiom", "positive", "This show is a breath of fresh air."),
    Check("idiom", "positive", "She knocked it out of the park."),
    Check("idiom", "positive", "It's the best thing since sliced bread."),
    Check("idiom", "positive", "This little radio punches above its weight."),
    Check("idiom", "positive", "Hats off to the whole crew!"),
    Check("idiom", "negative", "It was money down the drain."),
    Check("idiom", "negative", "This phone is a lemon."),
    Check("idiom", "negative", "The new version leaves a lot to be desired."),
    Check("idiom", "negative", "That talk was like watching paint dry."),
    Check("idiom", "negative", "I wouldn't wish this service on my worst enemy."),
    Check("idiom", "neutral", "It's a mixed bag."),
    Check("idiom", "neutral", "The jury is still out on this one."),
    Check("idiom", "neutral", "It's six of one and half a dozen of the other."),
)
TEXTS = np.array([check.text for check in CHECKS], object)
LABELS = np.array([vader.CLASSES.index(check.label) for check in CHECKS])


def score_checks(answers: Sequence[np.ndarray]) -> dict[str, Any]:
    """Scores the answers of several trainings, each int [40], classes of `vader.CLASSES`.

    Returns: the share that is right, and the share of the trainings that get each sentence wrong,
    of the sentences that at least one gets wrong.
    """
    wrong = np.mean([given != LABELS for given in answers], 0)
    shares = {text: float(share) for text, share in zip(TEXTS, wrong, strict=True) if share}
    return {"check list": float(1 - wrong.mean()), "check list, share wrong": shares}
