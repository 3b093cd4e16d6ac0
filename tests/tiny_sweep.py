"""A small sweep that tests start as a command."""

from dataclasses import dataclass
from pathlib import Path

from experiments.common import shared_sweep
from experiments.common.command import run_command


@dataclass(frozen=True)
class Command:
    out: Path = Path("runs/tiny")


def main(command: Command) -> None:
    from sweep_trainings import KEY, TRIALS, descend  # its key is made by JAX, which comes later

    result = shared_sweep.run(descend, TRIALS, key=KEY, chunk=2, directory=command.out / "chunks")
    result.table().to_csv(command.out / "table.csv")
    print("done")


if __name__ == "__main__":
    run_command(main, Command, __doc__, sweeps=True)
