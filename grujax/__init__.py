"""grujax: gated recurrent units for JAX.

Axis legend of the whole package:

    T   time                            xs [T, B, I]   inputs, time-major as in `jax.lax.scan`
    B   batch: any number of leading    hs [T, B, H]   the state after each step
        batch axes, including none      h  [B, H]      one state
    I   input size                      The order of the gates is r (reset), z (update),
    H   hidden size                     n (candidate).

The Flax views (`grujax.linen`, `grujax.nnx`) are batch-major, `[B, T, I]`, like Flax itself.
"""

import importlib
from typing import TYPE_CHECKING

from grujax.cell import GRUGates, gru_cell, gru_gates
from grujax.layers import bidirectional_gru, stacked_gru
from grujax.newton import NewtonReport, newton_report
from grujax.params import GRUParams, init_gru
from grujax.sequence import gru, scan_cell

if TYPE_CHECKING:
    from grujax import (
        analysis,
        attention,
        baselines,
        convert,
        initializers,
        linen,
        nnx,
        online,
        rollouts,
        sweep,
        testing,
    )

__version__ = "0.2.0"

# Imported at first use, so `import grujax` takes no longer than `import jax`.
_SUBMODULES = (
    "analysis",
    "attention",
    "baselines",
    "convert",
    "initializers",
    "linen",
    "nnx",
    "online",
    "rollouts",
    "sweep",
    "testing",
)

__all__ = [
    "GRUGates",
    "GRUParams",
    "NewtonReport",
    "analysis",
    "attention",
    "baselines",
    "bidirectional_gru",
    "convert",
    "gru",
    "gru_cell",
    "gru_gates",
    "init_gru",
    "initializers",
    "linen",
    "newton_report",
    "nnx",
    "online",
    "rollouts",
    "scan_cell",
    "stacked_gru",
    "sweep",
    "testing",
]


def __getattr__(name: str):
    if name in _SUBMODULES:
        return importlib.import_module(f"grujax.{name}")
    raise AttributeError(f"module 'grujax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES})
