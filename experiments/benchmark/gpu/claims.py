"""What README and the documentation say about GPUs, and whether it holds on this one.

A claim has the words of its page, which a test looks up there, and a function of `verdicts.py` that
judges it by the results of the steps.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from experiments.benchmark.gpu.steps import Results, Unmeasured
from experiments.benchmark.gpu.verdicts import (
    Verdict,
    are_exact,
    are_read_in_place,
    are_side_by_side,
    exchange_is_fast,
    has_two_launches,
    holds_units,
    is_as_fast,
    is_faster,
    larger_batches_are_cheap,
    newton_is_faster,
    not_by_this,
    scan_takes,
    takes_numbers,
    tensor_cores_are_fast,
)


class Claim(NamedTuple):
    """A sentence of a page, or a part of one."""

    page: str
    text: str
    judge: Callable[[Results], Verdict]
    device: str = ""  # what the name of the device must contain: a figure of this device
    capability: str = ""  # "before" or "from" Hopper on, where only these have it


def judge_all(results: Results) -> Iterator[tuple[Claim, Verdict | str]]:
    """Each claim, and its verdict, or why it is not measured here."""
    for claim in CLAIMS:
        yield claim, _judge(claim, results)


def _judge(claim: Claim, results: Results) -> Verdict | str:
    about = results.about
    is_hopper = tuple(about["capability"]) >= (9, 0)
    if about["dry_run"]:
        return "a dry run says nothing about a GPU"
    if claim.device not in about["device"]:
        return f"it is about an {claim.device}, and this is an {about['device']}"
    if claim.capability and (claim.capability == "from") != is_hopper:
        return f"it is about GPUs {claim.capability} Hopper"
    try:
        return claim.judge(results)
    except Unmeasured as reason:
        return str(reason)


README, FIGURES = "README.md", "docs/project/benchmarks.md"
GUIDE, TRANSFORMATIONS = "docs/guides/implementations.md", "docs/guides/transformations.md"
BOTH = ("float32", "bfloat16")
CLAIMS = (
    Claim(README, "faster than cuDNN up to 128 units in float32", is_faster("cuDNN", BOTH[:1])),
    Claim(
        FIGURES,
        "the kernel is 1.25 times as fast as cuDNN forward and 2.7 times in training, in the "
        "geometric mean, at least 1.17 and 1.23 times",
        is_as_fast("cuDNN", (1.25, 2.7), (1.17, 1.23), 2),
        device="H100",
    ),
    Claim(
        FIGURES,
        "Compared with `lax.scan` it is 21 and 39 times as fast, at least 9 and 19 times",
        is_as_fast("lax.scan", (21, 39), (9, 19), 0),
        device="H100",
    ),
    Claim(
        FIGURES,
        "at most 2.5e-7 of the largest entry for outputs and 5.7e-7 for gradients, in float32",
        are_exact((2.5e-7, 5.7e-7)),
    ),
    Claim(FIGURES, "exchanged their states slowly", exchange_is_fast, capability="from"),
    Claim(
        FIGURES, "tensor cores are slower than plain arithmetic for H ≤ 128", tensor_cores_are_fast
    ),
    Claim(GUIDE, "each pass over the whole sequence is one CUDA kernel", has_two_launches("none")),
    Claim(GUIDE, "Products in float32 are exact to float32: no TF32", are_exact((1e-5, 1e-4))),
    Claim(
        GUIDE,
        "Lengths, resets, `reverse`, zoneout and recurrent dropout add no launches",
        has_two_launches("lengths", "resets", "reverse", "zoneout", "recurrent dropout"),
    ),
    Claim(
        GUIDE,
        "Neither do many models under `vmap`, or the second direction",
        has_two_launches("models", "both directions"),
    ),
    Claim(
        GUIDE,
        "Batch-major arrays, as the Flax modules use them, are read in place",
        are_read_in_place,
    ),
    Claim(
        GUIDE,
        "A training step of a layer is two launches",
        has_two_launches("batch-major", "reset before"),
    ),
    Claim(
        GUIDE,
        "four matrix products, or five with `reset_after=False`",
        not_by_this("a test counts them: tests/grujax/implementations/cuda/test_program.py"),
    ),
    Claim(
        GUIDE,
        "| 9.0 and later | H100, B200, RTX 50 | H ≤ 256 | H ≤ 512 |",
        holds_units(256, 512),
        capability="from",
    ),
    Claim(
        GUIDE,
        "| 8.0, 8.6, 8.9 | A100, RTX 30, RTX 40 | H ≤ 128 | H ≤ 128 |",
        holds_units(128, 128),
        capability="before",
    ),
    Claim(
        GUIDE,
        "no register spills for H ≤ 128",
        not_by_this("a test compiles it: tests/grujax/implementations/cuda/test_compiled.py"),
    ),
    Claim(
        GUIDE,
        "It launches ten kernels and more per step",
        not_by_this("it takes a profiler"),
    ),
    Claim(
        GUIDE,
        "it takes 12 to 23 µs per step forward and 28 to 120 µs in training",
        scan_takes,
        device="H100",
    ),
    Claim(GUIDE, "larger batches cost almost no time", larger_batches_are_cheap),
    Claim(GUIDE, "It is meant for accelerators, for T ≥ 10⁴ with small H·B", newton_is_faster),
    Claim(GUIDE, "3·T·B·H numbers for the projected inputs", takes_numbers("cuda/forward", 3)),
    Claim(GUIDE, "about 20·T·B·H", takes_numbers("newton/training", 20)),
    Claim(GUIDE, "its gradient stores about 10·T·B·H", takes_numbers("plain/training", 10)),
    Claim(TRANSFORMATIONS, "in one launch on a GPU", has_two_launches("models")),
    Claim(TRANSFORMATIONS, "kernels run the models side by side", are_side_by_side),
    Claim(
        TRANSFORMATIONS,
        "that of the kernels runs as a scan",
        are_exact((1e-5, 1e-4), is_tangent=True),
    ),
)
