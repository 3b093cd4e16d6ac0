"""The report of systems that write texts: a row of scores for each, and the texts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.common.outputs import write_results, write_text
from experiments.common.report import format_table

# (outputs, references) -> scores in percent by name
Score = Callable[[Sequence[str], Sequence[str]], dict[str, float]]


def write_scores(
    rows: Mapping[str, Sequence[str]],
    references: Sequence[str],
    parts: np.ndarray,
    score: Score,
    columns: Sequence[str],
    path: Path,
) -> None:
    """Prints the scores of every system, on all N test texts and on each part of them.

    Args:
      rows: the outputs of each system.
      references: the texts that people wrote.
      parts: str [N], the kind of each text.
      score: computes the scores.
      columns: the scores to print.
      path: the JSON file for all scores.
    """
    chosen = {"all": np.arange(len(references))}
    if len(names := np.unique(parts)) > 1:
        chosen |= {str(name): np.flatnonzero(parts == name) for name in names}
    results = {
        name: {
            part: score([outputs[i] for i in indices], [references[i] for i in indices])
            for part, indices in chosen.items()
        }
        for name, outputs in rows.items()
    }
    for part, indices in chosen.items():
        table = [[name, *(f"{row[part][c]:.1f}" for c in columns)] for name, row in results.items()]
        print(f"\n{format_table([f'%, {part}, {len(indices)} pairs', *columns], table)}")
    write_results(path, results)


def write_outputs(
    path: Path, sources: Sequence[str], references: Sequence[str], outputs: Sequence[str]
) -> None:
    """Writes a tab-separated table of sources, references and outputs."""
    lines = [("source", "reference", "output"), *zip(sources, references, outputs, strict=True)]
    write_text(path, "".join("\t".join(line) + "\n" for line in lines))
