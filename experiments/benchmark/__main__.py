from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.benchmark.settings", "experiments.benchmark.compare")
