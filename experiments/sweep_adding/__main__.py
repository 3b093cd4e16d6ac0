from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.sweep_adding.settings", "experiments.sweep_adding.sweep")
