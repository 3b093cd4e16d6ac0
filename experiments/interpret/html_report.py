"""A page that shows a text token by token: coloured, in heat maps, and in numbers.

One file without scripts, fonts or images from elsewhere, readable on a light and a dark screen. All
text goes through `html.escape`.
"""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

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
    """The text that the page is about."""
    return f"<blockquote>{escape(text)}</blockquote>"


def chances(classes: Sequence[str], probabilities: Sequence[float]) -> str:
    """A bar for the probability of each class."""
    rows = [
        f"<tr><td>{escape(name)}</td><td>{chance:.0%}</td>"
        f'<td class="left"><span class="bar" style="width:{12 * chance:.2f}rem"></span></td></tr>'
        for name, chance in zip(classes, probabilities, strict=True)
    ]
    return f"<table>{''.join(rows)}</table>"


def coloured_tokens(tokens: Sequence[str], values: np.ndarray) -> str:
    """The tokens, each on a colour as strong as its value [T]: one for, another against."""
    strongest = np.abs(values).max(initial=0) or 1
    spans = [
        f'<span class="{"for" if value >= 0 else "against"}" title="{value:+.3f}" '
        f'style="--alpha:{0.6 * abs(value) / strongest:.3f}">{escape(token)}</span>'
        for token, value in zip(tokens, values, strict=True)
    ]
    return f'<p class="tokens">{" ".join(spans)}</p>'


def heat_map(tokens: Sequence[str], gate: np.ndarray, name: str) -> str:
    """A gate [T, H] between 0 and 1 as a drawing: units by tokens, the slow units above."""
    cell, high = 34, 3
    units = gate[:, np.argsort(-gate.mean(0))]
    rects = [
        f'<rect x="{cell * t}" y="{high * unit}" width="{cell}" height="{high}" '
        f'fill-opacity="{value:.2f}"/>'
        for (t, unit), value in np.ndenumerate(units)
    ]
    bottom = high * units.shape[1]
    labels = [
        f'<text transform="translate({cell * t + cell / 2 + 4} {bottom + 10}) rotate(-45)" '
        f'text-anchor="end">{escape(token)}</text>'
        for t, token in enumerate(tokens)
    ]
    longest = max((len(token) for token in tokens), default=0)
    height, left = bottom + 20 + 6 * min(longest, 30), 40 + 3 * min(longest, 30)
    width = cell * len(tokens) + left + 10
    return (
        f'<div class="scroll"><svg role="img" aria-label="{escape(name)}" width="{width}" '
        f'height="{height}" viewBox="{-left} 0 {width} {height}">'
        f"{''.join(rects)}{''.join(labels)}</svg></div>"
    )


def numbers(tokens: Sequence[str], columns: Mapping[str, np.ndarray]) -> str:
    """A table: a row for each token, the columns' values [T]."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("token", *columns))
    rows = [
        f"<tr><td>{escape(token)}</td>"
        + "".join(f"<td>{value:+.3f}</td>" for value in values)
        + "</tr>"
        for token, *values in zip(tokens, *columns.values(), strict=True)
    ]
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
