from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.summarization.settings", "experiments.summarization.train")
