"""The former name of `experiments.summarization`, still usable as a command."""

from experiments.summarization.train import cli

if __name__ == "__main__":
    cli()
