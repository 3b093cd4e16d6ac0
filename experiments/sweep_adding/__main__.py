from experiments.sweep_adding.sweep import cli

if __name__ == "__main__":
    cli()
