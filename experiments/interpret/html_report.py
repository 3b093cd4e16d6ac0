"""The explanation as an HTML page: colored tokens, heat maps of gates, and numbers.

The page is one file without scripts, external fonts or images, and has a light and a dark theme.
All text is escaped by `html.escape`.
"""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from experiments.interpret.explanation import Explanation
from experiments.sentiment import vader

_STYLE = """
:root { color-scheme: light dark; --for: 200 60 40; --against: 40 110 200; --gate: 0 140 130; }
@media (prefers-color-scheme: dark) { :root { --for: 235 95 75; --against: 90 155 245; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; }
p { margin: .3rem 0; } .note { opacity: .75; font-size: .9rem; }
blockquote { margin: 1rem 0; padding-left: 1rem; border-left: 3px solid; overflow-wrap: anywhere; }
.bar { display: inline-block; height: .7rem; background: rgb(var(--gate)); }
.tokens { line-height: 2.1; }
.tokens span { padding: .15rem .3rem; border-radius: .3rem; overflow-wrap: anywhere; }
.for { background: rgb(var(--for) / var(--alpha)); }
.against { background: rgb(var(--against) / var(--alpha)); }
.scroll { overflow-x: auto; }
svg rect { fill: rgb(var(--gate)); } svg text { fill: currentColor; font-size: 12px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .1rem .8rem; text-align: right; }
th:first-child, td:first-child, td.left { text-align: left; }
"""


def format_report(sentence: str, explanation: Explanation) -> str:
    """The page that explains the prediction for a sentence, as HTML."""
    predicted = vader.CLASSES[int(explanation.probabilities.argmax())]
    methods = {
        "integrated gradients": explanation.gradients,
        "occlusion": explanation.occlusion,
        "gates": explanation.relevance,
        "attention": explanation.attention,
    }
    notes = {
        "integrated gradients": f"They add up to the score within "
        f"{explanation.completeness_error:.2%}; VADER's scores of the whole sentence contribute "
        f"{explanation.sentence:+.2f}, its n-grams {explanation.ngrams:+.2f}. Red is for the "
        "prediction, blue against it; hover over a token for its number.",
        "occlusion": "How much the score decreases when a token is blanked.",
        "gates": "What each token wrote into the state and the gates kept until it was read.",
        "attention": "The weight with which each token's state is read.",
    }
    sections = [quote(sentence), probability_bars(vader.CLASSES, explanation.probabilities)]
    for name, values in methods.items():
        tokens = colored_tokens(explanation.tokens, values)
        sections.append(section(name.capitalize(), notes[name], tokens))
    for name, gate in zip(("forward", "backward"), explanation.update_gates, strict=True):
        note = (
            "Full color keeps the state, blank overwrites it; one row per unit, slow ones on top."
        )
        drawing = heat_map(explanation.tokens, gate, f"update gates, {name}")
        sections.append(section(f"Update gates, {name}", note, drawing))
    table = number_table(explanation.tokens, methods)
    sections.append(section("Numbers", "Contributions to the score, by token.", table))
    return page(f"Why {predicted}?", sections)


def page(title: str, sections: Sequence[str]) -> str:
    """The whole page, from the HTML of its sections."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    )
    body = "\n".join([f"<h1>{escape(title)}</h1>", *sections])
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def section(heading: str, note: str, content: str) -> str:
    """A heading, a line of explanation, and the HTML `content`."""
    return f'<h2>{escape(heading)}</h2><p class="note">{escape(note)}</p>{content}'


def quote(text: str) -> str:
    """The text that the page explains."""
    return f"<blockquote>{escape(text)}</blockquote>"


def probability_bars(classes: Sequence[str], probabilities: Sequence[float]) -> str:
    """A table with a bar for the probability of each class."""
    rows = [
        f"<tr><td>{escape(name)}</td><td>{probability:.0%}</td>"
        f'<td class="left"><span class="bar" style="width:{12 * probability:.2f}rem"></span></td>'
        "</tr>"
        for name, probability in zip(classes, probabilities, strict=True)
    ]
    return f"<table>{''.join(rows)}</table>"


def colored_tokens(tokens: Sequence[str], values: np.ndarray) -> str:
    """The tokens, colored by the sign and size of their values [T]."""
    strongest = np.abs(values).max(initial=0) or 1
    spans = [
        f'<span class="{"for" if value >= 0 else "against"}" title="{value:+.3f}" '
        f'style="--alpha:{0.6 * abs(value) / strongest:.3f}">{escape(token)}</span>'
        for token, value in zip(tokens, values, strict=True)
    ]
    return f'<p class="tokens">{" ".join(spans)}</p>'


def heat_map(tokens: Sequence[str], gate: np.ndarray, name: str) -> str:
    """A gate [T, H] between 0 and 1 as an SVG: units by tokens, the slow units on top."""
    step_width, unit_height = 34, 3
    units = gate[:, np.argsort(-gate.mean(0))]
    rects = [
        f'<rect x="{step_width * t}" y="{unit_height * unit}" width="{step_width}" '
        f'height="{unit_height}" fill-opacity="{value:.2f}"/>'
        for (t, unit), value in np.ndenumerate(units)
    ]
    bottom = unit_height * units.shape[1]
    labels = [
        f'<text transform="translate({step_width * (t + 0.5) + 4} {bottom + 10}) rotate(-45)" '
        f'text-anchor="end">{escape(token)}</text>'
        for t, token in enumerate(tokens)
    ]
    longest = max((len(token) for token in tokens), default=0)
    height, left = bottom + 20 + 6 * min(longest, 30), 40 + 3 * min(longest, 30)
    width = step_width * len(tokens) + left + 10
    return (
        f'<div class="scroll"><svg role="img" aria-label="{escape(name)}" width="{width}" '
        f'height="{height}" viewBox="{-left} 0 {width} {height}">'
        f"{''.join(rects)}{''.join(labels)}</svg></div>"
    )


def number_table(tokens: Sequence[str], columns: Mapping[str, np.ndarray]) -> str:
    """A table with one row per token and a column for each of the values [T]."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("token", *columns))
    rows = [
        f"<tr><td>{escape(token)}</td>"
        + "".join(f"<td>{value:+.3f}</td>" for value in values)
        + "</tr>"
        for token, *values in zip(tokens, *columns.values(), strict=True)
    ]
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
