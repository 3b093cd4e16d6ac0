"""python on_slurm.py local, or python on_slurm.py slurm on the login node of a cluster"""

import sys

import submitit
from training import options, train, trials

from grujax import sweep

if __name__ == "__main__":
    jobs = submitit.AutoExecutor("runs/slurm/jobs", cluster=sys.argv[1])
    jobs.update_parameters(timeout_min=60, cpus_per_task=1, mem_gb=4)
    result = sweep.run(
        train,
        trials,
        **options,
        directory="runs/slurm/sweep",
        executor=jobs,
        chunk=32,  # a job has at most 32 trials
    )
    print(result.best("loss").hyperparameters)
