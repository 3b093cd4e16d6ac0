"""python on_loky.py"""

import loky
from training import options, train, trials

from grujax import sweep

if __name__ == "__main__":
    result = sweep.run(
        train,
        trials,
        **options,
        directory="runs/loky",
        executor=lambda: loky.get_reusable_executor(max_workers=2),
    )
    print(result.best("loss").hyperparameters)
