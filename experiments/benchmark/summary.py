"""What the benchmark's measurements say: points, means over the grid, and ratios of variants."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmark.measurements import Measurement
from experiments.benchmark.peers import MODES, Setting

ON_ONNX = ("onnxruntime", "openvino")  # the peers that run files, and do not train
MOST_UNITS = 256  # of the means over "H ≤ 256"
REGIONS: Mapping[str, Callable[[Setting], bool]] = {
    "B ≥ 16 and H ≥ 128": lambda s: s.batch >= 16 and s.hidden_size >= 128,
    "B ≥ 16 and H ≤ 64": lambda s: s.batch >= 16 and s.hidden_size <= 64,
    "B = 1": lambda s: s.batch == 1,
}


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
    def implementations(self) -> dict[str, Measurement]:
        """Those of grujax, the one that is compared with the peers first."""
        masked = {n: m for n, m in self.others.items() if not n.endswith("unmasked")}
        return {self.ours.library: self.ours, **masked}

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

    def of(self, name: str) -> "Point":
        """The point with another implementation of grujax compared with the peers."""
        return self._replace(ours=self.implementations[name])

    def without(self, names: Iterable[str]) -> "Point":
        """The point without these peers."""
        return self._replace(peers={n: m for n, m in self.peers.items() if n not in names})

    def __str__(self) -> str:
        s = self.setting
        variant = "" if self.is_on_grid else f" {s.kind} {s.dtype}"
        return f"T{s.steps} B{s.batch} I{s.input_size} H{s.hidden_size}{variant}"


class Mean(NamedTuple):
    """The geometric mean of ratios, with the least and the greatest of them and their points."""

    mean: float
    least: float
    least_at: str
    most: float
    most_at: str
    count: int
    count_above_1: int


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


def summarize(points: Sequence[Point]) -> dict[str, Any]:
    """All points and their means, as JSON values."""
    by_point: dict[str, dict[str, Any]] = {}
    for p in points:
        by_point.setdefault(str(p), {})[p.mode] = {
            "ms": {m.library: m.median_ms for m in p.all_libraries()},
            "fastest library": p.fastest and p.fastest.library,
            "fastest library, ms": p.fastest and p.fastest.median_ms,
            "ratio": round(p.ratio, 4) if p.fastest else None,
            "roofline": round(p.roofline, 4),
        }
    means = {
        mode: {
            "implementations": {
                name: {title: to_json(mean) for title, mean in rows.items()}
                for name, rows in compare_implementations(chosen).items()
            },
            "variants": {title: to_json(mean) for title, mean in compare_variants(chosen).items()},
        }
        for mode in MODES
        if (chosen := [p for p in points if p.mode == mode])
    }
    return {"points": by_point, "means": means}


def to_json(mean: Mean) -> dict[str, Any]:
    """A mean as JSON values."""
    return {name.replace("_", " "): value for name, value in mean._asdict().items()}


def compare_implementations(points: Sequence[Point]) -> dict[str, dict[str, Mean]]:
    """Of each implementation of grujax, means over the grid in one mode.

    "all" and "H ≤ 256" are those of the fastest peer's time / its own, "of those that train"
    without the peers that run files; the others are shares of the roofline.
    """
    grid = [p for p in points if p.is_on_grid and p.peers]
    names = dict.fromkeys(name for p in grid for name in p.implementations)
    found = {}
    for name in names:
        ours = [p.of(name) for p in grid if name in p.implementations]
        trained = [p for q in ours if (p := q.without(ON_ONNX)).peers]
        means = {
            "all": _mean({str(p): p.ratio for p in ours}),
            "H ≤ 256": _mean({str(p): p.ratio for p in ours if _is_usual(p)}),
            "all, of those that train": _mean({str(p): p.ratio for p in trained}),
            "H ≤ 256, of those that train": _mean(
                {str(p): p.ratio for p in trained if _is_usual(p)}
            ),
        }
        for region, contains in REGIONS.items():
            shares = {str(p): p.roofline for p in ours if contains(p.setting)}
            means[f"roofline, {region}"] = _mean(shares)
        found[name] = {title: mean for title, mean in means.items() if mean is not None}
    return found


def compare_variants(points: Sequence[Point]) -> dict[str, Mean]:
    """Ratios of grujax's times in one mode, and of its compile time and memory to Flax's."""
    alone = {p.setting: p.ours.median_ms for p in points if p.is_on_grid}
    ratios: dict[str, dict[str, float]] = {}
    for p in points:
        plain = alone.get(replace(p.setting, kind="one layer", dtype="float32"))
        if p.setting.kind == "bidirectional" and plain:
            ratios.setdefault("both directions / one", {})[str(p)] = p.ours.median_ms / plain
        if p.setting.kind == "one layer" and not p.is_on_grid and plain:
            ratios.setdefault("float32 / bfloat16", {})[str(p)] = plain / p.ours.median_ms
        for name, m in p.others.items():
            if name.endswith("unmasked"):
                title = f"with {p.setting.kind} / without"
                ratios.setdefault(title, {})[str(p)] = p.ours.median_ms / m.median_ms
            else:
                title = f"{name} / {p.ours.library}"
                ratios.setdefault(title, {})[str(p)] = m.median_ms / p.ours.median_ms
    grid = [p for p in points if p.is_on_grid]
    ratios["compile time / flax.linen's"] = against_linen(grid, "compile_s")
    large = [p for p in grid if is_large(p.setting)]
    ratios["memory / flax.linen's"] = against_linen(large, "temporaries_mb")
    return {title: mean for title, row in ratios.items() if (mean := _mean(row)) is not None}


def against_linen(points: Sequence[Point], field: str) -> dict[str, float]:
    """What grujax takes / what Flax takes, where both were measured."""
    return {
        str(p): getattr(p.ours, field) / getattr(p.peers["flax.linen"], field)
        for p in points
        if "flax.linen" in p.peers
        and getattr(p.ours, field)
        and getattr(p.peers["flax.linen"], field)
    }


def is_large(s: Setting) -> bool:
    """Whether memory is compared at the setting: T ≥ 256, B ≥ 16, H ≤ 256."""
    return s.steps >= 256 and s.batch >= 16 and s.hidden_size <= MOST_UNITS


def _is_usual(p: Point) -> bool:
    return p.setting.hidden_size <= MOST_UNITS


def _mean(ratios: Mapping[str, float]) -> Mean | None:
    if not ratios:
        return None
    least, most = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
    above = len([ratio for ratio in ratios.values() if ratio > 1])
    return Mean(mean, ratios[least], least, ratios[most], most, len(ratios), above)
