from experiments.translation.train import cli

if __name__ == "__main__":
    cli()
