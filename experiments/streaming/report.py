"""The report of `experiments.streaming`, and its results as JSON values."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.common.report import format_table
from experiments.common.report.plots import cell_title
from experiments.streaming.digits import STRIDE, Recognized
from experiments.streaming.equal_quality import Estimate, common_error, cost_at
from experiments.streaming.settings import Settings
from experiments.streaming.steps import KINDS, Cost
from experiments.streaming.text import Trained


class Results(NamedTuple):
    """What was trained and timed."""

    models: Mapping[str, Mapping[int, Trained]]  # by cell and size
    recognizers: Mapping[str, Recognized]  # by cell
    # ("text", kind, size, position) or ("digits", kind) -> the cost of a step
    costs: Mapping[Any, Cost]
    onnx: Mapping[tuple[int, str], float]  # seconds, by size and the way of the call
    beyond: Mapping[str, Mapping[str, float]]  # bits, by kind and range of positions

    def bits(self) -> dict[str, list[float]]:
        """The bits per character of each cell, by size."""
        return {
            cell: [trained.results["bits"] for trained in sizes.values()]
            for cell, sizes in self.models.items()
        }

    def at_equal_quality(self, kind: str, position: int, cost: Callable[[Cost], float]) -> Estimate:
        """A cost of a kind of stream at the bits per character that all cells reach."""
        bits, sizes = self.bits(), self.models[KINDS[kind]]
        costs = [cost(self.costs["text", kind, size, position]) for size in sizes]
        return cost_at(common_error(bits), bits[KINDS[kind]], costs)


def kind_title(kind: str) -> str:
    """The name in tables and figures: "Transformer, window" for "transformer, window"."""
    cell, comma, rest = kind.partition(",")
    return cell_title(cell) + comma + rest


def make_report(settings: Settings, results: Results) -> str:
    """The whole report as text."""
    largest, bits = max(settings.sizes), common_error(results.bits())
    return "\n\n".join(
        [
            f"Bits per character of the test books:\n{training_table(results)}",
            f"One step of {largest:,} parameters at positions of the stream, µs in a compiled loop "
            f"/ in a call from Python, and the KiB of its state:\n"
            f"{step_table(settings, results, largest)}",
            f"The same at {bits:.3f} bits per character, between the sizes (≤: the smallest is "
            f"better):\n{equal_table(settings, results)}",
            f"Bits per character by the position in a piece of the test text, {largest:,} "
            f"parameters:\n{beyond_table(results)}",
            f"A step of the GRU, µs:\n{onnx_table(settings, results)}",
            f"Spoken digits, a step of {STRIDE} frames:\n{digit_table(results)}",
        ]
    )


def training_table(results: Results) -> str:
    """The quality of each cell and size."""
    rows = [
        [
            cell_title(cell),
            f"{trained.results['parameters']:,}",
            f"{trained.results['hidden size']}",
            f"{trained.results['learning rate']:g}",
            f"{trained.results['validation bits']:.3f}",
            f"{trained.results['bits']:.3f}",
        ]
        for cell, sizes in results.models.items()
        for trained in sizes.values()
    ]
    return format_table(["", "parameters", "H", "learning rate", "validation", "test"], rows)


def step_table(settings: Settings, results: Results, size: int) -> str:
    """Time and memory of a step at each position."""
    rows = []
    for kind in KINDS:
        costs = [results.costs["text", kind, size, position] for position in settings.positions]
        times = [f"{1e6 * cost.loop:,.1f} / {1e6 * cost.call:,.0f}" for cost in costs]
        rows.append([kind_title(kind), *times, *(f"{cost.memory / 1024:,.1f}" for cost in costs)])
    return format_table(_header(settings), rows)


def equal_table(settings: Settings, results: Results) -> str:
    """Time in the loop and memory of a step at equal quality."""
    rows = []
    for kind in KINDS:
        row = [kind_title(kind)]
        for cost, scale in (
            (lambda cost: cost.loop, 1e6),
            (lambda cost: cost.memory, 1 / 1024),
        ):
            found = [results.at_equal_quality(kind, p, cost) for p in settings.positions]
            row += [f"{'≤' if x.is_bound else ''}{scale * x.cost:,.1f}" for x in found]
        rows.append(row)
    return format_table(_header(settings), rows)


def _header(settings: Settings) -> list[str]:
    positions = [f"{position:,}" for position in settings.positions]
    return ["", *(f"µs at {p}" for p in positions), *(f"KiB at {p}" for p in positions)]


def beyond_table(results: Results) -> str:
    """The bits in ranges of positions."""
    ranges = next(iter(results.beyond.values()))
    rows = [[name, *(f"{bits[name]:.3f}" for bits in results.beyond.values())] for name in ranges]
    return format_table(["characters", *map(kind_title, results.beyond)], rows)


def onnx_table(settings: Settings, results: Results) -> str:
    """The GRU's step in grujax and in onnxruntime."""
    rows = []
    for size in settings.sizes:
        cost = results.costs["text", "gru", size, settings.positions[0]]
        seconds = [cost.loop, cost.call, *(results.onnx[size, way] for way in ("bound", "run"))]
        rows.append([f"{size:,} parameters", *(f"{1e6 * x:.1f}" for x in seconds)])
    ways = ["grujax, loop", "grujax, call", "onnxruntime, bound", "onnxruntime, run"]
    return format_table(["", *ways], rows)


