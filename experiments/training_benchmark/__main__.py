from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.training_benchmark.settings", "experiments.training_benchmark.compare")
