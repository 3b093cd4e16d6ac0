from experiments.images.train import cli

if __name__ == "__main__":
    cli()
