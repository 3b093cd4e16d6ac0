from experiments.memory_rl.train import cli

if __name__ == "__main__":
    cli()
