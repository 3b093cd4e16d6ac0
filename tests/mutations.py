"""Breaks the code in one place at a time, and checks that `make test` catches it.

    python tests/mutations.py               every mutation: about ten minutes on 2 cores
    python tests/mutations.py lengths       those whose name contains a word

Each mutation runs on a copy of the tracked files, with the tests of the first tier that are closest
to it. The exit status is 1 if a mutation survives.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
FIRST_TIER = ["-m", "not slow and not long"]
NO_TEST_RAN = (2, 3, 4, 5)  # of pytest's exit statuses: the mutation broke more than it should


class Mutation(NamedTuple):
    """Replaces `old`, which is in `path` once, by `new`."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


CELL, SEQUENCE = "grujax/cell.py", "grujax/sequence.py"
STEP_MASKS = "grujax/step_masks.py"
IMPLEMENTATIONS = "grujax/implementations"
CONTRACT = ("tests/grujax/test_contract.py",)

MUTATIONS = [
    Mutation(
        "reset gate: it multiplies nothing",
        CELL,
        "jnp.tanh(x_n + reset * product)",
        "jnp.tanh(x_n + product)",
        ("tests/grujax/test_cell.py",),
    ),
    Mutation(
        "update gate: 1 − z instead of z",
        CELL,
        "(update * h.astype(update.dtype) + (1 - update) * candidate)",
        "((1 - update) * h.astype(update.dtype) + update * candidate)",
        ("tests/grujax/test_cell.py",),
    ),
    Mutation(
        "lengths: one step too many",
        STEP_MASKS,
        "lengths.ndim) < lengths",
        "lengths.ndim) <= lengths",
        CONTRACT,
    ),
    Mutation(
        "resets: ignored",
        STEP_MASKS,
        "return StepMasks(valid, restart, kept)",
        "return StepMasks(valid, None, kept)",
        CONTRACT,
    ),
    Mutation(
        "reverse: the state restarts one step early",
        STEP_MASKS,
        "jnp.concatenate([boundary[1:], jnp.zeros_like(boundary[:1])])",
        "boundary",
        CONTRACT,
    ),
    Mutation(
        "padding: NaN in it reaches the gradient",
        SEQUENCE,
        "inputs = zero_invalid(masks.reads, rows.place(inputs, 1))",
        "inputs = rows.place(inputs, 1)",
        CONTRACT,
    ),
    Mutation(
        "mask: skipped steps run",
        STEP_MASKS,
        "return StepMasks(valid, restart, kept)",
        "return StepMasks(valid, restart, None)",
        ("tests/grujax/test_mask.py",),
    ),
    Mutation(
        "native backward pass: a wrong factor in the reset gate",
        f"{IMPLEMENTATIONS}/native/src/backward.cpp",
        "d_c * c * (1.f - r)",
        "d_c * c * r",
        ("tests/grujax/implementations/native",),
    ),
    Mutation(
        "sharding: gradients of the weights are not summed over devices",
        f"{IMPLEMENTATIONS}/primitive/sharding.py",
        "jax.lax.psum(result, devices) if axis is None else result",
        "result",
        ("tests/grujax/implementations/primitive",),
    ),
    Mutation(
        "resume: the training starts anew",
        "experiments/common/training/loop.py",
        "local = files.restore(training, local)",
        "files.restore(training, local)",
        ("tests/experiments/common/training",),
    ),
    Mutation(
        "conversion: gates in the wrong order",
        "grujax/convert/layouts.py",
        "zip(leaf.gates, jnp.split(of_role",
        "zip(GATES, jnp.split(of_role",
        ("tests/grujax/convert/test_keras.py",),
    ),
]


def is_caught(mutation: Mutation, folder: Path) -> bool:
    """Runs the tests on a mutated copy of the repository in an empty folder."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in files.stdout.decode().rstrip("\0").split("\0"):
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    path = folder / mutation.path
    source = path.read_text(encoding="utf-8")
    if source.count(mutation.old) != 1:
        sys.exit(f"{mutation.path} does not contain {mutation.old!r} exactly once.")
    path.write_text(source.replace(mutation.old, mutation.new), encoding="utf-8")
    run = subprocess.run([*PYTEST, *FIRST_TIER, *mutation.tests], cwd=folder, capture_output=True)
    if run.returncode in NO_TEST_RAN:
        sys.exit(run.stdout.decode())
    return run.returncode == 1


def main(words: list[str]) -> None:
    survivors = []
    for mutation in MUTATIONS:
        if words and not any(word in mutation.name for word in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            caught = is_caught(mutation, Path(folder))
        print(f"{'caught' if caught else 'SURVIVED'}: {mutation.name}", flush=True)
        survivors += [] if caught else [mutation.name]
    sys.exit(f"{len(survivors)} survived: {', '.join(survivors)}" if survivors else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
