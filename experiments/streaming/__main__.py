from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.streaming.settings", "experiments.streaming.compare")
