"""The report of a comparison of what writes texts: one row each, and the texts themselves."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.common.report import format_table

# (outputs, references) -> named scores in percent
Score = Callable[[Sequence[str], Sequence[str]], dict[str, float]]


def write_scores(
    rows: Mapping[str, Sequence[str]],
    references: Sequence[str],
    parts: np.ndarray,
    score: Score,
    columns: Sequence[str],
    path: Path,
) -> None:
    """Prints the scores of every row, on all N test texts and on each part of them.

    Args:
      rows: for each system what it makes of the sources.
      references: what people made of them.
      parts: str [N], the kind of each text.
      score: how outputs are scored.
      columns: which of its scores to print.
      path: the JSON file to which all of them are written.
    """
    chosen = {"all": np.arange(len(references))}
    if len(names := np.unique(parts)) > 1:
        chosen |= {str(name): np.flatnonzero(parts == name) for name in names}
    results = {
        name: {
            part: score([outputs[i] for i in of], [references[i] for i in of])
            for part, of in chosen.items()
        }
        for name, outputs in rows.items()
    }
    for part, of in chosen.items():
        table = [[name, *(f"{row[part][c]:.1f}" for c in columns)] for name, row in results.items()]
        print(f"\n{format_table([f'%, {part}, {len(of)} pairs', *columns], table)}")
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def write_outputs(
    path: Path, sources: Sequence[str], references: Sequence[str], outputs: Sequence[str]
) -> None:
    """Writes a table with tabs: each source, its reference, and what was made of it."""
    lines = [("source", "reference", "output"), *zip(sources, references, outputs, strict=True)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
