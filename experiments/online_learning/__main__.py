from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.online_learning.settings", "experiments.online_learning.compare")
