"""Explains a prediction of the sentiment model in an HTML page.

    python -m experiments.sentiment                       trains the model first: 3 minutes
    python -m experiments.interpret --text "not bad at all, I would buy it again"

It takes a few seconds and writes runs/interpret/report.html, which any browser can show: tokens
colored by their contribution, the update gates of both directions, and all numbers. The score to
explain is the logit of the predicted class minus the mean of the other two, in three ways:

    integrated gradients    along a line from blank tokens; they add up to the score (within 1%)
    occlusion               how much the score decreases when one token is blanked
    gates                   what each token wrote into the state and the gates kept until it was
                            read; attention and gates are taken as given

They answer different questions, so they can disagree. A word's entry in VADER's lexicon is part of
its token. VADER's scores and the n-grams of the whole sentence, which the model also reads, are
shown separately.
"""

import numpy as np

from experiments.common.outputs import write_text
from experiments.interpret.explanation import explain, load
from experiments.interpret.html_report import format_report
from experiments.interpret.settings import Command
from experiments.sentiment import vader


def main(command: Command) -> None:
    """Runs the command."""
    explanation = explain(load(command.model), command.text)
    path = command.out / "report.html"
    write_text(path, format_report(command.text, explanation))
    predicted = int(explanation.probabilities.argmax())
    print(f"{vader.CLASSES[predicted]} {explanation.probabilities[predicted]:.0%}")
    strongest = np.argsort(-np.abs(explanation.gradients))[:5]
    contributions = (f"{explanation.tokens[t]} {explanation.gradients[t]:+.2f}" for t in strongest)
    print("because of:  " + "  ".join(contributions))
    print(f"The full explanation is in {path}.")
