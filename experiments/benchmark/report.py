"""The benchmark's report: a table of all points, and a summary."""

from collections.abc import Sequence

import numpy as np

from experiments.benchmark.measurements import Measurement
from experiments.benchmark.peers import MODES, Setting
from experiments.benchmark.summary import (
    Mean,
    Point,
    compare_implementations,
    compare_variants,
    is_large,
)
from experiments.common.report import format_table

PEERS_PER_TABLE = 4  # so that a row fits in a line


def format_report(points: Sequence[Point], columns: Sequence[str]) -> str:
    """Tables with one column per library in `columns`, grujax first, and the summary."""
    peers = [name for name in columns if not name.startswith("grujax ")]
    starts = range(0, len(peers), PEERS_PER_TABLE)
    tables = [_table(points, peers[start : start + PEERS_PER_TABLE]) for start in starts]
    return "\n\n".join([_our_table(points, columns), *tables, _summary(points)])


def format_ratios(points: Sequence[Point]) -> str:
    """The grid as CSV: a row for each setting, with the fastest peer's time / grujax's by mode."""
    ratios: dict[Setting, dict[str, float]] = {}
    for p in points:
        if p.is_on_grid and p.peers:
            ratios.setdefault(p.setting, {})[p.mode] = p.ratio
    lines = [f"T,B,I,H,{','.join(MODES)}"]
    for s, by_mode in ratios.items():
        values = ",".join(f"{by_mode[mode]:.2f}" if mode in by_mode else "" for mode in MODES)
        lines.append(f"{s.steps},{s.batch},{s.input_size},{s.hidden_size},{values}")
    return "\n".join(lines) + "\n"


def _our_table(points: Sequence[Point], columns: Sequence[str]) -> str:
    """grujax and the fastest peer."""
    ours = [name for name in columns if name.startswith("grujax ")]
    header = ["point", "mode", *(f"{name} ms" for name in ours), "fastest peer", "ms"]
    header += ["ratio", "roofline"]
    rows = []
    for p in points:
        name, ratio = (p.fastest.library, f"{p.ratio:.2f}") if p.fastest else ("-", "-")
        rows.append([*_cells(p, ours), name, _time(p.fastest), ratio, f"{p.roofline:.0%}"])
    return format_table(header, rows)


def _table(points: Sequence[Point], names: Sequence[str]) -> str:
    return format_table(
        ["point", "mode", *(f"{name} ms" for name in names)], [_cells(p, names) for p in points]
    )


def _cells(p: Point, names: Sequence[str]) -> list[str]:
    libraries = {m.library: m for m in p.all_libraries()}
    return [str(p), p.mode, *(_time(libraries.get(name)) for name in names)]


def _time(m: Measurement | None) -> str:
    if m is None:
        return "-"
    digits = max(0, 2 - int(np.floor(np.log10(m.median_ms))))
    spread = (m.upper_ms - m.lower_ms) / 2 / m.median_ms
    return f"{m.median_ms:.{min(digits, 4)}f} ±{spread:.0%}"


def _summary(points: Sequence[Point]) -> str:
    lines = []
    for mode in MODES:
        chosen = [p for p in points if p.mode == mode]
        lines.append(f"{mode}, fastest peer / grujax, and shares of the roofline:")
        for name, means in compare_implementations(chosen).items():
            lines += [f"  {name}, {title}: {_describe(mean)}" for title, mean in means.items()]
        variants = compare_variants(chosen)
        lines += [f"  {title}: {_describe(mean)}" for title, mean in variants.items()]
        slower = [
            f"{p} ({p.ratio:.2f}, {p.fastest.library})" for p in chosen if p.fastest and p.ratio < 1
        ]
        lines.append(f"  slower than a peer at: {_list(slower)}")
    return "\n".join([*lines, _more_memory(points)])


def _describe(mean: Mean) -> str:
    ends = f"{mean.least:.2f} ({mean.least_at}) to {mean.most:.2f} ({mean.most_at})"
    return f"geometric mean {mean.mean:.2f} over {mean.count}, {ends}"


def _more_memory(points: Sequence[Point]) -> str:
    """Where a small training step takes clearly more temporaries than that of flax.linen."""
    more = []
    for p in points:
        theirs, s = p.peers.get("flax.linen"), p.setting
        if p.mode != "training" or not p.is_on_grid or not theirs or is_large(s):
            continue
        ours_mb, theirs_mb = p.ours.temporaries_mb or 0, theirs.temporaries_mb or 0
        parameters_mb = 4e-6 * ((s.input_size + s.hidden_size + 1) * 3 + 1) * s.hidden_size
        if ours_mb > theirs_mb + 3 * parameters_mb:
            more.append(f"{p} ({ours_mb:.2f} against {theirs_mb:.2f} MB)")
    return f"training memory above flax.linen's + 3 × parameters: {_list(more)}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
