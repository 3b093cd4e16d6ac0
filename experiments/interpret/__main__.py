from experiments.interpret.interpret import cli

if __name__ == "__main__":
    cli()
