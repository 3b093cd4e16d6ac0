from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.population_adding.settings", "experiments.population_adding.population")
