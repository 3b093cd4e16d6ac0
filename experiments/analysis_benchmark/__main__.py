from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.analysis_benchmark.settings", "experiments.analysis_benchmark.compare")
