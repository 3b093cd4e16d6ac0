from experiments.common.command import run

if __name__ == "__main__":
    run("experiments.flip_flop.settings", "experiments.flip_flop.train")
