from experiments.text_generation.train import cli

if __name__ == "__main__":
    cli()
