"""What `grujax.linen` and `grujax.nnx` share: calls, single steps, and checks.

Nothing here imports Flax.
"""

from grujax.flax_common.calls import (
    BidirectionalGRUCall,
    GRUCall,
    StackedGRUCall,
    cast_carry,
    run_cell,
)
from grujax.flax_common.checks import (
    CHECKS,
    as_inputs,
    carry_shape,
    check_arguments,
    draw_carry,
)
from grujax.flax_common.steps import Steps, check_runs_forward, make_carry

__all__ = [
    "CHECKS",
    "BidirectionalGRUCall",
    "GRUCall",
    "StackedGRUCall",
    "Steps",
    "as_inputs",
    "carry_shape",
    "cast_carry",
    "check_arguments",
    "check_runs_forward",
    "draw_carry",
    "make_carry",
    "run_cell",
]
