"""The benchmark's report: a table of all points, and a summary."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from experiments.benchmark.measurements import Measurement
from experiments.benchmark.peers import MODES, Setting
from experiments.common.report import format_table

PEERS_PER_TABLE = 4  # so that a row fits in a line


class Point(NamedTuple):
    """All libraries at one setting, in one mode."""

    setting: Setting
    mode: str
    ours: Measurement
    peers: dict[str, Measurement]
    others: dict[str, Measurement]  # grujax without the mask, and its other implementations

    def all_libraries(self) -> list[Measurement]:
        """All measurements at this point, grujax first."""
        return [self.ours, *self.others.values(), *self.peers.values()]

    @property
    def fastest(self) -> Measurement | None:
        """The fastest peer; None without peers."""
        return min(self.peers.values(), key=lambda peer: peer.median_ms, default=None)

    @property
    def ratio(self) -> float:
        """The fastest peer's time / grujax's; NaN without peers."""
        return self.fastest.median_ms / self.ours.median_ms if self.fastest else float("nan")

    @property
    def roofline(self) -> float:
        """The roofline's time / grujax's."""
        return self.ours.roofline_ms / self.ours.median_ms

    @property
    def is_on_grid(self) -> bool:
        """Whether the setting is one plain float32 layer."""
        return self.setting.kind == "one layer" and self.setting.dtype == "float32"

    def __str__(self) -> str:
        s = self.setting
        variant = "" if self.is_on_grid else f" {s.kind} {s.dtype}"
        return f"T{s.steps} B{s.batch} I{s.input_size} H{s.hidden_size}{variant}"


def collect_points(measurements: Iterable[Measurement], ours: str) -> list[Point]:
    """Groups the rows of the CSV by point; `ours` is the implementation compared with the peers."""
    rows: dict[tuple[Setting, str], dict[str, Measurement]] = {}
    for m in measurements:
        rows.setdefault((m.setting, m.mode), {})[m.library] = m
    points = []
    for (setting, mode), by_library in rows.items():
        if ours not in by_library:
            continue
        rest = {name: m for name, m in by_library.items() if name != ours}
        peers = {name: m for name, m in rest.items() if not name.startswith("grujax ")}
        others = {name: m for name, m in rest.items() if name not in peers}
        points.append(Point(setting, mode, by_library[ours], peers, others))
    return points


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
        grid = [p for p in chosen if p.is_on_grid and p.peers]
        slower = [f"{p} ({p.ratio:.2f})" for p in chosen if p.ratio < 1]
        lines += [
            f"{mode}, fastest peer / grujax:",
            f"  H ≤ 256: {_mean([p.ratio for p in grid if p.setting.hidden_size <= 256])}",
            f"  whole grid: {_mean([p.ratio for p in grid])}{_worst(grid)}",
            f"  below 1, including points off the grid: {_list(slower)}",
            f"  compile time / flax.linen's: {_against_linen(grid, 'compile_s')}",
            f"  roofline, B ≥ 16 and H ≥ 128: {_roofline(grid)}",
        ]
        for kind in ("lengths", "resets"):
            times = [
                (p.ours.median_ms / m.median_ms)
                for p in chosen
                if p.setting.kind == kind
                for name, m in p.others.items()
                if name.endswith("unmasked")
            ]
            if times:
                lines.append(f"  time with {kind} / without: {_mean(times)}, most {max(times):.2f}")
        lines += _both_directions(chosen)
        lines += _implementations(chosen)
    return "\n".join([*lines, *_temporaries(points)])


def _both_directions(points: Sequence[Point]) -> list[str]:
    """The time of a bidirectional layer / that of one direction of the same shape."""
    alone = {p.setting: p.ours.median_ms for p in points}
    ratios = [
        p.ours.median_ms / alone[replace(p.setting, kind="one layer")]
        for p in points
        if p.setting.kind == "bidirectional" and replace(p.setting, kind="one layer") in alone
    ]
    if not ratios:
        return []
    return [f"  both directions / one: {_mean(ratios)}, most {max(ratios):.2f}"]


def _implementations(points: Sequence[Point]) -> list[str]:
    """The time of grujax's other implementations / that of the one compared with the peers."""
    lines = []
    names = {name for p in points for name in p.others if not name.endswith("unmasked")}
    for name in sorted(names):
        ratios = [p.others[name].median_ms / p.ours.median_ms for p in points if name in p.others]
        lines.append(
            f"  {name} / {points[0].ours.library}: {_mean(ratios)}, least {min(ratios):.2f}"
        )
    return lines


def _temporaries(points: Sequence[Point]) -> list[str]:
    training = [p for p in points if p.mode == "training" and p.is_on_grid]
    large = [p for p in training if _is_large(p.setting)]
    more = []
    for p in training:
        theirs, s = p.peers.get("flax.linen"), p.setting
        if not theirs or _is_large(s):
            continue
        ours_mb, theirs_mb = p.ours.temporaries_mb or 0, theirs.temporaries_mb or 0
        parameters_mb = 4e-6 * ((s.input_size + s.hidden_size + 1) * 3 + 1) * s.hidden_size
        if ours_mb > theirs_mb + 3 * parameters_mb:
            more.append(f"{p} ({ours_mb:.2f} against {theirs_mb:.2f} MB)")
    return [
        "temporaries of the training step / flax.linen's:",
        f"  T ≥ 256, B ≥ 16, H ≤ 256: {_against_linen(large, 'temporaries_mb')}",
        f"  elsewhere above flax.linen's + 3 × parameters: {_list(more)}",
    ]


def _is_large(s: Setting) -> bool:
    return s.steps >= 256 and s.batch >= 16 and s.hidden_size <= 256


def _against_linen(points: Sequence[Point], field: str) -> str:
    ratios = {
        str(p): getattr(p.ours, field) / getattr(p.peers["flax.linen"], field)
        for p in points
        if "flax.linen" in p.peers and getattr(p.peers["flax.linen"], field)
    }
    if not ratios:
        return "not measured"
    most = max(ratios, key=lambda name: ratios[name])
    return f"{_mean(list(ratios.values()))}, most {ratios[most]:.2f} at {most}"


def _roofline(grid: Sequence[Point]) -> str:
    chosen = [p for p in grid if p.setting.batch >= 16 and p.setting.hidden_size >= 128]
    if not chosen:
        return "not measured"
    least = min(chosen, key=lambda p: p.roofline)
    mean = np.exp(np.mean([np.log(p.roofline) for p in chosen]))
    return f"geometric mean {mean:.0%}, least {least.roofline:.0%} at {least}"


def _worst(grid: Sequence[Point]) -> str:
    if not grid:
        return ""
    worst = min(grid, key=lambda p: p.ratio)
    return (
        f", least {worst.ratio:.2f} at {worst} ({worst.fastest.library})" if worst.fastest else ""
    )


def _mean(ratios: Sequence[float]) -> str:
    if not ratios:
        return "not measured"
    return f"geometric mean {np.exp(np.mean(np.log(ratios))):.2f} over {len(ratios)}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
