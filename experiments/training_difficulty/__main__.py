from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.training_difficulty.settings", "experiments.training_difficulty.compare")
