"""python on_processes.py"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from training import options, train, trials

from grujax import sweep


def start_pool():
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(2, mp_context=context)


if __name__ == "__main__":
    result = sweep.run(train, trials, **options, directory="runs/processes", executor=start_pool)
    print(result.best("loss").hyperparameters)
