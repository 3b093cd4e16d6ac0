from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.text_generation.settings", "experiments.text_generation.train")
