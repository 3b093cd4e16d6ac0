from experiments.training_difficulty.compare import cli

if __name__ == "__main__":
    cli()
