"""The former name of `experiments.summarization`, still usable as a command."""

from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.summarization.settings", "experiments.summarization.train")
