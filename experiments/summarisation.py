"""The former name of `experiments.summarization`."""

from experiments.summarization.__main__ import cli

if __name__ == "__main__":
    cli()
