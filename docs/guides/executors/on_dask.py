"""python on_dask.py"""

from dask.distributed import Client, LocalCluster
from training import options, train, trials

from grujax import sweep

if __name__ == "__main__":
    # Another cluster is `Client("tcp://scheduler:8786")`.
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
        result = sweep.run(
            train, trials, **options, directory="runs/dask", executor=client.get_executor()
        )
    print(result.best("loss").hyperparameters)
