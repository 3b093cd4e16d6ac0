from experiments.benchmark.compare import cli

if __name__ == "__main__":
    cli()
