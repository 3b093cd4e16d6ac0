from experiments.flip_flop.train import cli

if __name__ == "__main__":
    cli()
