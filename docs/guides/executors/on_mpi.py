"""mpiexec -n 3 python -m mpi4py.futures on_mpi.py"""

from mpi4py.futures import MPIPoolExecutor
from training import options, train, trials

from grujax import sweep

if __name__ == "__main__":
    result = sweep.run(train, trials, **options, directory="runs/mpi", executor=MPIPoolExecutor)
    print(result.best("loss").hyperparameters)
