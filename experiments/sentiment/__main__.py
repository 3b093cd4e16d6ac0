from experiments.sentiment.train import cli

if __name__ == "__main__":
    cli()
