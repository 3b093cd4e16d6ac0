from experiments.population_adding.population import cli

if __name__ == "__main__":
    cli()
