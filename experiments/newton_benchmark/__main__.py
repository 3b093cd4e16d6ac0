from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.newton_benchmark.settings", "experiments.newton_benchmark.compare")
