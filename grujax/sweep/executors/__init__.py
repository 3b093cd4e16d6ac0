"""Running the trials of a sweep on the workers of an executor, such as a process pool or Dask.

A piece, trials of one group that run in one compiled program, is one task. Workers only compute:
the process that called `run` gives out the pieces, receives their results, and alone writes the
directory. The modules, in the order in which they build on each other:

- `tasks`: what travels to a worker and back;
- `worker`: what a worker does with a task;
- `engine`: the executor, which may break and be made anew;
- `schedule`: which trials are given out next, how many at once, and again after a failure;
- `driver`: the loop that gives out and receives.
"""

from grujax.sweep.executors.driver import run_elsewhere
from grujax.sweep.executors.engine import Engine
from grujax.sweep.executors.tasks import Packed, pack

__all__ = ["Engine", "Packed", "pack", "run_elsewhere"]