def digit_table(results: Results) -> str:
    """The errors of each cell, and the time of a frame."""
    rows = []
    for kind, cell in KINDS.items():
        if ("digits", kind) in results.costs:
            found, cost = results.recognizers[cell].results, results.costs["digits", kind]
            rows.append(
                [
                    kind_title(kind),
                    f"{found['parameters']:,}",
                    f"{found['learning rate']:g}",
                    f"{100 * found['digit errors']:.2f}",
                    f"{100 * found['strings right']:.1f}",
                    f"{1e6 * cost.loop / STRIDE:.1f}",
                    f"{1e6 * cost.call / STRIDE:.1f}",
                    f"{cost.memory / 1024:.1f}",
                ]
            )
    header = ["", "parameters", "learning rate", "digit errors, %", "strings right, %"]
    return format_table([*header, "µs per frame, loop", "call", "KiB"], rows)


def as_json(settings: Settings, results: Results) -> dict[str, Any]:
    """All results as JSON values."""
    steps: dict[str, Any] = {kind: {} for kind in KINDS}
    equal: dict[str, Any] = {kind: {} for kind in KINDS}
    for kind, cell in KINDS.items():
        for size in results.models[cell]:
            steps[kind][size] = {
                position: _cost(results.costs["text", kind, size, position])
                for position in settings.positions
            }
        for position in settings.positions:
            ways = {
                "loop microseconds": lambda cost: 1e6 * cost.loop,
                "call microseconds": lambda cost: 1e6 * cost.call,
                "KiB": lambda cost: cost.memory / 1024,
            }
            found = {
                name: results.at_equal_quality(kind, position, cost) for name, cost in ways.items()
            }
            equal[kind][position] = {name: estimate.cost for name, estimate in found.items()}
            equal[kind][position]["is a bound"] = found["KiB"].is_bound
    return {
        "text": {
            "trainings": {
                cell: {size: trained.results for size, trained in sizes.items()}
                for cell, sizes in results.models.items()
            },
            "steps": steps,
            "bits at equal quality": common_error(results.bits()),
            "equal quality": equal,
            "beyond the window": results.beyond,
            "onnxruntime": {
                size: {way: 1e6 * results.onnx[size, way] for way in ("bound", "run")}
                for size in settings.sizes
            },
        },
        "digits": {
            cell: results.recognizers[cell].results | _cost(results.costs["digits", kind], STRIDE)
            for kind, cell in KINDS.items()
            if ("digits", kind) in results.costs
        },
    }


def _cost(cost: Cost, frames: int = 1) -> dict[str, float]:
    return {
        "loop microseconds": 1e6 * cost.loop / frames,
        "call microseconds": 1e6 * cost.call / frames,
        "KiB": cost.memory / 1024,
    }
