from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.tutorial.settings", "experiments.tutorial.train")
