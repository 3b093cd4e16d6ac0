from experiments.export.export import cli

if __name__ == "__main__":
    cli()
