"""python on_one.py"""

from training import options, train, trials

from grujax import sweep

if __name__ == "__main__":
    result = sweep.run(train, trials, **options, directory="runs/one")
    print(result.best("loss").hyperparameters)
